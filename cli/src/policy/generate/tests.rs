//! The generator: what it makes is accepted, is as large as was asked, and is what is committed.

use super::*;
use crate::policy::load::load;
use exeat_engine::facts::Timestamp;

fn written(shape: Shape) -> (tempfile::TempDir, crate::policy::load::Loaded) {
    let folder = tempfile::tempdir().unwrap();
    generate(shape).write(folder.path()).unwrap();
    let loaded = load(&folder.path().join("policy"), Some(&folder.path().join("gateway.yaml")));
    let loaded = loaded
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    (folder, loaded)
}

#[test]
fn what_is_made_is_accepted_and_as_large_as_was_asked() {
    for shape in [
        Shape::FORTY_TEAMS,
        Shape { teams: 1, agents: 1, rules: 1, seed: 0 },
        Shape { teams: 3, agents: 20, rules: 21, seed: 7 },
        Shape { teams: 90, agents: 10, rules: 1_000, seed: u64::MAX },
        Shape { teams: 0, agents: 0, rules: 0, seed: 5 },
    ] {
        let (_folder, loaded) = written(shape);
        let policy = serde_json::to_value(loaded.document.get("policy").unwrap()).unwrap();
        let agents = policy["agents"].as_object().unwrap();
        let (teams, wanted) = (shape.teams.max(1), shape.agents.max(shape.teams).max(1));
        assert_eq!(agents.len(), wanted, "{shape:?}");
        let own = |agent: &serde_json::Value, key: &str| agent[key].as_array().map_or(0, Vec::len);
        let rules: usize = agents.values().map(|agent| own(agent, "allow") + own(agent, "deny")).sum();
        assert_eq!(rules, shape.rules.max(wanted), "{shape:?}");
        let named: std::collections::BTreeSet<_> = agents.values().map(|agent| agent["team"].as_str()).collect();
        assert_eq!(named.len(), teams, "{shape:?}");
        // 2027-01-01
        assert_eq!(loaded.warnings(Timestamp(1_798_761_600_000)), [], "{shape:?}");
    }
}

#[test]
fn seeds_differ_and_repeat() {
    let shape = Shape { teams: 4, agents: 8, rules: 40, seed: 3 };
    assert_eq!(generate(shape), generate(shape));
    assert_ne!(generate(shape), generate(Shape { seed: 4, ..shape }));
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "").unwrap();
    let error = generate(Shape { teams: 1, agents: 1, rules: 1, seed: 0 }).write(folder.path()).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}

/// `exeat policy generate policies/forty-teams`, in an empty folder, makes it anew.
#[test]
fn the_example_that_ships_is_what_is_made() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/forty-teams");
    let generated = generate(Shape::FORTY_TEAMS);
    for (name, text) in &generated.files {
        let there = std::fs::read_to_string(shipped.join(name)).unwrap_or_default();
        assert!(there == *text, "policies/forty-teams/{name} is stale; make it anew with exeat policy generate");
    }
    let teams = std::fs::read_dir(shipped.join("policy/teams")).unwrap().count();
    assert_eq!(teams, Shape::FORTY_TEAMS.teams, "a file of a team that is not made");
}
