//! The topics, and the JSON payloads published on them, as deploy/fleet/README.md documents them.
//!
//! **Invariant:** a payload is never larger than the broker accepts: long texts are cut first, then images are left out, and
//! `left_out` says how many.

use alm_state::{Container, Image, Layer, Time};
use serde::Serialize;

/// The payloads of the topic `online`.
pub(super) const ONLINE: &str = "online";
pub(super) const OFFLINE: &str = "offline";

/// Bytes. The package's configuration of mosquitto accepts packets of 65,536, and so do the clusters'; the rest is for the
/// longest possible topic.
const MAX_PAYLOAD: usize = 65_536 - 1_024;
/// To how many characters a text is cut if the payload is too large.
const SHORT: usize = 120;

/// The topics of a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Topics {
    pub(super) online: String,
    pub(super) state: String,
    pub(super) progress: String,
}

impl Topics {
    pub(super) fn new(root: &str, device: &str) -> Self {
        let topic = |what| format!("{root}/{device}/{what}");
        Self { online: topic("online"), state: topic("state"), progress: topic("progress") }
    }
}

/// The device that publishes.
#[derive(Debug, Clone, Default)]
pub(super) struct Who {
    pub(super) device: String,
    pub(super) site: Option<String>,
}

/// The states of a device at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct View {
    pub(super) images: Vec<Seen>,
    pub(super) containers: Vec<Container>,
    pub(super) now: Time,
}

/// The state of an image, and whether the run that wrote it was lost (killed without writing its end).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) image: Image,
    pub(super) lost: bool,
}

impl Seen {
    /// Whether a pull of it is running.
    pub(super) fn is_working(&self) -> bool {
        self.image.status == alm_state::Status::Working && !self.lost
    }
}

#[derive(Serialize)]
struct State<'a> {
    v: u32,
    device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    images: &'a [Row],
    #[serde(skip_serializing_if = "<[Container]>::is_empty")]
    containers: &'a [Container],
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    image: Image,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
}

#[derive(Serialize)]
struct Progress<'a> {
    time: Time,
    id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    layers: &'a [Layer],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Marks a time before the build of this program as wrong: the clock of a Pi stops without power.
fn clock(time: Time) -> Option<&'static str> {
    (time < alm_state::BUILT).then_some("wrong")
}

/// An image as it is published: without what is of use only on the device, and without what is in the progress.
fn row(seen: &Seen) -> Row {
    let image =
        Image { pid: None, born: None, beat: None, rate: None, left: None, layers: Vec::new(), ..seen.image.clone() };
    Row { clock: clock(image.time), image, lost: seen.lost }
}

/// The payload of the topic `state`, for a broker that accepts payloads of `max` bytes. If even a state without any
/// image is larger, that is what it returns, and the broker's answer says why it has nothing.
pub(super) fn state(who: &Who, view: &View, max: usize) -> Vec<u8> {
    let mut rows: Vec<Row> = view.images.iter().map(row).collect();
    let mut containers = view.containers.clone();
    let max = max.min(MAX_PAYLOAD);
    let mut left_out = 0;
    let mut payload = render(who, view.now, &rows, &containers, left_out);
    if payload.len() > max {
        for row in &mut rows {
            for text in [&mut row.image.details, &mut row.image.hint].into_iter().flatten() {
                shorten(text);
            }
        }
        for text in containers.iter_mut().filter_map(|container| container.details.as_mut()) {
            shorten(text);
        }
        payload = render(who, view.now, &rows, &containers, left_out);
    }
    while payload.len() > max && (rows.pop().is_some() || containers.pop().is_some()) {
        left_out += 1;
        payload = render(who, view.now, &rows, &containers, left_out);
    }
    payload
}

fn render(who: &Who, time: Time, images: &[Row], containers: &[Container], left_out: usize) -> Vec<u8> {
    let (device, site) = (who.device.as_str(), who.site.as_deref());
    let state = State { v: alm_state::VERSION, device, site, time, clock: clock(time), images, containers, left_out };
    // Cannot fail: it has no map with keys other than strings.
    serde_json::to_vec(&state).unwrap_or_default()
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(SHORT) {
        text.truncate(end);
        text.push('…');
    }
}

/// The payload of the topic `progress`; if it is larger than the `max` of the broker, the last layers are left out. `None` if
/// it is too large without any.
pub(super) fn progress(image: &Image, now: Time, max: usize) -> Option<Vec<u8>> {
    let max = max.min(MAX_PAYLOAD);
    let mut layers = image.layers.as_slice();
    loop {
        let Image { id, text, current, total, percent, rate, left, .. } = image;
        let (current, total, percent, rate, left) = (*current, *total, *percent, *rate, *left);
        let progress = Progress { time: now, id, text, current, total, percent, rate, left, layers };
        let payload = serde_json::to_vec(&progress).unwrap_or_default();
        if payload.len() <= max {
            return Some(payload);
        }
        if layers.is_empty() {
            return None;
        }
        layers = &layers[..layers.len() / 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alm_state::{Standing, Status};
    use serde_json::Value;

    fn who() -> Who {
        Who { device: "pi-1".into(), site: Some("Berlin".into()) }
    }

    fn image(id: &str) -> Image {
        let time = Time::parse("2026-11-25T02:18:33Z").expect("a time");
        let layer = Layer {
            id: "b5a0".into(),
            text: "Downloading".into(),
            current: Some(5),
            total: Some(9),
            percent: Some(55),
        };
        Image {
            v: 1,
            id: id.into(),
            status: Status::Working,
            text: "Downloading".into(),
            time,
            since: time,
            pid: Some(8),
            born: Some(9),
            beat: Some(10),
            current: Some(5),
            total: Some(9),
            percent: Some(44),
            rate: Some(3),
            left: Some(35),
            layers: vec![layer],
            digest: Some("sha256:1".into()),
            ..Image::default()
        }
    }

    fn view(images: Vec<Image>) -> View {
        let images = images.into_iter().map(|image| Seen { image, lost: false }).collect();
        View { images, containers: vec![], now: Time::parse("2026-11-25T02:18:34Z").expect("a time") }
    }

    #[test]
    fn topics_are_below_the_root() {
        let topics = Topics::new("fleet/eu", "pi-1.example");
        assert_eq!(topics.online, "fleet/eu/pi-1.example/online");
        assert_eq!(topics.state, "fleet/eu/pi-1.example/state");
        assert_eq!(topics.progress, "fleet/eu/pi-1.example/progress");
    }

    #[test]
    fn the_state_to_the_byte() {
        let mut view = view(vec![image("app:1")]);
        view.containers = vec![Container {
            v: 1,
            name: "web".into(),
            image: "app:1".into(),
            digest: None,
            status: Standing::Running,
            since: None,
            details: None,
        }];
        let text = String::from_utf8(state(&who(), &view, usize::MAX)).expect("text");
        let expected = r#"{"v":1,"device":"pi-1","site":"Berlin","time":"2026-11-25T02:18:34Z","images":[{"v":1,"id":"app:1","status":"Working","text":"Downloading","time":"2026-11-25T02:18:33Z","since":"2026-11-25T02:18:33Z","current":5,"total":9,"percent":44,"digest":"sha256:1"}],"containers":[{"v":1,"name":"web","image":"app:1","status":"Running"}]}"#;
        assert_eq!(text, expected);
        view.images[0].lost = true;
        assert!(String::from_utf8(state(&who(), &view, usize::MAX)).expect("text").contains(r#""lost":true"#));
    }

    #[test]
    fn the_progress_to_the_byte() {
        let now = Time::parse("2026-11-25T02:18:34Z").expect("a time");
        let text = String::from_utf8(progress(&image("app:1"), now, usize::MAX).expect("it fits")).expect("text");
        let expected = r#"{"time":"2026-11-25T02:18:34Z","id":"app:1","text":"Downloading","current":5,"total":9,"percent":44,"rate":3,"left":35,"layers":[{"id":"b5a0","text":"Downloading","current":5,"total":9,"percent":55}]}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_clock_before_the_build_is_marked() {
        let mut view = view(vec![image("app:1")]);
        assert!(!String::from_utf8(state(&who(), &view, usize::MAX)).expect("text").contains("clock"));
        view.now = Time(100);
        let json: Value = serde_json::from_slice(&state(&who(), &view, usize::MAX)).expect("JSON");
        assert_eq!((&json["clock"], json["images"][0].get("clock")), (&Value::from("wrong"), None));
        view.images[0].image.time = Time(90);
        let json: Value = serde_json::from_slice(&state(&who(), &view, usize::MAX)).expect("JSON");
        assert_eq!(json["images"][0]["clock"], "wrong");
    }

    #[test]
    fn the_largest_state_of_a_device_fits_and_says_what_is_missing() {
        let long = "é".repeat(1_000);
        let full = |count: usize| {
            let image =
                |at| Image { details: Some(long.clone()), hint: Some(long.clone()), ..image(&format!("app:{at}")) };
            view((0..count).map(image).collect())
        };
        let sixty_four = state(&who(), &full(64), usize::MAX);
        let json: Value = serde_json::from_slice(&sixty_four).expect("JSON");
        assert!(sixty_four.len() <= MAX_PAYLOAD);
        assert_eq!(json["images"].as_array().map(Vec::len), Some(64));
        assert_eq!(json.get("left_out"), None);
        // A broker that accepts only small packets.
        let small = state(&who(), &full(64), 8_192);
        let json: Value = serde_json::from_slice(&small).expect("JSON");
        let shown = json["images"].as_array().map_or(0, Vec::len);
        assert!(small.len() <= 8_192 && shown > 3, "{shown}");
        assert_eq!(json["left_out"], 64 - shown);
        let none = state(&who(), &full(64), 0);
        assert_eq!(serde_json::from_slice::<Value>(&none).expect("JSON")["left_out"], 64);
    }

    #[test]
    fn progress_of_many_layers_fits() {
        let mut image = image("app:1");
        let layer = Layer { id: "é".repeat(1_000), text: "Downloading".into(), ..Layer::default() };
        image.layers = vec![layer; 256];
        let payload = progress(&image, Time(0), usize::MAX).expect("it fits");
        let json: Value = serde_json::from_slice(&payload).expect("JSON");
        assert!(payload.len() <= MAX_PAYLOAD);
        assert!(json["layers"].as_array().is_some_and(|layers| layers.len() >= 16));
        assert_eq!(progress(&image, Time(0), 50), None);
    }
}
