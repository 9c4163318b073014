//! What is measured: which gateway, which requests, and what must come of each.

use super::load::Expected;
use super::upstream::ANSWER;
use anyhow::{Context as _, Result};

/// A gateway that arms are measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Envoy as it is rendered for Exeat, without Exeat.
    Plain,
    /// The same with another filter in its place.
    Rival(Rival),
    /// Exeat.
    Exeat {
        /// Of the policy.
        destinations: u32,
        /// Whether a record must be stored before a request goes on.
        write_ahead: bool,
        /// Whether its module is the other one, of two that are held against each other.
        beside: bool,
    },
}

/// What stands in Exeat's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// A module whose callbacks do nothing.
    EmptyWasm,
    /// A module that reads the request's headers, and does nothing.
    HeadersWasm,
    /// A script that checks the host.
    Lua,
    /// Envoy's JWT authentication, and RBAC over claims, host, method and path.
    Jwt {
        /// Whether a token that was verified is remembered.
        cached: bool,
    },
}

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// Nobody vouches for it.
    Plain,
    /// With a token, always the same.
    Token,
    /// Signed, each with a nonce of its own.
    Signed {
        /// The agent that its context names.
        agent: &'static str,
    },
    /// As `Signed`, by a key that the policy does not have.
    Forged,
}

/// One arm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm {
    /// In results and targets.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) name: &'static str,
    /// The gateway.
    pub(crate) stand: Stand,
    /// How requests are made.
    pub(crate) made: Made,
    /// Path and query.
    pub(crate) path: &'static str,
    /// Bytes of a JSON body; none: a GET.
    pub(crate) body: usize,
    /// What must come of each.
    pub(crate) expected: Expected,
}

const ORDER: &str = "/v1/orders/7?full=1";
const SERVED: Expected = Expected::Served(ANSWER);
const EXEAT: Stand = Stand::Exeat { destinations: 10, write_ahead: false, beside: false };
const SUMMARIZER: Made = Made::Signed { agent: "support/summarizer" };

const BASE: Arm =
    Arm { id: "", name: "", stand: Stand::Plain, made: Made::Plain, path: ORDER, body: 0, expected: SERVED };
const SIGNED: Arm = Arm { stand: EXEAT, made: SUMMARIZER, ..BASE };

/// All of them, in the order in which they are measured and told.
pub(crate) const ARMS: [Arm; 20] = [
    Arm { id: "none", name: "no filter", ..BASE },
    Arm { id: "none-2k", name: "no filter, body of 2 kB", path: "/v1/search", body: 2 << 10, ..BASE },
    Arm { id: "none-64k", name: "no filter, body of 64 kB", path: "/v1/search", body: 64 << 10, ..BASE },
    Arm { id: "wasm", name: "empty wasm filter", stand: Stand::Rival(Rival::EmptyWasm), ..BASE },
    Arm { id: "wasm-headers", name: "wasm filter that reads headers", stand: Stand::Rival(Rival::HeadersWasm), ..BASE },
    Arm { id: "lua", name: "Lua, host check", stand: Stand::Rival(Rival::Lua), ..BASE },
    Arm {
        id: "jwt",
        name: "jwt_authn (EdDSA) + RBAC",
        stand: Stand::Rival(Rival::Jwt { cached: false }),
        made: Made::Token,
        ..BASE
    },
    Arm {
        id: "jwt-cached",
        name: "jwt_authn with cache + RBAC",
        stand: Stand::Rival(Rival::Jwt { cached: true }),
        made: Made::Token,
        ..BASE
    },
    Arm { id: "exeat", name: "Exeat, allowed", ..SIGNED },
    Arm {
        id: "exeat-token",
        name: "Exeat, cached JWT",
        stand: EXEAT,
        made: Made::Token,
        path: "/v1/tickets/7?full=1",
        ..BASE
    },
    Arm {
        id: "exeat-monitor",
        name: "Exeat, monitor (would deny)",
        made: Made::Signed { agent: "support/observer" },
        path: "/v1/exports/7?full=1",
        ..SIGNED
    },
    Arm {
        id: "exeat-denied",
        name: "Exeat, refused by the policy",
        path: "/v1/exports/7?full=1",
        expected: Expected::Refused(403, "path-denied"),
        ..SIGNED
    },
    Arm {
        id: "exeat-forged",
        name: "Exeat, refused: forged signature",
        made: Made::Forged,
        expected: Expected::Refused(401, "signature-invalid"),
        ..SIGNED
    },
    Arm {
        id: "exeat-unsigned",
        name: "Exeat, refused: not signed",
        made: Made::Plain,
        expected: Expected::Refused(401, "context-missing"),
        ..SIGNED
    },
    Arm { id: "exeat-2k", name: "Exeat, body of 2 kB", path: "/v1/search", body: 2 << 10, ..SIGNED },
    Arm { id: "exeat-64k", name: "Exeat, body of 64 kB", path: "/v1/search", body: 64 << 10, ..SIGNED },
    Arm {
        id: "exeat-1k-destinations",
        name: "Exeat, 1,000 destinations",
        stand: Stand::Exeat { destinations: 1_000, write_ahead: false, beside: false },
        ..SIGNED
    },
    Arm {
        id: "exeat-100k-destinations",
        name: "Exeat, 100,000 destinations",
        stand: Stand::Exeat { destinations: 100_000, write_ahead: false, beside: false },
        ..SIGNED
    },
    Arm {
        id: "exeat-write-ahead",
        name: "Exeat, write-ahead",
        stand: Stand::Exeat { destinations: 10, write_ahead: true, beside: false },
        ..SIGNED
    },
    Arm {
        id: "exeat-write-ahead-denied",
        name: "Exeat, write-ahead, refused by the policy",
        stand: Stand::Exeat { destinations: 10, write_ahead: true, beside: false },
        path: "/v1/exports/7?full=1",
        expected: Expected::Refused(403, "path-denied"),
        ..SIGNED
    },
];

/// Those with these ids, after the ones without a filter that they are held against.
pub(crate) fn chosen(ids: &[&str]) -> Result<Vec<Arm>> {
    let all = || ARMS.iter().map(|arm| arm.id).collect::<Vec<_>>().join(", ");
    let named = |id: &&str| {
        ARMS.iter().find(|arm| arm.id == *id).with_context(|| format!("no arm {id:?}; there are {}", all()))
    };
    let named = ids.iter().map(named).collect::<Result<Vec<_>>>()?;
    let needed = |arm: &&Arm| named.iter().any(|named| named.id == arm.id || named.baseline() == arm.id);
    Ok(ARMS.iter().filter(needed).copied().collect())
}

/// With each of Exeat's once more, for the other module.
pub(crate) fn doubled(arms: Vec<Arm>) -> Vec<Arm> {
    let other = |text: &str| -> &'static str { Box::leak(format!("{text}, other module").into_boxed_str()) };
    let twice = |arm: Arm| match arm.stand {
        Stand::Exeat { destinations, write_ahead, .. } => {
            let stand = Stand::Exeat { destinations, write_ahead, beside: true };
            vec![arm, Arm { id: other(arm.id), name: other(arm.name), stand, ..arm }]
        }
        Stand::Plain | Stand::Rival(_) => vec![arm],
    };
    arms.into_iter().flat_map(twice).collect()
}

impl Arm {
    /// The arm without a filter whose requests have the same body.
    pub(crate) fn baseline(&self) -> &'static str {
        match self.body {
            0 => "none",
            1..10_000 => "none-2k",
            _ => "none-64k",
        }
    }

    /// Whether the request reaches the upstream.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.expected, Expected::Served(_))
    }

    /// Decision records that a request must leave behind; `None` where they may be folded.
    pub(crate) fn records(&self) -> Option<u64> {
        match (self.stand, self.made) {
            (Stand::Exeat { .. }, Made::Signed { .. } | Made::Token) => Some(1),
            (Stand::Exeat { .. }, Made::Forged | Made::Plain) => None,
            (Stand::Plain | Stand::Rival(_), _) => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn arms_have_names_of_their_own_and_a_baseline() {
        let ids: BTreeSet<_> = ARMS.iter().map(|arm| arm.id).collect();
        let names: BTreeSet<_> = ARMS.iter().map(|arm| arm.name).collect();
        assert_eq!((ids.len(), names.len()), (ARMS.len(), ARMS.len()));
        for arm in &ARMS {
            let baseline = ARMS.iter().find(|other| other.id == arm.baseline()).unwrap();
            assert_eq!((baseline.stand, baseline.body), (Stand::Plain, arm.body), "{}", arm.id);
        }
    }
}
