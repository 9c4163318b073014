use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use simple_dns::{Name, QCLASS, Question};

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Sends a message from a socket of its own and waits for the answer.
fn exchange(dns: &Dns, message: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(message, dns.address()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

fn question(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(4711);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).unwrap(), kind.into(), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().unwrap()
}

/// Asks, and returns the code of the answer, its addresses and the largest TTL.
fn ask(dns: &Dns, name: &str, kind: TYPE) -> Option<(RCODE, Vec<IpAddr>, u32)> {
    let bytes = exchange(dns, &question(name, kind))?;
    let reply = Packet::parse(&bytes).unwrap();
    assert_eq!(reply.id(), 4711);
    assert!(reply.has_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER));
    assert_eq!(reply.questions[0].qname.to_string(), name);
    let addresses = reply.answers.iter().map(|record| match &record.rdata {
        RData::A(a) => IpAddr::V4(Ipv4Addr::from_bits(a.address)),
        RData::AAAA(aaaa) => IpAddr::V6(Ipv6Addr::from_bits(aaaa.address)),
        other => panic!("{other:?}"),
    });
    Some((reply.rcode(), addresses.collect(), reply.answers.iter().map(|record| record.ttl).max().unwrap_or(0)))
}

#[test]
fn addresses_by_family_and_in_order() {
    let dns = Dns::start().unwrap();
    dns.set("Api.Example.", [OTHER_V4, V6, V4]);
    assert_eq!(ask(&dns, "api.example", TYPE::A), Some((RCODE::NoError, vec![OTHER_V4, V4], 1)));
    // The case of the question comes back: resolvers compare it.
    assert_eq!(ask(&dns, "aPi.eXample", TYPE::AAAA), Some((RCODE::NoError, vec![V6], 1)));
    assert_eq!(ask(&dns, "api.example", TYPE::MX), Some((RCODE::NoError, vec![], 0)));
    let kinds: Vec<(String, String)> = dns.queries().into_iter().map(|query| (query.name, query.kind)).collect();
    assert_eq!(kinds, ["A", "AAAA", "MX"].map(|kind| ("api.example".to_owned(), kind.to_owned())));
}

#[test]
fn other_names_and_changes() {
    let dns = Dns::start().unwrap();
    assert_eq!(ask(&dns, "x.example", TYPE::A), Some((RCODE::NameError, vec![], 0)));
    dns.set_others([V4]);
    dns.set_ttl(30);
    assert_eq!(ask(&dns, "x.example", TYPE::A), Some((RCODE::NoError, vec![V4], 30)));
    dns.set("x.example", [OTHER_V4]);
    assert_eq!(ask(&dns, "x.example", TYPE::A), Some((RCODE::NoError, vec![OTHER_V4], 30)));
    dns.set("x.example", Answer::Failure);
    assert_eq!(ask(&dns, "x.example", TYPE::A), Some((RCODE::ServerFailure, vec![], 0)));
    dns.set("x.example", Answer::Silence);
    assert_eq!(ask(&dns, "x.example", TYPE::A), None);
}

#[test]
fn nonsense_is_not_answered_and_does_no_harm() {
    let dns = Dns::start().unwrap();
    let mut answer = question("x.example", TYPE::A);
    answer[2] |= 0x80;
    for message in [b"".as_slice(), b"\0", &[0xff; 64], &answer] {
        assert_eq!(exchange(&dns, message), None);
    }
    dns.set_others([V4]);
    assert!(ask(&dns, "x.example", TYPE::A).is_some());
}
