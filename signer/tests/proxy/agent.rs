//! What agents do, byte for byte, and what a client library does for them.

use crate::keeper::{LIMIT, Session, within};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads until the other side closes. An abrupt close is a close.
pub(crate) async fn read_to_end<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match tokio::time::timeout(LIMIT, stream.read(&mut buffer)).await.expect("the connection stays open") {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Reads until the text ends so.
pub(crate) async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let byte = within(stream.read_u8()).await;
        let byte = byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)));
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}

/// Sends bytes and reads until the proxy closes.
pub(crate) async fn raw(session: &Session, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = dial(session.address).await;
    let _ = stream.write_all(bytes.as_ref()).await;
    read_to_end(&mut stream).await
}

/// A request to the proxy without a body, that asks for the connection to be closed.
pub(crate) fn request(session: &Session, method: &str, target: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let credentials = session.credentials();
    format!("{method} {target} HTTP/1.1\r\nproxy-authorization: {credentials}\r\nconnection: close\r\n{lines}\r\n")
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

pub(crate) fn reason(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("exeat-reason: "));
    line.unwrap_or_else(|| panic!("no reason: {answer:?}")).to_owned()
}

/// CONNECT, answered with 200.
pub(crate) async fn connect(session: &Session, authority: &str) -> TcpStream {
    let mut stream = dial(session.address).await;
    let credentials = session.credentials();
    let head =
        format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: {credentials}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
    stream
}

/// A client that trusts this authority.
pub(crate) fn trusting(ca_pem: &str, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn tls(
    session: &Session,
    stream: TcpStream,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(trusting(&session.ca_pem, alpn).connect(name, stream)).await
}

/// A tunnel to a host on port 443, with TLS inside.
pub(crate) async fn tunnel(session: &Session, host: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
    tls(session, connect(session, &format!("{host}:443")).await, host, alpn).await.unwrap()
}

/// Sends bytes inside a tunnel and reads until the proxy closes.
pub(crate) async fn raw_inside(session: &Session, host: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = tunnel(session, host, &["http/1.1"]).await;
    let _ = stream.write_all(bytes.as_ref()).await;
    read_to_end(&mut stream).await
}

/// HTTP/1.1 over a stream.
pub(crate) async fn http1<S>(stream: S) -> hyper::client::conn::http1::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// HTTP/2 over a stream.
pub(crate) async fn http2<S>(stream: S) -> hyper::client::conn::http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request of a client library to the proxy.
pub(crate) fn built(session: &Session, method: &str, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("proxy-authorization", session.credentials())
        .header("host", target.parse::<http::Uri>().unwrap().authority().map_or("", |authority| authority.as_str()))
        .body(Full::new(body.into()))
        .unwrap()
}

/// Sends one request to the proxy by a client library.
pub(crate) async fn send(session: &Session, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let mut sender = http1(dial(session.address).await).await;
    within(sender.send_request(request)).await.unwrap()
}

pub(crate) async fn body(response: Response<Incoming>) -> Bytes {
    within(response.into_body().collect()).await.unwrap().to_bytes()
}
