//! Where the gateway is. The keeper resolves its name, because the proxy may open no files and ask nobody.

use anyhow::{Context as _, ensure};
use exeat_engine::destination::{Authority, CanonicalHost};
use std::net::{SocketAddr, ToSocketAddrs as _};

/// The gateway's origin, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOrigin {
    /// `http` or `https`.
    pub scheme: &'static str,
    host: CanonicalHost,
    /// The port that is dialled.
    pub port: u16,
}

impl GatewayOrigin {
    /// Reads `https://name[:port]` or `http://address:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let advice = || format!("--gateway {url:?}: write https://HOST[:PORT], or http://127.0.0.1:PORT");
        let (scheme, default, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => ("https", 443, rest),
            (None, Some(rest)) => ("http", 80, rest),
            (None, None) => anyhow::bail!(advice()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority = Authority::parse(rest.as_bytes()).map_err(anyhow::Error::new).with_context(advice)?;
        Ok(Self { scheme, port: authority.port.unwrap_or(default), host: authority.host })
    }

    /// The origin, as the proxy is told it.
    pub fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }

    /// Whether its host is a name, whose addresses can change.
    pub fn is_name(&self) -> bool {
        self.host.name().is_some()
    }

    /// Where it is now. Blocks.
    ///
    /// # Errors
    /// The name leads nowhere, or plain HTTP would leave this machine.
    pub fn resolve(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = match (self.host.address(), self.host.name()) {
            (Some(address), _) => vec![(address, self.port).into()],
            (None, Some(name)) => {
                let found = (name.as_str(), self.port).to_socket_addrs();
                found.with_context(|| format!("cannot find the gateway {name}"))?.collect()
            }
            (None, None) => Vec::new(),
        };
        ensure!(!addresses.is_empty(), "the gateway's name {} leads to no address", self.host);
        ensure!(
            self.scheme == "https" || addresses.iter().all(|address| address.ip().is_loopback()),
            "{} is not on this machine, and plain HTTP is spoken on loopback only: give it TLS and write https",
            self.url()
        );
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read() {
        for (url, read) in [
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000"),
            ("http://127.0.0.1:10000/", "http://127.0.0.1:10000"),
            ("https://egress.acme.example", "https://egress.acme.example:443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(GatewayOrigin::parse(url).unwrap().url(), read);
        }
        for url in ["", "127.0.0.1:1", "ftp://x.example", "https://x.example/path", "https://u@x.example", "https://"] {
            assert!(GatewayOrigin::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let resolve = |url: &str| GatewayOrigin::parse(url).unwrap().resolve();
        assert_eq!(resolve("http://127.0.0.1:9").unwrap(), ["127.0.0.1:9".parse().unwrap()]);
        assert_eq!(resolve("https://192.0.2.1:9").unwrap(), ["192.0.2.1:9".parse().unwrap()]);
        assert!(resolve("http://192.0.2.1:9").unwrap_err().to_string().contains("write https"));
    }
}
