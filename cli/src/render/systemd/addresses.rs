//! What a unit may speak to. Ranges are those of the engine's own table, so that what the guard refuses by name the system
//! refuses by address.
//!
//! systemd has no longest prefix: what `IPAddressAllow` names is open, whatever denies it. So what is closed is said without
//! what is open in it, and metadata services are cut out of what a policy opens, unless it opens just them.

use exeat_engine::destination::ranges::RANGES;
use exeat_engine::destination::{AddressClass, Cidr, HostPattern, classify};
use std::net::IpAddr;

use crate::render::cluster::network::hosts_of;
use crate::render::common::Accepted;

/// Every closed address, in as few ranges as may be.
pub(super) fn closed() -> Vec<Cidr> {
    let open: Vec<Cidr> =
        RANGES.iter().filter(|range| range.class == AddressClass::Public).map(|range| range.cidr).collect();
    let refused = RANGES.iter().filter(|range| range.class.refused()).map(|range| range.cidr);
    let inside = |range: Cidr| open.iter().copied().filter(|open| range.covers(open)).collect::<Vec<_>>();
    let parts: Vec<Cidr> = refused.flat_map(|range| without(range, &inside(range))).collect();
    outermost(parts)
}

/// Closed addresses that the policy opens to some destination.
pub(super) fn named(accepted: &Accepted) -> Vec<Cidr> {
    let mut ranges = Vec::new();
    for destination in accepted.configuration.policy().all_destinations() {
        ranges.extend(destination.addresses().iter().copied());
        ranges.extend(hosts_of(&accepted.plugin_document, destination.id()).filter_map(|host| {
            match HostPattern::parse(host).ok()? {
                HostPattern::Address(address) => Some(Cidr::single(address)),
                HostPattern::Range(range) => Some(range),
                _ => None,
            }
        }));
    }
    let metadata: Vec<Cidr> = RANGES.iter().filter(|range| range.class.is_metadata()).map(|range| range.cidr).collect();
    // Whoever names the service itself means it; whoever names a network around it may not.
    let cut = |range: Cidr| if is_metadata(range) { vec![range] } else { without(range, &metadata) };
    outermost(ranges.into_iter().flat_map(cut).collect())
}

fn is_metadata(range: Cidr) -> bool {
    range == Cidr::single(range.network()) && classify(range.network()).is_metadata()
}

/// A range less others: what is left, in ranges.
fn without(range: Cidr, others: &[Cidr]) -> Vec<Cidr> {
    if others.iter().any(|other| other.covers(&range)) {
        return Vec::new();
    }
    if !others.iter().any(|other| range.covers(other)) {
        return vec![range];
    }
    halves(range).into_iter().flat_map(|half| without(half, others)).collect()
}

/// The two halves of a range; a single address has none.
fn halves(range: Cidr) -> Vec<Cidr> {
    let prefix = range.prefix().saturating_add(1);
    let upper = match range.network() {
        IpAddr::V4(first) => {
            let bit = u32::from(prefix).checked_sub(1).and_then(|at| (1_u32 << 31).checked_shr(at));
            bit.map(|bit| IpAddr::V4((first.to_bits() | bit).into()))
        }
        IpAddr::V6(first) => {
            let bit = u32::from(prefix).checked_sub(1).and_then(|at| (1_u128 << 127).checked_shr(at));
            bit.map(|bit| IpAddr::V6((first.to_bits() | bit).into()))
        }
    };
    let half = |network| Cidr::new(network, prefix).ok();
    [half(range.network()), upper.and_then(half)].into_iter().flatten().collect()
}

/// Those that are in no other, each once.
fn outermost(mut ranges: Vec<Cidr>) -> Vec<Cidr> {
    ranges.sort();
    ranges.dedup();
    let all = ranges.clone();
    ranges.retain(|range| !all.iter().any(|other| other != range && other.covers(range)));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowest(address: IpAddr) -> AddressClass {
        let found = RANGES.iter().filter(|range| range.cidr.contains(address)).max_by_key(|range| range.cidr.prefix());
        found.unwrap().class
    }

    /// At the ends of every range that has a meaning, and beside them.
    #[test]
    fn what_is_closed_is_what_the_engine_closes() {
        let closed = closed();
        let mut seen = 0;
        for range in RANGES {
            let ends: Vec<IpAddr> = match (range.cidr.network(), range.cidr.prefix()) {
                (IpAddr::V4(first), prefix) => {
                    let last = first.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    let all = [first.to_bits().checked_sub(1), Some(first.to_bits()), Some(last), last.checked_add(1)];
                    all.into_iter().flatten().map(|bits| std::net::Ipv4Addr::from_bits(bits).into()).collect()
                }
                (IpAddr::V6(first), prefix) => {
                    let last = first.to_bits() | u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    let all = [first.to_bits().checked_sub(1), Some(first.to_bits()), Some(last), last.checked_add(1)];
                    all.into_iter().flatten().map(|bits| std::net::Ipv6Addr::from_bits(bits).into()).collect()
                }
            };
            for address in ends {
                seen += 1;
                let is_closed = closed.iter().any(|range| range.contains(address));
                assert_eq!(is_closed, narrowest(address).refused(), "{address}");
            }
        }
        assert!(seen > 200, "{seen}");
        assert!(closed.len() < 80, "{} ranges", closed.len());
    }

    #[test]
    fn what_is_taken_out_is_out_and_nothing_else() {
        let range = |text: &str| Cidr::parse(text).unwrap();
        let left = without(range("10.0.0.0/30"), &[range("10.0.0.1")]);
        assert_eq!(left, ["10.0.0.0", "10.0.0.2/31"].map(range));
        assert_eq!(without(range("10.0.0.0/8"), &[range("11.0.0.0/8")]), [range("10.0.0.0/8")]);
        assert!(without(range("10.0.0.0/8"), &[range("0.0.0.0/0")]).is_empty());
        assert_eq!(without(range("::/0"), &[range("8000::/1")]), [range("::/1")]);
        assert_eq!(outermost(["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "fd00::/8"].map(range).to_vec()).len(), 2);
    }
}
