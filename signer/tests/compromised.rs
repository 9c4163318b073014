//! The proxy in the hands of an attacker: what it can have signed, and what becomes of a keeper that it lies to. The tests hold
//! its end of the socket pair.

#![cfg(test)]

use exeat_engine::context::sign::content_digest;
use exeat_engine::context::{AgentContext, DataClass, Provenance};
use exeat_signer::keeper::link::{Link, LinkError};
use exeat_signer::keeper::{Keeper, KeeperSettings, Limits, Now, ProvenanceReport, SessionRequest, SigningKey};
use exeat_signer::protocol::frame::{FrameReader, FrameWriter, encode};
use exeat_signer::protocol::{MAX_MESSAGE, RequestToSign, SessionNumber, SignRefusal, SignedFields, ToKeeper, ToProxy};
use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

struct Attacker {
    keeper: Arc<Keeper>,
    link: Link,
    conversation: JoinHandle<LinkError>,
    stream: Arc<UnixStream>,
    reader: FrameReader,
    next: u64,
}

impl Attacker {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let settings = KeeperSettings {
            limits,
            audience: Some("egress-eu-1".to_owned()),
            wire_scheme: "http",
            signature_life: 60,
            closed_uids: BTreeMap::new(),
        };
        let key = SigningKey::new("signer-1", &Zeroizing::new([1; 32])).unwrap();
        let keeper = Arc::new(Keeper::new(settings, key));
        let (near, far) = UnixStream::pair().unwrap();
        let (link, conversation) = Link::new(near, Arc::clone(&keeper));
        let stream = Arc::new(far);
        let reader = FrameReader::with_descriptors(Arc::clone(&stream));
        Self { keeper, link, conversation: tokio::spawn(conversation), stream, reader, next: 0 }
    }

    fn session(&self, name: &str) -> (String, SessionNumber) {
        let request = SessionRequest {
            agent: "support/summarizer".to_owned(),
            session: Some(name.to_owned()),
            user: Some("u-1".to_owned()),
            provenance: vec![Provenance::User],
            data_class: Some(DataClass::Internal),
            destinations: Some(vec!["*.acme.example".to_owned()]),
            tunnels: vec!["db.acme.example:443".to_owned()],
            ..SessionRequest::default()
        };
        let (state, opening) = self.keeper.open(request, None, Now::read()).unwrap();
        (state.id, opening.session)
    }

    async fn ask(&mut self, session: SessionNumber, request: RequestToSign) -> Result<SignedFields, SignRefusal> {
        self.next += 1;
        let question = ToKeeper::Sign { id: self.next, session, request: Box::new(request) };
        FrameWriter::new(Arc::clone(&self.stream)).send(&question, None).await.unwrap();
        match self.reader.next::<ToProxy>().await.unwrap() {
            Some(ToProxy::Signed { id, result }) if id == self.next => result,
            other => panic!("{other:?}"),
        }
    }

    /// Sends bytes, and sees the conversation end without an answer.
    async fn cut_off_by(self, bytes: &[u8]) -> String {
        let Self { conversation, stream, mut reader, keeper, .. } = self;
        let signed = || keeper.sessions(Now::read()).iter().map(|session| session.signed).sum::<u64>();
        let before = signed();
        let mut writer = stream;
        // The keeper may close while this is being written.
        let _ = match Arc::get_mut(&mut writer) {
            Some(stream) => stream.write_all(bytes).await,
            None => {
                FrameWriter::new(Arc::clone(&writer)).send_encoded(bytes, None).await.map_err(std::io::Error::other)
            }
        };
        let error = conversation.await.unwrap().to_string();
        assert!(!matches!(reader.next::<ToProxy>().await, Ok(Some(_))), "an answer to {bytes:?}");
        assert_eq!(signed(), before);
        error
    }
}

fn get(authority: &str, path: &str) -> RequestToSign {
    RequestToSign {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: authority.to_owned(),
        path: Some(path.to_owned()),
        content_digest: None,
        content_type: None,
        content_encoding: None,
    }
}

fn connect(authority: &str) -> RequestToSign {
    RequestToSign { method: "CONNECT".to_owned(), path: None, ..get(authority, "/") }
}

#[tokio::test]
async fn a_signature_says_only_what_the_session_says() {
    let mut attacker = Attacker::new();
    let (id, session) = attacker.session("s-1");
    let signed = attacker.ask(session, get("api.acme.example:443", "/v1?x=1")).await.unwrap();
    let context = AgentContext::parse(signed.agent_context.as_bytes()).unwrap();
    assert_eq!((context.agent.as_str(), context.session.as_str()), ("support/summarizer", "s-1"));
    assert_eq!((context.user.as_deref(), context.gateway.as_deref()), (Some("u-1"), Some("egress-eu-1")));
    assert!(attacker.ask(session, connect("db.acme.example:443")).await.is_ok());
    // A tool speaks to the keeper past the proxy: what it reports is in the very next signature.
    let report = ProvenanceReport { provenance: vec![Provenance::ThirdParty], data_class: Some(DataClass::Restricted) };
    attacker.keeper.report_provenance(&id, &report, Now::read()).unwrap();
    let signed = attacker.ask(session, get("api.acme.example:443", "/")).await.unwrap();
    let context = AgentContext::parse(signed.agent_context.as_bytes()).unwrap();
    assert_eq!(context.provenance, [Provenance::User, Provenance::ThirdParty]);
    assert_eq!(context.data_class, Some(DataClass::Restricted));
}

#[tokio::test]
async fn other_sessions_and_destinations_are_not_signed_for() {
    let mut attacker = Attacker::new();
    let (id, session) = attacker.session("s-1");
    let (other_id, other) = attacker.session("s-2");
    attacker.keeper.close(&other_id, exeat_signer::keeper::Ending::Closed, Now::read()).unwrap();
    for over in [other, SessionNumber(0), SessionNumber(99), SessionNumber(u64::MAX)] {
        assert_eq!(attacker.ask(over, get("api.acme.example:443", "/")).await, Err(SignRefusal::SessionOver));
    }
    for authority in ["evil.example:443", "acme.example:443", "api.acme.example:8443", "192.0.2.1:443", "localhost:443"]
    {
        let refusal = SignRefusal::Destination { authority: authority.to_owned() };
        assert_eq!(attacker.ask(session, get(authority, "/")).await, Err(refusal));
    }
    let refusal = SignRefusal::Tunnel { authority: "api.acme.example:443".to_owned() };
    assert_eq!(attacker.ask(session, connect("api.acme.example:443")).await, Err(refusal));
    attacker.keeper.close(&id, exeat_signer::keeper::Ending::Closed, Now::read()).unwrap();
    assert_eq!(attacker.ask(session, get("api.acme.example:443", "/")).await, Err(SignRefusal::SessionOver));
}

#[tokio::test]
async fn line_breaks_and_double_meanings_are_not_signed() {
    let mut attacker = Attacker::new();
    let (_, session) = attacker.session("s-1");
    let injected = "\r\nAgent-Context: agent=\"root\", session=\"x\"";
    let good = get("api.acme.example:443", "/");
    let digest = content_digest(b"x");
    let with_body = RequestToSign { method: "POST".to_owned(), content_digest: Some(digest.clone()), ..good.clone() };
    assert!(attacker.ask(session, with_body.clone()).await.is_ok());
    for request in [
        RequestToSign { method: format!("GET{injected}"), ..good.clone() },
        RequestToSign { scheme: format!("https{injected}"), ..good.clone() },
        RequestToSign { authority: format!("api.acme.example:443{injected}"), ..good.clone() },
        RequestToSign { authority: "api.acme.example:443\n\"@path\": /admin".to_owned(), ..good.clone() },
        RequestToSign { path: Some(format!("/{injected}")), ..good.clone() },
        RequestToSign { path: Some("/\n\"agent-context\": agent=\"root\"".to_owned()), ..good.clone() },
        RequestToSign { path: Some("/\u{2028}".to_owned()), ..good.clone() },
        RequestToSign { content_digest: Some(format!("{digest}{injected}")), ..with_body.clone() },
        RequestToSign { content_type: Some(format!("text/plain{injected}")), ..with_body.clone() },
        RequestToSign { content_encoding: Some(format!("gzip{injected}")), ..with_body.clone() },
        RequestToSign { content_digest: None, content_type: Some("text/plain".to_owned()), ..good.clone() },
    ] {
        let answer = attacker.ask(session, request.clone()).await;
        assert!(matches!(answer, Err(SignRefusal::Malformed { .. })), "{request:?}: {answer:?}");
    }
}

#[tokio::test]
async fn frames_that_are_none_end_the_conversation() {
    let frame = |text: &str| {
        let mut frame = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(text.as_bytes());
        frame
    };
    let sign = encode(&ToKeeper::Sign {
        id: 1,
        session: SessionNumber(1),
        request: Box::new(get("api.acme.example:443", "/")),
    })
    .unwrap();
    let text = String::from_utf8(sign[4..].to_vec()).unwrap();
    let mut oversized = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes().to_vec();
    oversized.resize(MAX_MESSAGE + 5, b' ');
    for bytes in [
        oversized,
        vec![0xff; 64],
        frame(""),
        frame("{}"),
        frame("[]"),
        frame("null"),
        frame(r#"{"kind":"open"}"#),
        frame(r#"{"kind":"signed","id":1,"result":{"Ok":{}}}"#),
        frame(&text.replace("\"session\":1", "\"session\":-1")),
        frame(&text.replace("\"session\":1", "\"session\":\"s-1\"")),
        frame(&text.replace("\"id\":1", "\"id\":1e400")),
        frame(&text.replace("\"id\":1", "\"id\":1,\"id\":2")),
        frame(&text.replace("GET", "GET\u{0}\\ud800")),
        frame(&format!("{text}{text}")),
        frame(&"[".repeat(100_000)),
    ] {
        let attacker = Attacker::new();
        attacker.session("s-1");
        let error = attacker.cut_off_by(&bytes).await;
        assert!(error.contains("cannot be read") || error.contains("where 131072 are the most"), "{error}");
    }
    // Half a frame, and gone.
    let attacker = Attacker::new();
    let Attacker { conversation, stream, reader, .. } = attacker;
    FrameWriter::new(Arc::clone(&stream)).send_encoded(&sign[..20], None).await.unwrap();
    drop((stream, reader));
    assert!(conversation.await.unwrap().to_string().contains("in the middle"));
}

#[tokio::test]
async fn answers_to_nothing_and_false_certificates_do_nothing() {
    let mut attacker = Attacker::new();
    let mut writer = FrameWriter::new(Arc::clone(&attacker.stream));
    for message in [
        ToKeeper::Opened { session: SessionNumber(7), ca_pem: "x".to_owned() },
        ToKeeper::OpenFailed { session: SessionNumber(7), why: "x".to_owned() },
        ToKeeper::Measured { id: 7, samples: vec![("up".to_owned(), 1.0)] },
    ] {
        writer.send(&message, None).await.unwrap();
    }
    // Descriptors are not for the keeper: it takes none, and goes on.
    let (_kept, given) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.send(&ToKeeper::Measured { id: 8, samples: Vec::new() }, Some(given.as_fd())).await.unwrap();
    let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let (body, twice) = ("QUJD".repeat(100), pem(&"QUJD".repeat(100)).repeat(2));
    for (ca_pem, is_one) in [
        (pem(&body), true),
        (String::new(), false),
        (pem(""), false),
        (twice, false),
        (format!("{}\n[evil]", pem(&body)), false),
        (pem(&format!("{body}\u{1b}[2J")), false),
        (pem(&"QUJD".repeat(10_000)), false),
        (pem(&body).replace("CERTIFICATE", "PRIVATE KEY"), false),
    ] {
        let request = SessionRequest { agent: "a".to_owned(), ..SessionRequest::default() };
        let (_, opening) = attacker.keeper.open(request, None, Now::read()).unwrap();
        let session = opening.session;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let link = attacker.link.clone();
        let opened = tokio::spawn(async move { link.open(opening, listener.into()).await });
        assert!(matches!(attacker.reader.next::<ToProxy>().await.unwrap(), Some(ToProxy::Open(_))));
        attacker.reader.take_descriptor().unwrap();
        writer.send(&ToKeeper::Opened { session, ca_pem: ca_pem.clone() }, None).await.unwrap();
        assert_eq!(opened.await.unwrap().is_ok(), is_one, "{ca_pem:?}");
    }
}

#[tokio::test]
async fn a_flood_is_bounded_by_the_sessions_rate() {
    let mut attacker = Attacker::with(Limits { signatures_per_second: 1, signature_burst: 50, ..Limits::default() });
    let (_, session) = attacker.session("s-1");
    let asked = 500;
    let (mut signed, mut refused) = (0, 0);
    let begun = std::time::Instant::now();
    for _ in 0..asked {
        match attacker.ask(session, get("api.acme.example:443", "/")).await {
            Ok(_) => signed += 1,
            Err(SignRefusal::TooMany) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let most = 50.0 + begun.elapsed().as_secs_f64();
    assert!(signed >= 50 && f64::from(signed) <= most + 1.0, "{signed} of {most}");
    assert_eq!(signed + refused, asked);
}
