//! JSON Schemas of the documents people write, out of the types that read them, so that editors complete and check what is typed.
//!
//! A schema knows the shape alone: keys, types, words. That names refer to something, and that parts fit each other, says
//! `exeat policy check`. Whatever a schema refuses, the reader refuses as well; never the other way round.

use super::GatewayDocument;
use super::budget::{BudgetList, Counted, Per};
use super::environment::Unresolved;
use super::parameter::{ParameterDocument, Scalar};
use super::policy::{AgentDocument, PolicyDocument, ProfileDocument, PublicText};
use super::rule::Selector;
use super::values::{ByteSize, Duration, Moment, Named, NotYet, OneOrMany};
use crate::context::{DataClass, Provenance};
use crate::destination::{PathOpening, Scheme};
use crate::policy::Mode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// `gateway.yaml`.
    Gateway,
    /// A file of the platform in a policy folder.
    Policy,
    /// A file of a team in a policy folder.
    Team,
}

impl SchemaKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Policy, Self::Team];

    /// The word on the command line, and the beginning of the file's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Policy => "policy",
            Self::Team => "team",
        }
    }

    /// The schema, in draft 7, which editors read best.
    pub fn schema(self) -> Value {
        let mut generator = SchemaSettings::draft07().into_generator();
        let mut schema = match self {
            Self::Gateway => generator.root_schema_for::<GatewayFile>(),
            Self::Policy => generator.root_schema_for::<PolicyDocument>(),
            Self::Team => generator.root_schema_for::<TeamFile>(),
        }
        .to_value();
        if let (Self::Policy, Value::Object(keys)) = (self, &mut schema) {
            // What one file lacks may stand in another.
            keys.remove("required");
            keys.insert("description".to_owned(), "A file of the platform in a policy folder of Exeat.".into());
        }
        without_null(&mut schema);
        if let Value::Object(keys) = &mut schema {
            keys.insert("title".to_owned(), format!("Exeat: {}", self.word()).into());
        }
        schema
    }
}

/// `gateway.yaml`: the gateway document of Exeat, one for each deployment.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "its shape alone counts")]
struct GatewayFile {
    /// The gateway.
    gateway: GatewayDocument,
}

/// A file of a team in a policy folder of Exeat. What it defines is known as `<team>/<name>`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "its shape alone counts")]
struct TeamFile {
    /// `exeat/v1`.
    schema: Option<String>,
    /// The team whose file this is.
    team: String,
    /// Rules that agents of the team share.
    #[schemars(default)]
    profiles: Named<ProfileDocument>,
    /// Agents of the team.
    #[schemars(default)]
    agents: Named<AgentDocument>,
}

/// A key that is there has a value: `null` is none.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    keys.insert("type".to_owned(), one);
                }
            }
            if keys.get("default").is_some_and(Value::is_null) {
                keys.remove("default");
            }
            if let Some(Value::Array(choices)) = keys.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [one] = choices.as_slice() {
                    // A reference stands alone in draft 7: what is beside it is not read.
                    let one = one.clone();
                    keys.remove("anyOf");
                    keys.insert("allOf".to_owned(), Value::Array(vec![one]));
                }
            }
            keys.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// A schema for a type that is read by its own code.
macro_rules! schema_of {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema_of!(ByteSize, "Size", |_generator| json_schema!({
    "type": "string",
    "pattern": "^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$",
    "examples": ["0B", "512B", "64KiB", "1MiB"],
}));
schema_of!(Duration, "Duration", |_generator| json_schema!({
    "type": "string",
    "pattern": "^(0|[1-9][0-9]*)(ms|s|m|h|d)$",
    "examples": ["500ms", "2s", "5m", "1h", "1d"],
}));
schema_of!(Moment, "Date", |_generator| json_schema!({
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
    "examples": ["2027-06-30", "2027-06-30T12:00:00Z"],
}));
schema_of!(NotYet, "NotYet", |_generator| json_schema!({
    "description": "Not supported yet.",
    "not": {},
}));
schema_of!(Unresolved, "Unresolved", |_generator| json_schema!({ "not": {} }));
schema_of!(PublicText, "PublicKey", |_generator| json_schema!({
    "oneOf": [
        {"description": "Base64 of the 32 bytes of an Ed25519 key.", "type": "string", "minLength": 1},
        {
            "description": "A JWK.",
            "type": "object",
            "required": ["kty"],
            "properties": {"kty": {"type": "string"}, "d": {"description": "A private key.", "not": {}}},
        },
    ],
}));
schema_of!(Selector, "Selector", |generator| {
    let words = generator.subschema_for::<OneOrMany<String>>();
    json_schema!({
        "oneOf": [
            {"description": "Ids of destinations.", "type": "array", "items": {"type": "string"}, "minItems": 1},
            {
                "description": "What a destination must have: all of these.",
                "type": "object",
                "properties": {"id": words, "category": words, "kind": words},
                "additionalProperties": false,
                "minProperties": 1,
            },
        ],
    })
});
schema_of!(Scalar, "Value", |_generator| json_schema!({
    "anyOf": [
        {"description": "Text, or a member of the context such as $user.", "type": "string"},
        {"type": "number"},
        {"type": "boolean"},
    ],
}));
schema_of!(ParameterDocument, "Parameter", |generator| {
    let value = generator.subschema_for::<Scalar>();
    json_schema!({
        "description": "What a value in the body or the query must be.",
        "type": "object",
        "properties": {
            "at": {
                "description": "A JSON pointer into the body, * for every element of an array; or ?key of the query.",
                "type": "string",
                "pattern": "^[/?]",
                "examples": ["/customer_id", "/messages/*/role", "?limit"],
            },
            "equals": {"description": "It is this value.", "allOf": [value]},
            "one_of": {"description": "It is one of these values.", "type": "array", "items": value, "minItems": 1},
            "max": {"description": "A number from 0 to this one.", "type": "number", "minimum": 0},
            "prefix": {"description": "A text that begins with this one.", "type": "string", "minLength": 1},
            "absent": {"description": "It is not there.", "const": true},
        },
        "required": ["at"],
        "additionalProperties": false,
        "minProperties": 2,
        "maxProperties": 2,
    })
});
schema_of!(Mode, "Mode", |_generator| json_schema!({
    "enum": [Mode::Enforce.as_str(), Mode::Monitor.as_str()],
}));
schema_of!(Scheme, "Scheme", |_generator| json_schema!({
    "enum": [Scheme::Https.as_str(), Scheme::Http.as_str()],
}));
schema_of!(DataClass, "Class", |_generator| json_schema!({ "enum": words(DataClass::WORDS) }));
schema_of!(Provenance, "Source", |_generator| json_schema!({ "enum": words(Provenance::WORDS) }));
schema_of!(PathOpening, "PathOpening", |_generator| json_schema!({
    "oneOf": PathOpening::ALL
        .iter()
        .map(|opening| json_schema!({ "const": opening.code(), "description": opening.describe() }))
        .collect::<Vec<_>>(),
}));

fn words<T>(known: &[(T, &'static str)]) -> Vec<&'static str> {
    known.iter().map(|(_, word)| *word).collect()
}

impl<C: Counted> JsonSchema for BudgetList<C> {
    fn schema_name() -> Cow<'static, str> {
        format!("BudgetOf_{}", C::WHAT).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let whose: Vec<&str> = Per::ALL.iter().map(|per| per.as_str()).collect();
        let one = json_schema!({
            "type": "string",
            "pattern": format!("^[1-9][0-9]*[A-Za-z]*/({})(/[1-9][0-9]*(ms|s|m|h|d))?$", whose.join("|")),
            "examples": [C::EXAMPLE],
        });
        json_schema!({ "anyOf": [one, {"type": "array", "items": one, "minItems": 1}] })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, {"type": "array", "items": one, "minItems": 1}] })
    }
}

impl<T: JsonSchema, K: JsonSchema> JsonSchema for Named<T, K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}_{}", K::schema_name(), T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (names, value) = (generator.subschema_for::<K>(), generator.subschema_for::<T>());
        json_schema!({ "type": "object", "propertyNames": names, "additionalProperties": value })
    }
}
