use super::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z0-9/._-]{1,40}", "\\PC{1,12}"]
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn range() -> impl Strategy<Value = Cidr> {
    (address(), any::<u8>()).prop_map(|(address, prefix)| match Cidr::new(address, prefix) {
        Ok(range) => range,
        Err(crate::destination::CidrError::HostBits { canonical }) => canonical,
        Err(_) => Cidr::single(address),
    })
}

fn mask() -> impl Strategy<Value = ValueMask> {
    prop::collection::vec(0..3_u8, MaskMember::ALL.len()).prop_map(|choice| {
        let of = |which| MaskMember::ALL.into_iter().zip(&choice).filter(move |(_, c)| **c == which).map(|(m, _)| m);
        let sorted = |members: Vec<MaskMember>| {
            let mut members = members;
            members.sort();
            members
        };
        ValueMask::of(sorted(of(1).collect()), sorted(of(2).collect())).unwrap()
    })
}

prop_compose! {
    fn pass()(
        exit in prop::sample::select(Exit::ALL.to_vec()),
        method in text(),
        authority in text(),
        path in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
        port: u16,
        literal in prop::option::of(address()),
        addresses in prop::collection::vec(prop::collection::vec(range(), 0..5), 0..4),
        metadata: bool,
    ) -> Pass {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Pass { exit, method, authority, path: path.map(Into::into), port, literal, addresses, metadata }
    }
}

prop_compose! {
    fn told()(
        revision in text(),
        digest in text(),
        change in prop::option::of(text()),
        destination in prop::option::of(text()),
        kind in prop::option::of(text()),
        category in prop::option::of(text()),
        mask in mask(),
    ) -> Told {
        Told { policy: PolicyReference { revision, digest, change }, destination, kind, category, mask }
    }
}

prop_compose! {
    fn clearance()(
        pass in pass(),
        told in told(),
        decision in text(),
        binding in prop::sample::select(BINDINGS.map(|(_, binding)| binding).to_vec()),
        agent in text(),
        session in text(),
        tenant in prop::option::of(text()),
    ) -> Clearance {
        let terms = Terms::Told(Box::new(told));
        Clearance { pass, decision, host: None, credentials: None, terms, binding, agent, session, tenant }
    }
}

/// Everything of it that a guard uses.
fn all(of: &Clearance) -> (&Pass, &str, Told, Binding, &str, &str, Option<&str>) {
    (&of.pass, &of.decision, of.terms.told(), of.binding, &of.agent, &of.session, of.tenant.as_deref())
}

fn verdict() -> impl Strategy<Value = GuardVerdict> {
    let class = prop::sample::select(AddressClass::ALL.to_vec());
    prop_oneof![
        (text(), class).prop_map(|(address, class)| GuardVerdict::Passed { address, class }),
        text().prop_map(|decision| GuardVerdict::Refused { decision }),
    ]
}

proptest! {
    #[test]
    fn what_is_handed_over_is_what_was_let_go(clearance in clearance()) {
        let bytes = clearance.to_bytes().unwrap();
        let taken = Clearance::from_bytes(&bytes).unwrap();
        prop_assert_eq!(all(&taken), all(&clearance));
        prop_assert_eq!(taken.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn what_came_of_it_is_what_was_said(verdict in verdict()) {
        prop_assert_eq!(GuardVerdict::from_bytes(&verdict.to_bytes()), Some(verdict));
    }

    #[test]
    fn neither_less_nor_more_is_taken(clearance in clearance(), more in prop::collection::vec(any::<u8>(), 1..4)) {
        let bytes = clearance.to_bytes().unwrap();
        for end in 0..bytes.len() {
            prop_assert!(Clearance::from_bytes(&bytes[..end]).is_none());
        }
        prop_assert!(Clearance::from_bytes(&[bytes, more].concat()).is_none());
    }

    /// Each value has one form: what is taken is written as it was read.
    #[test]
    fn what_is_taken_has_the_one_form(clearance in clearance(), at: prop::sample::Index, to: u8) {
        let mut bytes = clearance.to_bytes().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(taken) = Clearance::from_bytes(&bytes) {
            prop_assert_eq!(taken.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for bytes in [bytes.clone(), [vec![LAYOUT], bytes].concat()] {
            if let Some(taken) = Clearance::from_bytes(&bytes) {
                prop_assert_eq!(taken.to_bytes().unwrap(), bytes.clone());
            }
            if let Some(taken) = GuardVerdict::from_bytes(&bytes) {
                prop_assert_eq!(taken.to_bytes(), bytes);
            }
        }
    }
}

#[test]
fn masks_that_no_gateway_has_are_not_taken() {
    use MaskMember::{Agent, Peer, Tool};
    for (drop, hash, taken) in [
        (vec![], vec![], true),
        (vec![Peer], vec![Agent, Tool], true),
        (vec![Peer], vec![Tool, Agent], false),
        (vec![Peer, Peer], vec![], false),
        (vec![Tool], vec![Agent, Tool], false),
    ] {
        assert_eq!(ValueMask::of(drop.clone(), hash.clone()).is_some(), taken, "{drop:?} {hash:?}");
    }
}

#[test]
fn too_much_is_not_handed_over() {
    let range: Cidr = "fd00:1::/64".parse().unwrap();
    let with = |ranges: usize| {
        let pass = Pass {
            exit: Exit::Https,
            method: "GET".to_owned(),
            authority: "api.example".to_owned(),
            path: None,
            port: 443,
            literal: None,
            addresses: vec![vec![range; ranges].into()],
            metadata: false,
        };
        let policy = PolicyReference { revision: "1".to_owned(), digest: "sha256:0".to_owned(), change: None };
        let told = Told { policy, destination: None, kind: None, category: None, mask: ValueMask::default() };
        let terms = Terms::Told(Box::new(told));
        let (decision, agent, session) = ("d".to_owned(), "a".to_owned(), "s".to_owned());
        let binding = Binding::Request;
        Clearance { pass, decision, host: None, credentials: None, terms, binding, agent, session, tenant: None }
    };
    assert!(with(14_000).to_bytes().is_some_and(|bytes| Clearance::from_bytes(&bytes).is_some()));
    assert!(with(15_000).to_bytes().is_none());
}
