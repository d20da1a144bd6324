//! Never shipped: the whole cluster in one process, from a seed, with everything that may break breaking ([`sim`]); bugs to be
//! planted in it ([`planted`]), so that the tests are known to be able to fail; real processes ([`real`]); and a census of what lies
//! on disks ([`fsck`]).
//!
//! What it keeps true:
//! - The code under test is the code that is shipped: everything above the seams `Node`, `Metadata` and `Clock`.
//! - A seed decides all that happens: the same seed twice gives the same history.
//! - No check is weaker for being run in a simulation: what is acknowledged is checked at the acknowledgement, in the nodes'
//!   own durable state, and again by reading it back.

pub mod chaos;
pub mod fsck;
pub mod planted;
pub mod real;
pub mod sim;
pub mod tidy;
