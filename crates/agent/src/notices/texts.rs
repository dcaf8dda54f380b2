//! The texts of notices, to be read on a phone: one line with device, image and reason, then what to do.
//!
//! **Invariant:** a text contains no character that controls a terminal, and is short enough for every receiver.

use super::rules::{Notice, Outcome};
use alm_state::{BUILT, Time};

/// The maximum of characters of a reason: ntfy turns a message over 4,096 bytes into an attached file.
const MAX_DETAILS: usize = 300;
const MAX_NAME: usize = 200;
const MAX_LINE: usize = 160;
/// The maximum of lines in a digest, the message for several notices.
pub(super) const MAX_LINES: usize = 12;
/// Bytes of these lines, and how many different things to do are among them: together less than what ntfy shows as a message.
const MAX_BYTES: usize = 2_700;
const MAX_HINTS: usize = 2;

/// A message, before it is put into the format of a receiver.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) is_bad: bool,
}

/// `pi-00042 (Berlin)`
pub(super) fn sender(device: &str, site: Option<&str>) -> String {
    match site {
        Some(site) => format!("{} ({})", short(device, MAX_NAME), short(site, MAX_NAME)),
        None => short(device, MAX_NAME),
    }
}

/// The text for one notice.
pub(super) fn single(sender: &str, notice: &Notice) -> Text {
    let mut body: Vec<String> = Vec::new();
    let Notice { outcome, hint, since, attempts, digest, bytes, seconds, .. } = notice;
    if let Some(hint) = hint {
        body.push(format!("What to do: {}", short(hint, MAX_DETAILS)));
    }
    let runs = match attempts {
        0 => String::new(),
        1 => ", 1 run".to_owned(),
        count => format!(", {count} runs"),
    };
    match since.filter(|since| *since >= BUILT) {
        Some(since) if *outcome == Outcome::Failed => body.push(format!("Failing since {}{runs}.", when(since))),
        Some(since) if *outcome == Outcome::Recovered => {
            body.push(format!("It had failed since {}{runs}.", when(since)));
        }
        Some(since) => body.push(format!("Since {}.", when(since))),
        None if !runs.is_empty() => body.push(format!("Failed{}.", runs.replacen(", ", " ", 1))),
        None => {}
    }
    if let Some(bytes) = bytes {
        // With integers: code to format floats would be linked for this alone.
        #[expect(clippy::cast_sign_loss, reason = "a time that is negative is shown as 0")]
        let time = seconds.map_or(String::new(), |seconds| format!(" in {} s", seconds.round() as u64));
        body.push(format!("Fetched {} MB{time}.", bytes.div_ceil(1_000_000)));
    }
    if let Some(digest) = digest {
        let prefix = if notice.container.is_some() { "It runs " } else { "" };
        body.push(format!("{prefix}{}", short(digest, MAX_NAME)));
    }
    Text { title: line(sender, notice), body: body.join("\n"), is_bad: outcome.is_bad() }
}

/// The text for several notices in one message: below each line what to do about it, once for neighbours with one cause.
pub(super) fn digest(sender: &str, notices: &[Notice]) -> Text {
    let count = notices.len();
    let bad = notices.iter().filter(|notice| notice.outcome.is_bad()).count();
    // An image that works by now needs neither advice nor the time of its failure.
    let failing = || notices.iter().map(|notice| (!is_over(notice, notices)).then_some(notice));
    let hints: Vec<Option<&str>> = failing().map(|notice| notice?.hint.as_deref()).collect();
    // Many that fail at once mostly have one cause, so those with the same thing to do stand together, at the first of them.
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&at| hints[at].and_then(|_| hints.iter().position(|hint| *hint == hints[at])).unwrap_or(at));
    let mut bytes = 0;
    let lines_and_hints =
        order.into_iter().take(MAX_LINES).map(|at| (short(&summary(&notices[at]), MAX_LINE), hints[at]));
    let shown: Vec<(String, Option<&str>)> = lines_and_hints
        .take_while(|(line, _)| {
            bytes += line.len();
            bytes <= MAX_BYTES
        })
        .collect();
    let mut lines: Vec<String> = Vec::new();
    let mut hint_count = 0;
    for (at, (line, hint)) in shown.iter().enumerate() {
        lines.push(line.clone());
        let is_last = shown.get(at + 1).is_none_or(|(_, next)| next != hint);
        if let Some(hint) = hint.filter(|_| is_last && hint_count < MAX_HINTS) {
            hint_count += 1;
            lines.push(format!("What to do: {}", short(hint, MAX_LINE)));
        }
    }
    if count > shown.len() {
        lines.push(format!("and {} more: see alm status", count - shown.len()));
    }
    let failed = failing().flatten().filter(|notice| notice.outcome == Outcome::Failed);
    if let Some(since) = failed.filter_map(|notice| notice.since).filter(|since| *since >= BUILT).min() {
        lines.push(format!("The oldest failure is from {}.", when(since)));
    }
    let title = match bad {
        0 => format!("{sender}: {count} notices"),
        bad => format!("{sender}: {count} notices, {bad} of failures"),
    };
    Text { title, body: lines.join("\n"), is_bad: bad > 0 }
}

/// Whether a newer one of `notices` says that what `notice` is about works again.
fn is_over(notice: &Notice, notices: &[Notice]) -> bool {
    let is_same = |other: &Notice| (&other.image, &other.container) == (&notice.image, &notice.container);
    let is_newer_success = |other: &Notice| !other.outcome.is_bad() && other.time > notice.time;
    !notice.outcome.is_bad() || notices.iter().any(|other| is_same(other) && is_newer_success(other))
}

pub(super) fn test(sender: &str, now: Time) -> Text {
    Text {
        title: format!("{sender}: a test"),
        body: format!("Notices of this device arrive here. Sent by --test-notice, {}.", when(now)),
        is_bad: false,
    }
}

fn line(sender: &str, notice: &Notice) -> String {
    format!("{sender}: {}", summary(notice))
}

fn summary(notice: &Notice) -> String {
    let image = short(&notice.image, MAX_NAME);
    let name = short(notice.container.as_deref().unwrap_or_default(), MAX_NAME);
    let why = notice.details.as_deref().or(notice.kind.as_deref()).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(": {}", short(why, MAX_DETAILS)) };
    match notice.outcome {
        Outcome::Failed if notice.attempts == 0 && notice.kind.as_deref() != Some("lost") => {
            format!("{image} cannot be checked{why}")
        }
        Outcome::Failed => format!("{image} cannot be pulled{why}"),
        Outcome::Recovered if notice.bytes.is_some() => format!("{image} works again, with a new image"),
        Outcome::Recovered => format!("{image} works again"),
        Outcome::NewImage => format!("{image} has a new image"),
        Outcome::RolledBack => format!("container {name} was rolled back from the new {image}{why}"),
        Outcome::ContainerFailed => format!("container {name} does not run with {image}{why}"),
        Outcome::ContainerRecovered => format!("container {name} runs {image}"),
    }
}

/// `2026-11-24 23:31 UTC`
fn when(time: Time) -> String {
    let text = time.to_string();
    format!("{} {} UTC", &text[..text.len() - 10], &text[text.len() - 9..text.len() - 4])
}

fn short(text: &str, max: usize) -> String {
    let shown = |c| if alm_state::is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut short: String = text.chars().take(max).map(shown).collect();
    if text.chars().nth(max).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in crate::notices) fn notice(outcome: Outcome) -> Notice {
        Notice {
            outcome,
            image: "player:stable".into(),
            container: None,
            kind: None,
            details: None,
            hint: None,
            since: None,
            attempts: 0,
            digest: None,
            bytes: None,
            seconds: None,
            time: Time::parse("2026-11-25T02:18:33Z").expect("a time"),
        }
    }

    fn failed() -> Notice {
        Notice {
            kind: Some("disk-full".into()),
            details: Some("no space left on device".into()),
            hint: Some("make room where docker keeps its images".into()),
            since: Time::parse("2026-11-24T23:31:07Z"),
            attempts: 6,
            ..notice(Outcome::Failed)
        }
    }

    fn check(notice: &Notice, title: &str, body: &str) {
        let text = single("pi-00042 (Berlin)", notice);
        assert_eq!((text.title.as_str(), text.body.as_str()), (title, body));
        assert_eq!(text.is_bad, notice.outcome.is_bad());
    }

    #[test]
    fn each_to_the_letter() {
        check(
            &failed(),
            "pi-00042 (Berlin): player:stable cannot be pulled: no space left on device",
            "What to do: make room where docker keeps its images\nFailing since 2026-11-24 23:31 UTC, 6 runs.",
        );
        check(
            &Notice { attempts: 0, hint: None, ..failed() },
            "pi-00042 (Berlin): player:stable cannot be checked: no space left on device",
            "Failing since 2026-11-24 23:31 UTC.",
        );
        // With a clock that is not set.
        check(
            &Notice { since: Some(Time(70)), hint: None, details: None, ..failed() },
            "pi-00042 (Berlin): player:stable cannot be pulled: disk-full",
            "Failed 6 runs.",
        );
        let digest = Some("sha256:12".to_owned());
        let fetched =
            Notice { digest: digest.clone(), bytes: Some(75_000_001), seconds: Some(9.6), ..notice(Outcome::NewImage) };
        check(&fetched, "pi-00042 (Berlin): player:stable has a new image", "Fetched 76 MB in 10 s.\nsha256:12");
        check(
            &Notice { outcome: Outcome::Recovered, since: failed().since, attempts: 1, ..fetched },
            "pi-00042 (Berlin): player:stable works again, with a new image",
            "It had failed since 2026-11-24 23:31 UTC, 1 run.\nFetched 76 MB in 10 s.\nsha256:12",
        );
        check(&notice(Outcome::Recovered), "pi-00042 (Berlin): player:stable works again", "");
        let container = Notice {
            container: Some("web".into()),
            digest,
            details: Some("unhealthy".into()),
            since: failed().since,
            ..notice(Outcome::RolledBack)
        };
        check(
            &container,
            "pi-00042 (Berlin): container web was rolled back from the new player:stable: unhealthy",
            "Since 2026-11-24 23:31 UTC.\nIt runs sha256:12",
        );
    }

    #[test]
    fn many_are_one_message_that_fits() {
        let long = Notice { details: Some("é".repeat(1_000)), image: "ü".repeat(1_000), ..failed() };
        let text = digest("pi", &vec![long.clone(); 50]);
        assert_eq!(text.title, "pi: 50 notices, 50 of failures");
        // The other three: what to do, how many more, since when.
        let shown = text.body.lines().count() - 3;
        assert!((6..=MAX_LINES).contains(&shown), "{}", text.body);
        assert!(text.body.contains(&format!("\nand {} more: see alm status\nThe oldest", 50 - shown)));
        assert_eq!(text.body.lines().nth(shown), Some("What to do: make room where docker keeps its images"));
        assert!(text.body.len() < 4_096);
        for c in ["é", "界", "😀"] {
            let widest = |hint: String| Notice {
                image: c.repeat(300),
                details: Some(c.repeat(300)),
                hint: Some(hint),
                ..failed()
            };
            let many: Vec<Notice> = (0..50).map(|at| widest(format!("{at}{}", c.repeat(300)))).collect();
            let text = digest("pi", &many);
            assert!(text.body.len() < 4_096 && text.body.lines().count() >= 7, "{}: {}", text.body.len(), text.body);
        }
        let text = digest("pi", &[failed(), notice(Outcome::NewImage)]);
        assert_eq!(
            text.body,
            "player:stable cannot be pulled: no space left on device\n\
             What to do: make room where docker keeps its images\nplayer:stable has a new image\n\
             The oldest failure is from 2026-11-24 23:31 UTC."
        );
        assert_eq!(digest("pi", &[notice(Outcome::NewImage)]).title, "pi: 1 notices");
        let text = single("pi", &Notice { hint: Some("x".repeat(1_000)), ..long });
        assert!(text.title.len() + text.body.len() < 2_000);
    }

    #[test]
    fn what_to_do_stands_below_what_it_is_about() {
        let of =
            |image: &str, hint: Option<&str>| Notice { image: image.into(), hint: hint.map(str::to_owned), ..failed() };
        let (room, login) = (Some("make room"), Some("log in"));
        let notices = [of("a:1", room), of("b:1", None), of("c:1", login), of("d:1", room), notice(Outcome::NewImage)];
        let full = "cannot be pulled: no space left on device";
        assert_eq!(
            digest("pi", &notices).body,
            format!(
                "a:1 {full}\nd:1 {full}\nWhat to do: make room\nb:1 {full}\nc:1 {full}\nWhat to do: log in\n\
                 player:stable has a new image\nThe oldest failure is from 2026-11-24 23:31 UTC."
            )
        );
    }

    #[test]
    fn what_works_again_needs_no_advice() {
        let later = |outcome| Notice { time: Time(notice(outcome).time.0 + 60), ..notice(outcome) };
        let lines = "player:stable cannot be pulled: no space left on device\nplayer:stable works again";
        let body = |notices: &[Notice]| digest("pi", notices).body;
        assert_eq!(body(&[failed(), later(Outcome::Recovered)]), lines);
        // Another image, and another failure after it worked, need it.
        let other = Notice { image: "web:1".into(), ..later(Outcome::Recovered) };
        assert!(body(&[failed(), other]).contains("What to do"));
        let again = Notice { time: Time(later(Outcome::Failed).time.0 + 60), ..failed() };
        assert!(
            body(&[later(Outcome::Recovered), again])
                .contains("player:stable cannot be pulled: no space left on device\nWhat to do: ")
        );
    }

    #[test]
    fn what_acts_on_a_terminal_is_not_shown() {
        assert_eq!(sender("pi\u{1b}[2J", Some("a\nb")), "pi\u{fffd}[2J (a\u{fffd}b)");
    }
}
