//! `chaos`: runs [`testing::chaos`] from a seed; `scripts/chaos.sh` builds and starts it.
//!
//! Exit code: 0 everything held, 1 something did not (the run is kept in the seeds file), 2 the settings cannot be run.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use testing::chaos::schedule::{Kind, letters_of};
use testing::chaos::{Run, checker, history, seeds};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell calls an end by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Kills, freezes, cuts off, fills, wipes and rots a cluster of real processes under load, and checks what clients were told.
///
/// Letters of a scenario: k kill -9, a kill -9 of all, t SIGTERM, s SIGSTOP, p partitions and slow networks, d full disk,
/// w wiped disk, r rotten bits.
#[derive(Debug, Parser)]
#[command(name = "chaos", version)]
struct Arguments {
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How long faults last at least
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,

    /// Storage nodes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(3..=14))]
    nodes: u64,

    /// Which faults, by letter
    #[arg(long, value_name = "LETTERS", default_value_t = letters_of(Kind::ALL), value_parser = letters)]
    scenario: String,

    /// Directory in which the cluster gets one of its own; a failed run is kept there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Runs that failed: run first, and added to
    #[arg(long, value_name = "FILE")]
    seeds: Option<PathBuf>,

    /// Only add to them
    #[arg(long, requires = "seeds")]
    no_replay: bool,

    /// Only judge a history that was recorded
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

fn letters(text: &str) -> Result<String, String> {
    Kind::parse(text).map(letters_of)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.check {
        return judge(path);
    }
    let kinds = Kind::parse(&arguments.scenario).expect("the letters were checked");
    let data = arguments.data.clone();
    let run = Run { seed: arguments.seed, minutes: arguments.minutes, nodes: arguments.nodes as usize, kinds, data };
    let replayed = arguments.seeds.as_deref().filter(|_| !arguments.no_replay);
    let kept = match replayed.map_or(Ok(Vec::new()), seeds::read) {
        Ok(kept) => kept,
        Err(why) => {
            eprintln!("chaos: {why}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .expect("a runtime can be built");
    let total = kept.len();
    for (number, kept) in kept.iter().enumerate() {
        println!("kept run {} of {}", number + 1, total);
        if !holds(&runtime, &Run { data: run.data.clone(), ..kept.clone() }) {
            return ExitCode::from(1);
        }
    }
    if holds(&runtime, &run) {
        return ExitCode::SUCCESS;
    }
    if let Some(path) = &arguments.seeds
        && let Err(why) = seeds::keep(path, &run)
    {
        eprintln!("chaos: this run cannot be kept: {why}");
    }
    ExitCode::from(1)
}

/// Whether a run held; a panic of the harness or a process that does not start is a failure like any other. Interrupted, it takes its
/// cluster down before it ends.
fn holds(runtime: &Runtime, run: &Run) -> bool {
    let whole = async {
        tokio::select! {
            verdict = run.run() => Some(verdict),
            () = interrupted() => None,
        }
    };
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(whole)));
    match verdict {
        Ok(Some(verdict)) => {
            println!("seed {}: {verdict}", run.seed);
            verdict.is_good()
        }
        Ok(None) => {
            println!("seed {}: interrupted", run.seed);
            std::process::exit(INTERRUPTED);
        }
        Err(_) => {
            println!("seed {}: the run broke off", run.seed);
            false
        }
    }
}

async fn interrupted() {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be listened for");
    let mut interrupted = signal(SignalKind::interrupt()).expect("signals can be listened for");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
}

fn judge(path: &std::path::Path) -> ExitCode {
    let events = match history::read(path) {
        Ok(events) => events,
        Err(why) => {
            eprintln!("chaos: {why}");
            return ExitCode::from(2);
        }
    };
    let violations = checker::check(&events);
    violations.iter().for_each(|violation| println!("VIOLATION {}: {}", violation.rule, violation.what));
    println!("{:?}, {} violations", checker::count(&events), violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
