//! Credentials on the real Envoy: the agent's own go nowhere but where the policy pins them, and its injector adds the house's.
#![cfg(test)]

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::document::Protocol;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::{Arrived, Subject as _};
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::{Connection, Http2};
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};

const WORKER: &str = "support/summarizer";
const MODEL_KEY: &str = "Bearer secret-of-the-model";
const SEARCH_KEY: &str = "secret-of-the-search";
const ACCOUNT: &str = "house-7";

struct Scene {
    real: RealEnvoy,
    port: u16,
}

impl Scene {
    fn start() -> Self {
        let upstream = Upstream::start().unwrap();
        let port = upstream.address().port();
        let gateway = Gateway::prepare("credentials", port).unwrap();
        let secrets = gateway.file("secrets");
        std::fs::create_dir(&secrets).unwrap();
        for (name, value) in [("model-key", MODEL_KEY), ("search-key", SEARCH_KEY), ("account", ACCOUNT)] {
            std::fs::write(secrets.join(name), value).unwrap();
        }
        let real = RealEnvoy::start_rendered(gateway, upstream, 1, &["--secrets", secrets.to_str().unwrap()]).unwrap();
        Self { real, port }
    }

    /// Status, reason, and what arrived, if anything did.
    fn send(
        &mut self,
        agent: &str,
        host: &str,
        fields: &[(&str, &str)],
        protocol: Protocol,
    ) -> (u16, String, Vec<Arrived>) {
        let mut unsigned = UnsignedRequest::new("GET", &format!("http://{host}:{}/a", self.port)).unwrap();
        for (name, value) in fields {
            unsigned = unsigned.field(name, value);
        }
        let context = ContextFields {
            agent: agent.to_owned(),
            session: "s-1".to_owned(),
            tenant: Some("acme".to_owned()),
            data_class: Some(DataClass::Internal),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        };
        let request = WireRequest { protocol, ..WireRequest::signed(&unsigned, &context, &self.real).unwrap() };
        let reply = self.real.send(&request).unwrap();
        let reason = reply.json()["reason"].as_str().unwrap_or_default().to_owned();
        (reply.status, reason, self.real.arrived().unwrap())
    }
}

/// The values of the fields of these names, all lines of them.
fn values<'a>(arrived: &'a [Arrived], name: &str) -> Vec<&'a str> {
    let fields = arrived.iter().flat_map(|request| &request.headers);
    fields.filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_house_adds_its_own_and_the_agents_go_nowhere() {
    let mut scene = Scene::start();
    let own =
        [("authorization", "Bearer of-the-attacker"), ("x-api-key", "of-the-attacker"), ("x-account", "attacker")];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for fields in [&own[..], &[]] {
            for host in ["api.model.example", "archive.example"] {
                let (status, _, arrived) = scene.send(WORKER, host, fields, protocol);
                assert_eq!((status, arrived.len()), (200, 1));
                assert_eq!(values(&arrived, "authorization"), [MODEL_KEY], "{host}");
                assert!(values(&arrived, "x-api-key").is_empty());
            }
            let (status, _, arrived) = scene.send(WORKER, "eu.search.example", fields, protocol);
            assert_eq!((status, arrived.len()), (200, 1));
            // A header that the rule keeps is the house's all the same where the house adds it.
            assert_eq!(
                (values(&arrived, "x-api-key"), values(&arrived, "x-account")),
                (vec![SEARCH_KEY], vec![ACCOUNT])
            );
            assert!(values(&arrived, "authorization").is_empty());
            let (status, _, arrived) = scene.send(WORKER, "plain.example", fields, protocol);
            assert_eq!(status, 200);
            assert!(values(&arrived, "authorization").is_empty() && values(&arrived, "x-api-key").is_empty());
            assert_eq!(values(&arrived, "x-account"), if fields.is_empty() { vec![] } else { vec!["attacker"] });
        }
    }
    let records = scene.real.wait_for_records("all completions", |records| {
        records.iter().filter(|record| record["kind"] == "completion").count() == 16
    });
    let evidence = serde_json::to_string(&records.unwrap()).unwrap();
    let log = scene.real.envoy.log();
    for secret in [MODEL_KEY, SEARCH_KEY, ACCOUNT, "of-the-attacker"] {
        assert!(!evidence.contains(secret) && !log.contains(secret), "{secret}");
    }
}

/// An injected prompt that brings the attacker's own key to an allowed host would send data to the attacker's account there.
#[test]
fn a_key_that_is_not_pinned_is_refused() {
    let mut scene = Scene::start();
    let mut ask = |fields: &[(&str, &str)]| {
        let (status, reason, arrived) = scene.send(WORKER, "api.pinned.example", fields, Protocol::Http1);
        (
            status,
            reason,
            values(&arrived, "authorization").into_iter().map(str::to_owned).collect::<Vec<_>>(),
            arrived.len(),
        )
    };
    let house = ("authorization", "Bearer key-of-the-house");
    assert_eq!(ask(&[house]), (200, String::new(), vec![house.1.to_owned()], 1));
    for other in [
        "Bearer key-of-the-attacker",
        "bearer key-of-the-house",
        "Bearer key-of-the-house ",
        "Bearer  key-of-the-house",
    ] {
        let (status, reason, _, arrived) = ask(&[("authorization", other)]);
        // What surrounds a value is no part of it (RFC 9110 section 5.5), so that one is the house's.
        let same = other.trim() == house.1;
        let expected = if same { (200, String::new(), 1) } else { (403, "credential-denied".to_owned(), 0) };
        assert_eq!((status, reason, arrived), expected, "{other:?}");
    }
    assert_eq!(ask(&[house, ("authorization", "Bearer key-of-the-attacker")]).3, 0);
}

/// What is let go although it would be denied gets nothing of the house's.
#[test]
fn what_is_only_observed_gets_no_credentials() {
    let mut scene = Scene::start();
    let own = [("authorization", "Bearer of-the-agent")];
    let (status, _, arrived) = scene.send("support/observer", "api.model.example", &own, Protocol::Http1);
    assert_eq!((status, values(&arrived, "authorization")), (200, vec!["Bearer of-the-agent"]));
    let (status, _, arrived) = scene.send("support/observer", "api.model.example", &[], Protocol::Http1);
    assert_eq!((status, values(&arrived, "authorization").len()), (200, 0));
}

#[test]
fn a_policy_that_injects_is_not_rendered_without_a_place_for_secrets() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("credentials", upstream.address().port()).unwrap();
    let said = format!("{:#}", RealEnvoy::start_with(gateway, upstream, 1).err().unwrap());
    let expected = "the destination \"model\" gets authorization from the secret \"model-key\", and nothing says where secrets are; \
                    give --secrets DIR, a folder with a file model-key whose whole content is the value of the header";
    assert!(said.contains(expected), "{said}");
}

/// What a request gets of the house's belongs to it alone: not to the next one on its connection, nor to one beside it.
struct Step {
    agent: &'static str,
    host: &'static str,
    /// Authorization and API key as they must arrive.
    gets: (&'static [&'static str], &'static [&'static str]),
}

const STEPS: [Step; 7] = [
    Step { agent: WORKER, host: "api.model.example", gets: (&[MODEL_KEY], &[]) },
    Step { agent: WORKER, host: "plain.example", gets: (&[], &[]) },
    Step { agent: WORKER, host: "eu.search.example", gets: (&[], &[SEARCH_KEY]) },
    Step { agent: "support/observer", host: "api.model.example", gets: (&[], &[]) },
    Step { agent: WORKER, host: "archive.example", gets: (&[MODEL_KEY], &[]) },
    Step { agent: "support/observer", host: "plain.example", gets: (&[], &[]) },
    Step { agent: WORKER, host: "plain.example", gets: (&[], &[]) },
];

impl Scene {
    /// The request of a step, signed; its path is its own.
    fn step(&self, step: &Step, path: &str) -> WireRequest {
        let unsigned = UnsignedRequest::new("GET", &format!("http://{}:{}{path}", step.host, self.port)).unwrap();
        let context = ContextFields {
            agent: step.agent.to_owned(),
            session: "s-1".to_owned(),
            tenant: Some("acme".to_owned()),
            data_class: Some(DataClass::Internal),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        };
        WireRequest::signed(&unsigned, &context, &self.real).unwrap()
    }

    /// Everything arrived with what it was to get.
    fn got_their_own(&mut self, sent: &[(String, usize)]) {
        let arrived = self.real.arrived().unwrap();
        assert_eq!(arrived.len(), sent.len());
        for (path, number) in sent {
            let own: Vec<_> = arrived.iter().filter(|request| request.path == *path).cloned().collect();
            let (authorization, api_key) = STEPS[*number].gets;
            assert_eq!(values(&own, "authorization"), authorization, "{path} to {}", STEPS[*number].host);
            assert_eq!(values(&own, "x-api-key"), api_key, "{path} to {}", STEPS[*number].host);
        }
    }
}

#[test]
fn the_next_request_on_a_connection_gets_its_own() {
    let mut scene = Scene::start();
    let mut connection = Connection::open(scene.real.listener).unwrap();
    let mut sent = Vec::new();
    // Each after each, itself included.
    for number in (0..STEPS.len()).flat_map(|first| (0..STEPS.len()).flat_map(move |second| [first, second])) {
        let path = format!("/a/{}", sent.len());
        let request = scene.step(&STEPS[number], &path);
        let answer = connection.send(&framed(&request)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent.push((path, number));
    }
    scene.got_their_own(&sent);
}

#[test]
fn a_request_beside_it_gets_its_own() {
    const EACH: usize = 20;
    let mut scene = Scene::start();
    let connection = Http2::connect(scene.real.listener).unwrap();
    let sent: Vec<(String, usize)> = (0..STEPS.len() * EACH).map(|n| (format!("/a/{n}"), n % STEPS.len())).collect();
    std::thread::scope(|scope| {
        for own in sent.chunks(EACH) {
            let (scene, connection) = (&scene, connection.clone());
            scope.spawn(move || {
                for (path, number) in own {
                    let request = scene.step(&STEPS[*number], path);
                    let head = http::Request::builder().uri(format!("http://{}{path}", request.authority));
                    let fields = request.fields.iter();
                    let head = fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice()));
                    assert_eq!(connection.send(head.body(Vec::new()).unwrap()).unwrap().status, 200);
                }
            });
        }
    });
    scene.got_their_own(&sent);
}
