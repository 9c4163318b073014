//! Loopback ports for processes that must be told their port before they start.
//!
//! Binding port 0 and closing it again is a race twice over: the kernel hands such ports to outgoing connections, and Envoy
//! binds with `SO_REUSEPORT`, so that two of them on one port would share its connections without an error. So ports come
//! from below the ephemeral range, and a claim on each is held until this process ends.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

use super::{Error, Result};

/// A port on 127.0.0.1 that is free for TCP and UDP and that no other stage hands out while this process lives.
pub fn free() -> Result<u16> {
    let range = below_ephemeral();
    let size = u32::from(range.end - range.start);
    let start = getrandom::u32()
        .map_err(|error| Error::protocol("operating system", format!("no randomness: {error}")))?
        % size;
    for step in 0..size {
        let offset = u16::try_from((start + step) % size).unwrap_or_default();
        if claim(range.start + offset) {
            return Ok(range.start + offset);
        }
    }
    Err(Error::protocol("operating system", format!("no free port in {range:?}")))
}

/// Claims first, then looks: another stage that claimed the port may not have bound it yet.
fn claim(port: u16) -> bool {
    let Some(claim) = Claim::new(port) else { return false };
    let address = (Ipv4Addr::LOCALHOST, port);
    if TcpListener::bind(address).is_err() || UdpSocket::bind(address).is_err() {
        return false;
    }
    static CLAIMS: Mutex<Vec<Claim>> = Mutex::new(Vec::new());
    CLAIMS.lock().is_ok_and(|mut claims| {
        claims.push(claim);
        true
    })
}

fn below_ephemeral() -> std::ops::Range<u16> {
    const FIRST: u16 = 10_000;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ephemeral = text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    // A machine with nearly all ports ephemeral leaves nothing below; the claim still holds off other stages.
    if ephemeral < FIRST + 1_000 { FIRST..60_000 } else { FIRST..ephemeral }
}

/// A name in the abstract socket namespace: one owner in a network namespace, released by the kernel with the process.
#[cfg(target_os = "linux")]
struct Claim(#[expect(dead_code, reason = "held, not used")] std::os::unix::net::UnixListener);

#[cfg(target_os = "linux")]
impl Claim {
    fn new(port: u16) -> Option<Self> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        let name = SocketAddr::from_abstract_name(format!("exeat-stage-port-{port}")).ok()?;
        UnixListener::bind_addr(&name).ok().map(Self)
    }
}

/// Elsewhere only this process is kept from handing a port out twice at the same time.
#[cfg(not(target_os = "linux"))]
struct Claim;

#[cfg(not(target_os = "linux"))]
impl Claim {
    fn new(_port: u16) -> Option<Self> {
        Some(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_distinct_free_and_not_ephemeral() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        for port in ports {
            assert!(below_ephemeral().contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_not_claimed() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!claim(taken.local_addr().unwrap().port()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_claimed_port_is_not_claimed_again() {
        let port = free().unwrap();
        assert!(!claim(port), "the claim on {port} did not hold");
    }
}
