//! Where an authority leads under a policy: scheme, port, and what is open there that is closed to others.
//!
//! What a destination opens holds only where it is the closest that the host fits, so that a private network named for one
//! host is no private network for every name under a wildcard. Where several are equally close, all of them must open it.

use super::destination::{Destination, Fit};
use super::document::OneOrMany;
use super::document::policy::{DestinationDocument, UpgradeName};
use super::error::{Place, PolicyError, quoted};
use crate::destination::{Cidr, HostGrant, PathOpening, PathOpenings, Scheme};
use std::sync::Arc;

/// Milliseconds that a tunnel or an upgraded connection may last unless the destination says otherwise.
const LIFE: u64 = 3_600_000;

/// What a destination opens that is closed to others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opens {
    pub(super) scheme: Scheme,
    addresses: Arc<[Cidr]>,
    metadata: bool,
    pub(super) paths: PathOpenings,
    pub(super) tunnel: bool,
    pub(super) upgrade: bool,
    pub(super) life: u64,
}

/// Where an authority leads.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// How the upstream is spoken to.
    pub scheme: Scheme,
    /// The port that is dialled.
    pub port: u16,
    /// The port that is dialled where the authority names none.
    pub unnamed: u16,
    /// What the policy says of a closed host.
    pub grant: HostGrant,
    /// What is open in paths.
    pub paths: PathOpenings,
    /// Closed addresses that the name may resolve to: each list must name the address. None: no closed address.
    pub addresses: Vec<Arc<[Cidr]>>,
    /// Milliseconds that a tunnel may last; none: no tunnel.
    pub tunnel: Option<u64>,
    /// Milliseconds that a WebSocket may last; none: no upgrade.
    pub upgrade: Option<u64>,
}

impl Outlet {
    /// Of destinations that fit, the closest first.
    pub(super) fn of(fits: &[Fit], gateway: Scheme, port: u16, unnamed: u16) -> Self {
        let closest = || {
            let first = fits.first().map(|fit| fit.specificity);
            fits.iter().take_while(move |fit| Some(fit.specificity) == first).map(|fit| &fit.destination.opens)
        };
        let all = |open: fn(&Opens) -> bool| !fits.is_empty() && closest().all(open);
        let life = closest().map(|opens| opens.life).min();
        // INVARIANT: destinations that are equally close at a port have one scheme, see `Destinations::compile`.
        let scheme = closest().map(|opens| opens.scheme).next().unwrap_or(gateway);
        Self {
            scheme,
            port,
            unnamed,
            grant: HostGrant {
                named: fits.iter().any(|fit| fit.specificity.names()),
                metadata: all(|opens| opens.metadata),
            },
            paths: closest().map(|opens| opens.paths).reduce(PathOpenings::intersection).unwrap_or_default(),
            addresses: closest().map(|opens| Arc::clone(&opens.addresses)).collect(),
            tunnel: life.filter(|_| all(|opens| opens.tunnel)),
            upgrade: life.filter(|_| all(|opens| opens.upgrade)),
        }
    }
}

impl Destination {
    /// Scheme towards it.
    pub fn scheme(&self) -> Scheme {
        self.opens.scheme
    }

    /// Closed addresses that its names may resolve to.
    pub fn addresses(&self) -> &[Cidr] {
        &self.opens.addresses
    }

    /// Milliseconds that a tunnel or an upgraded connection to it may last; none where it has neither.
    pub fn life(&self) -> Option<u64> {
        (self.opens.tunnel || self.opens.upgrade).then_some(self.opens.life)
    }

    /// Whether tunnels lead there.
    pub fn takes_tunnels(&self) -> bool {
        self.opens.tunnel
    }

    /// Whether connections there may become WebSockets.
    pub fn takes_upgrades(&self) -> bool {
        self.opens.upgrade
    }
}

impl Opens {
    pub(super) fn compile(
        document: &DestinationDocument,
        gateway: Scheme,
        place: &Place<'_>,
    ) -> Result<Self, PolicyError> {
        let addresses = match &document.addresses {
            Some(list) => addresses(list, &place.key("addresses"))?,
            None => Arc::default(),
        };
        let (tunnel, upgrade) = (document.tunnel.unwrap_or(false), document.upgrade.is_some());
        if let Some(OneOrMany(names)) = &document.upgrade {
            // The only protocol that is judged; the match says so when there is another.
            names.iter().for_each(|UpgradeName::Websocket| {});
        }
        let life = match document.life {
            None => LIFE,
            Some(_) if !tunnel && !upgrade => {
                let problem = "there is no tunnel and no upgrade whose life this could bound";
                let remedy = "add `tunnel: true` or `upgrade: [websocket]`, or remove this key";
                return Err(place.key("life").error(problem, remedy, ""));
            }
            Some(life) if (1_000..=86_400_000).contains(&life.0) => life.0,
            Some(_) => return Err(place.key("life").error("out of range", "write 1s to 1d", "")),
        };
        let openings: PathOpenings = document.paths_allow.iter().flat_map(|list| list.0.iter().copied()).collect();
        Ok(Self {
            scheme: document.scheme.unwrap_or(gateway),
            addresses,
            metadata: document.metadata.unwrap_or(false),
            paths: openings,
            tunnel,
            upgrade,
            life,
        })
    }
}

fn addresses(list: &OneOrMany<String>, place: &Place<'_>) -> Result<Arc<[Cidr]>, PolicyError> {
    let address = |(i, text): (usize, &String)| {
        let place = place.index(i);
        let range = Cidr::parse(text).map_err(|error| {
            let text = error.to_string();
            // Range errors read `what is wrong; what to write`.
            let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "write a range like 10.20.0.0/16"));
            place.error(problem, remedy, "")
        })?;
        if range.prefix() == 0 {
            return Err(place.error(
                "a range of all addresses",
                "name the networks that are meant",
                "names would then resolve to loopback and metadata services, too",
            ));
        }
        let canonical = range.to_string();
        let single = canonical.strip_suffix("/32").or_else(|| canonical.strip_suffix("/128"));
        if *text != canonical && Some(text.as_str()) != single {
            let remedy = format!("write {}", single.unwrap_or(&canonical));
            return Err(place.error(format!("{} is not the canonical form", quoted(text)), remedy, ""));
        }
        Ok(range)
    };
    list.0.iter().enumerate().map(address).collect()
}

/// Says what a pattern with this in it needs.
pub(super) fn opening_missing(opening: PathOpening, place: &Place<'_>) -> PolicyError {
    place.error(
        format!("{} in a path is closed", opening.describe()),
        format!("add `paths_allow: [{}]` to a destination of this rule, or write the path without it", opening.code()),
        "requests with it are refused, so this would fit nothing",
    )
}
