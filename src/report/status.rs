//! How the images of a device stand, a line for each: what `alm status` says.
//!
//! Apart from the mode that prints it, so that each state, width and clock can be tested as text.
//!
//! **Invariant:** pure. What a state does not know is not guessed: it is left out.

use crate::report::bar;
use crate::report::moment::Moment;
use alm_state::{Container, Image, Standing, States, Status};
use std::fmt::Write as _;

/// An image as it is to be told of.
pub(crate) struct Entry {
    /// As short as it can be without being taken for another.
    pub(crate) name: String,
    pub(crate) facts: String,
    /// What more there is to say: what to do, what its containers run.
    pub(crate) notes: Vec<String>,
}

/// What is wrong, for an exit code and a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    Well,
    Bad,
}

/// Whether anything of an image or a container is wrong.
pub(crate) fn health(states: &States) -> Health {
    let is_bad = states.images.iter().any(|found| found.image.status == Status::Error || found.image.is_lost())
        || states.containers.iter().any(|container| is_bad(container.status));
    if is_bad { Health::Bad } else { Health::Well }
}

pub(crate) fn is_bad(standing: Standing) -> bool {
    matches!(standing, Standing::RolledBack | Standing::Failed)
}

/// An entry for each image, and for each container of none of them. `same` tells whether two names are of one image.
pub(crate) fn entries(states: &States, moment: Moment, same: &dyn Fn(&str, &str) -> bool) -> Vec<Entry> {
    let ids: Vec<&str> = states.images.iter().map(|found| &*found.image.id).collect();
    let mut entries: Vec<Entry> = states
        .images
        .iter()
        .map(|found| {
            let image = &found.image;
            let mut notes = Vec::new();
            if (image.status == Status::Error || is_failing(image))
                && let Some(hint) = &image.hint
            {
                notes.push(format!("what to do: {hint}"));
            }
            let own = states.containers.iter().filter(|container| same(&container.image, &image.id));
            notes
                .extend(own.map(|container| self::container(container, image.digest.as_deref(), "this image", moment)));
            Entry { name: short_name(&image.id, &ids).to_owned(), facts: facts(image, moment), notes }
        })
        .collect();
    let strays = states.containers.iter().filter(|container| !ids.iter().any(|id| same(&container.image, id)));
    entries.extend(strays.map(|container| Entry {
        name: short_name(&container.image, &ids).to_owned(),
        facts: self::container(container, None, "this image", moment),
        notes: Vec::new(),
    }));
    entries
}

/// `app:latest` of `registry.example/team/app:latest`, where no other image is called so.
pub(crate) fn short_name<'a>(id: &'a str, all: &[&str]) -> &'a str {
    let short = last_part(id);
    if all.iter().any(|other| *other != id && last_part(other) == short) { id } else { short }
}

fn last_part(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

/// Whether it has not gone well since the last time it did, though nobody calls it failed just now.
fn is_failing(image: &Image) -> bool {
    image.status == Status::Warning && image.failing_since.is_some()
}

/// All of it in one line.
pub(crate) fn facts(image: &Image, moment: Moment) -> String {
    let mut out = String::new();
    if image.is_lost() {
        let _ = write!(out, "LOST, last heard of {}", moment.ago(image.time));
        if let Some(percent) = image.percent {
            let _ = write!(out, " at {percent}%");
        }
        out.push_str(": the pull ended without a word");
        return out;
    }
    match (image.status, &*image.text) {
        (Status::Working, text) => working(image, text, &mut out),
        (Status::Done, _) => {
            out.push_str("up to date");
            if let Some(checked) = image.checked {
                let _ = write!(out, ", checked {}", moment.at(checked));
            }
            if let Some(pulled) = image.pulled {
                let _ = write!(out, ", pulled {}", moment.ago(pulled));
            }
        }
        (Status::Warning, "Cannot tell") => {
            let _ = write!(out, "cannot tell since {}", moment.at(image.since));
            details(image, &mut out);
        }
        (Status::Warning, "Newer image") => {
            out.push_str(if image.digest.is_some() { "newer image in the registry" } else { "not here" });
            if let Some(checked) = image.checked {
                let _ = write!(out, ", checked {}", moment.at(checked));
            }
            failing(image, ", failing", moment, &mut out);
        }
        (Status::Warning, text) => {
            let _ = write!(out, "{} {}", text.to_lowercase(), moment.ago(image.since));
            if let Some(percent) = image.percent {
                let _ = write!(out, " at {percent}%");
            }
            failing(image, ", failing", moment, &mut out);
        }
        (Status::Error, _) => failing(image, "FAILED", moment, &mut out),
    }
    out
}

/// `word since Tue 23:31 (6 tries): no space left on device`
fn failing(image: &Image, word: &str, moment: Moment, out: &mut String) {
    if let Some(since) = image.failing_since {
        let _ = write!(out, "{word} since {}", moment.at(since));
        match image.attempts {
            0 => {}
            1 => out.push_str(" (1 try)"),
            tries => _ = write!(out, " ({tries} tries)"),
        }
        details(image, out);
    } else if image.status == Status::Error {
        let _ = write!(out, "{word} {}", moment.ago(image.since));
        details(image, out);
    }
}

fn details(image: &Image, out: &mut String) {
    if let Some(details) = &image.details {
        let _ = write!(out, ": {details}");
    }
}

fn working(image: &Image, text: &str, out: &mut String) {
    out.push_str(&text.to_lowercase());
    if let Some(percent) = image.percent {
        let _ = write!(out, "  {percent}%");
    }
    if let Some(bytes) = bytes(image) {
        let _ = write!(out, "  {bytes}");
    }
    if let Some(rate) = image.rate.and_then(|rate| bar::speed(rate, 1_000)) {
        let _ = write!(out, "  {rate}");
    }
    if let Some(left) = image.left {
        let _ = write!(out, "  {}", bar::left(left));
    }
    if let Some(attempt @ 2..) = image.attempt {
        let _ = write!(out, "  attempt {attempt}");
    }
    if text == "Retrying" {
        details(image, out);
    }
}

/// `137 of 214MB`, the unit once where both have the same.
pub(crate) fn bytes(image: &Image) -> Option<String> {
    let (current, total) = (image.current?, image.total.filter(|total| *total > 0)?);
    let (current, total) = (bar::bytes(current).to_string(), bar::bytes(total).to_string());
    let unit = |text: &str| text.find(|c: char| c.is_ascii_uppercase()).unwrap_or(text.len());
    let least = if image.exact { "" } else { "≥" };
    let current =
        if current[unit(&current)..] == total[unit(&total)..] { &current[..unit(&current)] } else { &current };
    Some(format!("{current} of {least}{total}"))
}

/// The first twelve digits of a digest, as docker shows them.
pub(crate) fn short_digest(digest: &str) -> &str {
    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
    hex.char_indices().nth(12).map_or(hex, |(end, _)| &hex[..end])
}

/// What a container runs; `here` is the digest that its image has on this device, which is called `this`.
pub(crate) fn container(container: &Container, here: Option<&str>, this: &str, moment: Moment) -> String {
    let mut out = format!("container {} ", container.name);
    out.push_str(match container.status {
        Standing::Running => "runs",
        Standing::Proving => "tries out",
        Standing::RolledBack => "WAS ROLLED BACK to",
        Standing::Failed => "FAILED with",
    });
    match container.digest.as_deref() {
        Some(digest) if Some(digest) == here => _ = write!(out, " {this}"),
        Some(digest) if here.is_some() => _ = write!(out, " another image, {}", short_digest(digest)),
        Some(digest) => _ = write!(out, " {}", short_digest(digest)),
        None => _ = write!(out, " {}", container.image),
    }
    if let Some(since) = container.since {
        let _ = write!(out, " since {}", moment.at(since));
    }
    if let Some(details) = &container.details {
        let _ = write!(out, ": {details}");
    }
    out
}

/// The entries as lines, no wider than `columns` where there is a width: what does not fit goes on indented.
pub(crate) fn lines(entries: &[Entry], columns: Option<usize>) -> Vec<String> {
    let width = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0);
    // Long names would leave no room for what there is to say.
    let width = if columns.is_some_and(|columns| width > columns / 2) { 0 } else { width };
    let mut lines = Vec::new();
    for Entry { name, facts, notes } in entries {
        wrap(&format!("{name:width$}  {facts}"), "    ", columns, &mut lines);
        for note in notes {
            wrap(&format!("  {note}"), "    ", columns, &mut lines);
        }
    }
    lines
}

/// Breaks `text` at blanks.
pub(crate) fn wrap(text: &str, indent: &str, columns: Option<usize>, lines: &mut Vec<String>) {
    let Some(columns) = columns.map(|columns| columns.max(indent.len() + 1)) else {
        lines.push(text.to_owned());
        return;
    };
    let mut rest = text.to_owned();
    while let Some((end, _)) = rest.char_indices().nth(columns) {
        let least = rest.len() - rest.trim_start().len() + 1;
        // A word that is wider than the line is broken.
        let is_word_end = rest[end..].starts_with(' ');
        let blank = if is_word_end { Some(end) } else { rest[..end].rfind(' ') };
        let at = blank.filter(|at| *at >= least).unwrap_or(end);
        let next = format!("{indent}{}", rest[at..].trim_start());
        rest.truncate(at);
        lines.push(rest.trim_end().to_owned());
        rest = next;
    }
    lines.push(rest);
}
