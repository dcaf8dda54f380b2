//! Complaints on stderr: one line for what the user should know and no sink contains.
//!
//! **Invariant:** it never waits longer than a moment, and never fails.

use crate::args::NAME;
use crate::os::charset::Charset;
use crate::os::output::Output;
use crate::report::sanitize;
use std::time::Duration;

/// Writes one line to stderr, if there is room for it.
pub(crate) fn complain(text: &str, charset: Charset) {
    complain_as(NAME, text, charset);
}

/// The same, with the name of the program that was started.
pub(crate) fn complain_as(program: &str, text: &str, charset: Charset) {
    let mut line = String::new();
    charset.push(&format!("{program}: {}\n", sanitize::safe(text)), &mut line);
    if let Ok(mut stderr) = Output::stderr() {
        // If this fails, there is nothing left to write to.
        let _ = stderr.offer(line.as_bytes(), Duration::from_millis(50));
    }
}
