//! `alm status`: the states of a device's images, for people who may read them and do nothing else.
//!
//! **Invariant:** it writes nothing, except that `--forget` deletes a state. A pull never notices that its state is
//! read.

use crate::args::{Show, StatusOptions};
use crate::docker::reference::{Reference, is_same};
use crate::os::charset::Charset;
use crate::os::clock::now;
use crate::os::output::{Output, Place};
use crate::os::signals::{self, Signals};
use crate::os::wait::{TICK, ready};
use crate::pull::signal_exit_code;
use crate::report::fit;
use crate::report::moment::Moment;
use crate::report::status::{self, Health};
use crate::sink::complaint::complain_as;
use alm_state::{States, Store};
use rustix::event::PollFlags;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::time::Duration;

/// How often the states are read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The exit codes.
const WELL: u8 = 0;
const BAD: u8 = 1;
const NOTHING_KNOWN: u8 = 3;

/// Shows the states; returns the exit code.
pub(crate) fn status(options: &StatusOptions) -> u8 {
    let (program, charset) = (options.program, Charset::from_environment(options.ascii));
    let store = options.state.as_deref().map_or_else(Store::of_device, Store::at);
    let reference = match options.image.as_deref().map(Reference::parse).transpose() {
        Ok(reference) => reference,
        Err(error) => {
            complain_as(program, &error.to_string(), charset);
            return crate::args::EXIT_USAGE;
        }
    };
    let reference = reference.map(|reference| meant(&store, reference));
    let shown = match (options.show, &reference) {
        (Show::Forget, Some(reference)) => return forget(&store, reference, program, charset),
        (Show::Follow, _) => return follow(&store, reference.as_ref(), program, charset),
        (Show::Json, _) => json(&read(&store, reference.as_ref())),
        (Show::Once | Show::Forget, _) => Ok(read(&store, reference.as_ref())).map(|states| {
            let text = text(&states, charset, columns());
            (states, text)
        }),
    };
    let written = shown.and_then(|(states, text)| {
        let mut output = Output::stdout()?;
        if is_empty(&states) && options.show == Show::Once {
            complain_as(program, &nothing_known(reference.as_ref()), charset);
        }
        output.write(text.as_bytes(), TICK, &mut || ControlFlow::Continue(()))?;
        Ok(exit_code(&states))
    });
    match written {
        Ok(exit) => exit,
        // The reader closed the pipe (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => WELL,
        Err(error) => {
            complain_as(program, &format!("standard output: {error}"), charset);
            BAD
        }
    }
}

/// The image that the command line names: as a pull names it, or as the states are shown.
fn meant(store: &Store, reference: Reference) -> Reference {
    let (images, name, shown) = (store.read().images, alm_state::file_name(&reference.full()), reference.to_string());
    let ids: Vec<&str> = images.iter().map(|found| &*found.image.id).collect();
    if images.iter().any(|found| found.name == name) {
        return reference;
    }
    let id = ids.iter().find(|id| status::short_name(id, &ids) == shown);
    id.and_then(|id| Reference::parse(id).ok()).unwrap_or(reference)
}

/// The states; only those of one image if the command line names it.
fn read(store: &Store, reference: Option<&Reference>) -> States {
    let mut states = store.read();
    if let Some(reference) = reference {
        let name = alm_state::file_name(&reference.full());
        let id = reference.to_string();
        states.images.retain(|found| found.name == name);
        states.containers.retain(|container| is_same(&container.image, &id));
    }
    states
}

fn is_empty(states: &States) -> bool {
    states.images.is_empty() && states.containers.is_empty()
}

fn exit_code(states: &States) -> u8 {
    if is_empty(states) {
        NOTHING_KNOWN
    } else if status::health(states) == Health::Bad {
        BAD
    } else {
        WELL
    }
}

fn nothing_known(reference: Option<&Reference>) -> String {
    let what = reference.map_or_else(|| "any image".to_owned(), ToString::to_string);
    format!("nothing is known of {what} yet: its state comes with the next pull or check (Puppet starts them)")
}

/// The width of the terminal, if stdout is one.
fn columns() -> Option<usize> {
    let output = Output::stdout().ok().filter(|_| io::stdout().is_terminal())?;
    Some(output.size().0.saturating_sub(1))
}

/// The states as text: whole lines, limited to `charset`.
fn text(states: &States, charset: Charset, columns: Option<usize>) -> String {
    let entries = status::entries(states, Moment { now: now() }, &is_same);
    let mut text = String::new();
    for line in status::lines(&entries, columns) {
        charset.push(&line, &mut text);
        text.push('\n');
    }
    text
}

/// The states as one JSON array: first those of images, then those of containers.
fn json(states: &States) -> io::Result<(States, String)> {
    let mut text = String::from("[");
    let rows = states.images.iter().map(|found| {
        let mut row = serde_json::to_string(&found.image)?;
        // What only its reader can find out.
        if found.image.is_lost() {
            row.truncate(row.len() - 1);
            row.push_str(",\"lost\":true}");
        }
        Ok(row)
    });
    for row in rows.chain(states.containers.iter().map(serde_json::to_string)) {
        let separator = if text.len() > 1 { ",\n " } else { "" };
        let _ = write!(text, "{separator}{}", row?);
    }
    text.push_str("]\n");
    Ok((states.clone(), text))
}

fn forget(store: &Store, reference: &Reference, program: &str, charset: Charset) -> u8 {
    match store.forget(&reference.full()) {
        Ok(true) => WELL,
        Ok(false) => {
            complain_as(program, &format!("nothing is known of {reference}"), charset);
            NOTHING_KNOWN
        }
        Err(error) => {
            complain_as(program, &format!("{reference} is not forgotten: {error}"), charset);
            BAD
        }
    }
}

/// Shows the states until a signal comes or the reader closes stdout: redrawn on a terminal, printed again after each
/// change into a pipe.
fn follow(store: &Store, reference: Option<&Reference>, program: &str, charset: Charset) -> u8 {
    let (signals, continued) = (Signals::catch(false), signals::continued());
    let followed = Output::stdout().and_then(|mut output| {
        let is_terminal = io::stdout().is_terminal();
        let (mut drawn, mut size) = (String::new(), output.size());
        while signals.pending().is_none() {
            let now = output.size();
            let mut text = text(&read(store, reference), charset, is_terminal.then_some(now.0.saturating_sub(1)));
            if text.is_empty() {
                charset.push(&nothing_known(reference), &mut text);
                text.push('\n');
            }
            if is_terminal {
                // Rows above the top of the terminal could not be redrawn.
                shorten(&mut text, now.1.saturating_sub(1).max(1));
            }
            let place = output.place(&continued);
            if place != Place::Same {
                drawn.clear();
            }
            if place != Place::Taken && (text != drawn || now != size) {
                let frame = if is_terminal { over(&drawn, &text, now.0) } else { text.clone() };
                match output.write(frame.as_bytes(), TICK, &mut || signals.go_on()) {
                    Ok(()) => {}
                    Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) => {
                        break;
                    }
                    Err(error) => return Err(error),
                }
                (drawn, size) = (text, now);
            }
            let stdout = io::stdout();
            // Asked for no events, poll reports errors and hang-ups only.
            if ready(&stdout, PollFlags::empty(), POLL_INTERVAL).unwrap_or(true) {
                break;
            }
        }
        Ok(())
    });
    match (followed, signals.pending()) {
        (_, Some(signal)) => signal_exit_code(signal),
        (Ok(()), None) => WELL,
        (Err(error), None) => {
            complain_as(program, &format!("standard output: {error}"), charset);
            BAD
        }
    }
}

/// Shortens the text to so many lines; the last one then says how many are missing.
fn shorten(text: &mut String, max: usize) {
    let count = text.lines().count();
    if count > max {
        text.truncate(text.split_inclusive('\n').take(max - 1).map(str::len).sum());
        let _ = writeln!(text, "+ {} more lines", count + 1 - max);
    }
}

/// The escape sequences that draw `text` over `drawn`, on a terminal that is `columns` wide now.
fn over(drawn: &str, text: &str, columns: usize) -> String {
    // A terminal that became narrower has wrapped the drawn lines.
    let rows: usize = drawn.lines().map(|line| fit::cells(line).div_ceil(columns.max(1)).max(1)).sum();
    let mut frame = String::new();
    if rows > 0 {
        let _ = write!(frame, "\r\x1b[{rows}A");
    }
    for line in text.lines() {
        let _ = writeln!(frame, "\x1b[K{line}");
    }
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn a_text_that_was_shortened_says_so() {
        for (max, expected) in [(4, "a\nb\nc\n"), (3, "a\nb\nc\n"), (2, "a\n+ 2 more lines\n"), (1, "+ 3 more lines\n")]
        {
            let mut text = "a\nb\nc\n".to_owned();
            shorten(&mut text, max);
            assert_eq!(text, expected);
        }
    }
}
