//! Bytes of tunnels and WebSockets are charged to a budget as they flow.

use crate::scene::{Scene, TLS, upgrader};
use crate::websockets::upgrading;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::tls::speak_over;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::Provenance::User;

const REQUEST: &[u8] = b"GET /inside HTTP/1.1\r\nhost: api.tls.example\r\nconnection: close\r\n\r\n";

fn connect(scene: &Scene, session: &str) -> WireRequest {
    scene.request_by(("support/metered", session), "CONNECT", &scene.tls(), "", User)
}

#[test]
fn a_tunnel_whose_bytes_run_out_is_ended_and_recorded() {
    let scene = Scene::start();
    let (mut tunnel, status, id) = scene.open(&connect(&scene, "s-1"));
    assert_eq!(status, 200);
    let answer = speak_over(&mut tunnel, &scene.authority, TLS, REQUEST, |hello| vec![hello]).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    drop(tunnel);
    let first = scene.completion(&id.unwrap())["forwarded_bytes"].as_u64().unwrap();

    let (mut tunnel, status, id) = scene.open(&connect(&scene, "s-1"));
    assert_eq!(status, 200);
    let large = [REQUEST, &[b'a'; 60_000]].concat();
    let _ = speak_over(&mut tunnel, &scene.authority, TLS, &large, |hello| vec![hello]);
    let id = id.unwrap();
    assert_eq!(scene.cut(&id), ("budget-bytes".to_owned(), "limits/bytes: 16KiB/session".to_owned()));
    let completion = scene.completion(&id);
    let second = completion["forwarded_bytes"].as_u64().unwrap();
    assert_eq!(completion["ending"], "refused");
    assert!(first > 300 && second > 200 && first + second <= 16 * 1024, "{first} and {second}");

    // Another session has its own.
    let (mut tunnel, _, _) = scene.open(&connect(&scene, "s-2"));
    let answer = speak_over(&mut tunnel, &scene.authority, TLS, REQUEST, |hello| vec![hello]).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn websockets_of_a_session_share_its_bytes() {
    let (address, _heads) = upgrader();
    let scene = Scene::start_with(Upstream::start().unwrap(), Some(address));
    let feed = || upgrading(scene.request_by(("support/metered", "s-1"), "GET", &scene.tls(), "/feed", User));
    // Each head costs five, so that twenty are left for both.
    let (mut one, status, _) = scene.open(&feed());
    let (mut two, also, id) = scene.open(&feed());
    assert_eq!((status, also), (101, 101));
    for _ in 0..4 {
        one.write(b"1").unwrap();
        one.read_at_least(1).unwrap();
        two.write(b"four").unwrap();
        two.read_at_least(4).unwrap();
    }
    two.write(b"x").unwrap();
    assert_eq!(two.read_to_end().unwrap(), b"");
    let id = id.unwrap();
    assert_eq!(scene.cut(&id), ("budget-bytes".to_owned(), "limits/bytes: 30B/session".to_owned()));
    assert_eq!(scene.completion(&id)["forwarded_bytes"], 16);
    let (_, status, _) = scene.open(&feed());
    assert_eq!(status, 429);
}
