//! What the measurements must show: ratios between arms of one run, round by round.

use super::results::Measured;
use super::statistics::Summary;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    /// What each adds to the arm without a filter.
    Added,
    /// What each costs, Envoy included.
    Whole,
}

struct Target {
    arm: &'static str,
    to: &'static str,
    compared: Compared,
    most: f64,
    name: &'static str,
}

const TARGETS: [Target; 6] = [
    Target {
        arm: "exeat",
        to: "jwt",
        compared: Compared::Added,
        most: 0.7,
        name: "Exeat verifying each request adds, to what jwt_authn (EdDSA) + RBAC adds",
    },
    Target {
        arm: "exeat-token",
        to: "jwt-cached",
        compared: Compared::Added,
        most: 1.5,
        name: "Exeat with a cached JWT adds, to what jwt_authn with cache + RBAC adds",
    },
    Target {
        arm: "exeat-denied",
        to: "exeat",
        compared: Compared::Whole,
        most: 1.0,
        name: "a request refused by the policy costs, to what an allowed one costs",
    },
    Target {
        arm: "exeat-forged",
        to: "exeat",
        compared: Compared::Whole,
        most: 1.0,
        name: "a request with a forged signature costs, to what an allowed one costs",
    },
    Target {
        arm: "exeat-unsigned",
        to: "exeat",
        compared: Compared::Whole,
        most: 1.0,
        name: "a request without a signature costs, to what an allowed one costs",
    },
    Target {
        arm: "exeat-100k-destinations",
        to: "exeat",
        compared: Compared::Whole,
        most: 1.2,
        name: "a request among 100,000 destinations costs, to what one among 10 costs",
    },
];

/// One ratio, and whether it is what it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// What was compared.
    pub(crate) name: String,
    /// Over the rounds.
    pub(crate) ratio: Summary,
    /// The greatest that may be.
    pub(crate) most: f64,
}

impl Verdict {
    /// By the median: what is not a number is not met.
    pub(crate) fn is_met(&self) -> bool {
        self.ratio.median <= self.most
    }
}

/// All of them. An arm that is missing is an error, for then nothing was shown.
pub(crate) fn judge(arms: &[Measured]) -> Result<Vec<Verdict>> {
    let rounds = |id: &str| -> Result<&[f64]> {
        let arm = arms.iter().find(|arm| arm.id == id).with_context(|| format!("arm {id} was not measured"))?;
        Ok(&arm.cpu_rounds)
    };
    let base = rounds("none")?;
    TARGETS
        .iter()
        .map(|target| {
            let (own, other) = (rounds(target.arm)?, rounds(target.to)?);
            let ratios: Vec<f64> = own
                .iter()
                .zip(other)
                .zip(base)
                .map(|((own, other), base)| match target.compared {
                    Compared::Added => (own - base) / (other - base),
                    Compared::Whole => own / other,
                })
                .collect();
            let ratio = Summary::of(&ratios).with_context(|| format!("{} has no rounds", target.arm))?;
            Ok(Verdict { name: target.name.to_owned(), ratio, most: target.most })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(exeat: f64, denied: f64) -> Vec<Measured> {
        let arm = |id: &str, cpu: f64| Measured {
            id: id.to_owned(),
            cpu_rounds: vec![cpu, cpu + 1.0, cpu - 1.0],
            ..Measured::default()
        };
        vec![
            arm("none", 20.0),
            arm("jwt", 120.0),
            arm("jwt-cached", 40.0),
            arm("exeat", exeat),
            arm("exeat-token", 50.0),
            arm("exeat-denied", denied),
            arm("exeat-forged", 70.0),
            arm("exeat-unsigned", 30.0),
            arm("exeat-100k-destinations", exeat + 1.0),
        ]
    }

    #[test]
    fn what_is_added_is_over_no_filter() {
        let verdicts = judge(&arms(80.0, 70.0)).unwrap();
        assert_eq!(verdicts.len(), TARGETS.len());
        assert!((verdicts[0].ratio.median - 0.6).abs() < 1e-9, "{:?}", verdicts[0]);
        assert!((verdicts[1].ratio.median - 1.5).abs() < 1e-9 && verdicts[1].is_met());
        assert!(verdicts.iter().all(Verdict::is_met), "{verdicts:?}");
    }

    #[test]
    fn a_ratio_beyond_its_bound_is_not_met() {
        let missed = |exeat, denied| {
            let verdicts = judge(&arms(exeat, denied)).unwrap();
            verdicts.iter().filter(|verdict| !verdict.is_met()).count()
        };
        assert_eq!(missed(91.0, 70.0), 1);
        assert_eq!(missed(80.0, 81.0), 1);
    }

    #[test]
    fn nothing_measured_shows_nothing() {
        let mut none = arms(80.0, 70.0);
        none.retain(|arm| arm.id != "jwt");
        assert!(judge(&none).is_err());
        let mut empty = arms(80.0, 70.0);
        empty[3].cpu_rounds.clear();
        assert!(judge(&empty).is_err());
        let verdict =
            Verdict { name: String::new(), ratio: Summary { median: f64::NAN, low: 0.0, high: 0.0 }, most: 1.0 };
        assert!(!verdict.is_met());
    }
}
