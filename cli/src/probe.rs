//! `exeat probe`: whether a collector, a gateway or a signer is well, for containers and units without a shell.

use crate::local::Place;
use anyhow::{bail, ensure};

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

fn path(text: &str) -> anyhow::Result<String> {
    ensure!(
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{text:?} is no path; write it as in /healthz"
    );
    Ok(text.to_owned())
}

/// Runs `exeat probe`: an error where the answer is not 200.
pub fn run(args: &ProbeArgs) -> anyhow::Result<()> {
    let answer = args.at.ask("GET", &args.path)?;
    match answer.status() {
        Some(200) => Ok(()),
        _ => bail!("the answer is {:?}, and not 200", answer.line()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::answering;

    fn probe(answers: &'static [&'static str]) -> anyhow::Result<()> {
        let (at, server) = answering(answers);
        let verdict = run(&ProbeArgs { at, path: "/healthz".to_owned() });
        assert_eq!(server.join().unwrap(), ["GET /healthz HTTP/1.1"]);
        verdict
    }

    #[test]
    fn well_is_200_and_nothing_else() {
        probe(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"]).unwrap();
        for answer in [&["HTTP/1.1 503 no\r\n\r\n"], &["HTTP/1.1 2000 OK\r\n\r\n"], &["200"], &[""]] {
            let said = format!("{:#}", probe(answer).unwrap_err());
            assert!(said.contains("not 200"), "{answer:?}: {said}");
        }
    }

    #[test]
    fn a_path_is_one() {
        for (text, good) in [("/healthz", true), ("/a?b", true), ("/a b", false), ("a", false), ("/a\r\nb", false)] {
            assert_eq!(path(text).is_ok(), good, "{text:?}");
        }
    }
}
