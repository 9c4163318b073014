//! Policies with very many destinations.

use serde_json::{Map, Value, json};

/// A document of a policy with so many destinations, which no rule names one by one.
pub fn destinations(count: u32) -> String {
    let destination = |n: u32| {
        let host = match n % 4 {
            0 => format!("*.tenant-{n}.service.example"),
            _ => format!("api-{n}.region-{}.cloud-{}.example.com", n % 31, n % 977),
        };
        json!({
            "hosts": [host], "kind": "saas", "category": "crm", "accepts": "restricted",
            "owner": format!("team-{}@acme.example", n % 977), "purpose": "orders of customers", "change": format!("CHG-{n}"),
        })
    };
    let all: Map<String, Value> = (0..count).map(|n| (format!("d-{n}"), destination(n))).collect();
    json!({"destinations": all}).to_string()
}
