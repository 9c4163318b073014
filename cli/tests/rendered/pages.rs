//! Commands that people are told to type are ones that `exeat` takes.

use crate::pods::parses;

/// What stands for something else in them.
const MEANT: [(&str, &str); 5] = [
    (" DB", " evidence.db"),
    (" KEY", " egress-eu-1=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    ("\"$(cat gateway.pub)\"", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
    ("@sha256:...", "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("https://...", "https://collector.acme.example:9470"),
];

/// Commands in the indented blocks of a page.
fn commands(text: &str) -> Vec<String> {
    let (mut commands, mut open) = (Vec::new(), String::new());
    for line in text.lines() {
        if open.is_empty() && !(line.starts_with("    ") && line.trim_start().starts_with("exeat ")) {
            continue;
        }
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        open.push_str(part);
        if !more {
            let whole = std::mem::take(&mut open);
            let bare =
                ["  #", " > ", " && "].iter().fold(whole.as_str(), |text, end| text.split(end).next().unwrap_or(text));
            commands.push(bare.trim().to_owned());
        }
    }
    commands
}

#[test]
fn every_command_is_one_that_exeat_takes() {
    let mut seen = 0;
    for page in ["docs/operations.md", "docs/kubernetes.md", "docs/systemd.md"] {
        let text = std::fs::read_to_string(crate::root().join(page)).unwrap();
        for command in commands(&text) {
            let command = MEANT.iter().fold(command, |command, (from, to)| command.replace(from, to));
            // The rest of it is left to the reader.
            if command.contains(" ...") {
                continue;
            }
            seen += 1;
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            parses(&words).unwrap_or_else(|error| panic!("{page}: {command}: {error}"));
        }
    }
    assert!(seen > 20, "{seen}");
}
