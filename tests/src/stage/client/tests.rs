use std::net::{Ipv4Addr, TcpListener};

use http::HeaderMap;

use super::*;
use crate::stage::upstream::{Reply, Upstream};

/// A peer that answers the first bytes it gets with exactly these, then closes.
fn peer_that_says(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer).unwrap();
    });
    address
}

fn get(answer: &'static [u8]) -> Result<Response> {
    send(peer_that_says(answer), &Request::new("GET", "/").header("host", "a.test"))
}

#[test]
fn bytes_go_out_as_given() {
    let request = Request::new("GET", "http://a.test/\u{e9}")
        .header("Host", "a.test")
        .header("host", "b.test")
        .header(b"x-\xff", b"\x80\xfe")
        .body("hi");
    assert_eq!(
        request.bytes(),
        b"GET http://a.test/\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\nhost: b.test\r\nx-\xff: \x80\xfe\r\ncontent-length: 2\r\n\r\nhi"
    );
    let request = Request::new("POST", "/").chunks(&[b"abc", &[0xff; 16]], &[("x-sum", "1")]);
    let expected = [
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n".as_slice(),
        &[0xff; 16],
        b"\r\n0\r\nx-sum: 1\r\n\r\n",
    ];
    assert_eq!(request.bytes(), expected.concat());
}

#[test]
fn bodies_by_each_framing() {
    let length = get(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    assert_eq!((length.status, length.text().as_str(), length.truncated), (200, "hi", false));

    let close = get(b"HTTP/1.1 403 Forbidden\r\n\r\nuntil the end").unwrap();
    assert_eq!((close.status, close.text().as_str(), close.truncated), (403, "until the end", false));

    let chunked =
        get(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\n\r\n")
            .unwrap();
    assert_eq!((chunked.text().as_str(), chunked.truncated), ("abcde", false));
    assert_eq!(chunked.trailers, [("x-sum".to_owned(), b"9".to_vec())]);

    let empty = get(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!((empty.status, empty.body.len()), (204, 0));
}

#[test]
fn an_incomplete_body_shows() {
    let length = get(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").unwrap();
    assert_eq!((length.text().as_str(), length.truncated), ("hi", true));
    let chunked = get(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
    assert_eq!((chunked.text().as_str(), chunked.truncated), ("abc", true));
}

#[test]
fn informational_answers_come_before_the_answer() {
    let response = get(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let response = response.unwrap();
    assert_eq!((response.status, response.informational.as_slice()), (200, [100, 103].as_slice()));
}

#[test]
fn field_values_keep_their_bytes() {
    let response = get(b"HTTP/1.1 200 OK\r\nX-Raw: \xff\x80\r\nx-raw: b\r\ncontent-length: 0\r\n\r\n").unwrap();
    let raw: Vec<&[u8]> =
        response.headers.iter().filter(|(name, _)| name == "x-raw").map(|(_, value)| value.as_slice()).collect();
    assert_eq!(raw, [b"\xff\x80".as_slice(), b"b"]);
}

#[test]
fn silence_and_nonsense_are_errors() {
    for (answer, expected) in [
        (b"".as_slice(), "closed without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP/1.1 answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a chunk without a size"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n", "a chunk is longer than its size"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length is"),
    ] {
        let error = get(answer).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut connection =
        Connection::open(listener.local_addr().unwrap()).unwrap().with_limit(Duration::from_millis(100));
    let error = connection.send(&Request::new("GET", "/")).unwrap_err().to_string();
    assert!(error.contains("no complete answer within 100ms"), "{error}");
}

#[test]
fn an_answer_before_the_body_is_sent_counts() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
        stream
    });
    // More than the socket buffers hold, and nobody reads it.
    let mut connection = Connection::open(address).unwrap().with_limit(Duration::from_secs(2));
    let response = connection.send(&Request::new("POST", "/").body(vec![b'x'; 64 << 20])).unwrap();
    assert_eq!(response.status, 413);
    drop(refusing);
}

#[test]
fn requests_follow_one_another_on_a_connection() {
    let upstream = Upstream::start().unwrap();
    let mut connection = Connection::open(upstream.address()).unwrap();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(connection.send(&Request::new("GET", path).header("host", "a.test")).unwrap().status, 200);
    }
    assert_eq!(connection.send(&Request::new("HEAD", "/4").header("host", "a.test")).unwrap().body, b"");
    assert_eq!(connection.send(&Request::new("GET", "/5").header("host", "a.test")).unwrap().status, 200);
    assert_eq!((upstream.count(), upstream.connections()), (5, 1));
}

#[test]
fn http2_carries_fields_bodies_and_trailers() {
    let upstream = Upstream::start_with(|request| {
        Reply::new(201).header("x-raw", b"\x80\xff").chunk(Duration::ZERO, request.body.clone()).trailer("x-after", "1")
    })
    .unwrap();
    let client = Http2::connect(upstream.address()).unwrap();
    let request = http::Request::post("http://a.test/p?q=1").header("x-bytes", &b"\xfe"[..]).body(b"hello".to_vec());
    let response = client.send(request.unwrap()).unwrap();
    assert_eq!((response.status, response.text().as_str(), response.truncated), (201, "hello", false));
    assert!(response.headers.contains(&("x-raw".to_owned(), b"\x80\xff".to_vec())));
    assert_eq!(response.trailers, [("x-after".to_owned(), b"1".to_vec())]);

    let mut trailers = HeaderMap::new();
    trailers.insert("x-late", "yes".parse().unwrap());
    let request = http::Request::post("http://a.test/t").body(()).unwrap();
    client.send_stream(request, vec![b"a".to_vec(), b"b".to_vec()], Duration::from_millis(5), Some(trailers)).unwrap();

    let [first, second] = upstream.requests().try_into().unwrap();
    assert_eq!(
        (first.version, first.authority.as_deref(), first.path.as_str()),
        (http::Version::HTTP_2, Some("a.test"), "/p?q=1")
    );
    assert_eq!(first.header("x-bytes"), Some(b"\xfe".as_slice()));
    assert_eq!(
        (second.body.as_slice(), second.trailers.as_slice()),
        (b"ab".as_slice(), [("x-late".to_owned(), b"yes".to_vec())].as_slice())
    );
}

#[test]
fn http2_errors_name_their_cause() {
    let upstream = Upstream::start_with(|_| Reply::close()).unwrap();
    let client = Http2::connect(upstream.address()).unwrap();
    let error = client.send(http::Request::get("http://a.test/").body(Vec::new()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("stream error") || error.contains("reset"), "{error}");
}
