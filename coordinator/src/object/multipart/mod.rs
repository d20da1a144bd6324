//! Multipart uploads: parts that come in any order, each as often as the client likes, and are put together to one version at the end.
//!
//! ```text
//!            create                put_part · copy_part              complete
//!   nothing ───────▶ upload/ open ─────────────────▶ part/ 1..10000 ─────────▶ version/ + parts/ + completed/   (part/ to the collector)
//!                              ╲ abort ────────────────────────────────────▶ garbage: every part and its chunks
//! ```
//!
//! What it keeps true:
//! - Law 3: nothing of an upload is visible before the one commit that publishes its version, and that closes the upload: of two
//!   completions one closes it, and of a completion and an abort, too.
//! - Law 4: the chunks of a part are named by the part's record for as long as the upload is open, be it for weeks; a part is recorded only
//!   by a commit that checks that the upload is open, so an upload that was closed gets no more of them.
//! - A completion knows the parts that it puts together: a part that takes the place of another changes the upload's revision, which the
//!   completion's commit checks.
//! - Law 10: memory is bounded by [`PARTS_MAX`] lines, whatever the parts' sizes.

mod assemble;
mod complete;
mod lists;
mod object_parts;
mod part;
mod upload;

pub(super) use assemble::Assembly;
pub use complete::{CompleteRequest, CompletedUpload, PartClaim};
pub use lists::{ListUploadsRequest, ListedPart, ListedUpload, PartsPage, UploadMarker, UploadsPage};
pub use object_parts::{ObjectPart, ObjectPartsPage};
pub(crate) use part::garbage_of_part;
pub use part::{PartDone, PartTarget};
pub use upload::NewUpload;

/// The highest number a part can have; the lowest is 1.
pub const PARTS_MAX: u16 = 10_000;
/// What S3 asks of every part but the last, in bytes.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// The longest part S3 takes, in bytes.
pub const PART_BYTES_MAX: u64 = 5 << 30;
