//! What the clients of a storm do, and how much of it: each seed draws its own.

use crate::sim::nemesis::Fault;
use crate::sim::rng::Rng;
use crate::sim::workers::Habits;
use std::time::Duration;

/// What clients do; each seed draws its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) coordinators: usize,
    /// Processes that compete for the workers' lease.
    pub(super) workers: usize,
    pub(super) habits: Habits,
    pub(super) clients: u64,
    pub(super) turns: u64,
    pub(super) think_ms_max: u64,
    pub(super) keys: u64,
    /// Bodies that are put again and again, so that chunks are shared.
    pub(super) bodies: u64,
    pub(super) purges_percent: u64,
    /// Turns in which a client removes a single version.
    pub(super) removes_per_mille: u64,
    /// Turns in buckets that come and go.
    pub(super) buckets_percent: u64,
    /// Turns in which a client purges its own key and puts the same bytes again.
    pub(super) replaces_percent: u64,
    pub(super) shared_per_mille: u64,
    /// Of the shared ones, those that have a tail of their own.
    pub(super) mixed_percent: u64,
    pub(super) large_percent: u64,
    /// Turns in which a client uploads in parts, or copies.
    pub(super) uploads_percent: u64,
    pub(super) slow_percent: u64,
    pub(super) metadata_late_per_mille: u64,
}

impl Work {
    /// Some of everything, or, one time in six each, what races with a kind of work.
    pub(super) fn draw(rng: &mut Rng, faults: &mut Vec<Fault>) -> Work {
        let mut habits = Habits::draw(rng);
        if faults.contains(&Fault::ClockJump) {
            // It is a clock's time, and as wrong as that.
            habits.trash_window = Duration::ZERO;
        }
        let any = Work {
            coordinators: rng.between(1, 2) as usize,
            workers: *rng.pick(&[0, 1, 1, 2]),
            habits,
            clients: rng.between(2, 4),
            turns: rng.between(6, 24),
            think_ms_max: 250,
            keys: rng.between(1, 4),
            bodies: 5,
            purges_percent: *rng.pick(&[1, 3, 10]),
            removes_per_mille: *rng.pick(&[0, 0, 60]),
            buckets_percent: *rng.pick(&[0, 0, 25, 80]),
            replaces_percent: *rng.pick(&[0, 2, 5]),
            shared_per_mille: *rng.pick(&[100, 350, 800]),
            mixed_percent: *rng.pick(&[0, 10]),
            large_percent: *rng.pick(&[0, 1, 2]),
            uploads_percent: *rng.pick(&[0, 5, 5, 30]),
            slow_percent: 5,
            metadata_late_per_mille: 0,
        };
        match rng.below(6) {
            0 => Work::reuse_of_what_goes(any),
            1 => Work::uploads_that_expire(any),
            2 => any.slowly(&[Fault::WorkerPause], faults, 2),
            3 => any.slowly(&[*rng.pick(&[Fault::DiskLoss, Fault::Rot]), Fault::NodeLost], faults, 1),
            _ => any,
        }
    }

    /// So slowly that leases are taken over, and nodes lost.
    fn slowly(self, with: &[Fault], faults: &mut Vec<Fault>, workers: usize) -> Work {
        faults.retain(|fault| !with.contains(fault));
        faults.splice(0..0, with.iter().copied());
        let habits = Habits { rest_ms_max: 90, ..self.habits };
        Work { workers, habits, turns: 4 + self.turns / 3, think_ms_max: 2_500, large_percent: 0, ..self }
    }

    /// The same bytes are purged and put again: chunks lose their last reference while someone is about to take a new one.
    fn reuse_of_what_goes(any: Work) -> Work {
        Work {
            workers: any.workers.max(1),
            habits: Habits { trash_window: Duration::ZERO, rest_ms_max: 10, ..any.habits },
            clients: 4,
            turns: 24,
            think_ms_max: 40,
            replaces_percent: 80,
            shared_per_mille: 900,
            mixed_percent: 20,
            metadata_late_per_mille: 150,
            large_percent: 0,
            ..any
        }
    }

    /// Puts of several batches, whose intents are taken away.
    fn uploads_that_expire(any: Work) -> Work {
        Work {
            workers: any.workers.max(1),
            habits: Habits { rest_ms_max: 30, ..any.habits },
            turns: any.turns / 2,
            think_ms_max: 60,
            large_percent: 40,
            slow_percent: 60,
            shared_per_mille: 100,
            ..any
        }
    }
}
