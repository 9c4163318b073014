//! WebSockets, in plain text and over TLS.

use crate::scene::{PLAIN, Scene, TLS, upgrader};
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::Provenance::{self, ThirdParty, User};
use std::time::{Duration, Instant};

fn handshake(scene: &Scene, authority: &str, source: Provenance) -> WireRequest {
    upgrading(scene.request("GET", authority, "/feed", source))
}

/// A signed GET that asks for a WebSocket.
pub(crate) fn upgrading(mut request: WireRequest) -> WireRequest {
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "smuggled.in.a.name"),
        ("x-not-listed", "1"),
    ] {
        request.fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    request
}

#[test]
fn a_websocket_passes_and_is_counted_and_its_head_is_listed() {
    let (address, heads) = upgrader();
    let scene = Scene::start_with(Upstream::start().unwrap(), Some(address));
    for _ in 0..2 {
        let (mut socket, status, id) = scene.open(&handshake(&scene, &scene.tls(), User));
        assert_eq!(status, 101);
        let head = heads.recv_timeout(Duration::from_secs(10)).unwrap().to_lowercase();
        for line in [
            "get /feed http/1.1",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        for name in ["sec-websocket-protocol", "x-not-listed", "signature", "agent-context"] {
            assert!(!head.contains(name), "{name} in {head}");
        }
        for message in [&b"\x81\x05hello"[..], &[7; 3000]] {
            socket.write(message).unwrap();
            assert_eq!(socket.read_at_least(message.len()).unwrap(), message);
        }
        drop(socket);
        let completion = scene.completion(&id.unwrap());
        assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&3007.into(), &3007.into()));
        assert_eq!((&completion["status"], &completion["response_bytes"]), (&101.into(), &3007.into()), "{completion}");
    }
    assert_eq!(scene.server.names(), [Some(TLS.to_owned()), Some(TLS.to_owned())]);
}

#[test]
fn sizes_and_life_hold_in_a_websocket() {
    let (address, _heads) = upgrader();
    let scene = Scene::start_with(Upstream::start().unwrap(), Some(address));
    let (mut socket, status, id) = scene.open(&handshake(&scene, &scene.tls(), ThirdParty));
    assert_eq!(status, 101);
    socket.write(&[1; 16]).unwrap();
    assert_eq!(socket.read_at_least(16).unwrap().len(), 16);
    socket.write(&[1; 1]).unwrap();
    assert_eq!(socket.read_to_end().unwrap(), b"", "the seventeenth byte of a third party's");
    let id = id.unwrap();
    let expected = ("payload-provenance".to_owned(), "limits/provenance/third-party/body".to_owned());
    assert_eq!(scene.cut(&id), expected);
    let completion = scene.completion(&id);
    assert_eq!((&completion["forwarded_bytes"], &completion["ending"]), (&16.into(), &"refused".into()));
    let (mut socket, _, _) = scene.open(&handshake(&scene, &scene.tls(), User));
    let start = Instant::now();
    let mut echoed = 0;
    while socket.write(b"x").is_ok() && socket.read_at_least(1).is_ok() {
        echoed += 1;
        assert!(start.elapsed() < Duration::from_secs(20), "it outlives its time");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(echoed > 5 && start.elapsed() >= Duration::from_secs(3), "{echoed} in {:?}", start.elapsed());
}

/// A server that does not upgrade reads what follows as its next request: nobody would have judged that one.
#[test]
fn no_request_is_smuggled_behind_an_upgrade_that_is_not_taken() {
    let scene = Scene::start();
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nhost: {PLAIN}\r\n\r\n");
    // With the head, and once the answer is there.
    let head = exeat_e2e::scenario::real::framed(&handshake(&scene, &scene.plain(), User)).head_bytes();
    let mut connection = Connection::open(scene.real.listener).unwrap();
    connection.write(&[&head, smuggled.as_bytes()].concat()).unwrap();
    let _ = connection.read_to_end();
    let early = |record: &serde_json::Value| record["condition"] == "bytes before the upstream has upgraded";
    scene.real.wait_for_records("the refusal of what came early", |records| records.iter().any(early)).unwrap();
    let (mut connection, status, id) = scene.open(&handshake(&scene, &scene.plain(), User));
    assert_eq!(status, 200);
    let _ = connection.write(smuggled.as_bytes());
    let _ = connection.read_to_end();
    scene.completion(&id.unwrap());
    let paths: Vec<String> = scene.real.upstream.take().into_iter().map(|request| request.path).collect();
    assert!(paths.iter().all(|path| path == "/feed"), "{paths:?}");
    assert!(!scene.real.upstream.wire_contains(b"smuggled"));
}

#[test]
fn a_websocket_in_plain_text_takes_the_plain_way() {
    let scene = Scene::start();
    // The upstream of the stage knows no WebSocket and answers as to any GET.
    let (_, status, _) = scene.open(&handshake(&scene, &scene.plain(), User));
    assert_eq!(status, 200);
    let came = scene.real.upstream.take();
    assert_eq!((came.len(), came[0].header("upgrade")), (1, Some(&b"websocket"[..])));
    let closed = format!("closed.tls.example:{}", scene.server.address().port());
    let (_, status, _) = scene.open(&handshake(&scene, &closed, User));
    assert_eq!(status, 403);
    assert!(scene.server.names().is_empty());
    assert!(PLAIN != TLS);
}
