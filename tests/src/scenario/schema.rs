//! The schema of records, docs/schema/record.json, held against every record that a scenario sees.

use jsonschema::Validator;
use serde_json::Value;
use std::sync::OnceLock;

/// What of a record does not fit the schema.
///
/// # Errors
/// That, in words.
pub fn objection(record: &Value) -> Result<(), String> {
    static SCHEMA: OnceLock<Result<Validator, String>> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let schema: Value = serde_json::from_str(include_str!("../../../docs/schema/record.json"))
            .map_err(|error| format!("docs/schema/record.json is no JSON: {error}"))?;
        jsonschema::draft202012::new(&schema).map_err(|error| format!("docs/schema/record.json is no schema: {error}"))
    });
    let errors: Vec<String> = schema.as_ref()?.iter_errors(record).map(|error| error.to_string()).collect();
    if errors.is_empty() { Ok(()) } else { Err(format!("{record} does not fit its schema: {}", errors.join("; "))) }
}
