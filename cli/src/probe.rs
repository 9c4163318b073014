//! `exeat probe`: whether a collector, a gateway or a signer is well, for containers and units without a shell.

use anyhow::{Context as _, bail, ensure};
use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

/// Time for connection and answer, each.
const LIMIT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read: its first line says all.
const MOST: u64 = 4096;

/// Arguments of `exeat probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  exeat probe 127.0.0.1:9470                       a collector or relay without TLS
  exeat probe 127.0.0.1:15090 --path /ready        a gateway, at its --metrics
  exeat probe unix:/run/exeat/control.sock         a signer; as a user who may open sessions")]
pub struct ProbeArgs {
    /// Whom to ask: a port on loopback, or a socket.
    #[arg(value_name = "ADDR:PORT|unix:PATH")]
    at: Place,
    /// What to ask for.
    #[arg(long, default_value = "/healthz", value_parser = path)]
    path: String,
}

/// Who is asked.
#[derive(Clone, Debug)]
enum Place {
    Loopback(SocketAddr),
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
        ensure!(address.ip().is_loopback(), "{address} is not on loopback; a probe runs beside what it asks");
        Ok(Self::Loopback(address))
    }
}

fn path(text: &str) -> anyhow::Result<String> {
    ensure!(
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{text:?} is no path; write it as in /healthz"
    );
    Ok(text.to_owned())
}

/// Runs `exeat probe`: an error where the answer is not 200.
pub fn run(args: &ProbeArgs) -> anyhow::Result<()> {
    let answer = match &args.at {
        Place::Loopback(address) => {
            let stream =
                TcpStream::connect_timeout(address, LIMIT).with_context(|| format!("nobody answers at {address}"))?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            ask(stream, &args.path)
        }
        Place::Socket(path) => {
            let stream = UnixStream::connect(path).with_context(|| format!("nobody answers at {path}"))?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            ask(stream, &args.path)
        }
    };
    let answer = answer.context("no answer")?;
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => bail!("the answer is {:?}, and not 200", line.chars().take(80).collect::<String>()),
    }
}

fn ask(mut stream: impl std::io::Read + Write, path: &str) -> std::io::Result<Vec<u8>> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // Where it does not close, the first line is there all the same.
    match stream.take(MOST).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn probe(answer: &'static str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = Place::Loopback(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let verdict = run(&ProbeArgs { at, path: "/healthz".to_owned() });
        server.join().unwrap();
        verdict
    }

    #[test]
    fn well_is_200_and_nothing_else() {
        probe("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
        for answer in ["HTTP/1.1 503 no\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "200", ""] {
            let said = format!("{:#}", probe(answer).unwrap_err());
            assert!(said.contains("not 200"), "{answer:?}: {said}");
        }
    }

    #[test]
    fn it_asks_nobody_afar() {
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
        assert!(path("/a b").is_err() && path("a").is_err() && path("/a\r\nb").is_err() && path("/a?b").is_ok());
    }
}
