//! Wrong documents, and word by word what `exeat policy check` says of them.
//!
//! `cases/*.txt` is the table. A case is a title, the files that it adds to those of `base` (or has in their place), and what is
//! said:
//!
//! ```text
//! == a title; with "(alone)" at its end, without the files of base
//! -- policy/b.yaml
//! destinations: {x: {}}
//! -- says
//! policy/b.yaml:1:16: policy: /destinations/x: the key "hosts" is missing; add "hosts"
//! ```
//!
//! `EXEAT_BLESS=1 cargo test -p exeat --test policy errors` writes down what is said now; look at the difference before it is committed.

use exeat_cli::policy::diagnostic::Diagnostic;
use exeat_cli::policy::load::load_all;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One wrong document.
struct Case {
    title: String,
    files: Vec<(String, String)>,
    says: Vec<String>,
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy").join(name)
}

fn tables() -> Vec<PathBuf> {
    let mut tables: Vec<PathBuf> =
        std::fs::read_dir(here("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    tables.sort();
    tables
}

/// What stands before the first case, and the cases.
fn parse(text: &str) -> (String, Vec<Case>) {
    let (mut head, mut cases) = (String::new(), Vec::<Case>::new());
    let mut says = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            says = false;
            cases.push(Case { title: title.to_owned(), files: Vec::new(), says: Vec::new() });
        } else if let (Some(name), Some(case)) = (line.strip_prefix("-- "), cases.last_mut()) {
            says = name == "says";
            if !says {
                case.files.push((name.to_owned(), String::new()));
            }
        } else if let Some(case) = cases.last_mut() {
            match (says, case.files.last_mut()) {
                (true, _) if !line.is_empty() => case.says.push(line.to_owned()),
                (false, Some((_, text))) => text.push_str(&format!("{line}\n")),
                _ => {}
            }
        } else {
            head.push_str(&format!("{line}\n"));
        }
    }
    (head, cases)
}

fn print(head: &str, cases: &[Case]) -> String {
    let mut text = head.to_owned();
    for Case { title, files, says } in cases {
        text.push_str(&format!("== {title}\n"));
        for (name, content) in files {
            text.push_str(&format!("-- {name}\n{content}"));
        }
        text.push_str(&format!("-- says\n{}\n\n", says.join("\n")));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// `\xHH` stands for a byte that no text has.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.as_bytes());
        let (digits, after) = after.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        rest = after;
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// Puts the files of a case, and those of base that it does not replace, into a folder.
fn write(case: &Case, folder: &Path) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    if !case.title.ends_with("(alone)") {
        for name in ["gateway.yaml", "policy/platform.yaml"] {
            files.push((name.to_owned(), std::fs::read(here("base").join(name)).unwrap()));
        }
    }
    for (name, text) in &case.files {
        files.retain(|(known, _)| known != name);
        files.push((name.clone(), bytes(text)));
    }
    std::fs::create_dir_all(folder.join("policy")).unwrap();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn said(case: &Case) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    write(case, folder.path());
    let gateway = folder.path().join("gateway.yaml");
    let gateway = gateway.exists().then_some(gateway.as_path());
    let errors = load_all(&folder.path().join("policy"), gateway).err().unwrap_or_default();
    let line = |error: &Diagnostic| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    errors.iter().map(line).collect()
}

#[test]
fn every_wrong_document_is_refused_with_exactly_these_words() {
    let bless = std::env::var_os("EXEAT_BLESS").is_some();
    let (mut count, mut wrong) = (0, Vec::new());
    for table in tables() {
        let (head, mut cases) = parse(&std::fs::read_to_string(&table).unwrap());
        for case in &mut cases {
            count += 1;
            let said = said(case);
            if said != case.says && !bless {
                wrong.push(format!(
                    "{}: {}\n  said:     {}\n  expected: {}",
                    table.file_name().unwrap().display(),
                    case.title,
                    said.join("\n            "),
                    case.says.join("\n            ")
                ));
            }
            case.says = said;
        }
        if bless {
            std::fs::write(&table, print(&head, &cases)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 80, "{count} cases");
}

/// What an operator can rely on, whatever is wrong: one line that says where it stands, what is wrong and what to do.
#[test]
fn every_error_says_where_it_stands_and_what_to_do() {
    for table in tables() {
        for case in parse(&std::fs::read_to_string(&table).unwrap()).1 {
            assert!(!case.says.is_empty(), "{}: is accepted", case.title);
            for line in case.says {
                let (place, message) = line.split_once(": ").unwrap();
                assert!(message.contains("; "), "{}: says nothing of what to do: {line}", case.title);
                let positioned = place.split(':').skip(1).filter(|number| number.parse::<usize>().is_ok()).count() == 2;
                // What is missing everywhere, and a file or folder as a whole, have no line.
                let whole = ["is missing", "an empty file", "no policy files", "not UTF-8", "nothing says which"];
                assert!(positioned || whole.iter().any(|what| message.contains(what)), "{}: {line}", case.title);
                assert!(!line.chars().any(char::is_control), "{}: {line:?}", case.title);
            }
        }
    }
}

#[test]
fn no_case_occurs_twice() {
    let mut titles = std::collections::BTreeSet::new();
    for table in tables() {
        for case in parse(&std::fs::read_to_string(&table).unwrap()).1 {
            assert!(titles.insert(case.title.clone()), "{}", case.title);
        }
    }
}

/// The command says the same, a line each, then how many, and fails.
#[test]
fn the_command_prints_them() {
    let table = std::fs::read_to_string(here("cases/rules.txt")).unwrap();
    let cases = parse(&table).1;
    let case = cases.iter().find(|case| case.says.len() > 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(case, folder.path());
    let output = Command::new(env!("CARGO_BIN_EXE_exeat"))
        .current_dir(folder.path())
        .args(["policy", "check", "policy", "--gateway", "gateway.yaml"])
        .output()
        .unwrap();
    let expected = format!("{}\nexeat: the policy has {} errors\n", case.says.join("\n"), case.says.len());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
}
