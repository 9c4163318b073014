//! The body of a request as far as rules ask for it: kept, read once, treated before it leaves, and recorded without being
//! repeated.

use super::examine::Examined;
use super::{Exchange, Flight, Held, MONITOR_HOLD, Surroundings};
use crate::evidence::record::{Finding, InspectedParameter};
use crate::payload::digest::{self, BodyDigest, ContentDigests};
use crate::payload::treat::Tokenizer;
use crate::payload::{Content, Reading, Unreadable};
use crate::policy::{Candidates, Payload};
use crate::request::{ByteString, Bytes, Field};

/// Fields that speak of the bytes of a body, besides content-digest. Their values would not be true of another.
const DIGESTS: [&str; 4] = ["content-md5", "digest", "repr-digest", "unencoded-digest"];

/// What of the body and the query a record speaks of, and the body that goes on where it is not the one received.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) parameters: Vec<InspectedParameter>,
    pub(super) findings: Vec<Finding>,
    replacement: Option<Vec<u8>>,
}

impl Held {
    /// Keeps a piece of a body that is asked for, unless it is too large anyhow.
    pub(super) fn keep(&mut self, chunk: &[u8]) {
        if self.candidates.reads_body() && !self.is_beyond() {
            self.body.extend_from_slice(chunk);
        }
    }

    /// Whether more of the body came than can be kept.
    pub(super) fn is_beyond(&self) -> bool {
        self.bytes > self.candidates.largest_read().max(MONITOR_HOLD)
    }

    /// Whether nothing may be let go before all of the body is there.
    pub(super) fn waits(&self) -> bool {
        self.candidates.reads_body() && !self.is_beyond()
    }
}

/// What is known of a body that came to its end.
pub(super) fn read<'a>(request: &Examined, candidates: &Candidates, body: &'a [u8], bytes: u64) -> Reading<'a> {
    match () {
        () if request.exit.is_stream() => Reading::Unreadable(Unreadable::Stream),
        () if bytes == 0 => Reading::Empty,
        () if !candidates.reads_body() => Reading::Unreadable(Unreadable::Unread),
        () if body.len() as u64 != bytes => Reading::Unreadable(Unreadable::Large),
        () => candidates.read(&request.head.fields, body),
    }
}

impl Exchange {
    /// Notes what conditions speak of, for the record.
    pub(super) fn look(
        &mut self,
        around: &Surroundings<'_>,
        candidates: &Candidates,
        payload: &Payload<'_>,
        body: &[u8],
    ) {
        let inspected = candidates.inspected(payload, body).into_iter();
        let hashed =
            inspected.map(|seen| InspectedParameter { at: seen.at, hash: around.journal.keyed_hash(&seen.bytes) });
        self.looked.parameters = hashed.collect();
    }

    /// Does to the body what rules ask, before it leaves. [`Self::replace`] puts the other body in its place.
    pub(super) fn treat(
        &mut self,
        around: &Surroundings<'_>,
        candidates: &Candidates,
        reading: &Reading<'_>,
        body: &[u8],
    ) {
        let Some(treated) = candidates.treat(reading, body, || around.journal.derive(Tokenizer::LABEL)) else { return };
        let findings = treated
            .done
            .into_iter()
            .map(|(treatment, place)| Finding { detector: treatment.as_str().to_owned(), at: place.to_string() });
        self.looked.findings = findings.collect();
        self.looked.replacement = Some(treated.body);
    }

    /// Where another body goes on: gives it, and makes headers and completion speak of it.
    pub(super) fn replace(&mut self, forward: &mut Vec<Field>, flight: &mut Flight) -> Option<Vec<u8>> {
        let body = self.looked.replacement.take()?;
        let stated: Vec<u8> = forward
            .iter()
            .filter(|(name, _)| name == digest::FIELD)
            .map(|(_, value)| value.as_ref())
            .collect::<Vec<_>>()
            .join(&b", "[..]);
        let stated = ContentDigests::parse(&stated).ok();
        let whole = BodyDigest::of(&body, stated.as_ref());
        forward.retain(|(name, _)| name != digest::FIELD && !DIGESTS.contains(&&**name));
        forward.extend(stated.map(|stated| (ByteString::from_static(digest::FIELD), stated.restate(&whole).into())));
        for (_, value) in forward.iter_mut().filter(|(name, _)| name == "content-length") {
            *value = body.len().to_string().into();
        }
        flight.forwarded = super::flight::Passed::of(&whole);
        Some(body)
    }
}

impl Examined {
    /// What limits and rules speak of, with so many bytes of body.
    pub(super) fn payload<'a>(&'a self, body: u64, content: Content<'a>) -> Payload<'a> {
        let url = self.head.path.as_ref().map_or(0, Bytes::len) as u64;
        let query = self.destination.query.as_deref();
        Payload { body, url, fields: &self.head.fields, query, content }
    }
}
