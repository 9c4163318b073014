//! Medians and quartiles of rounds. Few rounds, so nothing that assumes a distribution.

use serde::{Deserialize, Serialize};

/// What rounds of one measurement say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The one in the middle.
    pub(crate) median: f64,
    /// A quarter of the rounds lies below.
    pub(crate) low: f64,
    /// A quarter of the rounds lies above.
    pub(crate) high: f64,
}

impl Summary {
    /// Of no round there is none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share);
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }

    /// How far the middle half of the rounds reaches, as a share of the median. Of a median of nothing it is infinite.
    pub(crate) fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.high - self.low) / self.median } else { f64::INFINITY }
    }
}

/// Where the so many values stand that lie closest together; `None` of fewer values.
pub(crate) fn closest(values: &[f64], count: usize) -> Option<Vec<usize>> {
    let mut sorted: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    sorted.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let reach = |window: &&[(usize, f64)]| match (window.first(), window.last()) {
        (Some((_, least)), Some((_, greatest))) => greatest - least,
        _ => f64::INFINITY,
    };
    let closest = sorted.windows(count.max(1)).min_by(|a, b| reach(a).total_cmp(&reach(b)))?;
    let mut places: Vec<usize> = closest.iter().map(|(place, _)| *place).collect();
    places.sort_unstable();
    Some(places)
}

/// Linear between the two values beside it, as spreadsheets have it (R's type 7).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share * last as f64;
    let below = position.floor();
    // In bounds: a share is at most 1.
    let (low, high) = (*sorted.get(below as usize)?, *sorted.get((below as usize).saturating_add(1).min(last))?);
    Some(low + (high - low) * (position - below))
}

/// The slope of the straight line that fits best (least squares): what `y` grows by for each `x`.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x) * (point.0 - x))
    });
    (below > 0.0).then_some(above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_lie_together_are_found() {
        assert_eq!(closest(&[9.0, 1.0, 5.1, 5.0, 9.5, 5.2], 3), Some(vec![2, 3, 5]));
        assert_eq!(closest(&[2.0, 1.0], 2), Some(vec![0, 1]));
        assert_eq!(closest(&[2.0, 1.0], 3), None);
    }

    #[test]
    fn quartiles_lie_between_rounds() {
        let summary = |values: &[f64]| Summary::of(values).unwrap();
        assert_eq!(summary(&[3.0, 1.0, 2.0, 5.0, 4.0]), Summary { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(summary(&[1.0, 2.0, 3.0, 4.0]), Summary { median: 2.5, low: 1.75, high: 3.25 });
        assert_eq!(summary(&[7.0]), Summary { median: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_round_that_was_disturbed_changes_little() {
        let calm = Summary::of(&[20.0, 20.1, 20.2, 20.3, 20.4]).unwrap();
        let disturbed = Summary::of(&[20.0, 20.1, 20.2, 20.3, 90.0]).unwrap();
        assert_eq!(calm.median, disturbed.median);
        assert!(calm.spread() < 0.011 && disturbed.spread() < 0.011, "{calm:?} {disturbed:?}");
    }

    #[test]
    fn a_median_of_nothing_has_no_small_spread() {
        assert!(Summary::of(&[0.0, 0.0]).unwrap().spread().is_infinite());
    }

    #[test]
    fn the_slope_is_that_of_the_line() {
        assert_eq!(slope(&[(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 4.0), (1.0, 4.0)]), Some(0.0));
        assert_eq!(slope(&[(1.0, 4.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}
