//! What body and query say: deny rules with parameters, models of destinations, parameters of allow rules, and what is done
//! to the body before it leaves.
//!
//! A deny rule and a destination refuse whatever rule would allow the request, so they come before all candidates. While
//! the body is still coming, what it will say counts for nobody.

use super::super::Mode;
use super::super::condition::Purpose;
use super::super::parameter::{At, Parameter, View};
use super::firmness::Firmness;
use super::payload::{Candidate, Candidates, Objection, Payload};
use super::{Refusal, Refusals};
use crate::context::AgentContext;
use crate::decision::Reason;
use crate::order;
use crate::payload::query::Queried;
use crate::payload::treat::{Tokenizer, Untreatable};
use crate::payload::{Content, Found, Places, Pointer, Reading, Treated, Treatments, Value};
use crate::request::Field;
use std::sync::{Arc, LazyLock};

/// Where bodies name a model.
static MODEL: LazyLock<Option<Pointer>> = LazyLock::new(|| Pointer::parse("/model").ok());

/// Methods of requests that may name no model, if they have no body: they read or delete what is there.
const WITHOUT_MODEL: [&str; 4] = ["GET", "HEAD", "DELETE", "OPTIONS"];

/// A deny rule that fits but for its parameters.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) parameters: Vec<Parameter>,
}

/// What is asked of body and query, by all rules and destinations together.
#[derive(Debug)]
pub(super) struct Demands {
    denials: Vec<Denial>,
    treatments: Treatments,
    /// Whether a body that cannot be treated is refused: one rule that enforces it is enough.
    treatments_mode: Mode,
    places: Places,
    /// Whether a request without a body must not name a model either.
    without_model: bool,
    tenant: Option<String>,
}

/// One parameter that was looked at: where, and the bytes of what stands there.
pub struct Inspected {
    /// JSON pointer, or `?key`.
    pub at: String,
    /// What its keyed hash is taken of.
    pub bytes: Vec<u8>,
}

impl Demands {
    pub(super) fn new(
        candidates: &[Candidate],
        denials: Vec<Denial>,
        models: bool,
        (treatments, treatments_mode): (Treatments, Mode),
        method: &str,
        context: &AgentContext,
    ) -> Self {
        let conditions = candidates.iter().flat_map(|candidate| &candidate.parameters);
        let conditions = conditions.chain(denials.iter().flat_map(|denial| &denial.parameters));
        let model = MODEL.as_ref().filter(|_| models);
        let pointers = conditions.filter_map(Parameter::pointer).chain(treatments.pointers()).chain(model);
        let places = Places::new(pointers);
        let without_model = WITHOUT_MODEL.contains(&method);
        Self { places, denials, treatments, treatments_mode, without_model, tenant: context.tenant.clone() }
    }

    pub(super) fn reads_body(&self) -> bool {
        !self.places.is_empty()
    }

    fn view<'a>(&'a self, payload: &Payload<'a>) -> View<'a> {
        View { content: payload.content, places: &self.places, query: payload.query }
    }
}

impl Candidates {
    /// Whether anything is asked of the body, so that all of it must be there before the request is judged.
    pub fn reads_body(&self) -> bool {
        self.demands.reads_body()
    }

    /// Reads a whole body for what is asked of it.
    pub fn read<'a>(&self, fields: &[Field], body: &'a [u8]) -> Reading<'a> {
        Reading::new(fields, body, &self.demands.places)
    }

    /// The body with what rules blank and replace in it; `None` where it goes on as it is. `secret` is the gateway's for
    /// [`Tokenizer::LABEL`].
    pub fn treat(&self, reading: &Reading<'_>, body: &[u8], secret: impl FnOnce() -> [u8; 32]) -> Option<Treated> {
        if self.demands.treatments.is_empty() {
            return None;
        }
        let tokens = Tokenizer::new(&secret(), self.demands.tenant.as_deref());
        self.demands.treatments.apply(&self.demands.places, reading, body, &tokens)
    }

    /// Every parameter that conditions speak of, where the request has one; each place once, in order.
    pub fn inspected(&self, payload: &Payload<'_>, body: &[u8]) -> Vec<Inspected> {
        let rules = self.candidates.iter().flat_map(|candidate| &candidate.parameters);
        let conditions = rules.chain(self.demands.denials.iter().flat_map(|denial| &denial.parameters));
        let mut places: Vec<At> = conditions.map(|condition| condition.at().clone()).collect();
        let models = self.fits.iter().any(|destination| destination.models().is_some());
        places.extend(MODEL.iter().filter(|_| models).cloned().map(At::Body));
        order::sort(&mut places);
        places.dedup();
        let seen = places.into_iter().filter_map(|at| {
            let bytes = match &at {
                At::Query(key) => match key.read(payload.query) {
                    Queried::Value(value) => value.into_bytes(),
                    Queried::Missing | Queried::Doubtful => return None,
                },
                At::Body(place) => match payload.content {
                    Content::Known(reading) => bytes_of(reading.at(&self.demands.places, place).ok()??, place, body)?,
                    Content::Pending => return None,
                },
            };
            Some(Inspected { at: at.to_string(), bytes })
        });
        seen.collect()
    }

    /// Deny rules, models, and bodies that cannot be treated as they must be.
    pub(super) fn judge_content(&self, payload: &Payload<'_>) -> Refusals {
        let mut refusals = Refusals::default();
        let view = self.demands.view(payload);
        for denial in &self.demands.denials {
            // To deny, what cannot be read counts as met.
            if denial.parameters.iter().all(|parameter| parameter.met(view, Purpose::Deny).unwrap_or(true)) {
                refusals.add(Refusal {
                    reason: Reason::RuleDenied,
                    rule: Some(denial.name.clone()),
                    condition: None,
                    mode: denial.mode,
                    destination: self.fits.first().map(Arc::clone),
                });
            }
        }
        let Content::Known(reading) = payload.content else { return refusals };
        self.judge_models(reading, &mut refusals);
        if let Err(Untreatable { treatment, pointer, why }) =
            self.demands.treatments.check(&self.demands.places, reading)
        {
            let why = why.map_or_else(|| "what stands there cannot be told".to_owned(), |why| why.to_string());
            let objection = Objection {
                reason: Reason::PayloadUnreadable,
                condition: format!("{}{pointer}: {why}", treatment.as_str()),
                mode: self.demands.treatments_mode,
            };
            refusals.add(self.refusal(self.candidates.first(), &objection));
        }
        refusals
    }

    /// The model that the body names, against every destination that lists some.
    fn judge_models(&self, reading: &Reading<'_>, refusals: &mut Refusals) {
        let Some(place) = MODEL.as_ref() else { return };
        for destination in &self.fits {
            let Some(fits) = destination.models() else { continue };
            let (reason, why) = match reading.at(&self.demands.places, place) {
                Ok(None) if self.demands.without_model => continue,
                Ok(None) => (Reason::ModelDenied, String::new()),
                Ok(Some(found)) => match found.spots.as_slice() {
                    [spot] if !found.doubtful => match &spot.value {
                        Value::Text(model) if fits(model) => continue,
                        _ => (Reason::ModelDenied, String::new()),
                    },
                    _ => (Reason::ModelDenied, String::new()),
                },
                Err(why) => (Reason::PayloadUnreadable, format!(": {why}")),
            };
            refusals.add(Refusal {
                reason,
                rule: self.candidates.first().map(|candidate| candidate.name.clone()),
                condition: Some(format!("destinations/{}/models{why}", destination.id())),
                mode: self.modes.of(Firmness::Platform),
                destination: Some(Arc::clone(destination)),
            });
        }
    }

    /// The first parameter of a rule that is not as it must be.
    pub(super) fn parameter_objection(&self, candidate: &Candidate, payload: &Payload<'_>) -> Option<Objection> {
        let view = self.demands.view(payload);
        candidate.parameters.iter().find_map(|parameter| {
            let place = parameter.at().condition();
            let (reason, condition) = match parameter.met(view, Purpose::Allow) {
                Ok(true) => return None,
                Ok(false) => (Reason::ParameterDenied, place),
                Err(why) => (Reason::PayloadUnreadable, format!("{place}: {why}")),
            };
            Some(Objection { reason, condition, mode: self.rules_mode })
        })
    }
}

/// Of a text its characters, of other values their bytes; of a place that stands for many, all of them, each after its length.
fn bytes_of(found: &Found<'_>, place: &Pointer, body: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for spot in &found.spots {
        let bytes = match &spot.value {
            Value::Text(text) => text.as_bytes(),
            _ => body.get(spot.span.clone())?,
        };
        if !place.is_many() {
            return Some(bytes.to_vec());
        }
        all.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        all.extend_from_slice(bytes);
    }
    (!found.spots.is_empty()).then_some(all)
}
