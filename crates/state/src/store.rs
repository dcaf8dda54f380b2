//! The directories of the states: those of this boot in `/run`, and those of ended pulls in `/var/lib`, which survive a
//! restart.
//!
//! **Invariant:** a state in `/run` takes precedence over the one in `/var/lib`. At the end of a run, a state that
//! cannot be replaced is removed.

use crate::directory::{Directory, Owner};
use crate::sweep::{self, Candidate};
use crate::{Container, Image, MAX_BYTES, MAX_IMAGES, MAX_LAYERS, MAX_TEXT, Status, Time, file_name, is_hostile, name};
use std::io;
use std::path::{Path, PathBuf};

/// The longest id of a layer that is written, in characters.
const MAX_ID: usize = 32;

/// The directories of a device.
#[derive(Debug, Clone)]
pub struct Store {
    run: PathBuf,
    kept: Option<PathBuf>,
    containers: PathBuf,
    is_trusted: bool,
}

/// What somebody who writes states keeps between two of them: the text's memory, and the open directory,
/// whose file system is in use until then.
#[derive(Debug, Default)]
pub struct Memory {
    text: Vec<u8>,
    directory: Option<Directory>,
}

impl Memory {
    /// Makes room for a text of so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.text.clear();
        self.text.reserve(bytes);
    }
}

/// All states that were read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct States {
    /// Sorted by name.
    pub images: Vec<Found>,
    /// Sorted by name.
    pub containers: Vec<Container>,
}

/// The state of an image, and the name of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// [`file_name`] of docker's full reference.
    pub name: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub image: Image,
}

/// Differs after a file was written or removed. Two changes within one tick of the kernel's clock (10 ms) may result in
/// the same stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([Option<(u64, i64, u64)>; 3]);

impl Store {
    /// The store of this device.
    #[must_use]
    pub fn of_device() -> Self {
        let path = PathBuf::from;
        Self {
            run: path("/run/alm/pull"),
            kept: Some(path("/var/lib/alm/pull")),
            containers: path("/var/lib/alm/container"),
            is_trusted: false,
        }
    }

    /// A store in one directory, with the containers in `container` below it: for replays and tests.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { run: directory.to_owned(), kept: None, containers: directory.join("container"), is_trusted: true }
    }

    fn owner(&self) -> Owner {
        if self.is_trusted { Owner::Anyone } else { Owner::Trusted }
    }

    fn open(&self, path: &Path) -> Option<Directory> {
        Directory::open(path, self.owner()).ok()
    }

    /// Whether [`Store::read`] may return something new; cheaper than reading.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let stamp = |path: &PathBuf| self.open(path)?.stamp();
        Stamp([stamp(&self.run), self.kept.as_ref().and_then(stamp), stamp(&self.containers)])
    }

    /// Reads all states; files that cannot be read are skipped.
    #[must_use]
    pub fn read(&self) -> States {
        let mut images: Vec<Found> = Vec::new();
        for directory in [Some(&self.run), self.kept.as_ref()].into_iter().flatten().filter_map(|path| self.open(path))
        {
            for name in directory.names(name::of_image) {
                if images.len() < MAX_IMAGES
                    && let Err(at) = images.binary_search_by(|found| found.name.cmp(&name))
                    && let Some(image) = image(&directory, &name)
                {
                    images.insert(at, Found { name, image });
                }
            }
        }
        let containers = self.open(&self.containers).map(|directory| {
            let names = directory.names(name::of_container).into_iter();
            let found = names.filter_map(|name| Container::parse(&directory.read(&format!("{name}.json"))?.0));
            found.take(MAX_IMAGES).collect()
        });
        States { images, containers: containers.unwrap_or_default() }
    }

    /// The state of the image with this full reference (`docker.io/library/alpine:latest`).
    #[must_use]
    pub fn image(&self, reference: &str) -> Option<Image> {
        self.of_boot(reference).or_else(|| self.kept(reference))
    }

    fn of_boot(&self, reference: &str) -> Option<Image> {
        image(&self.open(&self.run)?, &file_name(reference))
    }

    /// The state that would be read after a restart.
    #[must_use]
    pub fn kept(&self, reference: &str) -> Option<Image> {
        image(&self.open(self.kept.as_ref()?)?, &file_name(reference))
    }

    /// Replaces the state of the image with this full reference, until the device restarts.
    ///
    /// # Errors
    ///
    /// If it cannot be written. The old state stays, unless this one ends a run: then the old one is removed, because
    /// it would say that the run goes on.
    pub fn write(&self, reference: &str, image: &Image, memory: &mut Memory) -> io::Result<()> {
        let Memory { text: buffer, directory } = memory;
        let directory = Directory::again(directory, &self.run, self.owner())?;
        let name = file_name(reference);
        let mut written = serialize(image, buffer).and_then(|()| directory.write(&name, buffer, false));
        if written.is_err() && image.status != Status::Working {
            let removed = directory.remove(&format!("{name}.json"));
            // On a full file system the old file may have taken the only space.
            if removed.is_ok() && buffer.len() <= MAX_BYTES {
                written = directory.write(&name, buffer, false);
            }
        }
        written
    }

    /// Writes the state so that it survives a restart, if this store has a directory for that.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(&self, reference: &str, image: &Image, memory: &mut Memory) -> io::Result<()> {
        let buffer = &mut memory.text;
        let Some(kept) = &self.kept else { return Ok(()) };
        let directory = Directory::create(kept, self.owner())?;
        serialize(image, buffer)?;
        directory.write(&file_name(reference), buffer, true)
    }

    /// Removes the states of images that are no longer used on this device. Called by a pull of the image with this
    /// full reference, whose previous state was written at `before`.
    pub fn sweep(&self, reference: &str, before: Option<Time>, now: Time) {
        let own = file_name(reference);
        for directory in [Some(&self.run), self.kept.as_ref()].into_iter().flatten().filter_map(|path| self.open(path))
        {
            directory.remove_temporary();
            let names = directory.names(name::of_image).into_iter().filter(|name| *name != own);
            let mut candidates: Vec<_> = names.filter_map(|name| candidate(&directory, name)).collect();
            candidates.extend(before.map(|time| Candidate { name: own.clone(), time, image: None, is_in_use: true }));
            for name in sweep::old(&candidates, &own, now) {
                let _ = directory.remove(&format!("{name}.json"));
            }
        }
    }

    /// Removes the state of the image with this full reference. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// If it exists and cannot be removed.
    pub fn forget(&self, reference: &str) -> io::Result<bool> {
        let file = format!("{}.json", file_name(reference));
        let mut was_there = false;
        for path in [Some(&self.run), self.kept.as_ref()].into_iter().flatten() {
            match Directory::open(path, self.owner()).and_then(|directory| directory.remove(&file)) {
                Ok(()) => was_there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.join(&file).display())));
                }
            }
        }
        Ok(was_there)
    }
}

fn image(directory: &Directory, name: &str) -> Option<Image> {
    Image::parse(&directory.read(&format!("{name}.json"))?.0)
}

fn candidate(directory: &Directory, name: String) -> Option<Candidate> {
    let file = format!("{name}.json");
    let written = Time(directory.written(&file)?);
    let image = image(directory, &name);
    // The older of the two: a copied file has a new date.
    let time = image.as_ref().map_or(written, |image| image.time.min(written));
    let is_in_use = image.as_ref().is_some_and(|image| image.status == Status::Working && !image.is_lost());
    Some(Candidate { name, time, image, is_in_use })
}

/// Writes `image` to `buffer`, within the limits of readers.
fn serialize(image: &Image, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    if image.is_fit() && image.layers.iter().all(|layer| layer.id.len() <= MAX_ID) {
        serde_json::to_writer(&mut *buffer, image)?;
    } else {
        serde_json::to_writer(&mut *buffer, &fitted(image))?;
    }
    buffer.push(b'\n');
    if buffer.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the state is too large"));
    }
    Ok(())
}

/// `image` cut to the limits of readers.
fn fitted(image: &Image) -> Image {
    let mut fitted = image.clone();
    fitted.layers.truncate(MAX_LAYERS);
    let Image { id, text, digest, latest, kind, details, hint, layers, .. } = &mut fitted;
    let optional = [digest, latest, kind, details, hint].into_iter().flatten();
    for text in [id, text].into_iter().chain(optional) {
        *text = fit(text, MAX_TEXT);
    }
    for layer in layers {
        (layer.id, layer.text) = (fit(&layer.id, MAX_ID), fit(&layer.text, MAX_ID));
    }
    fitted
}

fn fit(text: &str, max: usize) -> String {
    let safe = text.chars().map(|c| if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c });
    if text.chars().count() > max { safe.take(max - 1).chain(['…']).collect() } else { safe.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, Pulled, Status};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// Temporary directories of one test, removed at its end.
    struct Temp(PathBuf);

    impl Temp {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("alm-state-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("a directory for the test");
            Self(path)
        }

        fn store(&self) -> Store {
            let at = |name| self.0.join(name);
            Store { run: at("run"), kept: Some(at("kept")), containers: at("container"), is_trusted: false }
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const APP: &str = "registry.example/app:1";
    const WEB: &str = "docker.io/library/web:1";

    fn done(id: &str, now: Time) -> Image {
        let mut image = Image::begin(id, None, now);
        image.succeed(Pulled { digest: Some("sha256:1".into()), bytes: 5, seconds: 1.0, ..Pulled::default() }, now);
        image
    }

    fn write(store: &Store, reference: &str, image: &Image) {
        store.write(reference, image, &mut Memory::default()).expect("it is written");
    }

    fn ids(store: &Store) -> Vec<String> {
        store.read().images.into_iter().map(|found| found.image.id).collect()
    }

    #[test]
    fn what_is_written_is_read_and_the_boot_hides_what_is_kept() {
        let temp = Temp::new();
        let store = temp.store();
        assert_eq!(store.read(), States::default());
        assert_eq!(store.image(APP), None);
        let image = done("registry.example/app:1", Time::now());
        store.keep(APP, &image, &mut Memory::default()).expect("it is kept");
        store.keep(WEB, &done("web:1", Time::now()), &mut Memory::default()).expect("it is kept");
        let working = Image::begin("registry.example/app:1", Some(image.clone()), Time::now());
        write(&store, APP, &working);
        let states = store.read();
        let names: Vec<_> = states.images.iter().map(|found| &*found.name).collect();
        assert_eq!(names, ["docker.io%2Flibrary%2Fweb%3A1", "registry.example%2Fapp%3A1"]);
        assert_eq!(states.images[1].image, working);
        assert_eq!((store.image(APP), store.kept(APP)), (Some(working), Some(image)));
        assert_eq!(store.forget(APP).ok(), Some(true));
        assert_eq!(store.forget(APP).ok(), Some(false));
        assert_eq!(ids(&store), ["web:1"]);
        let left: Vec<_> = fs::read_dir(temp.0.join("run")).expect("a directory").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn everyone_may_read_whatever_the_umask() {
        let temp = Temp::new();
        let store = temp.store();
        write(&store, APP, &done("a", Time::now()));
        let mode = |path: &str| fs::metadata(temp.0.join(path)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode("run"), mode("run/registry.example%2Fapp%3A1.json")), (0o755, 0o644));
    }

    #[test]
    fn a_directory_that_was_replaced_is_opened_again_and_a_link_in_its_place_is_not() {
        let temp = Temp::new();
        let (store, run, mut memory) = (temp.store(), temp.0.join("run"), Memory::default());
        let mut write = |id: &str| store.write(APP, &done(id, Time::now()), &mut memory).is_ok();
        assert!(write("first"));
        fs::rename(&run, temp.0.join("moved")).expect("a move");
        assert!(write("second"));
        assert_eq!(ids(&store), ["second"]);
        fs::remove_dir_all(&run).expect("a removal");
        assert!(write("third"));
        assert_eq!(ids(&store), ["third"]);
        fs::remove_dir_all(&run).expect("a removal");
        symlink(temp.0.join("moved"), &run).expect("a link");
        assert!(!write("fourth"));
        let left = fs::read_to_string(temp.0.join("moved/registry.example%2Fapp%3A1.json")).expect("a state");
        assert!(left.contains("first"), "{left}");
    }

    #[test]
    fn what_else_lies_there_is_passed_over() {
        let temp = Temp::new();
        let store = temp.store();
        write(&store, WEB, &done("web:1", Time::now()));
        let run = temp.0.join("run");
        let at = |name: &str| run.join(name);
        let good = serde_json::to_string(&done("evil", Time::now())).expect("JSON");
        let secret = temp.0.join("elsewhere.json");
        fs::write(&secret, &good).expect("a file");
        symlink(&secret, at("a%2Flink.json")).expect("a link");
        symlink("nowhere", at("a%2Fdangling.json")).expect("a link");
        fs::create_dir(at("a%2Fdirectory.json")).expect("a directory");
        rustix::fs::mknodat(rustix::fs::CWD, at("a%2Fpipe.json"), rustix::fs::FileType::Fifo, 0o644.into(), 0)
            .expect("a pipe");
        fs::write(at("a%2Fempty.json"), "").expect("a file");
        fs::write(at("a%2Fhalf.json"), &good[..good.len() / 2]).expect("a file");
        fs::write(at("a%2Flarge.json"), good.replace("\"v\"", &format!("\"x\":\"{}\",\"v\"", "x".repeat(MAX_BYTES))))
            .expect("a file");
        fs::write(at("a%2Fsecret.json"), &good).expect("a file");
        fs::set_permissions(at("a%2Fsecret.json"), fs::Permissions::from_mode(0o0)).expect("it is ours");
        fs::write(at(".a%2Fhidden.json"), &good).expect("a file");
        fs::write(at("plain.json"), &good).expect("a file");
        let may_read_all = rustix::process::geteuid().is_root();
        assert_eq!(ids(&store).len(), if may_read_all { 2 } else { 1 });
        fs::remove_file(at("a%2Fsecret.json")).expect("it is ours");
        assert_eq!(ids(&store), ["web:1"]);
        // A link in the place of a state is replaced by the written file; the link's target stays unchanged.
        write(&store, "a/link", &done("mine", Time::now()));
        assert_eq!(fs::read_to_string(&secret).expect("a file"), good);
        assert_eq!(store.image("a/link").map(|image| image.id), Some("mine".into()));
    }

    #[test]
    fn a_state_whose_writer_died_makes_room_and_one_that_is_written_does_not() {
        let temp = Temp::new();
        let store = temp.store();
        let pid = std::process::id();
        for at in 0..64 {
            let mut image = Image::begin("x", None, Time::now());
            // Only the last one is of this process: another that had its id started at another time.
            let born = crate::born(pid).filter(|_| at == 63).or(Some(1));
            (image.pid, image.born, image.beat) = (Some(pid), born, Some(crate::boottime()));
            write(&store, &format!("a/{at:02}"), &image);
        }
        store.sweep("a/new", None, Time::now());
        let names: Vec<_> = store.read().images.into_iter().map(|found| found.name).collect();
        assert_eq!(names.len(), 63, "{names:?}");
        assert!(names.contains(&file_name("a/63")), "{names:?}");
    }

    #[test]
    fn a_crowd_of_files_hides_nothing_and_takes_no_time() {
        let temp = Temp::new();
        let store = temp.store();
        write(&store, WEB, &done("web:1", Time::now()));
        for at in 0..10_000 {
            fs::write(temp.0.join(format!("run/{at}.json")), "{}").expect("a file");
        }
        let begun = std::time::Instant::now();
        assert_eq!(ids(&store), ["web:1"]);
        store.sweep(APP, None, Time::now());
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
        assert!(temp.0.join("run/1.json").exists());
        for at in 0..100 {
            write(&store, &format!("a/{at:03}"), &done("a", Time::now()));
        }
        assert_eq!(store.read().images.len(), MAX_IMAGES);
    }

    #[test]
    fn directories_of_others_and_links_to_directories_are_not_ours() {
        let temp = Temp::new();
        let store = temp.store();
        let elsewhere = temp.0.join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        symlink(&elsewhere, temp.0.join("run")).expect("a link");
        let image = done("a", Time::now());
        assert!(store.write(APP, &image, &mut Memory::default()).is_err());
        assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0);
        fs::remove_file(temp.0.join("run")).expect("a link");
        if rustix::process::geteuid().is_root() {
            write(&store, APP, &image);
            std::os::unix::fs::chown(temp.0.join("run"), Some(12_345), None).expect("root may");
            assert!(store.write(APP, &image, &mut Memory::default()).is_err());
            assert_eq!(store.read(), States::default());
            // If the user named the directory, its owner does not matter.
            assert_eq!(ids(&Store::at(&temp.0.join("run"))), ["a"]);
        }
    }

    #[test]
    fn a_state_that_cannot_be_replaced_goes_when_the_run_has_ended() {
        let temp = Temp::new();
        let store = temp.store();
        let mut image = Image::begin("a", None, Time::now());
        write(&store, APP, &image);
        image.layers = vec![Layer { id: "\"".repeat(32), text: "\"".repeat(1_000), ..Layer::default() }; 256];
        assert!(store.write(APP, &image, &mut Memory::default()).is_err());
        assert!(store.image(APP).is_some());
        image.status = Status::Error;
        assert!(store.write(APP, &image, &mut Memory::default()).is_err());
        assert_eq!(store.image(APP), None);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let temp = Temp::new();
        let store = temp.store();
        let mut image = Image::begin("a", None, Time::now());
        image.layers = vec![Layer { id: "é".repeat(40), text: "Waiting".into(), ..Layer::default() }; 300];
        image.details = Some("é".repeat(2_000));
        write(&store, APP, &image);
        let read = store.image(APP).expect("a state");
        assert_eq!((read.layers.len(), read.layers[0].id.chars().count()), (256, 32));
        image.kind = Some("\u{1b}[2J".into());
        write(&store, APP, &image);
        assert_eq!(store.image(APP).and_then(|image| image.kind).as_deref(), Some("\u{fffd}[2J"));
        assert_eq!(read.details.map(|text| (text.chars().count(), text.ends_with('…'))), Some((1_000, true)));
    }

    #[test]
    fn readers_never_see_half_a_file() {
        let temp = Temp::new();
        let store = temp.store();
        let mut image = Image::begin("a", None, Time::now());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut memory = Memory::default();
                for at in 0..2_000 {
                    image.layers = vec![Layer { id: "b".into(), text: "Waiting".into(), ..Layer::default() }; at % 256];
                    store.write(APP, &image, &mut memory).expect("it is written");
                }
                stop.store(true, Ordering::Relaxed);
            });
            let mut seen = false;
            while !stop.load(Ordering::Relaxed) {
                let read = store.image(APP);
                assert!(read.is_some() || !seen);
                seen |= read.is_some();
            }
        });
    }

    #[test]
    fn what_a_device_has_done_with_is_swept() {
        let temp = Temp::new();
        let store = temp.store();
        let now = Time::now();
        let before = |days: i64| Time(now.0 - days * 24 * 3600);
        write(&store, "a/old", &done("old", before(9)));
        store.keep("a/old", &done("old", before(9)), &mut Memory::default()).expect("it is kept");
        write(&store, "a/young", &done("young", before(6)));
        write(&store, WEB, &done("web:1", before(0)));
        store.keep(WEB, &done("web:1", before(0)), &mut Memory::default()).expect("it is kept");
        // A temporary file of a process that is gone, and one of a process that is alive.
        fs::write(temp.0.join("run/.a%2Fold.4194304.tmp"), "{").expect("a file");
        fs::write(temp.0.join("run/.a%2Fold.1.tmp"), "{").expect("a file");
        store.sweep(APP, None, now);
        assert_eq!(ids(&store), ["young", "web:1"]);
        assert!(!temp.0.join("run/.a%2Fold.4194304.tmp").exists());
        assert!(temp.0.join("run/.a%2Fold.1.tmp").exists());
    }

    #[test]
    fn containers_are_read_where_the_script_leaves_them() {
        let temp = Temp::new();
        let store = Store::at(&temp.0);
        fs::create_dir(temp.0.join("container")).expect("a directory");
        let text = r#"{"v":1,"name":"web","image":"web:1","status":"Running"}"#;
        fs::write(temp.0.join("container/web.json"), text).expect("a file");
        fs::write(temp.0.join("container/other.json"), "{}").expect("a file");
        let states = store.read();
        assert_eq!(states.containers.iter().map(|container| &*container.name).collect::<Vec<_>>(), ["web"]);
    }
}
