//! Changes of a line of JSON that leave every other byte as it is.

/// A value within the text, and where its member begins; for an element of a list, the element itself.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    value: usize,
    end: usize,
}

/// Each member and element, at any depth: changed, and taken out. The result is JSON again.
pub(crate) fn changes(line: &str) -> Vec<(String, String)> {
    let mut spans = Vec::new();
    assert_eq!(walk(line.as_bytes(), 0, &mut spans), line.len());
    let mut all = Vec::new();
    for span in spans {
        let name = part(line, span.start, span.value);
        let changed = other(part(line, span.value, span.end));
        all.push((
            format!("{name} at {} changed", span.start),
            format!("{}{changed}{}", part(line, 0, span.value), part(line, span.end, line.len())),
        ));
        let (before, after) = (part(line, 0, span.start), part(line, span.end, line.len()));
        let removed = match (before.strip_suffix(','), after.strip_prefix(',')) {
            (_, Some(after)) => format!("{before}{after}"),
            (Some(before), None) => format!("{before}{after}"),
            (None, None) => format!("{before}{after}"),
        };
        all.push((format!("{name} at {} removed", span.start), removed));
    }
    all
}

fn part(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap()
}

fn other(value: &str) -> String {
    match value.as_bytes()[0] {
        b'"' => format!("{}x\"", part(value, 0, value.len() - 1)),
        b't' => "false".into(),
        b'f' => "true".into(),
        b'n' => "0".into(),
        b'{' | b'[' => "null".into(),
        _ => (value.parse::<u64>().unwrap() + 1).to_string(),
    }
}

/// Walks over the value at `at`; where it ends. Compact JSON, as records are written.
fn walk(text: &[u8], at: usize, spans: &mut Vec<Span>) -> usize {
    match text[at] {
        b'"' => string(text, at),
        open @ (b'{' | b'[') => {
            let mut at = at + 1;
            while !matches!(text[at], b'}' | b']') {
                let start = at;
                if open == b'{' {
                    at = string(text, at);
                    assert_eq!(text[at], b':');
                    at += 1;
                }
                let value = at;
                at = walk(text, value, spans);
                spans.push(Span { start, value, end: at });
                if text[at] == b',' {
                    at += 1;
                }
            }
            at + 1
        }
        _ => at + text[at..].iter().position(|b| matches!(b, b',' | b'}' | b']')).unwrap(),
    }
}

fn string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}
