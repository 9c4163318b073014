//! JSON values as YAML for people.

use anyhow::Context;
use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use serde_json::Value;

/// Prints a value as one YAML document. Texts of several lines stand as such.
///
/// # Errors
/// A number that YAML cannot hold.
pub fn print(value: &Value) -> anyhow::Result<String> {
    let (yaml, mut text) = (convert(value)?, String::new());
    let mut emitter = YamlEmitter::new(&mut text);
    emitter.multiline(true);
    emitter.dump(&yaml).context("cannot print YAML")?;
    text.push('\n');
    Ok(text)
}

fn convert(value: &Value) -> anyhow::Result<Yaml<'_>> {
    Ok(match value {
        Value::Null => Yaml::Value(Scalar::Null),
        Value::Bool(value) => Yaml::Value(Scalar::Boolean(*value)),
        Value::Number(value) => Yaml::Value(match value.as_i64() {
            Some(whole) => Scalar::Integer(whole),
            None => {
                Scalar::FloatingPoint(value.as_f64().with_context(|| format!("{value} is too large for YAML"))?.into())
            }
        }),
        Value::String(text) => Yaml::Value(Scalar::String(text.as_str().into())),
        Value::Array(items) => Yaml::Sequence(items.iter().map(convert).collect::<anyhow::Result<_>>()?),
        Value::Object(entries) => {
            let mut mapping = Mapping::new();
            for (key, value) in entries {
                mapping.insert(Yaml::Value(Scalar::String(key.as_str().into())), convert(value)?);
            }
            Yaml::Mapping(mapping)
        }
    })
}
