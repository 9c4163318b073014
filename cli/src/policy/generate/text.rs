//! YAML as people write it: what is short on one line, the rest key by key.

/// Columns of a line at most.
const WIDTH: usize = 120;

/// A map of few keys, each with its value as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry(Vec<(&'static str, String)>);

impl Entry {
    /// With one more key.
    pub(super) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    /// With one more key, where there is a value.
    pub(super) fn with_some(self, key: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{a: 1, b: 2}`.
    pub(super) fn flow(&self) -> String {
        let entries: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{{{}}}", entries.join(", "))
    }

    /// As an item of a list.
    pub(super) fn item(&self, indent: usize) -> String {
        let (flow, margin) = (self.flow(), " ".repeat(indent));
        if indent.saturating_add(2).saturating_add(flow.len()) <= WIDTH {
            return format!("{margin}- {flow}\n");
        }
        let mut lead = "- ";
        let mut text = String::new();
        for (key, value) in &self.0 {
            text.push_str(&format!("{margin}{lead}{key}: {value}\n"));
            lead = "  ";
        }
        text
    }

    /// As the value of a key.
    pub(super) fn value(&self, indent: usize, key: &str) -> String {
        let (flow, margin) = (self.flow(), " ".repeat(indent));
        if indent.saturating_add(key.len()).saturating_add(2).saturating_add(flow.len()) <= WIDTH {
            return format!("{margin}{key}: {flow}\n");
        }
        let mut text = format!("{margin}{key}:\n");
        for (key, value) in &self.0 {
            text.push_str(&format!("{margin}  {key}: {value}\n"));
        }
        text
    }
}

/// `[a, b]`. What YAML or people could take for something else is in quotes.
pub(super) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| quoted(word.as_ref())).collect();
    format!("[{}]", words.join(", "))
}

fn quoted(word: &str) -> String {
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '$')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.*$".contains(&b))
        && (word.starts_with('/') || !word.contains('*'));
    if plain { word.to_owned() } else { format!("\"{word}\"") }
}
