//! What must hold of everything that arrived, and of everything that was recorded, whatever was sent.

use crate::original::Original;
use exeat_e2e::stage::upstream::{Progress, Recorded, Upstream};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Every request that arrived is one that was signed, in all that its signature covers, and arrived once.
pub(crate) fn check_arrived(arrived: &[Recorded], originals: &HashMap<String, Original>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut wrong = Vec::new();
    for request in arrived {
        if !seen.insert(request.path.as_str()) {
            wrong.push(format!("{} arrived twice", request.path));
        }
        match originals.get(&request.path) {
            Some(original) => {
                wrong.extend(differences(request, original).map(|what| format!("{}: {what}", request.path)));
            }
            None => wrong.push(format!("{} {} was never signed", request.method, request.path)),
        }
    }
    wrong
}

fn differences(request: &Recorded, original: &Original) -> impl Iterator<Item = String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, got: &[u8], signed: &[u8]| {
        if got != signed {
            wrong.push(format!(
                "{what}: {:?} arrived, {:?} was signed",
                got.escape_ascii().to_string(),
                signed.escape_ascii().to_string()
            ));
        }
    };
    check("method", request.method.as_bytes(), original.method.as_bytes());
    check("authority", request.authority.as_deref().unwrap_or_default().as_bytes(), original.authority.as_bytes());
    check("body", &request.body, &original.body);
    check("trailers", format!("{:?}", request.trailers).as_bytes(), b"[]");
    check("progress", format!("{:?}", request.progress).as_bytes(), format!("{:?}", Progress::Complete).as_bytes());
    if !original.body.is_empty() {
        let signed = original.content_type.as_deref().unwrap_or_default();
        check("content-type", &request.all("content-type").join(&b"|"[..]), signed.as_bytes());
        check("content-encoding", request.header("content-encoding").unwrap_or_default(), b"");
    }
    // What the gateway says of the context. An agent that is only watched sends its own headers.
    let context = &original.context;
    if context.agent == "support/summarizer" {
        for (name, signed) in [
            ("x-agent", Some(&context.agent)),
            ("x-session", Some(&context.session)),
            ("x-tenant", context.tenant.as_ref()),
            ("x-user", context.user.as_ref()),
            ("x-tool", context.tool.as_ref()),
        ] {
            check(name, &request.all(name).join(&b"|"[..]), signed.map_or("", String::as_str).as_bytes());
        }
    }
    for (name, value) in &request.headers {
        let reserved = ["agent-context", "signature", "signature-input", "forwarded", "x-http-method-override"];
        let prefixes = ["exeat-", "x-envoy-", "x-forwarded-"];
        let of_gateway = name == "x-forwarded-proto";
        if !of_gateway && (reserved.contains(&name.as_str()) || prefixes.iter().any(|prefix| name.starts_with(prefix)))
        {
            check(name, b"present", b"absent");
        }
        if std::str::from_utf8(value).is_err() {
            check(name, b"not UTF-8", b"UTF-8");
        }
    }
    wrong.into_iter()
}

/// On the wire to the upstream there is no identity, not even in what a server would refuse.
pub(crate) fn check_wire(upstream: &Upstream) -> Vec<String> {
    let names: [&[u8]; 3] = [b"\r\nagent-context:", b"\r\nsignature:", b"\r\nsignature-input:"];
    let leaked = |wire: &[u8]| {
        let lower = wire.to_ascii_lowercase();
        names.iter().any(|name| lower.windows(name.len()).any(|window| window == *name))
    };
    upstream.wire().iter().filter(|wire| leaked(wire)).map(|_| "identity went upstream".to_owned()).collect()
}

/// The decisions that Envoy's access log names, and the lines that tell of a filter that failed.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    pub(crate) decisions: Vec<String>,
    pub(crate) failures: Vec<String>,
}

impl AccessLog {
    pub(crate) fn read(file: &Path) -> Self {
        let mut log = Self::default();
        for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
            // The last line may still be written.
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            log.decisions.extend(entry["decision"].as_str().map(str::to_owned));
            if entry["details"].as_str().is_some_and(|details| details.contains("wasm_fail")) {
                log.failures.push(line.to_owned());
            }
        }
        log
    }
}

/// What the evidence holds.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Ids of decisions that were recorded one by one.
    pub(crate) recorded: HashSet<String>,
    /// Of these, those that let something go.
    pub(crate) released: HashSet<String>,
    /// Ids that completions name.
    pub(crate) completed: Vec<String>,
    /// Denials that were counted instead.
    pub(crate) counted: u64,
    /// Ids that occur twice.
    pub(crate) twice: Vec<String>,
}

impl Evidence {
    pub(crate) fn of(records: &[Value]) -> Self {
        let mut evidence = Self::default();
        for record in records {
            let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
            match record["kind"].as_str() {
                Some("decision") => {
                    if record["released"] != "none" {
                        evidence.released.insert(text("id"));
                    }
                    if !evidence.recorded.insert(text("id")) {
                        evidence.twice.push(text("id"));
                    }
                }
                Some("completion") => evidence.completed.push(text("decision")),
                Some("summary") => {
                    let counts = ["unverified", "verified"].iter().filter_map(|of| record[of].as_object());
                    evidence.counted += counts.flat_map(|map| map.values()).filter_map(Value::as_u64).sum::<u64>();
                }
                _ => {}
            }
        }
        evidence
    }

    /// Whether every decision that the access log names is recorded or counted, and every release completed.
    pub(crate) fn accounts_for(&self, log: &AccessLog) -> bool {
        self.recorded.len() as u64 + self.counted == log.decisions.len() as u64
            && self.completed.len() == self.released.len()
    }

    /// What speaks against it, once it accounts for all.
    pub(crate) fn check(&self, log: &AccessLog) -> Vec<String> {
        let logged: HashSet<&String> = log.decisions.iter().collect();
        let unknown =
            self.recorded.iter().filter(|id| !logged.contains(id)).map(|id| format!("{id} is not in the access log"));
        let completed: HashSet<&String> = self.completed.iter().collect();
        let open =
            self.released.iter().filter(|id| !completed.contains(id)).map(|id| format!("{id} has no completion"));
        let twice = self.twice.iter().map(|id| format!("{id} is recorded twice"));
        unknown.chain(open).chain(twice).collect()
    }
}

mod tests {
    use super::*;
    use crate::original::Maker;
    use exeat_e2e::scenario::gateway::Gateway;
    use fastrand::Rng;

    fn arrived(original: &Original) -> Recorded {
        let context = &original.context;
        let set = [
            ("x-agent", Some(&context.agent)),
            ("x-session", Some(&context.session)),
            ("x-tenant", context.tenant.as_ref()),
            ("x-user", context.user.as_ref()),
            ("x-tool", context.tool.as_ref()),
            ("content-type", original.content_type.as_ref()),
        ];
        let line = |(name, value): (&str, Option<&String>)| Some((name.to_owned(), value?.as_bytes().to_vec()));
        Recorded {
            version: http::Version::HTTP_11,
            method: original.method.clone(),
            path: original.target.clone(),
            authority: Some(original.authority.clone()),
            headers: set.into_iter().filter_map(line).collect(),
            body: original.body.clone(),
            body_length: original.body.len() as u64,
            body_sha256: String::new(),
            trailers: Vec::new(),
            progress: Progress::Complete,
            peer: ([127, 0, 0, 1], 1).into(),
        }
    }

    type Change = fn(&mut Recorded);

    #[test]
    fn whatever_differs_from_what_was_signed_is_found() {
        let gateway = Gateway::prepare("mutations", 18_080).unwrap();
        let mut maker = Maker { gateway: &gateway, port: 18_080, number: 0, made: 0 };
        let mut rng = Rng::with_seed(3);
        let fits = |original: &Original| {
            original.context.agent == "support/summarizer"
                && !original.body.is_empty()
                && original.content_type.is_some()
        };
        let original = std::iter::repeat_with(|| maker.make(&mut rng)).find(fits).unwrap();
        let signed = HashMap::from([(original.target.clone(), original.clone())]);
        let good = arrived(&original);
        assert_eq!(check_arrived(std::slice::from_ref(&good), &signed), Vec::<String>::new());
        assert_eq!(check_arrived(&[good.clone(), good.clone()], &signed).len(), 1);
        let changes: [Change; 12] = [
            |r| r.method = "PATCH".to_owned(),
            |r| r.authority = Some("attacker.example".to_owned()),
            |r| r.path.push('x'),
            |r| r.body[0] ^= 1,
            |r| r.body.push(0),
            |r| r.headers[0].1 = b"support/admin".to_vec(),
            |r| r.headers.retain(|(name, _)| name != "x-tenant"),
            |r| r.headers.push(("x-agent".to_owned(), b"support/admin".to_vec())),
            |r| r.headers.push(("content-type".to_owned(), b"text/html".to_vec())),
            |r| r.headers.push(("signature".to_owned(), b"exeat=:AAAA:".to_vec())),
            |r| r.headers.push(("accept".to_owned(), b"\xff".to_vec())),
            |r| r.trailers.push(("x".to_owned(), b"y".to_vec())),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut request = good.clone();
            change(&mut request);
            assert!(!check_arrived(&[request], &signed).is_empty(), "change {number}");
        }
    }
}
