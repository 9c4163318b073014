use super::*;
use exeat_engine::context::{DataClass, Provenance};
use std::sync::Arc;
use zeroize::Zeroizing;

const UNIX: i64 = 1_763_600_000;

fn key(keyid: &str, byte: u8) -> SigningKey {
    SigningKey::new(keyid, &Zeroizing::new([byte; 32])).unwrap()
}

fn keeper_with(limits: Limits) -> Keeper {
    let settings = KeeperSettings {
        limits,
        audience: Some("egress-eu-1".to_owned()),
        wire_scheme: "http",
        signature_life: 60,
        closed_uids: BTreeMap::from([(0, "root")]),
    };
    Keeper::new(settings, key("signer-1", 1))
}

fn keeper() -> Keeper {
    keeper_with(Limits::default())
}

fn at(start: Instant, seconds: u64) -> Now {
    Now { monotonic: start + Duration::from_secs(seconds), unix: Some(UNIX) }
}

fn facts(session: &str) -> SessionRequest {
    SessionRequest {
        agent: "support/summarizer".to_owned(),
        session: Some(session.to_owned()),
        ..SessionRequest::default()
    }
}

fn get(authority: &str) -> RequestToSign {
    RequestToSign {
        method: "GET".to_owned(),
        scheme: "https".to_owned(),
        authority: authority.to_owned(),
        path: Some("/".to_owned()),
        content_digest: None,
        content_type: None,
        content_encoding: None,
    }
}

fn connect(authority: &str) -> RequestToSign {
    RequestToSign { method: "CONNECT".to_owned(), path: None, ..get(authority) }
}

#[test]
fn only_what_the_session_grants_is_signed() {
    let (keeper, now) = (keeper(), at(Instant::now(), 0));
    let request = SessionRequest {
        destinations: Some(vec!["*.acme.example".to_owned(), "ssh.other.example:22".to_owned()]),
        tunnels: vec!["ssh.other.example:22".to_owned()],
        ..facts("s-1")
    };
    let (_, opening) = keeper.open(request, None, now).unwrap();
    assert_eq!(opening.tunnels, ["ssh.other.example:22"]);
    let ask = |request: &RequestToSign| keeper.sign(opening.session, request, now);
    let signed = ask(&get("api.acme.example:443")).unwrap();
    assert_eq!(signed.agent_context, "agent=\"support/summarizer\", session=\"s-1\", gateway=\"egress-eu-1\"");
    ask(&connect("ssh.other.example:22")).unwrap();
    let destination = |authority: &str| Err(SignRefusal::Destination { authority: authority.to_owned() });
    assert_eq!(ask(&get("evil.example:443")), destination("evil.example:443"));
    assert_eq!(ask(&get("api.acme.example:22")), destination("api.acme.example:22"));
    assert_eq!(ask(&connect("evil.example:22")), destination("evil.example:22"));
    let tunnel = SignRefusal::Tunnel { authority: "api.acme.example:443".to_owned() };
    assert_eq!(ask(&connect("api.acme.example:443")), Err(tunnel));
    let other = SessionNumber(opening.session.0 + 1);
    assert_eq!(keeper.sign(other, &get("api.acme.example:443"), now), Err(SignRefusal::SessionOver));
    assert!(matches!(ask(&get("api.acme.example:443\r\nx: y")), Err(SignRefusal::Malformed { .. })));
    let no_clock = Now { unix: None, ..now };
    assert_eq!(keeper.sign(opening.session, &get("api.acme.example:443"), no_clock), Err(SignRefusal::Unavailable));
}

#[test]
fn every_signature_has_a_nonce_of_its_own() {
    let (keeper, now) = (keeper(), at(Instant::now(), 0));
    let (_, opening) = keeper.open(facts("s-1"), None, now).unwrap();
    let lines: std::collections::BTreeSet<String> = (0..50)
        .map(|_| keeper.sign(opening.session, &get("api.acme.example:443"), now).unwrap().signature_input)
        .collect();
    assert_eq!(lines.len(), 50);
}

#[test]
fn sessions_end_with_their_life_and_when_idle() {
    let (keeper, start) = (keeper(), Instant::now());
    let request = |name, life, idle| SessionRequest { life: Some(life), idle: Some(idle), ..facts(name) };
    let (short, short_opening) = keeper.open(request("short", 100, 1000), None, at(start, 0)).unwrap();
    let (lazy, lazy_opening) = keeper.open(request("lazy", 1000, 60), None, at(start, 0)).unwrap();
    let sign = |opening: &Opening, seconds| keeper.sign(opening.session, &get("a.example:443"), at(start, seconds));
    sign(&lazy_opening, 50).unwrap();
    sign(&short_opening, 99).unwrap();
    // Over at once, and not only when somebody cleans up.
    assert_eq!(sign(&short_opening, 100), Err(SignRefusal::SessionOver));
    assert!(keeper.extend(&short.id, 10, at(start, 100)).is_err(), "what is over stays over");
    sign(&lazy_opening, 109).unwrap();
    assert_eq!(sign(&lazy_opening, 169), Err(SignRefusal::SessionOver));
    let ended: Vec<String> = keeper.expire(at(start, 169)).into_iter().map(|(_, state)| state.id).collect();
    assert_eq!(ended, [short.id, lazy.id]);
    assert!(keeper.sessions(at(start, 0)).is_empty());
}

#[test]
fn a_session_lives_no_longer_than_the_longest_life() {
    let (start, limits) = (Instant::now(), Limits { longest_life: Duration::from_secs(1000), ..Limits::default() });
    let keeper = keeper_with(limits);
    let too_long = SessionRequest { life: Some(1001), ..facts("x") };
    assert!(keeper.open(too_long, None, at(start, 0)).unwrap_err().to_string().contains("at most 1000"));
    assert!(keeper.open(SessionRequest { life: Some(0), ..facts("x") }, None, at(start, 0)).is_err());
    let (state, _) = keeper.open(SessionRequest { life: Some(100), ..facts("x") }, None, at(start, 0)).unwrap();
    assert_eq!(keeper.extend(&state.id, 500, at(start, 50)).unwrap().expires_in, 500);
    assert_eq!(keeper.extend(&state.id, 10, at(start, 50)).unwrap().expires_in, 500, "never shorter");
    let error = keeper.extend(&state.id, 600, at(start, 401)).unwrap_err().to_string();
    assert!(error.contains("599 s are left"), "{error}");
}

#[test]
fn reports_of_tools_change_what_is_signed_next() {
    let (keeper, now) = (keeper(), at(Instant::now(), 0));
    let request =
        SessionRequest { provenance: vec![Provenance::User], data_class: Some(DataClass::Internal), ..facts("s-1") };
    let (state, opening) = keeper.open(request, None, now).unwrap();
    let context = || keeper.sign(opening.session, &get("a.example:443"), now).unwrap().agent_context;
    assert!(context().ends_with("data_class=internal, provenance=(user)"));
    keeper.report_tool(&state.id, Some("web.search".to_owned()), now).unwrap();
    let report = ProvenanceReport { provenance: vec![Provenance::ThirdParty], data_class: Some(DataClass::Public) };
    let state = keeper.report_provenance(&state.id, &report, now).unwrap();
    assert_eq!(state.provenance, [Provenance::User, Provenance::ThirdParty]);
    assert!(context().contains("tool=\"web.search\""));
    assert!(context().ends_with("data_class=internal, provenance=(user third-party)"));
    keeper.report_tool(&state.id, None, now).unwrap();
    assert!(!context().contains("tool"));
    assert!(keeper.report_tool(&state.id, Some("a\nb".to_owned()), now).is_err());
    assert!(!context().contains("tool"), "what is refused changes nothing");
}

#[test]
fn bounds_hold() {
    let limits = Limits { sessions: 2, signatures_per_second: 1, signature_burst: 3, ..Limits::default() };
    let (keeper, start) = (keeper_with(limits), Instant::now());
    let (_, first) = keeper.open(facts("a"), None, at(start, 0)).unwrap();
    let (second_state, second) = keeper.open(facts("b"), None, at(start, 0)).unwrap();
    assert_eq!(keeper.open(facts("c"), None, at(start, 0)).err(), Some(RefusedSession::TooMany(2)));
    let ask = |opening: &Opening, seconds| keeper.sign(opening.session, &get("a.example:443"), at(start, seconds));
    for _ in 0..3 {
        ask(&first, 0).unwrap();
    }
    assert_eq!(ask(&first, 0), Err(SignRefusal::TooMany));
    ask(&second, 0).unwrap();
    ask(&first, 1).unwrap();
    assert_eq!(ask(&first, 1), Err(SignRefusal::TooMany));
    keeper.close(&second_state.id, Ending::Closed, at(start, 1)).unwrap();
    assert_eq!(ask(&second, 1), Err(SignRefusal::SessionOver));
    let (_, third) = keeper.open(facts("c"), None, at(start, 1)).unwrap();
    assert!(third.session > second.session, "no number is used twice");
}

#[test]
fn a_session_that_could_be_taken_for_another_is_refused() {
    let (keeper, now) = (keeper(), at(Instant::now(), 0));
    let tenant = |name: &str| SessionRequest { tenant: Some(name.to_owned()), ..facts("a") };
    keeper.open(tenant("one"), None, now).unwrap();
    assert_eq!(keeper.open(tenant("one"), None, now).err(), Some(RefusedSession::Duplicate));
    keeper.open(tenant("two"), None, now).unwrap();
    let root = SessionRequest { uids: vec![1000, 0], ..facts("b") };
    assert_eq!(keeper.open(root, None, now).err(), Some(RefusedSession::ClosedUid { uid: 0, whose: "root" }));
    let tunnel = SessionRequest {
        destinations: Some(vec!["a.example".to_owned()]),
        tunnels: vec!["b.example:443".to_owned()],
        ..facts("c")
    };
    assert!(keeper.open(tunnel, None, now).unwrap_err().to_string().contains("not among `destinations`"));
}

#[test]
fn a_key_changes_while_requests_go_on() {
    let keeper = Arc::new(keeper());
    let (_, opening) = keeper.open(facts("a"), None, Now::read()).unwrap();
    let signers: Vec<_> = (0..4)
        .map(|_| {
            let (keeper, session) = (Arc::clone(&keeper), opening.session);
            std::thread::spawn(move || {
                (0..200)
                    .map(|_| keeper.sign(session, &get("a.example:443"), Now::read()).unwrap().signature_input)
                    .filter(|line| !line.contains("keyid=\"signer-1\"") && !line.contains("keyid=\"signer-2\""))
                    .count()
            })
        })
        .collect();
    assert_eq!(keeper.change_key(key("signer-2", 2)), Ok(true));
    for signer in signers {
        assert_eq!(signer.join().unwrap(), 0);
    }
    let line = keeper.sign(opening.session, &get("a.example:443"), Now::read()).unwrap().signature_input;
    assert!(line.contains("keyid=\"signer-2\""));
    assert!(keeper.change_key(key("signer-2", 3)).is_err());
    assert_eq!(keeper.keyid(), "signer-2");
}
