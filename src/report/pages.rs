//! The pages of the monitor, for people who stand before the device.
//!
//! Separate from the console on which they are painted, so that each state and size can be tested as text.
//!
//! **Invariant:** pure; the most urgent comes first, because a small screen shows only the beginning.

use crate::report::bar;
use crate::report::digits;
use crate::report::page::{Device, Page, Row, Tone, WIDE, fit_name};
use crate::report::status::{self, Health, bytes, short_digest};
use alm_state::{Image, States, Status};

/// How many rows the page of a pull needs besides the large figures.
const PULL_ROWS: usize = 12;

/// From this number of rows on a page has a large title.
const TITLE_ROWS: usize = 40;

/// Cells of a name, so that what follows it is not too far away.
const MAX_NAME: usize = 60;

/// Seconds for which one image is shown if several are being pulled.
const TURN: i64 = 5;

/// The advice for a pull that was lost.
const AGAIN: &str = "nothing where Puppet runs: it pulls again; by hand: sudo docker-pull-with-progress IMAGE";

/// The screen of `rows` rows with `columns` cells each.
pub(crate) fn page(
    states: &States,
    device: &Device<'_>,
    same: &dyn Fn(&str, &str) -> bool,
    columns: usize,
    rows: usize,
) -> Vec<Row> {
    let mut page = Page::new(device, columns, rows);
    let working: Vec<&Image> = states
        .images
        .iter()
        .map(|found| &found.image)
        .filter(|image| image.status == Status::Working && !image.is_lost())
        .collect();
    if !working.is_empty() {
        let turn = usize::try_from(device.moment.now.unix_timestamp() / TURN).unwrap_or(0) % working.len();
        page.pulling(states, working[turn], turn + 1, working.len());
    } else if status::health(states) == Health::Bad {
        page.failed(states, same);
    } else if !states.images.is_empty() || !states.containers.is_empty() {
        page.idle(states, same);
    } else {
        page.nothing();
    }
    page.finish(rows)
}

fn ids(states: &States) -> Vec<&str> {
    states.images.iter().map(|found| &*found.image.id).collect()
}

impl Page<'_> {
    /// The subject of the page, in large letters if there is room for them.
    fn title(&mut self, title: &str, tone: Tone) {
        let rows = digits::large(title, 2);
        if self.max < TITLE_ROWS || rows.iter().any(|row| row.chars().count() > self.width()) {
            self.put(title, "", tone);
            return;
        }
        for row in rows {
            self.put(&row, "", tone);
        }
    }

    fn pulling(&mut self, states: &States, image: &Image, number: usize, count: usize) {
        let word = image.text.to_ascii_uppercase();
        let many = if count > 1 { format!("   image {number} of {count}") } else { String::new() };
        let attempt = image.attempt.filter(|attempt| *attempt > 1).map(|attempt| format!("attempt {attempt}"));
        let tone = if image.text == "Retrying" { Tone::Mark } else { Tone::Good };
        self.put(&format!("{word}{many}"), &attempt.unwrap_or_default(), tone);
        self.name(&image.id);
        self.blank();
        let percent = image.percent.unwrap_or(0).min(100);
        let zoom = if self.columns >= WIDE { 2 } else { 1 };
        let has_room = self.max >= PULL_ROWS + digits::height(zoom) && self.width() >= 40 * zoom;
        if has_room {
            for row in digits::large(&format!("{percent}%"), zoom) {
                self.put(&row, "", tone);
            }
            self.blank();
        }
        let cells = self.width();
        let bar: String = bar::cells(percent, 100, cells).collect();
        let twice = if self.columns >= WIDE && has_room { 2 } else { 1 };
        for _ in 0..twice {
            self.put(&bar, "", tone);
        }
        let amount = bytes(image).unwrap_or_default();
        let left = if has_room { amount } else { format!("{percent}%   {amount}") };
        let rate = image.rate.and_then(|rate| bar::speed(rate, 1_000)).map(|rate| rate.to_string());
        let time = image.left.map(|left| bar::left(left).to_string());
        let right: Vec<String> = rate.into_iter().chain(time).collect();
        self.put(&left, &right.join("   "), Tone::Plain);
        if image.text == "Retrying"
            && let Some(details) = &image.details
        {
            self.paragraph(details, Tone::Mark);
        }
        self.blank();
        let others: Vec<&Image> =
            states.images.iter().map(|found| &found.image).filter(|other| other.id != image.id).collect();
        // Each of the others has a row below, and there is a blank row between.
        let reserved = if others.is_empty() { 0 } else { others.len().min(self.max / 4) + 1 };
        self.layers(image, self.max.saturating_sub(self.rows.len() + reserved));
        if !others.is_empty() {
            self.blank();
            self.images(states, others.into_iter());
        }
    }

    /// A row for each layer, those that move first, and then how many more there are.
    fn layers(&mut self, image: &Image, max: usize) {
        let rank = |text: &str| match text {
            "Pull complete" => 2,
            "Waiting" => 1,
            _ => 0,
        };
        let of_rank = |wanted: usize| image.layers.iter().filter(move |layer| rank(&layer.text) == wanted);
        let are_too_many = image.layers.len() > max;
        let layers: Vec<_> =
            if are_too_many { (0..=2).flat_map(of_rank).collect() } else { image.layers.iter().collect() };
        let shown = if are_too_many { max.saturating_sub(1) } else { layers.len() };
        for layer in &layers[..shown] {
            let word = match &*layer.text {
                "Downloading" => "downloading",
                "Download complete" => "downloaded",
                "Verifying Checksum" => "verifying",
                "Extracting" => "unpacking",
                "Pull complete" => "done",
                "Retrying" => "retrying",
                _ => "waiting",
            };
            let amount = match (layer.current, layer.total) {
                (Some(current), Some(total)) if current < total => {
                    format!("{} of {}", bar::bytes(current), bar::bytes(total))
                }
                (_, Some(total)) => bar::bytes(total).to_string(),
                _ => String::new(),
            };
            let cells = self.width().saturating_sub(46);
            let bar: String = bar::cells(layer.percent.unwrap_or(0), 100, cells).collect();
            let id: String = layer.id.chars().take(12).collect();
            let tone = if word == "done" { Tone::Good } else { Tone::Plain };
            self.put(&format!("{id:12}  {word:12} {bar}"), &amount, tone);
        }
        self.more(layers.len() - shown);
    }

    /// A row for each image that is not being pulled, as far as there are rows, and then how many more there are.
    fn images<'a>(&mut self, states: &States, images: impl Iterator<Item = &'a Image>) {
        let images: Vec<&Image> = images.collect();
        let rows = self.max.saturating_sub(self.rows.len());
        let shown = if images.len() > rows { rows.saturating_sub(1) } else { images.len() };
        for image in &images[..shown] {
            self.image(states, image);
        }
        self.more(images.len() - shown);
    }

    fn more(&mut self, count: usize) {
        if count > 0 {
            self.put(&format!("+ {count} more"), "", Tone::Plain);
        }
    }

    /// A row for an image that is not being pulled.
    fn image(&mut self, states: &States, image: &Image) {
        let name = status::short_name(&image.id, &ids(states));
        let (word, tone) = if image.is_lost() {
            ("broken off", Tone::Bad)
        } else {
            match (image.status, &*image.text) {
                (Status::Done, _) => ("up to date", Tone::Good),
                (Status::Error, _) => ("failed", Tone::Bad),
                (Status::Working, _) => ("being pulled", Tone::Mark),
                (Status::Warning, _) if status::is_failing(image) => ("failing", Tone::Bad),
                (Status::Warning, "Newer image") if image.digest.is_none() => ("not here", Tone::Mark),
                (Status::Warning, "Newer image") => ("newer one to come", Tone::Mark),
                (Status::Warning, "Interrupted") => ("interrupted", Tone::Mark),
                (Status::Warning, _) => ("cannot tell", Tone::Mark),
            }
        };
        let digest = image.digest.as_deref().map(short_digest).unwrap_or_default();
        let since = image.pulled.map(|pulled| format!("pulled {}", self.device.moment.at(pulled))).unwrap_or_default();
        // Besides the name: a sign, a digest, a word of 17 and a time of 18 cells at most, and the blanks between them.
        let room = self.width().saturating_sub(2 + 2 + 12 + 2 + 17 + 2 + 18).clamp(12, MAX_NAME);
        let name = fit_name(name, room);
        self.put(&format!("■ {name:room$}  {digest:12}  {word:17}"), &since, tone);
    }

    fn containers(&mut self, states: &States, same: &dyn Fn(&str, &str) -> bool) {
        for container in &states.containers {
            let image = states.images.iter().find(|found| same(&container.image, &found.image.id));
            let here = image.and_then(|found| found.image.digest.as_deref());
            let tone = if status::is_bad(container.status) { Tone::Bad } else { Tone::Plain };
            let name = image.map_or("", |found| status::short_name(&found.image.id, &ids(states)));
            self.paragraph(&status::container(container, here, name, self.device.moment), tone);
        }
    }

    fn failed(&mut self, states: &States, same: &dyn Fn(&str, &str) -> bool) {
        let moment = self.device.moment;
        let is_bad = |image: &Image| image.status == Status::Error || image.is_lost();
        let images = || states.images.iter().map(|found| &found.image);
        // The one that has been failing longest.
        let worst = images().filter(|image| is_bad(image)).min_by_key(|image| image.failing_since);
        if let Some(image) = worst {
            if image.is_lost() {
                self.title("FAILED", Tone::Bad);
                self.put(&format!("last heard of {}", moment.ago(image.time)), "", Tone::Bad);
            } else {
                let since = image.failing_since.unwrap_or(image.since);
                let tries = match image.attempts {
                    0 | 1 => String::new(),
                    tries => format!(", {tries} tries"),
                };
                self.title("FAILED", Tone::Bad);
                self.put(&format!("since {}{tries}", moment.at(since)), "", Tone::Bad);
            }
            self.name(&image.id);
            self.blank();
            if image.is_lost() {
                self.paragraph(
                    "the program that pulled it ended without a word (killed, or the power was cut)",
                    Tone::Bad,
                );
            } else if let Some(details) = &image.details {
                self.paragraph(details, Tone::Bad);
            }
            let hint = if image.is_lost() { Some(AGAIN) } else { image.hint.as_deref() };
            if let Some(hint) = hint {
                self.blank();
                self.put("WHAT TO DO", "", Tone::Mark);
                self.paragraph(hint, Tone::Mark);
            }
            if let Some(percent) = image.percent {
                self.blank();
                let bar: String = bar::cells(percent.min(100), 100, self.width()).collect();
                self.put(&bar, "", Tone::Plain);
                let amount = bytes(image).map(|bytes| format!(", {bytes}")).unwrap_or_default();
                self.put(&format!("it broke off at {percent}%{amount}"), "", Tone::Plain);
            }
            if let Some(digest) = &image.digest {
                self.put(&format!("this device still has {}", short_digest(digest)), "", Tone::Plain);
            }
            self.blank();
        } else {
            self.title("FAILED", Tone::Bad);
            self.put("a new container did not work", "", Tone::Bad);
            self.blank();
        }
        self.containers(states, same);
        self.blank();
        let others = || images().filter(|image| worst.is_none_or(|worst| image.id != worst.id));
        let (bad, good) = (others().filter(|image| is_bad(image)), others().filter(|image| !is_bad(image)));
        self.images(states, bad.chain(good));
    }

    fn idle(&mut self, states: &States, same: &dyn Fn(&str, &str) -> bool) {
        let moment = self.device.moment;
        let is_well = states.images.iter().all(|found| found.image.status == Status::Done);
        if is_well {
            self.title("UP TO DATE", Tone::Good);
        } else {
            self.put("NOTHING IS BEING PULLED", "", Tone::Mark);
        }
        self.blank();
        self.images(states, states.images.iter().map(|found| &found.image));
        self.blank();
        self.containers(states, same);
        if !states.containers.is_empty() {
            self.blank();
        }
        let checked = states.images.iter().filter_map(|found| found.image.checked).max();
        if let Some(checked) = checked {
            let (at, ago) = (moment.at(checked).to_string(), moment.ago(checked).to_string());
            // For a time long ago both are the same date.
            let ago = if ago == at { String::new() } else { format!(", {ago}") };
            self.put(&format!("last look {at}{ago}"), "", Tone::Plain);
        }
        self.surroundings();
    }

    fn nothing(&mut self) {
        self.put("NO PULL YET", "", Tone::Mark);
        self.blank();
        self.paragraph("This screen shows image pulls as they happen. Puppet starts them; by hand: sudo docker-pull-with-progress IMAGE", Tone::Plain);
        self.blank();
        if let Some(puppet) = self.device.puppet {
            self.put(&format!("Puppet last ran {}", self.device.moment.ago(puppet)), "", Tone::Plain);
        }
        self.surroundings();
    }

    fn surroundings(&mut self) {
        if let Some((used, free)) = self.device.disk {
            let tone = if used >= 90 { Tone::Bad } else { Tone::Plain };
            self.put(&format!("disk {used}% used, {} free", bar::bytes(free)), "", tone);
        }
        if !self.device.docker {
            self.put("Docker is not running: there is no socket of it", "", Tone::Bad);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::moment::Moment;
    use alm_state::{Container, Found, Layer, Standing, Time};
    use time::OffsetDateTime;

    const NOW: i64 = 1_795_573_113;

    fn device() -> Device<'static> {
        let moment = Moment { now: OffsetDateTime::from_unix_timestamp(NOW).expect("a time") };
        let address = Some("2001:db8:1234:5678:9abc:def0:1234:5678");
        Device {
            host: "pi-00042",
            site: Some("Straße 日本"),
            address,
            moment,
            disk: Some((91, 5)),
            docker: false,
            puppet: Some(Time(0)),
        }
    }

    fn pages() -> Vec<States> {
        let layer = |text: &str| Layer {
            id: "b5a0d1a0b112".into(),
            text: text.into(),
            current: Some(u64::MAX),
            total: Some(1),
            percent: Some(u64::MAX),
        };
        let image = |id: &str, status| Image { id: id.into(), status, text: "Downloading".into(), ..Image::default() };
        let found = |image: Image| Found { name: image.id.clone(), image };
        let working = Image {
            beat: Some(alm_state::boottime()),
            percent: Some(u64::MAX),
            current: Some(u64::MAX),
            total: Some(u64::MAX),
            rate: Some(u64::MAX),
            left: Some(u64::MAX),
            attempt: Some(u64::MAX),
            layers: (0..256).map(|at| layer(if at % 2 == 0 { "Downloading" } else { "Waiting" })).collect(),
            ..image(&format!("r/{}", "日本".repeat(200)), Status::Working)
        };
        let failed = Image {
            details: Some("x ".repeat(400)),
            hint: Some("é".repeat(900)),
            percent: Some(41),
            ..image("r/b:1", Status::Error)
        };
        let container = Container {
            v: 1,
            name: "web".into(),
            image: "a".into(),
            digest: None,
            status: Standing::Failed,
            since: None,
            details: Some("y".repeat(999)),
        };
        let done: Vec<Found> = (0..64).map(|at| found(image(&format!("r/{at}"), Status::Done))).collect();
        let all = |images: Vec<Found>, containers: Vec<Container>| States { images, containers };
        vec![
            all(vec![], vec![]),
            all(
                [vec![found(working.clone()), found(Image { id: "r/2".into(), ..working })], done.clone()].concat(),
                vec![],
            ),
            all([vec![found(failed.clone())], done.clone()].concat(), vec![container.clone()]),
            all(vec![found(Image { beat: None, ..image("r/c:1", Status::Working) })], vec![]),
            all(vec![], vec![container]),
            all(done, vec![]),
            all(vec![found(Image { text: "Cannot tell".into(), ..image("r/d:1", Status::Warning) })], vec![]),
        ]
    }

    #[test]
    fn a_page_has_the_size_of_its_screen_whatever_is_on_it() {
        for states in pages() {
            for (columns, rows) in
                (1..250).step_by(7).flat_map(|columns| (1..70).step_by(6).map(move |rows| (columns, rows)))
            {
                let page = page(&states, &device(), &|one, other| one == other, columns, rows);
                assert_eq!(page.len(), rows, "{columns}×{rows}");
                for row in page {
                    assert_eq!(row.text.chars().count(), columns, "{columns}×{rows}: {:?}", row.text);
                    // The fonts of consoles have 256 characters or 512.
                    assert!(row.text.chars().all(|c| c.is_ascii_graphic() || " █░─■≥ßé".contains(c)), "{:?}", row.text);
                }
            }
        }
    }

    fn shown(states: &States, columns: usize, rows: usize) -> Vec<String> {
        let page = page(states, &device(), &|one, other| one == other, columns, rows);
        page.into_iter().map(|row| row.text.trim().to_owned()).collect()
    }

    #[test]
    fn images_for_which_there_is_no_row_are_counted() {
        for (at, first) in [(1, "■ 2 "), (2, "■ 0 "), (5, "■ 0 ")] {
            let shown = shown(&pages()[at], 240, 67);
            let rows = shown.iter().filter(|row| row.starts_with('■')).count();
            assert!(rows > 0 && shown.iter().any(|row| row.contains(first)), "{shown:#?}");
            let others = if at == 1 { 65 } else { 64 };
            assert!(shown.contains(&format!("+ {} more", others - rows)), "{rows}: {shown:#?}");
        }
    }

    #[test]
    fn a_name_is_cut_at_its_beginning() {
        let image = |id: &str| Image { id: id.into(), status: Status::Done, ..Image::default() };
        let ids = ["one", "two"].map(|team| format!("europe-west1-docker.pkg.dev/company/{team}/app:latest"));
        let found = ids.map(|id| Found { name: id.clone(), image: image(&id) });
        let mut states = States { images: found.to_vec(), containers: Vec::new() };
        let page = shown(&states, 80, 25);
        for row in ["■ ..pany/one/app:latest", "■ ..pany/two/app:latest"] {
            assert!(page.iter().any(|found| found.starts_with(row)), "{page:#?}");
        }
        states.images[0].image.status = Status::Error;
        let page = shown(&states, 40, 25);
        assert!(page.contains(&"..ker.pkg.dev/company/one/app:latest".to_owned()), "{page:#?}");
    }

    #[test]
    fn an_image_that_is_not_here_or_fails_is_not_called_newer() {
        let newer = Image {
            id: "r/a:1".into(),
            status: Status::Warning,
            text: "Newer image".into(),
            digest: Some("sha256:aaaa".into()),
            ..Image::default()
        };
        let missing = Image { digest: None, ..newer.clone() };
        let failing = Image { failing_since: Some(Time(NOW - 100)), ..missing.clone() };
        for (image, word) in [(newer, "newer one to come"), (missing, "not here"), (failing, "failing")] {
            let states = States { images: vec![Found { name: "a".into(), image }], containers: Vec::new() };
            let page = shown(&states, 80, 25);
            assert!(page.iter().any(|row| row.starts_with("■ a:1") && row.ends_with(word)), "{word}: {page:#?}");
        }
    }

    #[test]
    fn what_is_urgent_is_the_page() {
        let titles: Vec<String> = pages()
            .iter()
            .map(|states| page(states, &device(), &|one, other| one == other, 80, 25)[3].text.trim().to_owned())
            .collect();
        let expected = [
            "NO PULL YET",
            "DOWNLOADING   image",
            "FAILED",
            "FAILED",
            "FAILED",
            "UP TO DATE",
            "NOTHING IS BEING PULLED",
        ];
        for (title, expected) in titles.iter().zip(expected) {
            assert!(title.starts_with(expected), "{titles:#?}");
        }
    }
}
