//! A policy of many destinations: how long a VM takes to accept it, what memory that takes, and what a decision costs then.

use crate::request::{self, GATEWAY};
use crate::stopwatch::{Arm, now};
use exeat_engine::destination::CanonicalHost;
use exeat_engine::policy::Configuration;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

/// Times it is accepted, one after the other.
const LOADS: usize = 3;

/// Requests that take turns, each to another destination.
const HOSTS: u32 = 61;

/// The plugin's configuration with so many destinations, as `exeat policy compile` writes it less the spaces.
fn document(count: u32) -> Result<String, String> {
    let public = request::public_key()?;
    // Written as it goes: a tree of it would take the memory that is to be measured.
    let mut text = String::with_capacity(count as usize * 220 + 4096);
    let _ = write!(
        text,
        r#"{{"role":"filter","gateway":{{"id":"{GATEWAY}","key":{{"env":"KEY"}},"collector":{{"cluster":"c"}},"audit":{{"queue":65536}}}},"policy":{{"schema":"exeat/v1","revision":"1","signers":[{{"id":"runtime","keys":[{{"id":"k","public":"{public}"}}],"agents":["support/*"],"tenants":["acme"],"users":["u-*"],"tools":["crm.*"],"provenance":["user","third-party","unknown"]}}],"agents":{{"support/planner":{{"allow":[{{"id":"crm","to":{{"category":"crm"}},"paths":["/v1/**"]}}]}},"support/summarizer":{{"allow":[{{"id":"read","to":{{"category":"crm"}},"methods":["GET","POST"],"paths":["/v1/orders/**"],"headers":{{"keep":["x-request-id"],"set":{{"x-agent":"$agent"}}}},"limits":{{"body":"64KiB"}}}}]}}}},"destinations":{{"#
    );
    for n in 0..count {
        let comma = if n == 0 { "" } else { "," };
        let host = host(n, "*");
        let _ = write!(
            text,
            r#"{comma}"d-{n}":{{"hosts":["{host}"],"kind":"saas","category":"crm","accepts":"restricted","owner":"team-{}@acme.example","purpose":"orders of customers","change":"CHG-{n}"}}"#,
            n % 977
        );
    }
    text.push_str("}}}");
    Ok(text)
}

/// The host of a destination; every fourth is a wildcard.
fn host(n: u32, label: &str) -> String {
    match n % 4 {
        0 => format!("{label}.tenant-{n}.service.example"),
        _ => format!("api-{n}.region-{}.cloud-{}.example.com", n % 31, n % 977),
    }
}

/// Accepts it, and says what that took.
pub(crate) fn load(count: u32) -> Result<(Value, Arc<Configuration>), String> {
    let text = document(count)?;
    let bytes = text.len();
    let before = memory();
    let (mut times, mut accepted, mut after) = (Vec::new(), None, None);
    for _ in 0..LOADS {
        drop(accepted.take());
        let start = now()?;
        let configuration = Configuration::accept(text.as_bytes()).map_err(|error| error.to_string())?;
        times.push(now()?.saturating_sub(start).as_secs_f64() * 1000.0);
        accepted = Some(Arc::new(configuration));
        after.get_or_insert_with(memory);
    }
    // As when a listener is updated: the next comes while this one is in use.
    let next = Configuration::accept(text.as_bytes()).map_err(|error| error.to_string())?;
    let updated = memory();
    drop(next);
    drop(text);
    let line = json!({"destinations": count, "text": bytes, "load_ms": times, "before": before, "after": after, "updated": updated});
    accepted.map(|accepted| (line, accepted)).ok_or_else(|| "nothing was accepted".to_owned())
}

/// Bytes of the VM's memory, which never shrinks.
fn memory() -> usize {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size::<0>() * 65536;
    #[cfg(not(target_arch = "wasm32"))]
    0
}

/// A decision under few and under many, and the search for the host alone.
pub(crate) fn arms(many: &Arc<Configuration>, count: u32) -> Result<Vec<Arm>, String> {
    let few = Arc::new(Configuration::accept(document(10)?.as_bytes()).map_err(|error| error.to_string())?);
    let mut arms = Vec::new();
    for (configuration, count, exchange, search) in [
        (&few, 10, "exchange under 10 destinations", "host found among 10"),
        (many, count, "exchange under many", "host found among many"),
    ] {
        // Spread over all there are; the step has no factor in common with the count.
        let hosts: Vec<String> = (0..HOSTS).map(|n| host(n.wrapping_mul(7919) % count, "eu")).collect();
        let heads = hosts.iter().map(|host| request::signed_to(host, b"").map(|(head, ..)| head));
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        arms.push(Arm::new("scale", exchange, request::exchange_under(Arc::clone(configuration), heads, Vec::new())?));
        let parsed = hosts.iter().map(|host| CanonicalHost::parse(host).map_err(|error| error.to_string()));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        let configuration = Arc::clone(configuration);
        let mut turn = 0_usize;
        arms.push(Arm::new("scale", search, move || {
            turn = (turn + 1) % parsed.len();
            parsed.get(turn).is_some_and(|host| configuration.policy().outlet(black_box(host), None).grant.named)
        }));
    }
    Ok(arms)
}

#[cfg(test)]
mod tests {
    #[test]
    fn many_destinations_are_accepted_and_found() {
        let many =
            std::sync::Arc::new(super::Configuration::accept(super::document(1_000).unwrap().as_bytes()).unwrap());
        for mut arm in super::arms(&many, 1_000).unwrap() {
            assert!((0..100).all(|_| arm.call()), "{arm:?}");
        }
    }
}
