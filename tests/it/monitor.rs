//! The monitor on a real console of the kernel, read back cell by cell (`/dev/vcsu*`, and `/dev/vcsa*` for colours).
//!
//! `monitor/PAGE-COLUMNSxROWS.txt` is a whole screen: the colour of each row, and its cells; `UPDATE=1` renews them.
//! Needs root and a kernel with consoles. Without a console these tests fail with a message, because nothing else can show
//! what a console does.

use crate::support::{Running, Temp, eventually, program};
use rustix::fs::{FileType, FlockOperation, Mode, flock, makedev, mknodat};
use rustix::process::Signal;
use rustix::termios::{Action, Winsize, tcflow, tcgetwinsize, tcsetwinsize};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;

/// How long to wait for a change: a frame is painted every half second, a complete one every five seconds.
const SOON: Duration = Duration::from_secs(4);
const REPAINTED: Duration = Duration::from_secs(12);

/// A console that no other test uses.
struct Console {
    path: String,
    tty: File,
    cells: String,
    colors: String,
}

impl Console {
    fn new(temp: &Temp, columns: u16, rows: u16) -> Self {
        let open = |path: &str| OpenOptions::new().read(true).write(true).custom_flags(0o4400).open(path);
        let free = (40..60).find_map(|number| {
            let path = format!("/dev/tty{number}");
            let tty = open(&path).ok()?;
            flock(&tty, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some((number, path, tty))
        });
        let (number, path, tty) = free.expect("a console: these tests need root and a kernel with /dev/tty40 and more");
        let (cells, colors) = (temp.at("vcsu"), temp.at("vcsa"));
        let mode = Mode::from_raw_mode(0o600);
        // Without udev nobody has created these device files.
        for (path, minor) in [(&cells, 64 + number), (&colors, 128 + number)] {
            let _ = fs::remove_file(path);
            mknodat(rustix::fs::CWD, &**path, FileType::CharacterDevice, mode, makedev(7, minor)).expect("root");
        }
        let console = Self { path, tty, cells, colors };
        console.resize(columns, rows);
        (&console.tty).write_all(b"\x1b[H\x1b[2J").expect("an empty screen");
        console
    }

    /// Changes the size of this console. (`VT_RESIZE` would change all consoles, also those of other tests.)
    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.tty, size).expect("a new size");
    }

    /// Hangs up the console, as a getty does when it starts: `TIOCVHANGUP`, for which std and rustix have no safe function.
    fn hang_up(&self) {
        let script =
            format!("import fcntl, os; fcntl.ioctl(os.open('{}', os.O_RDWR | os.O_NOCTTY), 0x5437)", self.path);
        assert!(Command::new("python3").args(["-c", &script]).status().expect("python3").success());
    }

    fn rows(&self) -> Vec<String> {
        let size =
            tcgetwinsize(OpenOptions::new().read(true).custom_flags(0o4400).open(&self.path).expect("a console"));
        let columns = usize::from(size.expect("a size").ws_col);
        let bytes = fs::read(&self.cells).expect("its cells");
        let cells: Vec<char> = bytes
            .chunks_exact(4)
            .map(|cell| char::from_u32(u32::from_ne_bytes([cell[0], cell[1], cell[2], cell[3]])).unwrap_or('\u{fffd}'))
            .collect();
        cells.chunks(columns).map(|row| row.iter().collect()).collect()
    }

    /// Each row, with the colour of its text before it.
    fn painting(&self) -> String {
        // After the size and the cursor there are two bytes for each cell: the character and its attribute.
        let attributes = fs::read(&self.colors).expect("its colours");
        let mut attributes = attributes[4..].chunks_exact(2).map(|cell| cell[1]);
        let mut painting = String::new();
        for row in self.rows() {
            let written = row.chars().zip(&mut attributes).filter(|(c, _)| *c != ' ').map(|(_, attribute)| attribute);
            let colors: std::collections::BTreeSet<u8> = written.collect();
            let color = match colors.iter().copied().collect::<Vec<u8>>().as_slice() {
                [] => "",
                [2] => "green",
                [7] => "white",
                [12] => "red",
                [14] => "yellow",
                other => panic!("{other:?} in {row}"),
            };
            painting.push_str(format!("{color:6} {row}").trim_end());
            painting.push('\n');
        }
        painting
    }

    fn shows(&self, text: &str) -> bool {
        self.rows().iter().any(|row| row.contains(text))
    }

    #[track_caller]
    fn expect(&self, text: &str) {
        assert!(eventually(SOON, || self.shows(text)), "{text}:\n{}", self.rows().join("\n"));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // The test may have hung up its own descriptor.
        let tty = OpenOptions::new().read(true).write(true).custom_flags(0o4400).open(&self.path);
        let size = Winsize { ws_row: 25, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tty.map(|tty| tcsetwinsize(tty, size));
    }
}

fn monitor(temp: &Temp, console: &Console) -> Running {
    let args = ["--status", "--monitor", &console.path, "--site", "Berlin", "--state", &temp.at("state")];
    Running::start(program(temp).args(args))
}

fn put(temp: &Temp, name: &str, more: &str) {
    let text = format!(
        r#"{{"v":1,"id":"r.example/{name}:1","time":"2026-11-25T02:18:33Z","since":"2026-11-25T02:18:33Z",{more}}}"#
    );
    fs::create_dir_all(temp.join("state")).expect("a directory");
    temp.write(".new", text);
    fs::rename(temp.join(".new"), temp.at(&format!("state/r.example%2F{name}%3A1.json"))).expect("renamed");
}

fn pulling(temp: &Temp, percent: u64) {
    let beat = fs::read_to_string("/proc/uptime").expect("a clock");
    let beat = beat.split('.').next().expect("seconds");
    let layer = r#"{"id":"b5a0d1a0b112","text":"Downloading","current":56000000,"total":96000000,"percent":58}"#;
    put(
        temp,
        "app",
        &format!(
            r#""status":"Working","text":"Downloading","beat":{beat},"current":137000000,"total":214000000,"percent":{percent},"rate":2200000,"left":35,"exact":true,"layers":[{layer}]"#
        ),
    );
}

const PLAYER: &str = "europe-west1-docker.pkg.dev/alm-prod/player/player:stable";

/// The states that lead to a page, and a text by which the page is recognised.
fn states_of(page: &str) -> (Vec<Value>, &'static str) {
    let image = |id: &str, more: Value| {
        let time = "2025-02-03T04:05:06Z";
        let mut image = json!({ "v": 1, "id": id, "time": time, "since": time, "pulled": "2025-02-03T02:00:00Z" });
        image.as_object_mut().expect("one").extend(more.as_object().expect("one").clone());
        image
    };
    let layer = |id: &str, text: &str, current: u64, total: u64| json!({ "id": id, "text": text, "current": current, "total": total, "percent": current * 100 / total });
    let other =
        image("alpine:latest", json!({ "status": "Done", "text": "Up to date", "digest": "sha256:9760a03be67689" }));
    let uptime = fs::read_to_string("/proc/uptime").expect("a clock");
    let beat: u64 = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("seconds");
    let pulling = json!({
        "status": "Working", "text": "Downloading", "beat": beat, "attempt": 2, "current": 137_000_000, "total": 214_000_000,
        "percent": 44, "rate": 2_200_000, "left": 35, "exact": true, "layers": [
            layer("b5a0d1a0b112", "Downloading", 56_000_000, 96_000_000), layer("77a0d1a0b112", "Waiting", 0, 38_000_000),
            layer("55a0d1a0b112", "Pull complete", 10_000_000, 10_000_000), layer("33a0d1a0b112", "Extracting", 3_000_000, 5_000_000),
        ],
    });
    match page {
        "none" => (vec![], "NO PULL YET"),
        "pulling" => (vec![image(PLAYER, pulling), other], "35s left"),
        "failed" => {
            let failed = json!({
                "status": "Error", "text": "Failed", "kind": "disk-full", "failing_since": "2025-02-01T23:31:00Z", "attempts": 6,
                "details": "failed to register layer: Error processing tar file(exit status 1): write /opt/player/video-0042.bin: no space left on device",
                "hint": "make room where Docker keeps its images: docker image prune, or a larger card",
                "percent": 41, "current": 88_000_000, "total": 214_000_000, "exact": true, "digest": "sha256:41f0c0aa5b1e77aa",
            });
            (vec![image(PLAYER, failed), other], "WHAT TO DO")
        }
        "lost" => {
            let lost = json!({ "status": "Working", "text": "Extracting", "beat": 0, "percent": 97 });
            (vec![image(PLAYER, lost), other], "WHAT TO DO")
        }
        "idle" => {
            let newer = json!({ "status": "Warning", "text": "Newer image", "digest": "sha256:41f0c0aa5b1e77aa", "checked": "2025-02-03T04:00:00Z" });
            (vec![image(PLAYER, newer), other], "last look")
        }
        _ => panic!("{page}"),
    }
}

/// The screen without the parts that depend on the machine and the time: the head, the disk, whether Docker runs, when Puppet
/// ran, the version.
fn lasting(painting: &str) -> String {
    let rows = painting.lines().skip(1).map(|row| match row.get(7..).map(str::trim_start) {
        Some(text) if text.starts_with("disk ") => "       (disk)",
        Some(text) if text.starts_with("Docker is not running") || text.starts_with("Puppet last ran") => "",
        _ => row,
    });
    rows.map(|row| row.replace(env!("CARGO_PKG_VERSION"), "(version)") + "\n").collect()
}

#[test]
fn every_layout_is_painted_cell_by_cell() {
    let is_update = std::env::var_os("UPDATE").is_some();
    for (columns, rows) in [(80, 25), (240, 67)] {
        for page in ["none", "pulling", "failed", "lost", "idle"] {
            let temp = Temp::new();
            let console = Console::new(&temp, columns, rows);
            let (states, sign) = states_of(page);
            fs::create_dir(temp.join("state")).expect("a directory");
            for (at, state) in states.iter().enumerate() {
                temp.write(&format!("state/r%2F{at}.json"), state.to_string());
            }
            let _running = monitor(&temp, &console);
            console.expect(sign);
            console.expect("log in: Alt-F2");
            let file = format!("{}/tests/it/monitor/{page}-{columns}x{rows}.txt", env!("CARGO_MANIFEST_DIR"));
            if is_update {
                fs::write(&file, lasting(&console.painting())).expect("written");
            }
            let expected = fs::read_to_string(&file).expect("a screen");
            let is_it = || lasting(&console.painting()) == expected;
            assert!(eventually(SOON, is_it), "{page} {columns}×{rows}:\n{}", console.painting());
        }
    }
}

#[test]
fn every_page_fills_the_screen_and_no_more() {
    for (columns, rows, margin) in [(80, 25, 2), (240, 67, 8)] {
        let temp = Temp::new();
        let console = Console::new(&temp, columns, rows);
        let columns = usize::from(columns);
        let mut running = monitor(&temp, &console);
        console.expect("NO PULL YET");
        pulling(&temp, 64);
        console.expect("2.2MB/s   35s left");
        let shown = console.rows();
        assert_eq!((shown.len(), &*shown[1]), (rows.into(), &*"─".repeat(columns)));
        let width = columns - 2 * margin;
        let full = width * 64 / 100;
        let bar = format!("{0}{1}{2}{0}", " ".repeat(margin), "█".repeat(full), "░".repeat(width - full));
        assert!(shown.contains(&bar), "{}", shown.join("\n"));
        assert!(shown[0].contains("Berlin") && shown[usize::from(rows) - 1].contains("log in: Alt-F2"));
        assert!(shown.iter().any(|row| row.contains("137 of 214MB")));
        let digits = if columns == 80 {
            "██████  ██  ██  ██  ██"
        } else {
            "████████████    ████    ████    ████    ████"
        };
        assert!(shown.iter().any(|row| row.trim() == digits), "{}", shown.join("\n"));
        put(
            &temp,
            "app",
            r#""status":"Error","text":"Failed","kind":"disk-full","details":"no space left on device","hint":"make room","failing_since":"2026-11-25T02:00:00Z","attempts":6,"percent":41,"digest":"sha256:41f0c0aa5b1e77""#,
        );
        console.expect("WHAT TO DO");
        for text in [
            "6 tries",
            "no space left on device",
            "make room",
            "it broke off at 41%",
            "this device still has 41f0c0aa5b1e",
        ] {
            console.expect(text);
        }
        put(
            &temp,
            "app",
            r#""status":"Done","text":"Pulled","digest":"sha256:9760a03be67689","pulled":"2026-11-24T02:00:00Z""#,
        );
        console.expect("■ app:1");
        assert!(!console.shows("WHAT TO DO"));
        // At its end the monitor clears the console.
        running.signal(Signal::TERM);
        assert_eq!(running.wait().0, Some(0));
        assert!(console.rows().iter().all(|row| row.trim().is_empty()), "{}", console.rows().join("\n"));
    }
}

/// Without the sizes from the registry, which is usual, the total is a lower bound; and the query strings of URLs are cut.
#[test]
fn what_is_not_exact_and_what_was_cut_have_signs_that_the_console_has() {
    let temp = Temp::new();
    let console = Console::new(&temp, 80, 25);
    let _running = monitor(&temp, &console);
    let uptime = fs::read_to_string("/proc/uptime").expect("a clock");
    let beat = uptime.split('.').next().expect("seconds");
    let working = r#""status":"Working","text":"Downloading","current":7000000,"total":100000000,"percent":2"#;
    put(&temp, "app", &format!(r#"{working},"beat":{beat}"#));
    console.expect("  7 of ≥100MB  ");
    let details = r#""details":"Get \"https://s3.example/x?…\": EOF","failing_since":"2026-11-25T02:00:00Z""#;
    put(&temp, "app", &format!(r#""status":"Error","text":"Failed",{details}"#));
    console.expect(r#"Get "https://s3.example/x?..": EOF"#);
}

#[test]
fn what_others_write_and_a_new_size_are_painted_over() {
    let temp = Temp::new();
    let console = Console::new(&temp, 80, 25);
    pulling(&temp, 64);
    let _running = monitor(&temp, &console);
    console.expect("35s left");
    // Like a message of the kernel: in the middle of the screen, with scrolling, in any colour.
    (&console.tty).write_all(b"\x1b[25;1H\x1b[31;7m[ 12.3] usb 1-1: new device\r\n\r\n\r\n\x1b[4h").expect("written");
    assert!(console.shows("usb 1-1"));
    assert!(eventually(REPAINTED, || !console.shows("usb 1-1")), "{}", console.rows().join("\n"));
    assert_eq!(console.rows()[1], "─".repeat(80));
    console.resize(100, 40);
    assert!(eventually(SOON, || console.rows().get(1) == Some(&"─".repeat(100))), "{}", console.rows().join("\n"));
    assert!(eventually(SOON, || console.rows().last().is_some_and(|row| row.contains("log in: Alt-F2"))));
}

#[test]
fn a_console_that_stops_or_is_hung_up_comes_back() {
    let temp = Temp::new();
    let console = Console::new(&temp, 80, 25);
    pulling(&temp, 10);
    let mut running = monitor(&temp, &console);
    console.expect("137 of 214MB");
    // Like Ctrl-S, and later Ctrl-Q.
    tcflow(&console.tty, Action::OOff).expect("it stops");
    put(&temp, "app", r#""status":"Done","text":"Pulled""#);
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(console.shows("137 of 214MB") && !running.has_ended());
    tcflow(&console.tty, Action::OOn).expect("it goes on");
    console.expect("■ app:1");
    console.hang_up();
    pulling(&temp, 20);
    console.expect("137 of 214MB");
    assert!(!running.has_ended());
}

#[test]
fn a_pull_that_was_killed_is_shown_so() {
    let temp = Temp::new();
    let console = Console::new(&temp, 80, 25);
    // A beat of another boot, or of long ago.
    put(&temp, "app", r#""status":"Working","text":"Downloading","beat":0,"percent":64"#);
    let _running = monitor(&temp, &console);
    console.expect("last heard of ");
    console.expect("it broke off at 64%");
}

#[test]
fn what_is_no_console_is_refused() {
    let temp = Temp::new();
    for (path, says) in [(temp.write("file", ""), "it is no terminal"), (temp.at("none"), "No such file")] {
        let ended = Running::start(program(&temp).args(["--status", "--monitor", &path])).end();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}
