//! A name server on a loopback UDP port, as authority for all names. Answers can change while it runs: a name that moves
//! to a private address is one of the attacks that scenarios play.
//!
//! UDP only: an answer that does not fit is not truncated, and nobody here asks for so many addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use super::runtime::Background;
use super::{Error, Result};

/// What the server says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, in this order; those of the other family are left out, so that an answer may be empty.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// The server failed.
    Failure,
    /// Nothing at all.
    Silence,
}

impl<const N: usize> From<[IpAddr; N]> for Answer {
    fn from(addresses: [IpAddr; N]) -> Self {
        Self::Addresses(addresses.to_vec())
    }
}

/// A question that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The name in lower case, without a trailing dot.
    pub name: String,
    /// `A`, `AAAA` or another type.
    pub kind: String,
}

/// A running name server.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _task: Background,
}

#[derive(Debug)]
struct Zone {
    names: HashMap<String, Answer>,
    others: Answer,
    ttl: u32,
    delay: Duration,
    queries: Vec<Query>,
}

impl Dns {
    /// On a free port of 127.0.0.1. Names that are not [`Dns::set`] do not exist.
    pub fn start() -> Result<Self> {
        let socket =
            std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("binding the name server"))?;
        socket.set_nonblocking(true).map_err(Error::io("making a socket asynchronous"))?;
        let address = socket.local_addr().map_err(Error::io("asking for the local address"))?;
        let empty = Zone {
            names: HashMap::new(),
            others: Answer::NoSuchName,
            ttl: 1,
            delay: Duration::ZERO,
            queries: Vec::new(),
        };
        let zone = Arc::new(Mutex::new(empty));
        let task = Background::start(serve(socket, Arc::clone(&zone)))?;
        Ok(Self { address, zone, _task: task })
    }

    /// Where it listens (UDP).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for `name` from now on.
    pub fn set(&self, name: &str, answer: impl Into<Answer>) {
        lock(&self.zone).names.insert(normal(name), answer.into());
    }

    /// Answers for all names that are not set.
    pub fn set_others(&self, answer: impl Into<Answer>) {
        lock(&self.zone).others = answer.into();
    }

    /// How long answers may be kept, in seconds; 1 unless set.
    pub fn set_ttl(&self, seconds: u32) {
        lock(&self.zone).ttl = seconds;
    }

    /// How long each answer takes; no time unless set.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.zone).delay = delay;
    }

    /// The questions so far, in order.
    pub fn queries(&self) -> Vec<Query> {
        lock(&self.zone).queries.clone()
    }
}

async fn serve(socket: std::net::UdpSocket, zone: Arc<Mutex<Zone>>) {
    let Ok(socket) = tokio::net::UdpSocket::from_std(socket).map(Arc::new) else { return };
    let mut buffer = [0_u8; 4096];
    loop {
        // An error is about an earlier peer that is gone (ICMP), not about the socket.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let (reply, delay) = {
            let mut zone = lock(&zone);
            (buffer.get(..length).and_then(|message| reply(message, &mut zone)), zone.delay)
        };
        let Some(reply) = reply else { continue };
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&reply, peer).await;
        });
    }
}

/// The answer to a message; `None` for silence and for what is no question.
fn reply(message: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let query = Packet::parse(message).ok()?;
    if query.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let question = query.questions.first()?.clone();
    let name = normal(&question.qname.to_string());
    let kind = match question.qtype {
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    };
    zone.queries.push(Query { name: name.clone(), kind });

    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    }
    match zone.names.get(&name).unwrap_or(&zone.others) {
        Answer::Addresses(addresses) => {
            reply.answers = addresses
                .iter()
                .filter(|address| fits(**address, question.qtype))
                .map(|address| ResourceRecord::new(question.qname.clone(), CLASS::IN, zone.ttl, record(*address)))
                .collect();
        }
        Answer::NoSuchName => *reply.rcode_mut() = RCODE::NameError,
        Answer::Failure => *reply.rcode_mut() = RCODE::ServerFailure,
        Answer::Silence => return None,
    }
    reply.questions.push(question);
    reply.build_bytes_vec_compressed().ok()
}

fn fits(address: IpAddr, qtype: QTYPE) -> bool {
    match qtype {
        QTYPE::TYPE(TYPE::A) => address.is_ipv4(),
        QTYPE::TYPE(TYPE::AAAA) => address.is_ipv6(),
        QTYPE::ANY => true,
        _ => false,
    }
}

fn record(address: IpAddr) -> RData<'static> {
    match address {
        IpAddr::V4(address) => RData::A(A { address: address.to_bits() }),
        IpAddr::V6(address) => RData::AAAA(AAAA { address: address.to_bits() }),
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
