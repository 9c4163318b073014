//! docs/destinations.md says what the code does: every code, range and name of the closed vocabularies stands there.

use crate::destination::PathOpening;
use crate::destination::ranges::RANGES;
use crate::destination::special_use::METADATA_NAMES;
use crate::destination::{AddressClass, SpecialUse};

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/destinations.md")).unwrap()
}

/// The tables of the page, as the code would write them.
fn tables() -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line("| code | what |".into());
    line("|---|---|".into());
    for class in AddressClass::ALL {
        line(format!("| `{}` | {} |", class.code(), class.describe().trim()));
    }
    line(String::new());
    line("| range | class | name | source |".into());
    line("|---|---|---|---|".into());
    for range in RANGES {
        line(format!("| `{}` | `{}` | {} | {} |", range.cidr, range.class.code(), range.name, range.source));
    }
    line(String::new());
    line("| code | source |".into());
    line("|---|---|".into());
    for special in SpecialUse::ALL {
        line(format!("| `{}` | {} |", special.code(), special.source()));
    }
    line(String::new());
    line("| metadata name | source |".into());
    line("|---|---|".into());
    for (name, source) in METADATA_NAMES {
        line(format!("| `{name}` | {source} |"));
    }
    line(String::new());
    line("| opening | closed until then |".into());
    line("|---|---|".into());
    for opening in PathOpening::ALL {
        line(format!("| `{}` | {} |", opening.code(), opening.describe()));
    }
    out
}

#[test]
fn the_tables_of_the_page_are_those_of_the_code() {
    let page = page();
    let tables = tables();
    let missing: Vec<&str> = tables.split("\n\n").map(str::trim).filter(|table| !page.contains(table)).collect();
    assert!(missing.is_empty(), "docs/destinations.md lacks or differs from:\n\n{}\n", missing.join("\n\n"));
}
