//! Notices: a message to people when an image fails, recovers or is new, or a container was rolled back.
//!
//! | file | what it does |
//! |---|---|
//! | rules | decides what is worth a notice, from the states and from what was noticed before |
//! | texts | the text of a notice |
//! | receivers | who gets notices, and the format for each kind of receiver |
//! | outbox | the files of waiting notices |
//! | queue | which notice is sent when, and what follows from the answer |
//! | delivery | sends one message to one receiver, in a separate process |
//!
//! **Invariant:** a notice is lost only if its receiver refuses it or if three attempts ended unclear, and the journal says
//! so; it is sent twice only if this process was killed between the receiver's answer and the removal of the file.

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

/// The maximum size of an order, in bytes; one with the longest texts is smaller.
const MAX_ORDER: u64 = 64 * 1024;

/// The main function of the process that delivers: reads one order from standard input, returns the answer for standard output.
pub(crate) fn deliver() -> String {
    // If the service that waits for this process is killed, this process must end too: otherwise the next service would send
    // the same message again.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut bytes = Vec::new();
    let read = io::stdin().take(MAX_ORDER).read_to_end(&mut bytes);
    let order = read.ok().and_then(|_| delivery::Order::from_bytes(&bytes));
    let answer = match order {
        Some(order) => order.carry_out(),
        None => delivery::Answer::new(
            delivery::End::Later,
            "this command is for the service itself, and standard input has no order of it",
        ),
    };
    answer.to_bytes()
}

/// Sends a test message to each receiver in `file` and prints the answers. Returns the exit code.
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

/// Reports a wrong file. Returns the exit code of wrong usage, after which systemd does not restart the service.
pub(crate) fn complain(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "alm-agent: --notify-file {why}");
    crate::USAGE
}
