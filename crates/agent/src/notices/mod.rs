//! Notices: a message to people when an image fails, recovers or is new, or a container was rolled back.
//!
//! | file | what it does |
//! |---|---|
//! | rules | what is worth a notice, from the states and what was noticed before |
//! | texts | what it says |
//! | receivers | who gets it; what each of them takes |
//! | outbox | the files of what waits |
//! | queue | which notice is sent when, and what becomes of it |
//! | delivery | one message to one receiver, in a process of its own |
//!
//! **Invariant:** a notice is lost only where its receiver refuses it or three attempts ended unclear, and the journal says
//! so; it is sent twice only where this process was killed between the receiver's answer and the removal of the file.

mod delivery;
mod outbox;
mod queue;
mod receivers;
mod rules;
mod texts;

pub(crate) use queue::Queue;

use alm_state::Time;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// An order with the longest texts is less.
const MAX_ORDER: u64 = 64 * 1024;

/// The process that delivers: one order on standard input, one answer on standard output.
pub(crate) fn deliver() -> String {
    // The service that waits for it may be killed: then it does not go on alone, to be repeated by the next one.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut bytes = Vec::new();
    let read = io::stdin().take(MAX_ORDER).read_to_end(&mut bytes);
    let order = read.ok().and_then(|_| delivery::Order::from_bytes(&bytes));
    let answer = match order {
        Some(order) => order.carry_out(),
        None => delivery::Answer::new(delivery::End::Later, "the order is none: this is for the service itself"),
    };
    answer.to_bytes()
}

/// Sends each receiver in `file` a message and says what came back; the exit code.
pub(crate) fn test(file: &Path, device: &str, site: Option<&str>) -> u8 {
    let receivers = match receivers::read(file) {
        Ok(receivers) => receivers,
        Err(why) => return complain(&why),
    };
    let text = texts::test(&texts::sender(device, site), Time::now());
    let mut code = 0;
    let say = |line: &str| io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
    let _ = say(&format!("{}\n{}\n", text.title, text.body));
    for receiver in receivers {
        let shown = receiver.shown.clone();
        let answer = queue::order(&receiver, text.clone()).carry_out();
        let verdict = match answer.end {
            delivery::End::Delivered => "delivered",
            delivery::End::Refused => "refused",
            delivery::End::Later => "not delivered",
            delivery::End::Unclear => "perhaps not delivered",
        };
        if answer.end != delivery::End::Delivered {
            code = 1;
        }
        let _ = say(&format!("{shown}: {verdict}, {}\n", answer.details));
    }
    code
}

/// For a file that is wrong: the exit code of wrong usage, with which the service is not started again.
pub(crate) fn complain(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "alm-agent: --notify-file {why}");
    crate::USAGE
}
