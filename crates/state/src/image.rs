//! The state of an image.
//!
//! The names are those of `docker compose --progress json`. An absent value is unknown; unknown keys are ignored.
//!
//! **Invariant:** an [`Image`] that was read has only text that is safe to show: no character that controls a terminal or
//! changes the reading order, and no text over the maximum length.

use crate::fields::Fields;
use crate::{MAX_LAYERS, MAX_TEXT, Time, VERSION};
use serde::Serialize;

/// The status of an image, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Status {
    #[default]
    Working,
    Done,
    Warning,
    Error,
}

/// The state of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Image {
    /// [`VERSION`].
    pub v: u32,
    /// The image as a user names it: `alpine:latest`.
    pub id: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub status: Status,
    /// `Pulling`, `Downloading`, `Extracting`, `Retrying`; `Pulled`, `Up to date`; `Newer image`, `Interrupted`,
    /// `Cannot tell`; `Failed`.
    pub text: String,
    /// When this state was written.
    pub time: Time,
    /// When this status began.
    pub since: Time,

    /// The id of the process that writes this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When that process started, in clock ticks since the boot, as in `/proc/PID/stat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
    /// When this state was written, in seconds since the boot (`CLOCK_BOOTTIME`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beat: Option<u64>,
    /// The number of the attempt within the run, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The downloaded bytes, of those in `total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// The bytes to download, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The overall progress, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// The speed, in bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// The estimated time left, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Whether `total` is complete: the sizes of all layers are known.
    #[serde(skip_serializing_if = "is_false")]
    pub exact: bool,
    /// The layers to download.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,

    /// The digest of the local image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When the local image was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled: Option<Time>,
    /// When the registry last answered which image it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Time>,
    /// The digest of the registry's image in that answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// When the image was last pulled, or found to be up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<Time>,

    /// The bytes that the last pull downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The duration of the last pull, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The exit code of the last pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// The kind of failure, in kebab-case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why the last run failed, as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Advice: what the user can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,

    /// When the runs began to fail: the first failure after the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// The number of runs that failed since then.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u64,
    /// The number of all pulls that ever failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u64,
    /// The bytes that all pulls together downloaded.
    #[serde(skip_serializing_if = "is_zero")]
    pub received: u64,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Layer {
    /// The id as docker shows it.
    pub id: String,
    /// The phase of the layer, in docker's words.
    pub text: String,
    /// The bytes that this phase has processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// The size of the layer, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The progress of this phase, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
}

impl Status {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Working" => Self::Working,
            "Done" => Self::Done,
            "Warning" => Self::Warning,
            "Error" => Self::Error,
            _ => return None,
        })
    }
}

impl Layer {
    fn read(fields: &mut Fields) -> Self {
        Self {
            id: fields.needed_text("id"),
            text: fields.needed_text("text"),
            current: fields.number("current"),
            total: fields.number("total"),
            percent: fields.number("percent"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Image {
    /// Reads a state from `bytes`. `None` if it is malformed, or if some text is not safe to show.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::parse(bytes)?;
        let image = Self {
            v: fields.number("v").unwrap_or_default(),
            id: fields.needed_text("id"),
            status: fields.needed("status", Status::named),
            text: fields.needed_text("text"),
            time: fields.needed("time", Time::parse),
            since: fields.needed("since", Time::parse),
            pid: fields.number("pid"),
            born: fields.number("born"),
            beat: fields.number("beat"),
            attempt: fields.number("attempt"),
            current: fields.number("current"),
            total: fields.number("total"),
            percent: fields.number("percent"),
            rate: fields.number("rate"),
            left: fields.number("left"),
            exact: fields.flag("exact"),
            layers: fields.objects("layers", Layer::read),
            digest: fields.text("digest"),
            pulled: fields.time("pulled"),
            checked: fields.time("checked"),
            latest: fields.text("latest"),
            succeeded: fields.time("succeeded"),
            bytes: fields.number("bytes"),
            seconds: fields.seconds("seconds"),
            exit: fields.number("exit"),
            kind: fields.text("kind"),
            details: fields.text("details"),
            hint: fields.text("hint"),
            failing_since: fields.time("failing_since"),
            attempts: fields.number("attempts").unwrap_or_default(),
            failures: fields.number("failures").unwrap_or_default(),
            received: fields.number("received").unwrap_or_default(),
        };
        (fields.are_sound() && image.is_fit()).then_some(image)
    }

    /// Whether all of the text is safe to show.
    pub(crate) fn is_fit(&self) -> bool {
        let texts = [&self.id, &self.text].into_iter();
        let optional = [&self.digest, &self.latest, &self.kind, &self.details, &self.hint];
        let layers = self.layers.iter().flat_map(|layer| [&layer.id, &layer.text]);
        self.v == VERSION
            && !self.id.is_empty()
            && self.layers.len() <= MAX_LAYERS
            && texts.chain(optional.into_iter().flatten()).chain(layers).all(|text| is_text(text))
    }
}

/// Whether a text from a file is safe to show.
pub(crate) fn is_text(text: &str) -> bool {
    // Nearly all texts are printable ASCII, and those of a pull are looked at each second.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    text.chars().count() <= MAX_TEXT && (is_plain || !text.contains(is_hostile))
}

/// Whether a character controls a terminal or changes the reading order: C0, DEL, C1; bidi marks, embeddings, overrides and
/// isolates; separators that some viewers treat as line ends.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"v":1,"id":"europe-west1-docker.pkg.dev/p/app/app:latest","status":"Working","text":"Downloading","time":"2026-11-25T02:18:33Z","since":"2026-11-25T02:17:01Z","pid":812,"born":9867300,"beat":98765,"attempt":1,"current":137000000,"total":214000000,"percent":44,"rate":2200000,"left":35,"exact":true,"layers":[{"id":"b5a0d1a0b112","text":"Downloading","current":56000000,"total":96000000,"percent":58}],"digest":"sha256:1","pulled":"2026-11-25T02:17:01Z","checked":"2026-11-25T02:17:01Z","latest":"sha256:2","bytes":7,"seconds":1.5,"exit":0,"kind":"disk-full","details":"no space left on device","hint":"make room","failing_since":"2026-11-24T23:31:00Z","attempts":6,"failures":9,"received":123456789}"#;

    #[test]
    fn what_is_read_is_written_again() {
        let image = Image::parse(EXAMPLE.as_bytes()).expect("a state");
        assert_eq!((image.status, image.left, image.exact), (Status::Working, Some(35), true));
        assert_eq!(image.layers[0].percent, Some(58));
        assert_eq!(serde_json::to_string(&image).expect("JSON"), EXAMPLE);
    }

    #[test]
    fn keys_that_are_not_known_are_passed_over_and_what_is_absent_is_unknown() {
        let minimal = r#"{"v":1,"id":"a:1","status":"Done","text":"Pulled","time":"2026-11-25T02:18:33Z","since":"2026-11-25T02:18:33Z"}"#;
        let image = Image::parse(minimal.as_bytes()).expect("a state");
        assert_eq!(serde_json::to_string(&image).expect("JSON"), minimal);
        let more = minimal.replace("\"v\":1", r#""v":1,"new":{"deep":[1]},"left":null"#);
        assert_eq!(Image::parse(more.as_bytes()), Some(image));
    }

    #[test]
    fn the_hostile_the_broken_and_the_too_new_are_no_states() {
        let check = |from: &str, to: &str| {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            assert_eq!(Image::parse(text.as_bytes()), None, "{to}");
        };
        check("\"v\":1", "\"v\":2");
        check("{\"v\":1,", "{");
        check("\"Working\"", "\"Sleeping\"");
        check("\"percent\":44", "\"percent\":-1");
        check("\"percent\":44", "\"percent\":1e3");
        check("2026-11-25T02:18:33Z", "soon");
        check("no space", "no \\u001b[2Jspace");
        check("no space", "no \u{202e}space");
        check("make room", "make\\nroom");
        check("b5a0d1a0b112", "\\u009b");
        check("app:latest", &"a".repeat(1_001));
        check("europe-west1-docker.pkg.dev/p/app/app:latest", "");
        check("\"pid\":812", "\"pid\":812,\"pid\":813");
        for end in 0..EXAMPLE.len() {
            assert_eq!(Image::parse(&EXAMPLE.as_bytes()[..end]), None);
        }
        let layer = r#"{"id":"b","text":"Waiting"}"#;
        let layers = |count: usize| {
            EXAMPLE.replace("\"layers\":[", &format!("\"layers\":[{}", format!("{layer},").repeat(count)))
        };
        assert!(Image::parse(layers(255).as_bytes()).is_some());
        assert!(Image::parse(layers(256).as_bytes()).is_none());
        assert_eq!(Image::parse(b"\xff"), None);
        assert_eq!(Image::parse("[".repeat(10_000).as_bytes()), None);
    }
}
