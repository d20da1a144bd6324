//! Storms from seeds: `HOLDFAST_STORM_SEEDS=10000` for more of them, `SEED=n` for one, with `HOLDFAST_TRACE=1` and `--nocapture`
//! for all that happens in it. Seeds that ever failed are in `seeds.txt`, and are replayed first for ever.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use testing::sim::check::Counts;
use testing::sim::nemesis::{FAULTS, Fault};
use testing::sim::storm::{Report, Weather, storm};

/// Half a minute of two cores in a debug build. `scripts/check.sh` runs ten thousand in an optimised one.
const SEEDS_DEFAULT: u64 = 500;
/// Failing seeds are printed up to this number.
const FAILED_MAX: usize = 10;
const SEEDS_FOR_EVER: &str = include_str!("../seeds.txt");

fn seeds_for_ever() -> Vec<u64> {
    let lines = SEEDS_FOR_EVER.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = |line: &str| line.split_whitespace().next().and_then(|seed| seed.parse().ok());
    lines.map(|line| seed(line).unwrap_or_else(|| panic!("{line:?} has no seed"))).collect()
}

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn storms(seeds: &[u64], weather: Weather) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = storm(*seed, weather);
                    reports.lock().expect("no storm panics").push(report);
                }
            });
        }
    });
    reports.into_inner().expect("no storm panics")
}

fn require_clean(reports: &[Report]) {
    let failed: Vec<&Report> = reports.iter().filter(|report| !report.violations.is_empty()).collect();
    for report in failed.iter().take(FAILED_MAX) {
        println!("SEED={} {:#?}", report.seed, report.violations);
    }
    let seeds: Vec<u64> = failed.iter().map(|report| report.seed).collect();
    assert!(
        seeds.is_empty(),
        "{} of {} seeds failed; add them to testing/seeds.txt: {seeds:?}",
        seeds.len(),
        reports.len()
    );
}

/// Laws 1 to 10 in storms: whatever strikes, what was acknowledged is durable, whole and right; and when nothing strikes any more
/// the cluster comes to be clean by itself.
#[test]
fn no_storm_breaks_a_law() {
    if let Some(seed) = number_from_environment("SEED") {
        let report = storm(seed, Weather::default());
        let Report { counts, census, struck, history, trace, .. } = &report;
        trace.iter().for_each(|event| println!("{event}"));
        println!("{counts:?} {census:?} {struck:?} {} events", history.1);
        return require_clean(&[report]);
    }
    require_clean(&storms(&seeds_for_ever(), Weather::default()));
    let seeds: Vec<u64> = (0..number_from_environment("HOLDFAST_STORM_SEEDS").unwrap_or(SEEDS_DEFAULT)).collect();
    let began = Instant::now();
    let reports = storms(&seeds, Weather::default());
    println!("{:.1} storms a second", seeds.len() as f64 / began.elapsed().as_secs_f64());
    require_clean(&reports);
    require_eventful(&reports);
}

/// A storm in which nothing happened proves nothing.
fn require_eventful(reports: &[Report]) {
    let storms = reports.len() as u64;
    let counts = reports.iter().fold(Counts::default(), |sum, report| sum.plus(report.counts));
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    for report in reports {
        for (fault, times) in &report.struck {
            *struck.entry(*fault).or_default() += times;
        }
    }
    println!("{storms} storms: {counts:?} {struck:?}");
    if storms < 100 {
        return;
    }
    assert!(counts.puts_done > 5 * storms && counts.reads_done > 10 * storms, "{counts:?}");
    assert!(counts.chunks_reused > storms && counts.puts_unknown * 5 < counts.puts_done, "{counts:?}");
    assert!(counts.chunks_mended > storms && counts.chunks_collected > storms, "{counts:?}");
    assert!(counts.shards_deleted > storms && counts.uploads_given_up > storms / 10, "{counts:?}");
    assert!(counts.leases_taken > storms && counts.stale_commits > storms / 20, "{counts:?}");
    assert!(counts.removals_done > storms / 10, "{counts:?}");
    assert!(counts.parts_done > storms && counts.uploads_completed > storms / 2, "{counts:?}");
    assert!(counts.uploads_aborted > storms / 20 && counts.copies_done > storms / 10, "{counts:?}");
    assert!(counts.changes_done > storms, "{counts:?}");
    assert!(counts.nulls_replaced > storms / 4 && counts.keys_forgotten > storms / 20, "{counts:?}");
    assert!(counts.buckets_deleted > storms / 40 && (storms < 500 || counts.buckets_revived > 0), "{counts:?}");
    assert!(storms < 500 || counts.uploads_gone_with_buckets > 0, "{counts:?}");
    for fault in FAULTS {
        assert!(struck.contains_key(&fault), "{fault:?} never struck in {storms} storms");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..20 {
        let (one, other) = (storm(seed, Weather::default()), storm(seed, Weather::default()));
        let events = one.trace.iter().zip(&other.trace);
        let parting = events.enumerate().find(|(_, (one, other))| one != other);
        assert_eq!(one.history, other.history, "seed {seed}; with HOLDFAST_TRACE they part at {parting:?}");
        assert_eq!(one.counts, other.counts, "seed {seed}");
        assert!(one.history.1 > 100, "a storm of {} events is none", one.history.1);
    }
}

/// Without faults nothing is refused but what broke its own conditions, and nothing is left over.
#[test]
fn in_calm_weather_nothing_fails() {
    let seeds: Vec<u64> = (0..40).collect();
    let reports = storms(&seeds, Weather { calm: true, ..Weather::default() });
    require_clean(&reports);
    for report in reports {
        assert_eq!((report.counts.puts_unknown, report.counts.reads_refused), (0, 0), "seed {}", report.seed);
        assert!(report.census.is_clean(), "seed {}: {:?}", report.seed, report.census);
    }
}
