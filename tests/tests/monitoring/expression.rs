//! What an expression of Prometheus is about. That it is one, Prometheus says.

use std::collections::BTreeSet;

/// Words before lists of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Metrics that an expression names: words of which one of these is the beginning, outside of selectors and lists of labels.
const BEGINNINGS: [&str; 3] = ["exeat_", "envoy_", "up"];

/// Metrics that an expression names.
pub(crate) fn metrics(expression: &str) -> BTreeSet<String> {
    let bare = without(&without(expression, '"', '"'), '{', '}');
    let (mut names, mut previous, mut in_list) = (BTreeSet::new(), "", false);
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || "_:()".contains(c));
    let spaced = bare.replace('(', " ( ").replace(')', " ) ");
    for word in spaced.split(boundary).filter(|word| !word.is_empty()) {
        match word {
            "(" => in_list = LISTS.contains(&previous),
            ")" => in_list = false,
            _ if !in_list && BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)) => {
                names.insert(word.to_owned());
            }
            _ => {}
        }
        previous = word;
    }
    names
}

/// A text without what stands between two signs.
fn without(text: &str, open: char, close: char) -> String {
    let Some((before, rest)) = text.split_once(open) else { return text.to_owned() };
    let (_, after) = rest.split_once(close).unwrap_or_else(|| panic!("{text}: {open} without {close}"));
    format!("{before} {}", without(after, open, close))
}

#[test]
fn labels_are_no_metrics() {
    let expression = r#"sum by (envoy_a) (rate(exeat_b{envoy_c="exeat_d}"}[5m])) > on(exeat_e) 2 * envoy_f or time() - exeat_g{} < 3
        and sum(exeat_h) by(exeat_i) - up"#;
    assert_eq!(metrics(expression), ["exeat_b", "envoy_f", "exeat_g", "exeat_h", "up"].map(str::to_owned).into());
}
