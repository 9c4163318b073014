//! All arms, in the order of the report.

use crate::stopwatch::Arm;
use crate::{bodies, budgets, bytes, curve, request};

/// Prepares everything; an error names what could not be.
pub(crate) fn all() -> Result<Vec<Arm>, String> {
    let mut arms = request::verification()?;
    arms.extend(bytes::hashes());
    arms.extend(curve::arms()?);
    arms.extend(request::judgement()?);
    arms.extend(bodies::arms()?);
    arms.extend(request::exchanges()?);
    arms.extend(budgets::arms()?);
    Ok(arms)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_arm_does_what_it_measures() {
        for mut arm in super::all().unwrap() {
            assert!(arm.call() && arm.call(), "{arm:?}");
        }
    }
}
