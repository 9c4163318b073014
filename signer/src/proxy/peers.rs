//! Who connects: the owner of the socket at the other end. The kernel says it of Unix sockets; of TCP on the same machine it
//! says it in its tables of sockets.

use base64::Engine as _;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use subtle::ConstantTimeEq as _;

/// Bytes of a table that are read at most: some 400,000 sockets.
const TABLE: usize = 64 * 1024 * 1024;

/// State of a socket whose connection is open (TCP_ESTABLISHED). Sockets in later states may have lost their owner, and then
/// the table says 0.
const ESTABLISHED: &str = "01";

/// The kernel's tables of TCP sockets, opened before the process gives up opening files.
#[derive(Debug)]
pub struct PeerTables {
    tables: Vec<std::fs::File>,
}

impl PeerTables {
    /// Opens those that there are.
    pub fn open() -> Self {
        let open = |path: &str| std::fs::File::open(path).ok();
        Self { tables: ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(open).collect() }
    }

    /// The user id of whoever connected from `peer` to `here`. `None` when the tables do not say.
    pub(crate) fn owner(&self, peer: SocketAddr, here: SocketAddr) -> Option<u32> {
        self.tables.iter().find_map(|table| {
            let text = read(table).ok()?;
            text.lines().skip(1).find_map(|line| owner_of(line, peer, here))
        })
    }
}

/// All of a table, from its beginning: the kernel writes it anew for each reader that starts there.
fn read(table: &std::fs::File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while bytes.len() < TABLE {
        let count = table.read_at(&mut buffer, bytes.len() as u64)?;
        match buffer.get(..count) {
            Some(read @ [_, ..]) => bytes.extend_from_slice(read),
            _ => break,
        }
    }
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

/// The owner that a line names, when it is the line of that socket: `sl local remote state tx:rx tr:when retransmits uid`.
fn owner_of(line: &str, peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
    let fits = state == ESTABLISHED && local == plain(peer) && remote == plain(here);
    fits.then(|| words.nth(3)?.parse().ok()).flatten()
}

/// An IPv4 address inside an IPv6 one is the same socket.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address as the tables write it: words of 32 bits as they lie in memory, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in host.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let host = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(plain(SocketAddr::new(host, port)))
}

/// SHA-256 of a session's password.
#[derive(Clone)]
pub(crate) struct PasswordDigest([u8; 32]);

impl PasswordDigest {
    /// From lower-case hex.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }

    /// Whether the request carries the password: one line, `Basic`, whatever the user name.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(PROXY_AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some(password) = password(line.as_bytes()) else { return false };
        let given: [u8; 32] = Sha256::digest(&password).into();
        given.ct_eq(&self.0).into()
    }
}

impl std::fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordDigest")
    }
}

fn password(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, token) = credentials.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(token.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon.checked_add(1)?..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_owner_of_a_connection_is_found() {
        let tables = PeerTables::open();
        let uid = rustix::process::getuid().as_raw();
        for host in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            assert_eq!(tables.owner(peer, server.local_addr().unwrap()), Some(uid));
            // Asked again, the table is as it is then.
            drop((client, server));
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            assert_eq!(tables.owner(peer, server.local_addr().unwrap()), Some(uid));
            let other = SocketAddr::new(host, peer.port().wrapping_add(1));
            assert_eq!(tables.owner(other, server.local_addr().unwrap()), None);
            drop(client);
        }
    }

    #[test]
    fn a_socket_that_lost_its_owner_has_none() {
        let line = |state: &str| {
            format!(
                "   1: 0100007F:C350 0100007F:1F90 {state} 00000000:00000000 00:00000000 00000000  1000        0 1 1"
            )
        };
        let (peer, here) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(owner_of(&line("01"), peer, here), Some(1000).filter(|_| cfg!(target_endian = "little")));
        assert_eq!(owner_of(&line("06"), peer, here), None);
        assert_eq!(owner_of(&line("01"), here, peer), None);
    }

    #[test]
    fn only_the_password_counts() {
        let digest: String = Sha256::digest("pass:word").iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = PasswordDigest::from_hex(&digest).unwrap();
        let admits = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PROXY_AUTHORIZATION, line.parse().unwrap());
            }
            digest.admits(&headers)
        };
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        assert!(admits(&[&basic("any:pass:word")]));
        assert!(admits(&[&basic(":pass:word").replace("Basic", "bAsIc")]));
        assert!(!admits(&[]));
        assert!(!admits(&[&basic("any:pass")]));
        assert!(!admits(&[&basic("pass")]));
        assert!(!admits(&[&basic("any:pass:word").replace("Basic", "Bearer")]));
        assert!(!admits(&[&basic("any:pass:word"), &basic("any:pass:word")]));
        assert!(!admits(&["Basic ????"]));
        assert!(PasswordDigest::from_hex("00").is_none());
    }
}
