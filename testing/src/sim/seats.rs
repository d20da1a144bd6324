//! The processes of a storm in their places; one that dies is followed by another on the same seat.

use super::cluster::{Cluster, Coordinator};
use super::workers::Habits;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// The processes in their places: first the coordinators, then those that do the workers' work or wait for the lease.
pub struct Seats {
    cluster: Arc<Cluster>,
    seats: Vec<Mutex<Arc<Coordinator>>>,
    coordinators: usize,
    habits: Habits,
}

impl Seats {
    /// Starts one process after the other, `apart` from each other.
    pub async fn fill(
        cluster: Arc<Cluster>,
        coordinators: usize,
        workers: usize,
        habits: Habits,
        apart: Duration,
    ) -> Arc<Seats> {
        let mut seats = Seats { cluster, seats: Vec::new(), coordinators, habits };
        for seat in 0..coordinators + workers {
            let process = seats.process(seat, 0);
            seats.seats.push(Mutex::new(process));
            sleep(apart).await;
        }
        Arc::new(seats)
    }

    /// Who sits there now.
    pub fn at(&self, seat: usize) -> Arc<Coordinator> {
        self.seats[seat].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many seats are coordinators'.
    pub fn coordinators(&self) -> usize {
        self.coordinators
    }

    /// How many seats are workers'.
    pub fn workers(&self) -> usize {
        self.seats.len() - self.coordinators
    }

    /// How many seats there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always a coordinator")]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Has a new process take a seat.
    pub fn reseat(&self, seat: usize, clock_offset_ms: i64) {
        let successor = self.process(seat, clock_offset_ms);
        *self.seats[seat].lock().unwrap_or_else(PoisonError::into_inner) = successor;
    }

    fn process(&self, seat: usize, clock_offset_ms: i64) -> Arc<Coordinator> {
        Arc::new(match seat < self.coordinators {
            true => self.cluster.watching_coordinator(clock_offset_ms),
            false => self.cluster.worker_process(clock_offset_ms, &self.habits),
        })
    }
}
