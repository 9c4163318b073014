//! Seeds of the native tools: files of policies, requests of agents, messages within the signer, stores, requests to a collector.

use crate::store::{Folder, TOKEN, stored};
use crate::world::batches;
use exeat_signer::protocol::frame::encode;
use exeat_signer::protocol::{
    GatewayConfiguration, Opening, ProxyConfiguration, RequestToSign, Secret, SessionNumber, SignRefusal, SignedFields,
    SpoolConfiguration, ToKeeper, ToProxy,
};
use serde::Serialize;

type Seeds = Vec<Vec<u8>>;

/// Requests outside of tunnels, and inside of one.
pub fn agent_requests() -> Seeds {
    let heads = [
        "GET http://api.example/v1?x=1 HTTP/1.1\r\nHost: api.example\r\nAccept: */*\r\n\r\n",
        "POST http://API.Example.:8080/v1 HTTP/1.1\r\nHost: api.example:8080\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{}GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
        "PUT http://a.example/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close, x-private\r\n\
         X-Private: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n",
        "CONNECT [::1]:8443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "GET http://0x7f.1/%2e%2e//b;c? HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nCookie: a=b\r\n\r\n",
        "GET /v1 HTTP/1.1\r\nHost: api.example:8443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "POST /v1?q HTTP/1.1\r\nHost: api.example:8443\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\n\
         Agent-Context: agent=\"root\"\r\nSignature: a=:AA==:\r\nExeat-X: 1\r\nagent_context: 1\r\nContent-Length: 1\r\n\r\nx",
        "OPTIONS * HTTP/1.1\r\nHost: api.example:8443\r\nTrailer: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: api.example:8443\r\n\r\n",
    ];
    let both = |head: &&str| [0_u8, 1].map(|first| [&[first], head.as_bytes()].concat());
    heads.iter().flat_map(both).collect()
}

/// One of each message, and what orchestrators send.
pub fn signer_messages() -> Seeds {
    let session = SessionNumber(7);
    let request = RequestToSign {
        method: "POST".into(),
        scheme: "https".into(),
        authority: "api.example:443".into(),
        path: Some("/v1?x=1".into()),
        content_digest: Some("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:".into()),
        content_type: Some("application/json".into()),
        content_encoding: None,
    };
    let fields = SignedFields {
        agent_context: "agent=\"team/worker\"".into(),
        signature_input: "agent=()".into(),
        signature: "agent=:AA==:".into(),
    };
    let configuration = ProxyConfiguration {
        gateway: GatewayConfiguration {
            url: "https://gateway.example".into(),
            addresses: vec![([127, 0, 0, 1], 8443).into()],
            ca_pem: Some("-----BEGIN CERTIFICATE-----".into()),
            client_chain_pem: None,
            client_key_pem: Some(Secret("-----BEGIN PRIVATE KEY-----".into())),
        },
        spool: SpoolConfiguration {
            directory: "/var/tmp/x".into(),
            body_memory: 1,
            total_memory: 2,
            body: 3,
            total_files: 4,
        },
        connections: 9,
        head_seconds: 10,
        handshake_seconds: 10,
        body_seconds: 30,
        head_bytes: 65_536,
        answer_seconds: 60,
    };
    let opening = Opening {
        session,
        name: "s-1".into(),
        password_sha256: Some("00".repeat(32)),
        uids: vec![1000],
        tunnels: vec!["db.example:5432".into()],
        connections: 8,
        idle_seconds: 60,
    };
    let frame = |first: u8, message: Vec<u8>| [vec![first], message].concat();
    let to_proxy = [
        ToProxy::Configure(Box::new(configuration)),
        ToProxy::Open(Box::new(opening)),
        ToProxy::Signed { id: 1, result: Ok(fields) },
        ToProxy::Signed { id: 2, result: Err(SignRefusal::Destination { authority: "x.example:443".into() }) },
        ToProxy::Close { session },
        ToProxy::Drain,
    ];
    let to_keeper = [
        ToKeeper::Opened { session, ca_pem: "-----BEGIN CERTIFICATE-----".into() },
        ToKeeper::OpenFailed { session, why: "it is taken".into() },
        ToKeeper::Sign { id: 1, session, request: Box::new(request) },
        ToKeeper::Drained,
        ToKeeper::Measured { id: 3, samples: vec![("exeat_signer_requests_total".into(), 1.5)] },
    ];
    let mut seeds: Seeds = to_proxy.iter().map(|message| frame(0, bytes(message))).collect();
    seeds.extend(to_keeper.iter().map(|message| frame(1, bytes(message))));
    let asked = r#"{"agent":"team/worker","session":"s-1","user":"u-7","provenance":["user"],"listen":"unix","uids":[1000],"life":60,"attributes":{"team":"a"},"tunnels":["db.example:5432"]}"#;
    seeds.push(frame(2, asked.as_bytes().to_vec()));
    seeds.push(frame(3, br#"{"provenance":["user"],"data_class":"internal"}"#.to_vec()));
    for url in
        ["https://gateway.example", "http://127.0.0.1:8080/", "https://[::1]:8443", "https://Gateway.Example.:443"]
    {
        seeds.push(frame(4, url.as_bytes().to_vec()));
    }
    seeds
}

fn bytes(message: &impl Serialize) -> Vec<u8> {
    encode(message).expect("a message of ours")
}

/// Whole files of stores. Edits are made of any bytes.
pub fn stores() -> Seeds {
    let folder = Folder::new();
    (0..=2).map(|count| [vec![0], stored(&folder, count)].concat()).collect()
}

/// Batches as gateways post them, questions, and what asks without a token.
pub fn collector_requests() -> Seeds {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let get = |path: &str, token: &str| format!("GET {path} HTTP/1.1\r\nHost: c\r\n{token}\r\n").into_bytes();
    let mut seeds: Seeds =
        ["/v1/last?gateway=egress-test&boot=b", "/v1/last?gateway=%65gress-test", "/metrics", "/healthz", "/x"]
            .iter()
            .flat_map(|path| [get(path, &token), get(path, "")])
            .collect();
    for batch in batches() {
        let head = format!("POST /v1/evidence HTTP/1.1\r\nHost: c\r\n{token}Content-Length: {}\r\n\r\n", batch.len());
        seeds.push([head.as_bytes(), &batch].concat());
        let head = format!(
            "POST /v1/evidence HTTP/1.1\r\nHost: c\r\n{token}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            batch.len()
        );
        seeds.push([head.as_bytes(), &batch, b"\r\n0\r\n\r\n"].concat());
    }
    // HTTP/2: preface, settings, and GET /healthz in literals of the static table.
    let mut http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let block = [b"\x82\x86\x04\x08/healthz\x41\x01c".as_slice()].concat();
    http2.extend([0, 0, u8::try_from(block.len()).expect("a short block"), 1, 5, 0, 0, 0, 1]);
    http2.extend(block);
    seeds.push(http2);
    seeds
}
