//! The text of `alm status`: one line for each image of a device.
//!
//! Separate from the mode that prints it, so that each state, width and clock can be tested as text.
//!
//! **Invariant:** pure. What a state does not contain is left out, never guessed.

use crate::report::moment::Moment;
use crate::report::{bar, fit};
use alm_state::{Container, Image, Standing, States, Status};
use std::fmt::Write as _;

/// The longest name, in characters, to which other names are aligned.
const MAX_NAME: usize = 48;

/// An image as it is shown.
pub(crate) struct Entry {
    /// As short as possible without being mistaken for another image.
    pub(crate) name: String,
    pub(crate) facts: String,
    /// Further lines: what to do, what its containers run.
    pub(crate) notes: Vec<String>,
}

/// How well an image is, for the exit code and the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    Well,
    Bad,
}

/// The worst health among images and containers.
pub(crate) fn health(states: &States) -> Health {
    let is_bad = states.images.iter().any(|found| found.image.status == Status::Error || found.image.is_lost())
        || states.containers.iter().any(|container| is_bad(container.status));
    if is_bad { Health::Bad } else { Health::Well }
}

pub(crate) fn is_bad(standing: Standing) -> bool {
    matches!(standing, Standing::RolledBack | Standing::Failed)
}

/// An entry for each image, and for each container without one of these images. `same` says whether two names refer to
/// one image.
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

/// `app:latest` for `registry.example/team/app:latest`, if no other image has that short name.
pub(crate) fn short_name<'a>(id: &'a str, all: &[&str]) -> &'a str {
    let short = last_part(id);
    if all.iter().any(|other| *other != id && last_part(other) == short) { id } else { short }
}

fn last_part(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

/// Whether its attempts fail since the last success, even if its present status is not an error.
pub(crate) fn is_failing(image: &Image) -> bool {
    image.status == Status::Warning && image.failing_since.is_some()
}

/// All facts about an image in one line.
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
            let _ = write!(out, "{} {}", text.to_ascii_lowercase(), moment.ago(image.since));
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
    out.push_str(&text.to_ascii_lowercase());
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

/// `137 of 214MB`: the unit only once if both have the same.
pub(crate) fn bytes(image: &Image) -> Option<String> {
    let (current, total) = (image.current?, image.total.filter(|total| *total > 0)?);
    let (current, total) = (bar::bytes(current).to_string(), bar::bytes(total).to_string());
    let unit = |text: &str| text.find(|c: char| c.is_ascii_uppercase()).unwrap_or(text.len());
    let bound = if image.exact { "" } else { "≥" };
    let current =
        if current[unit(&current)..] == total[unit(&total)..] { &current[..unit(&current)] } else { &current };
    Some(format!("{current} of {bound}{total}"))
}

/// The first twelve digits of a digest, as docker shows them.
pub(crate) fn short_digest(digest: &str) -> &str {
    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
    hex.char_indices().nth(12).map_or(hex, |(end, _)| &hex[..end])
}

/// What a container runs. `here` is the digest that its image has on this device, and `this` is how that is called.
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

/// The entries as lines of at most `columns` cells, if there is a limit; longer ones are continued with an indentation.
pub(crate) fn lines(entries: &[Entry], columns: Option<usize>) -> Vec<String> {
    // Longer names are not aligned: they would leave no room for the facts, or move them too far from short names.
    let max = columns.map_or(MAX_NAME, |columns| MAX_NAME.min(columns / 2));
    let widths = entries.iter().map(|entry| entry.name.chars().count()).filter(|width| *width <= max);
    let width = widths.max().unwrap_or(0);
    let mut lines = Vec::new();
    for Entry { name, facts, notes } in entries {
        wrap(&format!("{name:width$}  {facts}"), "    ", columns, &mut lines);
        for note in notes {
            wrap(&format!("  {note}"), "    ", columns, &mut lines);
        }
    }
    lines
}

/// Wraps `text` at blanks.
pub(crate) fn wrap(text: &str, indent: &str, columns: Option<usize>, lines: &mut Vec<String>) {
    let Some(columns) = columns else {
        lines.push(text.to_owned());
        return;
    };
    for row in fit::rows(text, columns.max(1), columns.saturating_sub(indent.len()).max(1)) {
        let (indent, row) = if row.start == 0 { ("", text[row].trim_end()) } else { (indent, text[row].trim()) };
        if !row.is_empty() {
            lines.push(format!("{indent}{row}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alm_state::{Found, Time};
    use time::OffsetDateTime;

    const NOW: i64 = 1_795_573_113; // 2026-11-25T02:18:33Z

    fn moment() -> Moment {
        Moment { now: OffsetDateTime::from_unix_timestamp(NOW).expect("a time") }
    }

    fn image(status: Status, text: &str) -> Image {
        let since = Time(NOW - 100);
        Image {
            id: "r.example/team/app:latest".into(),
            status,
            text: text.into(),
            time: Time(NOW),
            since,
            ..Image::default()
        }
    }

    /// A state under way, of a writer that lives.
    fn working(text: &str) -> Image {
        Image {
            beat: Some(alm_state::boottime()),
            percent: Some(44),
            current: Some(137_000_000),
            total: Some(214_000_000),
            exact: true,
            rate: Some(2_200_000),
            left: Some(35),
            ..image(Status::Working, text)
        }
    }

    fn failed() -> Image {
        Image {
            failing_since: Some(Time(NOW - 10_000)),
            attempts: 6,
            details: Some("no space left on device".into()),
            hint: Some("make room where Docker keeps its images".into()),
            ..image(Status::Error, "Failed")
        }
    }

    fn states(images: Vec<Image>, containers: Vec<Container>) -> States {
        let images = images.into_iter().map(|image| Found { name: image.id.clone(), image }).collect();
        States { images, containers }
    }

    fn same(one: &str, other: &str) -> bool {
        one == other
    }

    #[test]
    fn every_state_has_its_line() {
        let check = |image: &Image, expected: &str| assert_eq!(facts(image, moment()), expected);
        check(&working("Downloading"), "downloading  44%  137 of 214MB  2.2MB/s  35s left");
        check(
            &Image { exact: false, total: Some(1_400_000_000), left: None, ..working("Downloading") },
            "downloading  44%  137MB of ≥1.4GB  2.2MB/s",
        );
        check(&Image { beat: Some(alm_state::boottime()), ..image(Status::Working, "Pulling") }, "pulling");
        let retrying =
            Image { details: Some("reset".into()), attempt: Some(2), rate: None, left: None, ..working("Retrying") };
        check(&retrying, "retrying  44%  137 of 214MB  attempt 2: reset");
        let lost = Image { beat: None, ..working("Downloading") };
        check(&lost, "LOST, last heard of just now at 44%: the pull ended without a word");
        let well = Image {
            checked: Some(Time(NOW - 513)),
            pulled: Some(Time(NOW - 3 * 86_400)),
            ..image(Status::Done, "Pulled")
        };
        check(&well, "up to date, checked 02:10, pulled 3 days ago");
        check(&image(Status::Done, "Up to date"), "up to date");
        check(&failed(), "FAILED since Tue 23:31 (6 tries): no space left on device");
        check(&Image { failing_since: None, ..failed() }, "FAILED 1 minute ago: no space left on device");
        let newer = Image {
            digest: Some("sha256:1".into()),
            checked: Some(Time(NOW)),
            ..image(Status::Warning, "Newer image")
        };
        check(&newer, "newer image in the registry, checked 02:18");
        check(
            &Image { status: Status::Warning, text: "Newer image".into(), ..failed() },
            "not here, failing since Tue 23:31 (6 tries): no space left on device",
        );
        check(&Image { percent: Some(7), ..image(Status::Warning, "Interrupted") }, "interrupted 1 minute ago at 7%");
        check(
            &Image { details: Some("no route".into()), ..image(Status::Warning, "Cannot tell") },
            "cannot tell since 02:16: no route",
        );
    }

    #[test]
    fn what_is_wrong_is_bad_and_what_is_not_known_yet_is_well() {
        let check = |image: Image, expected| assert_eq!(health(&states(vec![image], vec![])), expected);
        check(working("Downloading"), Health::Well);
        check(image(Status::Done, "Pulled"), Health::Well);
        check(image(Status::Warning, "Cannot tell"), Health::Well);
        check(failed(), Health::Bad);
        check(Image { beat: None, ..working("Downloading") }, Health::Bad);
        let container = |status| Container {
            v: 1,
            name: "web".into(),
            image: "a".into(),
            digest: None,
            status,
            since: None,
            details: None,
        };
        for (standing, expected) in [
            (Standing::Running, Health::Well),
            (Standing::Proving, Health::Well),
            (Standing::RolledBack, Health::Bad),
            (Standing::Failed, Health::Bad),
        ] {
            assert_eq!(health(&states(vec![], vec![container(standing)])), expected);
        }
    }

    #[test]
    fn names_are_short_where_no_other_is_called_so() {
        let all = ["r/team/app:1", "r/other/app:1", "r/team/web:1", "alpine:latest"];
        let short = all.map(|id| short_name(id, &all));
        assert_eq!(short, ["r/team/app:1", "r/other/app:1", "web:1", "alpine:latest"]);
    }

    #[test]
    fn lines_fit_their_terminal_and_lose_nothing() {
        let container = Container {
            v: 1,
            name: "web".into(),
            image: "r.example/team/app:latest".into(),
            digest: Some("sha256:41f0c0aa5b1e7777".into()),
            status: Standing::RolledBack,
            since: Some(Time(NOW - 100)),
            details: Some("unhealthy".into()),
        };
        let image = Image { digest: Some("sha256:2".into()), ..failed() };
        let entries = entries(
            &states(vec![image, Image { id: "r.example/web:2".into(), ..working("Downloading") }], vec![container]),
            moment(),
            &same,
        );
        let whole = lines(&entries, None).join("\n");
        assert_eq!(
            whole,
            "app:latest  FAILED since Tue 23:31 (6 tries): no space left on device
  what to do: make room where Docker keeps its images
  container web WAS ROLLED BACK to another image, 41f0c0aa5b1e since 02:16: unhealthy
web:2       downloading  44%  137 of 214MB  2.2MB/s  35s left"
        );
        for columns in [1, 2, 20, 59, 79, 199] {
            let lines = lines(&entries, Some(columns));
            assert!(lines.iter().all(|line| line.chars().count() <= columns.max(5)), "{columns}: {lines:#?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(&whole), "{columns}");
        }
        let entry = |name: &str| Entry { name: name.into(), facts: "up to date".into(), notes: Vec::new() };
        let long = format!("app@sha256:{}", "0".repeat(64));
        let entries = [entry("web:2"), entry(&long), entry("app:latest")];
        let expected =
            ["web:2       up to date".to_owned(), format!("{long}  up to date"), "app:latest  up to date".into()];
        assert_eq!(super::lines(&entries, None), expected);
        let mut lines = Vec::new();
        wrap("ééé ééé ééé", "  ", Some(7), &mut lines);
        assert_eq!(lines, ["ééé ééé", "  ééé"]);
        // Two cells each.
        lines.clear();
        wrap("图像图像 图像", "  ", Some(9), &mut lines);
        assert_eq!(lines, ["图像图像", "  图像"]);
    }
}
