//! Exceptions: the record of whatever goes, or is refused, by a rule that is one names its ticket.

use super::*;

fn world() -> World {
    let mut document = document();
    let rules = document["policy"]["agents"]["team/worker"]["allow"].as_array_mut().unwrap();
    rules.push(json!({
        "id": "migrate", "to": ["crm"], "methods": ["PUT"], "paths": ["/v2/**"], "limits": {"body": "3B"}, "expires": "2027-01-20",
        "exception": {"ticket": "CHG-81", "approver": "risk board", "approved": "2027-01-01"},
    }));
    let configuration = Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap());
    World { configuration, ..World::new() }
}

#[test]
fn records_name_the_ticket_of_the_rule_that_decided() {
    let mut world = world();
    for (method, path, body, nonce) in [
        ("PUT", "/v2/orders", &b"new"[..], "a"),
        ("PUT", "/v2/orders", b"too much", "b"),
        ("GET", "/v1/orders", b"", "c"),
        ("GET", "/v3/orders", b"", "d"),
    ] {
        world.run(user_request(method, path, body, nonce), body, 64);
    }
    let said = |record: &Value| json!([record["outcome"], record["reason"], record["rule"], record.get("exception")]);
    let said: Vec<Value> = world.decisions().iter().map(said).collect();
    assert_eq!(
        said,
        [
            json!(["allow", "permitted", "team/worker/migrate", "CHG-81"]),
            json!(["deny", "payload-too-large", "team/worker/migrate", "CHG-81"]),
            json!(["allow", "permitted", "team/worker/read", null]),
            json!(["deny", "path-denied", "team/worker/read", null]),
        ]
    );
}
