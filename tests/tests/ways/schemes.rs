//! The scheme is the destination's, whatever form or scheme a request comes in.

use crate::scene::{PLAIN, Scene, TLS};
use exeat_e2e::scenario::document::Protocol;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Http2;
use exeat_engine::context::Provenance::User;

/// Over plain HTTP, Envoy itself refuses a target that says `https://`.
#[test]
fn https_in_absolute_form_over_plain_http_goes_nowhere() {
    let mut scene = Scene::start();
    for authority in [scene.tls(), scene.plain()] {
        let mut request = scene.request("GET", &authority, "/a", User);
        request.target = format!("https://{authority}/a");
        let reply = scene.real.send(&request).unwrap();
        assert_eq!((reply.status, reply.header("exeat-decision")), (403, None));
    }
    assert_eq!((scene.behind.take().len(), scene.real.upstream.take().len()), (0, 0));
}

#[test]
fn tls_or_not_is_for_the_destination_to_say() {
    tls_or_not(Scene::start(), &["/a%2f", "http://@/b"]);
    tls_or_not(Scene::start_behind_tls(), &["/a%2f", "http://@/b", "https://@/c"]);
}

fn tls_or_not(mut scene: Scene, targets: &[&str]) {
    let (tls, plain) = (scene.tls(), scene.plain());
    for target in targets {
        for (authority, over_tls) in [(&tls, true), (&plain, false)] {
            let path = target.rsplit_once('@').map_or(*target, |(_, path)| path);
            // Only one of them opens the encoded slash.
            let path = if over_tls && path == "/a%2f" { "/a" } else { path };
            let mut request = scene.request("GET", authority, path, User);
            if target.contains('@') {
                request.target = target.replace('@', authority);
            }
            let reply = scene.real.send(&request).unwrap();
            assert_eq!(reply.status, 200, "{target} {authority}: {}", String::from_utf8_lossy(&reply.body));
            let (there, elsewhere) = match over_tls {
                true => (scene.behind.take(), scene.real.upstream.take()),
                false => (scene.real.upstream.take(), scene.behind.take()),
            };
            assert_eq!((there.len(), elsewhere.len()), (1, 0), "{target} {authority}");
            assert_eq!((there[0].path.as_str(), there[0].authority.as_deref()), (path, Some(authority.as_str())));
        }
    }
    assert!(scene.server.names().iter().all(|name| name.as_deref() == Some(TLS)), "{:?}", scene.server.names());
    assert!(!scene.server.names().is_empty());
}

#[test]
fn a_scheme_in_http2_is_not_believed() {
    let scene = Scene::start();
    let (tls, plain) = (scene.tls(), scene.plain());
    for scheme in ["http", "https", "ftp", "gopher"] {
        for authority in [&tls, &plain] {
            let wire = scene.request("GET", authority, "/a", User);
            let uri =
                http::Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/a").build().unwrap();
            let head = http::Request::builder().method("GET").uri(uri);
            let fields = wire.fields.iter();
            let request = fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice()));
            let sent = Http2::connect(scene.real.listener).unwrap().send(request.body(Vec::new()).unwrap());
            let (behind, plain) = (scene.behind.take().len(), scene.real.upstream.take().len());
            match sent {
                Ok(response) if response.status == 200 => {
                    assert_eq!(
                        (behind, plain),
                        if authority == &tls { (1, 0) } else { (0, 1) },
                        "{scheme} {authority}"
                    );
                }
                // Envoy itself may have no ear for it.
                other => assert_eq!((behind, plain), (0, 0), "{scheme} {authority}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_port_that_is_not_the_destinations_leads_nowhere() {
    let mut scene = Scene::start();
    let (tls_port, plain_port) = (scene.server.address().port(), scene.real.upstream_port());
    for authority in [
        format!("{TLS}:{plain_port}"),
        format!("{PLAIN}:{tls_port}"),
        format!("{TLS}:443"),
        format!("{PLAIN}:80"),
        TLS.to_owned(),
        PLAIN.to_owned(),
    ] {
        let mut request = scene.request("GET", &authority, "/a", User);
        for protocol in [Protocol::Http1, Protocol::Http2] {
            request.protocol = protocol;
            let reply = scene.real.send(&request).unwrap();
            assert!(matches!(reply.status, 401 | 403), "{authority}: {}", reply.status);
        }
    }
    assert_eq!((scene.behind.take().len(), scene.real.upstream.take().len()), (0, 0));
}

/// `other.tls.example` is the same server, and not in its certificate.
#[test]
fn a_certificate_of_another_name_ends_it() {
    let mut scene = Scene::start();
    let authority = format!("other.tls.example:{}", scene.server.address().port());
    let reply = scene.real.send(&scene.request("GET", &authority, "/a", User)).unwrap();
    assert_eq!(reply.status, 503, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(scene.behind.take().len(), 0);
}
