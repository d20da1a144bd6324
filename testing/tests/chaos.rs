//! A short chaos run (faults 4.5, L8): every kind of fault once or so. `scripts/chaos.sh` runs longer ones, and keeps the seeds that fail.

use testing::chaos::Run;
use testing::chaos::schedule::Kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_of_chaos_leaves_everything_as_it_was_told() {
    let run = Run { seed: 1, minutes: 0.5, nodes: 4, kinds: Kind::ALL.into_iter().collect(), data: None };
    let verdict = run.run().await;
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
    assert!(verdict.faults.len() >= 5, "{verdict}");
}
