//! The time of day.
//!
//! **Invariant:** times are cut to whole milliseconds, like every time that is written.

use time::OffsetDateTime;

/// The present time in the local offset; in UTC if the offset cannot be determined.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}
