//! Whether the process that wrote a state still lives.
//!
//! A killed process cannot write its end, and its id may belong to another process by now. The wall clock does not
//! help: a Pi sets it when the network is up.
//!
//! **Invariant:** a state is called lost only if its writer cannot be alive and well.

use crate::{Image, Status};

/// Seconds that a writer may be silent; it updates its beat every 15.
const SILENCE: u64 = 60;

/// Seconds since the boot, including those in which the machine slept.
#[must_use]
pub fn boottime() -> u64 {
    // Not rustix's clock_gettime, whose vDSO does not run under valgrind; not /proc/uptime, which takes four system calls.
    // The kernel counts a second that has begun.
    u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0).saturating_sub(1)
}

/// When process `pid` started, in clock ticks since the boot; `None` if it cannot be seen.
#[must_use]
pub fn born(pid: u32) -> Option<u64> {
    start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/PID/stat`. Field 2, the program's name, can contain blanks and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

impl Image {
    /// Whether this run was lost: the state says Working, and the process that would write the result is gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost_at(boottime(), born)
    }

    fn is_lost_at(&self, now: u64, born: impl Fn(u32) -> Option<u64>) -> bool {
        // A beat in the future is from another boot.
        let is_silent = self.beat.is_some_and(|beat| beat > now || now - beat > SILENCE);
        let is_another = || Some(born(self.pid?)? != self.born?);
        self.status == Status::Working && (is_silent || self.beat.is_none() || is_another().unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_found_behind_whatever_name() {
        let stat = |name: &str| format!("812 ({name}) S 1 812 812 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9867300 1 2");
        for name in ["init", "a b", "a) S 1 2 (b", ""] {
            assert_eq!(start_time(&stat(name)), Some(9_867_300), "{name}");
        }
        assert_eq!(start_time("812 (init) S 1"), None);
        assert_eq!(start_time(""), None);
        assert!(born(std::process::id()).is_some());
        assert!(boottime() > 0);
    }

    #[test]
    fn lost_is_a_run_whose_writer_is_gone() {
        let image = |beat| Image { pid: Some(7), born: Some(100), beat, ..Image::default() };
        let check =
            |image: &Image, born: Option<u64>, lost| assert_eq!(image.is_lost_at(1_000, |_| born), lost, "{image:?}");
        check(&image(Some(1_000)), Some(100), false);
        check(&image(Some(940)), Some(100), false);
        check(&image(Some(939)), Some(100), true);
        check(&image(Some(1_001)), Some(100), true);
        check(&image(None), Some(100), true);
        // The process id belongs to another process by now.
        check(&image(Some(1_000)), Some(101), true);
        // The process cannot be seen (it runs in a container with its own process ids): the beat decides.
        check(&image(Some(1_000)), None, false);
        check(&Image { status: Status::Done, ..image(Some(1)) }, None, false);
    }
}
