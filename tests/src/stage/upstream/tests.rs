use super::*;
use crate::stage::client::{Connection, Request, send};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_request_is_recorded_as_it_came() {
    let upstream = Upstream::start().unwrap();
    let request = Request::new("PUT", "/a/b?c=%2F")
        .header("Host", "a.test")
        .header("X-One", b"\xff\x80")
        .header("x-two", "2")
        .header("X-ONE", "again")
        .body("hello");
    let response = send(upstream.address(), &request).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.json().unwrap()["body_length"], 5);

    let [recorded] = upstream.requests().try_into().unwrap();
    assert_eq!((recorded.method.as_str(), recorded.path.as_str()), ("PUT", "/a/b?c=%2F"));
    assert_eq!((recorded.version, recorded.authority.as_deref()), (http::Version::HTTP_11, Some("a.test")));
    assert_eq!(recorded.all("x-one"), [b"\xff\x80".as_slice(), b"again"]);
    let names: Vec<&str> = recorded.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "x-one", "x-one", "x-two", "content-length"]);
    assert_eq!((recorded.body.as_slice(), recorded.body_length), (b"hello".as_slice(), 5));
    assert_eq!(recorded.body_sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!(recorded.progress, Progress::Complete);

    // The wire has what the parser loses.
    assert_eq!(upstream.wire(), [request.bytes()]);
    assert_eq!(upstream.bytes_received(), request.bytes().len() as u64);
    assert!(upstream.wire_contains(b"X-ONE: again"));
    assert!(!upstream.wire_contains(b"x-one: again"));
}

#[test]
fn a_body_is_seen_while_it_comes_and_when_it_breaks_off() {
    let upstream = Upstream::start().unwrap();
    let mut connection = Connection::open(upstream.address()).unwrap();
    connection.write(b"POST /slow HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\n").unwrap();
    upstream.wait_until("a head", SOON, |requests| requests.len() == 1).unwrap();
    connection.write(b"1234").unwrap();
    let requests = upstream.wait_until("4 bytes", SOON, |requests| requests[0].body_length == 4).unwrap();
    assert_eq!((requests[0].body.as_slice(), requests[0].progress), (b"1234".as_slice(), Progress::Receiving));
    drop(connection);
    let requests = upstream.wait_for(1, SOON).unwrap();
    assert_eq!((requests[0].body_length, requests[0].progress), (4, Progress::Aborted));
}

#[test]
fn a_long_body_is_capped_but_measured_whole() {
    let upstream = Upstream::start().unwrap();
    let body = vec![b'x'; BODY_CAP + 12_345];
    send(upstream.address(), &Request::new("POST", "/").header("host", "a.test").body(&body)).unwrap();
    let [recorded] = upstream.requests().try_into().unwrap();
    assert_eq!((recorded.body.len(), recorded.body_length), (BODY_CAP, body.len() as u64));
    assert_eq!(recorded.body_sha256, hex(&Sha256::digest(&body)));
}

#[test]
fn taking_forgets_but_does_not_stop_counting() {
    let upstream = Upstream::start().unwrap();
    for path in ["/1", "/2"] {
        send(upstream.address(), &Request::new("GET", path).header("host", "a.test")).unwrap();
    }
    let paths: Vec<String> = upstream.take().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/1", "/2"]);
    assert_eq!((upstream.requests().len(), upstream.count()), (0, 2));
    let error = upstream.wait_for(1, Duration::from_millis(20)).unwrap_err().to_string();
    assert!(error.contains("no 1 finished requests within 20ms"), "{error}");
}

#[test]
fn replies_of_every_manner() {
    let upstream = Upstream::start_with(|request| match request.path.as_str() {
        "/chunks" => {
            Reply::new(200).chunk(Duration::ZERO, "a").chunk(Duration::from_millis(10), "b").trailer("x-t", "1")
        }
        "/break" => Reply::new(200).chunk(Duration::ZERO, "part").then_break_off(),
        "/close" => Reply::close(),
        "/hang" => Reply::hang(),
        "/late" => Reply::new(204).after(Duration::from_millis(100)),
        _ => Reply::new(404).header("x-raw", b"\xfe").body("nothing here"),
    })
    .unwrap();
    let get = |path: &str| {
        let request = Request::new("GET", path).header("host", "a.test").header("te", "trailers");
        Connection::open(upstream.address()).unwrap().with_limit(Duration::from_millis(500)).send(&request)
    };
    let chunks = get("/chunks").unwrap();
    assert_eq!(
        (chunks.text().as_str(), chunks.trailers.as_slice()),
        ("ab", [("x-t".to_owned(), b"1".to_vec())].as_slice())
    );
    let part = get("/break").unwrap();
    assert_eq!((part.text().as_str(), part.truncated), ("part", true));
    assert!(get("/close").unwrap_err().to_string().contains("closed without an answer"));
    assert!(get("/hang").unwrap_err().to_string().contains("no complete answer"));
    let start = Instant::now();
    assert_eq!(get("/late").unwrap().status, 204);
    assert!(start.elapsed() >= Duration::from_millis(100));
    let other = get("/").unwrap();
    assert_eq!(
        (other.status, other.header("content-length"), other.text().as_str()),
        (404, Some("12"), "nothing here")
    );
}

#[test]
fn bytes_of_a_refused_request_are_on_the_wire() {
    let upstream = Upstream::start().unwrap();
    let response = send(upstream.address(), &Request::new("GET", "/").header("bad name", "x")).unwrap();
    assert_eq!((response.status, upstream.count()), (400, 0));
    let end = Instant::now() + SOON;
    while !upstream.wire_contains(b"bad name: x") {
        assert!(Instant::now() < end, "{:?}", upstream.wire());
        std::thread::sleep(Duration::from_millis(5));
    }
}
