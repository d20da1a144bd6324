//! How long operations took: every sample is kept (eight bytes each, a few million at most), so percentiles are exact.

use std::time::Duration;

/// Samples being gathered by one client.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    nanos: Vec<u64>,
}

impl Samples {
    /// Adds one operation.
    pub fn record(&mut self, took: Duration) {
        self.nanos.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes over another client's.
    pub fn absorb(&mut self, other: Samples) {
        self.nanos.extend(other.nanos);
    }

    /// What they say.
    pub fn summary(mut self) -> Latency {
        self.nanos.sort_unstable();
        let at = |per_mille: usize| Duration::from_nanos(nearest_rank(&self.nanos, per_mille));
        Latency {
            count: self.nanos.len() as u64,
            p50: at(500),
            p90: at(900),
            p95: at(950),
            p99: at(990),
            max: at(1000),
        }
    }
}

/// The distribution of a run's operations; zeros where there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many operations.
    pub count: u64,
    /// Half of them were quicker.
    pub p50: Duration,
    /// Nine in ten were quicker.
    pub p90: Duration,
    /// Ninety-five in a hundred were quicker.
    pub p95: Duration,
    /// Ninety-nine in a hundred were quicker.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

/// The smallest sample that at least `per_mille` thousandths of the samples do not exceed.
fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(nanos: impl IntoIterator<Item = u64>) -> Samples {
        Samples { nanos: nanos.into_iter().collect() }
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let latency = samples((1..=1000).rev()).summary();
        assert_eq!(latency.count, 1000);
        let nanos = [latency.p50, latency.p90, latency.p99, latency.max].map(|d| d.as_nanos());
        assert_eq!(nanos, [500, 900, 990, 1000]);
    }

    #[test]
    fn few_samples_have_percentiles_too() {
        assert_eq!(samples([]).summary(), Latency::default());
        let one = samples([7]).summary();
        assert_eq!([one.p50, one.p90, one.p99, one.max], [Duration::from_nanos(7); 4]);
        let two = samples([9, 1]).summary();
        assert_eq!((two.p50, two.p90), (Duration::from_nanos(1), Duration::from_nanos(9)));
    }

    #[test]
    fn absorbed_samples_count() {
        let mut all = samples([1]);
        all.absorb(samples([2, 3]));
        all.record(Duration::from_nanos(4));
        assert_eq!(all.summary().count, 4);
    }
}
