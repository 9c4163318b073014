//! JSON values as YAML for people, which every reader takes for the same.

use anyhow::Context;
use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};
use saphyr_parser::ScalarStyle;
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
        Value::String(text) => scalar(text)?,
        Value::Array(items) => Yaml::Sequence(items.iter().map(convert).collect::<anyhow::Result<_>>()?),
        Value::Object(entries) => {
            let mut mapping = Mapping::new();
            for (key, value) in entries {
                mapping.insert(scalar(key)?, convert(value)?);
            }
            Yaml::Mapping(mapping)
        }
    })
}

/// A text, in quotes where some reader would take it for something else. kubectl and Helm read YAML 1.1, Envoy something between.
fn scalar(text: &str) -> anyhow::Result<Yaml<'_>> {
    let quoted = |text| Yaml::Representation(text, ScalarStyle::DoubleQuoted, None);
    if text.contains(ESCAPED) {
        // Escapes of JSON are escapes of YAML.
        let mut escaped = serde_json::to_string(text).context("cannot print YAML")?;
        for character in ESCAPED {
            escaped = escaped.replace(character, &format!("\\u{:04x}", u32::from(character)));
        }
        let within = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        return Ok(quoted(within.context("JSON without quotes")?.to_owned().into()));
    }
    Ok(if is_other_elsewhere(text) { quoted(text.into()) } else { Yaml::Value(Scalar::String(text.into())) })
}

/// Characters that end a line in YAML 1.1 and in 1.2 do not, and such as may stand in no document of either.
const ESCAPED: [char; 5] = ['\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// Whether a text is a truth value, a number or a day in YAML 1.1, and none that the emitter knows of and quotes.
fn is_other_elsewhere(text: &str) -> bool {
    if ["y", "Y", "n", "N"].contains(&text) {
        return true;
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return false;
    }
    let plain = text.replace('_', "").to_ascii_lowercase();
    let unsigned = plain.trim_start_matches(['+', '-']);
    let based = |(prefix, radix)| {
        let digits = unsigned.strip_prefix(prefix);
        digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)))
    };
    let day = || {
        let parts: Vec<&str> = text.split('-').collect();
        let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
        parts.iter().all(digits)
            && matches!(parts[..], [year, month, day] if year.len() == 4 && month.len() <= 2 && day.len() <= 2)
    };
    unsigned.parse::<f64>().is_ok() || [("0b", 2), ("0o", 8), ("0x", 16)].into_iter().any(based) || day()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As a key and as a value.
    #[test]
    fn texts_stay_texts_in_every_version_of_yaml() {
        for text in [
            "y",
            "Y",
            "n",
            "N",
            "yes",
            "No",
            "on",
            "OFF",
            "true",
            "null",
            "~",
            "0",
            "012",
            "08",
            "0b1",
            "0B1",
            "-0b1",
            "0o7",
            "0x1F",
            "0X1F",
            "1_000",
            "+1_0",
            "1_0.5",
            "1e3",
            "1E3",
            "1_0e3",
            ".5",
            "-.5",
            "+.5",
            ".inf",
            "2026-11-20",
            "2026-1-2",
            "1:30",
            "<<",
            "=",
            "",
            " a",
            "a ",
            "a: b",
            "a #b",
            "- a",
            "---",
            "...",
            "!a",
            "&a",
            "*a",
            "%a",
            "@a",
            "`a",
            "|",
            ">",
            "?",
            "a\u{2028}b",
            "a\u{2029}b",
            "\u{85}",
            "\"\u{2028}\\",
            "\u{2028}\n\u{7}\u{7f}",
            "\u{feff}",
        ] {
            let printed = print(&json!({text: text})).unwrap();
            let line = printed.strip_prefix("---\n").unwrap();
            assert!(line.starts_with('"') && line.trim_end().ends_with('"'), "{text:?}: {line}");
            assert!(!line.contains(ESCAPED), "{text:?}: {line}");
            let read: Value =
                serde_saphyr::from_str(&printed).unwrap_or_else(|error| panic!("{text:?}: {error}: {printed}"));
            assert_eq!(read, json!({text: text}), "{printed}");
        }
    }

    /// What is one to everybody stays as people write it.
    #[test]
    fn other_texts_stand_without_quotes() {
        for text in [
            "exeat",
            "10.20.0.0/16",
            "500m",
            "1Gi",
            "10s",
            "1-1",
            "2026-11",
            "2026-11-20.1",
            "0b2",
            "yesterday",
            "e1",
            "-a",
        ] {
            let printed = print(&json!({"key": text})).unwrap();
            let quoted = text.starts_with('-');
            assert_eq!(printed.contains('"'), quoted, "{printed}");
        }
    }
}
