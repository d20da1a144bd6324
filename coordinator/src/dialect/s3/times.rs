//! Times as the protocol writes them: ISO 8601 in XML and some headers, HTTP's dates in others; milliseconds since 1970 inside.

use s3s::dto::{Timestamp, TimestampFormat};
use std::time::{Duration, UNIX_EPOCH};

/// A time as the library has it.
pub fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms))
}

/// The first millisecond of the year 10,000, which the protocol cannot write.
const MS_END: u64 = 253_402_300_800_000;

/// Milliseconds since 1970; `None` for what is before, and for what is after the year 9999.
pub fn ms_of(time: &Timestamp) -> Option<u64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let ms = seconds.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(ms)?;
    (ms < MS_END).then_some(ms)
}

/// Milliseconds since 1970 of an ISO 8601 time.
pub fn ms_of_iso(text: &str) -> Option<u64> {
    ms_of(&Timestamp::parse(TimestampFormat::DateTime, text).ok()?)
}

/// HTTP's date of the second that `ms` lies in.
pub fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(ms / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_library() {
        for ms in [0, 1, 999, 1_000, 1_767_323_045_678] {
            assert_eq!(ms_of(&timestamp(ms)), Some(ms));
        }
        assert_eq!(ms_of_iso("2026-01-02T03:04:05Z"), Some(1_767_323_045_000));
        assert_eq!(ms_of_iso("2026-01-02T03:04:05.678Z"), Some(1_767_323_045_678));
        assert_eq!(ms_of_iso("2026-01-02T05:04:05+02:00"), Some(1_767_323_045_000));
        assert_eq!(ms_of_iso("tomorrow"), None);
        assert_eq!(ms_of_iso("9999-12-31T23:59:59.999Z"), Some(MS_END - 1));
        assert_eq!(ms_of(&timestamp(MS_END - 1)), Some(MS_END - 1));
        assert_eq!(ms_of_iso("9999-12-31T23:59:59-01:00"), None, "it can be read, and not written");
        assert_eq!(http_date(1_767_323_045_678), "Fri, 02 Jan 2026 03:04:05 GMT");
    }
}
