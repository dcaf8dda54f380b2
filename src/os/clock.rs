//! The time of day.
//!
//! **Invariant:** in whole milliseconds, as every time that is written.

use time::OffsetDateTime;

/// Now, in the local offset; in UTC where that cannot be found out.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}
