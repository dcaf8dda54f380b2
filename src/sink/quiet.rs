//! The only output of `--quiet`: docker's full reference, or why there is none.
//!
//! **Invariant:** one line: on standard output after a success, else on stderr.

use crate::os::charset::Charset;
use crate::os::output::{CLOSING, Output};
use crate::pull::Verdict;
use crate::sink::complaint::complain;

/// Writes the result of the pull of `image`, whose full reference is `full`.
pub(crate) fn write(image: &str, full: &str, verdict: &Verdict, stderr: Charset) {
    match verdict {
        Verdict::Success => {
            if let Ok(mut stdout) = Output::stdout() {
                // If stdout is closed, the exit code is the result.
                let _ = stdout.offer(format!("{full}\n").as_bytes(), CLOSING);
            }
        }
        Verdict::Failed(failure) => complain(&format!("{image}: {failure}"), stderr),
        Verdict::Undecided(id) => complain(&format!("{image}: {id}"), stderr),
        Verdict::Interrupted(signal) => complain(&format!("{image}: interrupted by signal {signal}"), stderr),
    }
}
