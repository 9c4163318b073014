//! What runs on this machine is asked by HTTP: on a port of loopback, or a socket.

use anyhow::{Context as _, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

/// Time for connection and answer, each.
const LIMIT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const MOST: u64 = 64 * 1024;

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A port on loopback.
    Loopback(SocketAddr),
    /// A socket in the file system.
    Socket(String),
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            ensure!(
                path.starts_with('/'),
                "{text:?} names no absolute path; write it as in unix:/run/exeat/control.sock"
            );
            return Ok(Self::Socket(path.to_owned()));
        }
        let address: SocketAddr =
            text.parse().with_context(|| format!("{text:?} is neither ADDR:PORT nor unix:PATH"))?;
        ensure!(address.ip().is_loopback(), "{address} is not on loopback; this asks what runs beside it");
        Ok(Self::Loopback(address))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    line: String,
    text: String,
}

impl Answer {
    /// The status, where the answer is one of HTTP.
    pub(crate) fn status(&self) -> Option<u16> {
        let mut words = self.line.split(' ');
        words.next().filter(|version| version.starts_with("HTTP/1."))?;
        words.next().filter(|status| status.len() == 3)?.parse().ok()
    }

    /// Its first line, for messages.
    pub(crate) fn line(&self) -> String {
        self.line.chars().take(80).collect()
    }

    /// All of it, with whatever frames it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Place {
    /// Asks, without a body.
    ///
    /// # Errors
    /// Nobody is there, or nothing comes in time.
    pub(crate) fn ask(&self, method: &str, path: &str) -> anyhow::Result<Answer> {
        let bytes = match self {
            Self::Loopback(address) => {
                let stream = TcpStream::connect_timeout(address, LIMIT)
                    .with_context(|| format!("nobody answers at {address}"))?;
                stream.set_read_timeout(Some(LIMIT))?;
                stream.set_write_timeout(Some(LIMIT))?;
                exchange(stream, method, path)
            }
            Self::Socket(socket) => {
                let stream = UnixStream::connect(socket).with_context(|| format!("nobody answers at {socket}"))?;
                stream.set_read_timeout(Some(LIMIT))?;
                stream.set_write_timeout(Some(LIMIT))?;
                exchange(stream, method, path)
            }
        };
        let text = String::from_utf8_lossy(&bytes.context("no answer")?).into_owned();
        Ok(Answer { line: text.lines().next().unwrap_or_default().to_owned(), text })
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str) -> std::io::Result<Vec<u8>> {
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")?;
    let mut answer = Vec::new();
    // Where the other side does not close, what came is there all the same.
    match stream.take(MOST).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Gives these answers, one after the other, and then the requests' first lines.
    pub(crate) fn answering(answers: &'static [&'static str]) -> (Place, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Loopback(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let answer = |answer: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
            };
            answers.iter().map(answer).collect()
        });
        (place, server)
    }

    #[test]
    fn nobody_afar_is_asked() {
        for (place, good) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("10.0.0.1:1", false),
            ("collector:9470", false),
            ("unix:/run/exeat/control.sock", true),
            ("unix:control.sock", false),
        ] {
            assert_eq!(place.parse::<Place>().is_ok(), good, "{place}");
        }
    }

    #[test]
    fn a_status_is_one_of_http() {
        for (line, status) in [
            ("HTTP/1.1 200 OK", Some(200)),
            ("HTTP/1.0 503 no", Some(503)),
            ("HTTP/1.1 2000 OK", None),
            ("SMTP 200 OK", None),
            ("", None),
        ] {
            assert_eq!(Answer { line: line.to_owned(), text: String::new() }.status(), status, "{line}");
        }
    }
}
