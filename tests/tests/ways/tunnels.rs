//! CONNECT.

use crate::scene::{Scene, TLS};
use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::{Connection, Http2};
use exeat_e2e::stage::silent::Silent;
use exeat_e2e::stage::tls::speak_over;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::DataClass;
use exeat_engine::context::Provenance::{ThirdParty, User};
use exeat_engine::context::sign::ContextFields;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET /inside HTTP/1.1\r\nhost: api.tls.example\r\nconnection: close\r\n\r\n";

#[test]
fn a_tunnel_carries_tls_for_its_host_and_is_counted() {
    let mut scene = Scene::start();
    // The same name by TLS of the gateway before, between and after: the ways do not mix.
    let check = |scene: &mut Scene| {
        let reply = scene.real.send(&scene.request("GET", &scene.tls(), "/outside", User)).unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        assert_eq!(scene.behind.take().iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/outside"]);
    };
    for pieces in [1, 7] {
        check(&mut scene);
        let (mut tunnel, status, id) = scene.open(&scene.request("CONNECT", &scene.tls(), "", User));
        assert_eq!(status, 200);
        let size = |hello: &[u8]| hello.len().div_ceil(pieces);
        let hello = |hello: Vec<u8>| hello.chunks(size(&hello)).map(<[u8]>::to_vec).collect();
        let answer = speak_over(&mut tunnel, &scene.authority, TLS, REQUEST, hello).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let inside = scene.behind.take();
        assert_eq!(inside.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/inside"]);
        drop(tunnel);
        let completion = scene.completion(&id.unwrap());
        let (sent, received) =
            (completion["forwarded_bytes"].as_u64().unwrap(), completion["response_bytes"].as_u64().unwrap());
        assert!(sent > 300 && received > 300, "{completion}");
        assert_eq!(completion["received_bytes"], sent);
        assert_eq!(completion["guard"]["verdict"], "passed");
    }
    check(&mut scene);
}

#[test]
fn what_is_no_tls_for_the_host_does_not_get_through() {
    let scene = Scene::start();
    let authority = scene.tls();
    for (bytes, condition) in [
        (b"GET / HTTP/1.1\r\nhost: api.tls.example\r\n\r\n".to_vec(), "the tunnel does not begin with TLS"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00".to_vec(), "the tunnel does not begin with TLS"),
        (b"\x16\x03\x01\x00\x00".to_vec(), "the ClientHello of the tunnel is malformed"),
    ] {
        let (mut tunnel, status, id) = scene.open(&scene.request("CONNECT", &authority, "", User));
        assert_eq!(status, 200);
        tunnel.write(&bytes).unwrap();
        assert_eq!(tunnel.read_to_end().unwrap(), b"");
        let id = id.unwrap();
        assert_eq!(scene.cut(&id), ("tunnel-denied".to_owned(), condition.to_owned()));
        let completion = scene.completion(&id);
        assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&"refused".into(), &0.into()));
    }
    // Another name, by a client that means it.
    let (mut tunnel, _, id) = scene.open(&scene.request("CONNECT", &authority, "", User));
    speak_over(&mut tunnel, &scene.authority, "closed.tls.example", REQUEST, |hello| vec![hello]).unwrap_err();
    assert_eq!(scene.cut(&id.unwrap()).1, "the ClientHello of the tunnel names another server");
    assert_eq!((scene.server.names().len(), scene.behind.take().len()), (0, 0), "no handshake was ever finished");
}

/// The client hands no bytes over in a tunnel; that it opens, and for whom, is what differs from HTTP/1.1.
#[test]
fn a_tunnel_opens_over_http2_as_well() {
    let scene = Scene::start();
    let connect = |authority: &str| {
        let wire = scene.request("CONNECT", authority, "", User);
        let head = http::Request::builder().method("CONNECT").uri(authority);
        let fields = wire.fields.iter();
        let request = fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice()));
        Http2::connect(scene.real.listener).unwrap().send(request.body(Vec::new()).unwrap()).unwrap()
    };
    let response = connect(&scene.tls());
    assert_eq!(response.status, 200);
    let id = response.header("exeat-decision").unwrap().to_owned();
    assert_eq!(scene.completion(&id)["forwarded_bytes"], 0);
    let closed = connect(&format!("closed.tls.example:{}", scene.server.address().port()));
    assert_eq!((closed.status, closed.header("exeat-reason")), (403, Some("tunnel-denied")));
    assert_eq!(scene.server.names().len(), 0);
}

#[test]
fn sizes_hold_in_a_tunnel_and_sources_too() {
    let scene = Scene::start();
    let authority = scene.tls();
    let (mut tunnel, status, id) = scene.open(&scene.request("CONNECT", &authority, "", ThirdParty));
    assert_eq!(status, 200);
    speak_over(&mut tunnel, &scene.authority, TLS, REQUEST, |hello| vec![hello]).unwrap_err();
    let expected = ("payload-provenance".to_owned(), "limits/provenance/third-party/body".to_owned());
    assert_eq!(scene.cut(&id.unwrap()), expected);
    let (mut tunnel, _, id) = scene.open(&scene.request("CONNECT", &authority, "", User));
    let large = [REQUEST, &[b'a'; 70_000]].concat();
    let _ = speak_over(&mut tunnel, &scene.authority, TLS, &large, |hello| vec![hello]);
    assert_eq!(scene.cut(&id.unwrap()), ("payload-too-large".to_owned(), "limits/body".to_owned()));
}

#[test]
fn a_tunnel_ends_with_its_life() {
    let scene = Scene::start();
    let start = Instant::now();
    let (mut tunnel, _, id) = scene.open(&scene.request("CONNECT", &scene.tls(), "", User));
    // Nothing is sent at all.
    assert_eq!(tunnel.read_to_end().unwrap(), b"");
    assert!((3..9).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let id = id.unwrap();
    assert_eq!(scene.cut(&id), ("tunnel-denied".to_owned(), "destinations/tls/life: it is over".to_owned()));
    let completion = scene.completion(&id);
    assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&"refused".into(), &0.into()));
}

#[test]
fn a_tunnel_leads_where_one_is_open_and_past_the_guard() {
    let mut scene = Scene::start();
    let closed = format!("closed.tls.example:{}", scene.server.address().port());
    let reply = scene.real.send(&scene.request("CONNECT", &closed, "", User)).unwrap();
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (403, Some("tunnel-denied")));
    let reply = scene.real.send(&scene.request("CONNECT", &scene.plain(), "", User)).unwrap();
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (403, Some("tunnel-denied")));
    // A signature of a GET to the same host is none of a tunnel.
    let mut forged = scene.request("GET", &scene.tls(), "/a", User);
    (forged.method, forged.target) = ("CONNECT".to_owned(), scene.tls());
    assert_eq!(scene.real.send(&forged).unwrap().status, 401);
}

/// While the name of the host is looked up the host keeps what comes, and with the name lets go of all that it kept.
#[test]
fn not_a_byte_goes_before_its_client_hello_is_whole() {
    const LIMIT: Duration = Duration::from_secs(60);
    let (silent, upstream) = (Silent::start().unwrap(), Upstream::start().unwrap());
    let port = silent.address().port().to_string();
    let gateway = Gateway::prepare_with("ways", upstream.address().port(), &[("@TLS_PORT@", &port)]).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    // Time for the first bytes to come; with too little of it this test would show nothing.
    real.dns.set_delay(Duration::from_secs(2));
    let unsigned = UnsignedRequest::new("CONNECT", &format!("http://{TLS}:{port}")).unwrap();
    let context = ContextFields {
        agent: "support/summarizer".to_owned(),
        session: "s-1".to_owned(),
        tenant: Some("acme".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![User],
        ..ContextFields::default()
    };
    let head = framed(&WireRequest::signed(&unsigned, &context, &real).unwrap()).head_bytes();
    // The beginning of a ClientHello of 512 bytes, its random part with what is not to be told.
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"secret secret secret secret secr"].concat();
    let mut connection = Connection::open(real.listener).unwrap().with_limit(LIMIT);
    connection.write(&[head, hello.clone()].concat()).unwrap();
    assert_eq!(connection.read_response("CONNECT").unwrap().status, 200);
    assert_eq!(silent.bytes(), 0, "a part of the ClientHello went");
    // It goes on as it would have, with the beginning that was kept: to an end that is not this host's.
    connection.write(&[0; 480]).unwrap();
    assert_eq!(connection.read_to_end().unwrap(), b"");
    assert_eq!(silent.bytes(), 0);
}
