//! The names of every metric this crate writes. All carry the label `log`, the name the owner gave its log.

use metrics::{Unit, describe_counter, describe_histogram};

/// Seconds from the start of an append to its acknowledgement; histogram.
pub const APPEND_SECONDS: &str = "segment_append_seconds";
/// Seconds of one fdatasync of a segment; histogram.
pub const SYNC_SECONDS: &str = "segment_sync_seconds";
/// Records made durable by one append; histogram.
pub const GROUP_RECORDS: &str = "segment_group_records";
/// Payload bytes made durable; counter.
pub const APPENDED_BYTES: &str = "segment_appended_bytes_total";
/// Segments sealed with a footer; counter.
pub const SEALED: &str = "segments_sealed_total";
/// Segments given up after a failed write or fsync (law 12); counter.
pub const POISONED: &str = "segments_poisoned_total";
/// Segments removed by their owner; counter.
pub const REMOVED: &str = "segments_removed_total";
/// Appends refused or failed, by `kind` of error; counter.
pub const APPEND_ERRORS: &str = "segment_append_errors_total";
/// Records that did not match their checksums when read, and stretches found damaged by a scan; counter.
pub const CORRUPT: &str = "segment_corrupt_total";

/// Registers the help texts.
pub fn describe_all() {
    describe_histogram!(APPEND_SECONDS, Unit::Seconds, "Seconds from the start of an append to its acknowledgement.");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "Seconds of one fdatasync of a segment.");
    describe_histogram!(GROUP_RECORDS, Unit::Count, "Records made durable by one append.");
    describe_counter!(APPENDED_BYTES, Unit::Bytes, "Payload bytes made durable.");
    describe_counter!(SEALED, Unit::Count, "Segments sealed with a footer.");
    describe_counter!(POISONED, Unit::Count, "Segments given up after a failed write or fsync.");
    describe_counter!(REMOVED, Unit::Count, "Segments removed by their owner.");
    describe_counter!(APPEND_ERRORS, Unit::Count, "Appends refused or failed, by kind of error.");
    describe_counter!(CORRUPT, Unit::Count, "Records and stretches that did not match their checksums.");
}
