//! Storms from seeds.
use testing::sim::storm::{Weather, storm};

#[test]
fn some_storms() {
    let n: u64 = std::env::var("HOLDFAST_STORM_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(200);
    let start = std::time::Instant::now();
    let mut bad = 0;
    let mut sum = Default::default();
    for seed in 0..n {
        let r = storm(seed, Weather::default());
        sum = r.counts.plus(sum);
        if !r.violations.is_empty() {
            bad += 1;
            if bad < 10 { println!("seed {seed}: {:#?}", r.violations); }
        }
    }
    println!("{bad} bad of {n}, {:?}, {sum:?}", start.elapsed());
}

#[test]
fn one() {
    let Some(seed) = std::env::var("SEED").ok().and_then(|v| v.parse().ok()) else { return };
    let r = storm(seed, Weather::default());
    for line in &r.trace { println!("{line}"); }
    println!("{:#?} {:?} {:?} {:?}", r.violations, r.counts, r.census, r.struck);
}
