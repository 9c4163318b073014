//! Writes what each target begins with: `seeds <repository> <folder>`. Made of what the repository has anyway: numbered samples,
//! scenarios, policies and vectors that others wrote.
//!
//! A seed is worth what it reaches. Bytes that mean nothing to a target teach it nothing, so each of these is a whole input.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exeat_engine::context::Provenance;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::destination::AddressClass;
use exeat_engine::evidence::record::GuardVerdict;
use exeat_engine::exchange::Step;
use exeat_engine::request::RequestHead;
use exeat_fuzz::tools;
use exeat_fuzz::world::{Kind, World, batches, document, sign};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

type Seeds = Vec<Vec<u8>>;
type Generator = fn(&Path) -> Seeds;

const TARGETS: [(&str, Generator); 20] = [
    ("agent_context", agent_contexts),
    ("agent_request", |_| tools::agent_requests()),
    ("batch", evidence),
    ("canonical_destination", destinations),
    ("client_hello", |_| hellos()),
    ("collector_request", |_| tools::collector_requests()),
    ("configuration", |_| configurations()),
    ("exchange", |_| programs(256, 768)),
    ("handover", |_| handovers()),
    ("json_body", bodies),
    ("ledger", |_| programs(256, 512)),
    ("parameters", parameters),
    ("policy_file", policy_files),
    ("proof", proofs),
    ("signature_base", components),
    ("signed_context", heads),
    ("signer_message", |_| tools::signer_messages()),
    ("store_file", |_| [tools::stores(), programs(64, 256)].concat()),
    ("token", |_| tokens()),
    ("treated_body", treated),
];

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [repository, folder] = arguments.as_slice() else { panic!("seeds <repository> <folder>") };
    for (target, generate) in TARGETS {
        let seeds = generate(repository);
        assert!(seeds.len() > 1, "{target} has no seeds: what they are made of has moved");
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder).expect("a folder for seeds");
        for seed in seeds {
            // By content: the same seed has the same name, whenever it is made.
            let name: String = Sha256::digest(&seed).iter().take(10).map(|byte| format!("{byte:02x}")).collect();
            std::fs::write(folder.join(name), seed).expect("a seed");
        }
    }
}

/// Files of a folder and below, whose names end so.
fn files(folder: PathBuf, ends: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            found.extend(files(path, ends));
        } else if path.to_string_lossy().ends_with(ends) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Policies that ship, and those of the scenarios.
fn policy_files(repository: &Path) -> Seeds {
    let folders = ["policies", "tests/policies", "examples"].map(|folder| repository.join(folder));
    let all = folders.iter().flat_map(|folder| [".yaml", ".json"].map(|ends| files(folder.clone(), ends))).flatten();
    all.filter_map(|file| std::fs::read(file).ok()).filter(|text| text.len() < 16 * 1024).collect()
}

fn documents(folder: PathBuf) -> impl Iterator<Item = Value> {
    let texts = files(folder, ".json").into_iter().filter_map(|file| std::fs::read(file).ok());
    texts.filter_map(|text| serde_json::from_slice(&text).ok())
}

/// The requests of the numbered samples of signed contexts.
fn samples(repository: &Path) -> Vec<Value> {
    documents(repository.join("examples/signed-context")).map(|sample| sample["request"].clone()).collect()
}

fn headers(request: &Value) -> Vec<(String, String)> {
    let lines = request["headers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let split = lines.filter_map(|line| line.split_once(':'));
    split.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn agent_contexts(repository: &Path) -> Seeds {
    let lines = samples(repository).into_iter().flat_map(|request| headers(&request));
    let mut seeds: Seeds =
        lines.filter(|(name, _)| name == "agent-context").map(|(_, value)| value.into_bytes()).collect();
    // And whatever others found worth writing as a dictionary (RFC 9651).
    for list in documents(repository.join("tests/vectors/structured-fields")) {
        for raw in list.as_array().into_iter().flatten().filter_map(|case| case["raw"][0].as_str()) {
            seeds.push(raw.as_bytes().to_vec());
            seeds.push(format!("agent=\"a\", session=\"s\", reason={raw}").into_bytes());
        }
    }
    seeds
}

fn heads(repository: &Path) -> Seeds {
    let head = |request: Value| {
        let pseudo = ["method", "scheme", "authority", "path"];
        let pseudo = pseudo.iter().filter_map(|name| Some(format!(":{name}:{}", request[*name].as_str()?)));
        let fields = headers(&request).into_iter().map(|(name, value)| format!("{name}:{value}"));
        pseudo.chain(fields).collect::<Vec<_>>().join("\n").into_bytes()
    };
    samples(repository).into_iter().map(head).collect()
}

fn components(repository: &Path) -> Seeds {
    let mut seeds = Seeds::new();
    let more = [
        "@query",
        "@query-param\";name=\"a",
        "@target-uri",
        "@request-target",
        "@scheme",
        "x",
        "x\";sf",
        "x\";bs",
        "priority\";key=\"u",
    ];
    for request in samples(repository) {
        let of = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let inputs = headers(&request).into_iter().filter(|(name, _)| name == "signature-input");
        let covered =
            inputs.flat_map(|(_, value)| value.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
        for component in covered.chain(more.map(str::to_owned)) {
            let component =
                format!("\"{component}\"").replace("a\"\"", "a\"").replace("sf\"", "sf").replace("bs\"", "bs");
            let parts =
                [of("method"), of("scheme"), of("authority"), of("path"), component, "1, 2".into(), "u=1, i".into()];
            seeds.push(parts.join("\0").into_bytes());
        }
    }
    seeds
}

/// Texts between quotes of one kind, in files of YAML.
fn quoted(repository: &Path, quote: char) -> Vec<String> {
    let texts = files(repository.join("tests/scenarios"), ".yaml")
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    texts
        .flat_map(|text| {
            text.lines().flat_map(|line| line.split(quote).skip(1).step_by(2)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn destinations(repository: &Path) -> Seeds {
    let vectors = documents(repository.join("tests/vectors")).flat_map(|list| match list {
        Value::Array(cases) => cases,
        Value::Object(mut object) => {
            object.remove("cases").and_then(|cases| cases.as_array().cloned()).unwrap_or_default()
        }
        _ => Vec::new(),
    });
    let urls = vectors.flat_map(|case| [case["input"].clone(), case["href"].clone(), case["payload"]["url"].clone()]);
    let urls = urls.filter_map(|url| url.as_str().map(str::to_owned)).chain(quoted(repository, '"'));
    let mut seeds = Seeds::new();
    for url in urls {
        let Some((_, rest)) = url.split_once("://") else { continue };
        let rest = rest.replace("@PORT@", "8443");
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        // All openings closed, and all open.
        seeds.extend([0, 0xff].map(|bits| [&[bits, bits], authority.as_bytes(), b"\n", target.as_bytes()].concat()));
    }
    seeds
}

fn bodies(repository: &Path) -> Seeds {
    let written = quoted(repository, '\'').into_iter().map(String::into_bytes);
    let kept = ["examples", "tests/vectors", "policies/schema"]
        .into_iter()
        .flat_map(|folder| files(repository.join(folder), ".json"));
    let kept = kept.filter_map(|file| std::fs::read(file).ok()).filter(|text| text.len() < 8 * 1024);
    let own = [
        r#"{"a":{"b":1,"c":[{"b":null}]},"model":"m","messages":[{"role":"user"}],"customer_id":"\ud83d\ude00"}"#,
        r#"[1,-0.5e+10,true,[{}],"\u0041"]"#,
    ];
    written.chain(kept).chain(own.map(|text| text.as_bytes().to_vec())).collect()
}

fn treated(repository: &Path) -> Seeds {
    let own = [
        r#"{"a":{"b":1},"list":[{"a":"x"},{"b":2},{"a":[1]}],"b":"y","c/d":{"e":null}}"#,
        r#"{"a":[1,{"b":2}],"b":true}"#,
        r#"[{"a":1},2]"#,
    ];
    let all = bodies(repository).into_iter().chain(own.map(|text| text.as_bytes().to_vec()));
    all.flat_map(|body| {
        [[0xff, 0], [0xff, 0xff], [0b0101_0101, 0b0000_1111]].map(|choice| [&choice[..], &body].concat())
    })
    .collect()
}

/// Batches of the numbered samples, which other keys signed, those of the target's own gateway, and changes of these.
fn evidence(repository: &Path) -> Seeds {
    let samples = documents(repository.join("examples/evidence"));
    let texts = samples.filter_map(|sample| sample["batch"].as_str().map(|text| text.as_bytes().to_vec()));
    texts.chain(batches()).chain(programs(64, 128)).collect()
}

fn parameters(repository: &Path) -> Seeds {
    let queries =
        quoted(repository, '"').into_iter().filter_map(|url| url.split_once('?').map(|(_, query)| query.to_owned()));
    let keyed =
        queries.flat_map(|query| ["limit", "page[size]", "q"].map(|key| format!("{key}\n{query}").into_bytes()));
    let numbers = [["1.5", "1.25"], ["-0.5", "9007199254740991"], ["100", "99.999999999999"], ["0", "-1"]];
    keyed.chain(numbers.map(|pair| pair.join("\n").into_bytes())).collect()
}

/// Proofs of the bundles that are samples, and changes of the target's own.
fn proofs(repository: &Path) -> Seeds {
    let leaves = documents(repository.join("examples/bundles")).map(|sample| sample["bundle"]["leaves"].clone());
    let leaves = leaves.flat_map(|leaves| leaves.as_array().cloned().unwrap_or_default());
    let texts = leaves.filter_map(|leaf| leaf["proof"].as_str().map(|text| text.as_bytes().to_vec()));
    texts.chain(programs(64, 64)).collect()
}

/// Programs of nothing but chance, the same each time: what reads them makes sense of any bytes.
fn programs(count: u32, longest: usize) -> Seeds {
    let program = |n: u32| {
        let blocks = (0_u32..).flat_map(|block| Sha256::digest([n.to_le_bytes(), block.to_le_bytes()].concat()));
        blocks.take(longest / (1 + n as usize % 4)).collect()
    };
    (0..count).map(program).collect()
}

fn configurations() -> Seeds {
    let documents = [Kind::Holds, Kind::LetsGo, Kind::Waits].map(document);
    let pretty = documents.iter().filter_map(|document| serde_json::to_vec_pretty(document).ok());
    let guard = serde_json::json!({"role": "guard", "gateway": documents[0]["gateway"], "exits": ["https", "http"]});
    pretty
        .chain(documents.iter().map(|document| document.to_string().into_bytes()))
        .chain([guard.to_string().into_bytes()])
        .collect()
}

fn handovers() -> Seeds {
    let mut seeds = Seeds::new();
    for (agent, method, authority, path) in [
        ("team/worker", "POST", "eu.crm.example", Some("/v1/x?q=1")),
        ("team/watched", "GET", "a.crm.example", Some("/v2")),
        ("team/tunnel", "CONNECT", "raw.example:443", None),
    ] {
        let head = RequestHead {
            method: method.into(),
            scheme: None,
            authority: authority.into(),
            path: path.map(Into::into),
            fields: Vec::new(),
        };
        let context = ContextFields {
            agent: agent.into(),
            session: "s-1".into(),
            provenance: vec![Provenance::User],
            ..ContextFields::default()
        };
        let mut world = World::new(Kind::Holds, 64);
        let head = sign(head, &context, b"", "n").expect("it can be signed");
        let Step::Decided(decision) = world.start().head(&mut world.around(), Ok(head), true) else { continue };
        seeds.extend(decision.clearance.and_then(|clearance| clearance.to_bytes()));
    }
    let passed = |class: &AddressClass| GuardVerdict::Passed { address: "192.0.2.1:443".into(), class: *class };
    seeds.extend(AddressClass::ALL.iter().map(|class| passed(class).to_bytes()));
    seeds.push(GuardVerdict::Refused { decision: "0123456789abcdef0123456789abcdef".into() }.to_bytes());
    seeds
}

fn tokens() -> Seeds {
    let headers = [
        r#"{"alg":"EdDSA","kid":"k1"}"#,
        r#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"ES256","kid":"k1","crit":["x"]}"#,
    ];
    let claims = [
        r#"{"sub":"a/b","sid":"s","aud":"a","iat":1799999990,"exp":1800000060,"a":{"b":"t"},"roles":["x"],"scope":"c d"}"#,
        r#"{"sub":"a","aud":["a","b"],"exp":1800000060,"nbf":1}"#,
        r#"{"sub":"a","sub":"b","aud":"a","exp":1e400}"#,
    ];
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signature = URL_SAFE_NO_PAD.encode([1; 64]);
    headers
        .iter()
        .flat_map(|header| claims.map(|claims| format!("{}.{}.{signature}", part(header), part(claims)).into_bytes()))
        .collect()
}

/// ClientHellos (RFC 8446 section 4.1.2) that name a host, or another, or none, whole and in several records.
fn hellos() -> Seeds {
    fn vector(length: usize, content: &[u8]) -> Vec<u8> {
        let bytes = content.len().to_be_bytes();
        [&bytes[bytes.len() - length..], content].concat()
    }
    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, content)].concat()
    }
    fn record(fragment: &[u8]) -> Vec<u8> {
        [vec![22, 3, 1], vector(2, fragment)].concat()
    }
    let name = |name: &str| extension(0, &vector(2, &[vec![0], vector(2, name.as_bytes())].concat()));
    let rest = [extension(43, &[2, 3, 4]), extension(51, &[0; 64])].concat();
    let lists = [
        [name("api.example"), rest.clone()].concat(),
        [rest.clone(), name("API.example")].concat(),
        name("other.example"),
        rest,
        Vec::new(),
    ];
    lists
        .iter()
        .flat_map(|extensions| {
            let hello = [
                &[3, 3],
                &[7; 32][..],
                &vector(1, &[9; 32]),
                &vector(2, &[0x13, 1]),
                &vector(1, &[0]),
                &vector(2, extensions),
            ]
            .concat();
            let message = [vec![1], vector(3, &hello)].concat();
            [record(&message), message.chunks(24).flat_map(record).collect()]
        })
        .collect()
}
