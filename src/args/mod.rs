//! The command line.
//!
//! **Invariant:** pure. Arguments become plain data; nothing reads the environment or prints.

mod kind;
mod status;
mod usage;
mod value;

use kind::{Kind, refuse};
use lexopt::prelude::*;
use status::status;
pub(crate) use status::{MonitorOptions, Show, StatusOptions};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use usage::{ALM_USAGE, USAGE, VIEW_USAGE};
use value::{choice, color, number, path, text};

/// The exit code of wrong usage: nothing was done.
pub(crate) const EXIT_USAGE: u8 = 2;

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Mode {
    /// Print a text: help or version.
    Say(String),
    Pull(PullOptions),
    Check(PullOptions),
    Running(String, PullOptions),
    Replay(PathBuf, Option<f64>, PullOptions),
    View(ViewOptions),
    Status(StatusOptions),
    Monitor(MonitorOptions),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Progress {
    #[default]
    Auto,
    Plain,
    Tty,
    Json,
    Quiet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// Whether to ask the registry how large the layers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sizes {
    /// Except Docker Hub, which counts such a request as a pull.
    #[default]
    Auto,
    Always,
    Never,
}

/// Whether and where to log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Log {
    #[default]
    Default,
    File(PathBuf),
    Off,
}

impl Log {
    /// The file to log to: `default` if the user named none, `None` if there is to be no log.
    pub(crate) fn path<'a>(&'a self, default: &'a str) -> Option<&'a Path> {
        match self {
            Self::Default => Some(Path::new(default)),
            Self::File(path) => Some(path),
            Self::Off => None,
        }
    }
}

/// The options of a pull; the other modes use some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullOptions {
    pub(crate) image: String,
    pub(crate) progress: Progress,
    pub(crate) log: Log,
    pub(crate) raw: bool,
    pub(crate) ascii: bool,
    pub(crate) color: When,
    pub(crate) platform: Option<String>,
    pub(crate) record: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) token_user: Option<String>,
    pub(crate) retries: u64,
    /// In seconds; 0 means no limit.
    pub(crate) stall_timeout: u64,
    pub(crate) host: Option<String>,
    pub(crate) sizes: Sizes,
    /// The directory for state files instead of the usual ones; a replay writes state files only if this is given.
    pub(crate) state: Option<PathBuf>,
    pub(crate) metrics: Option<PathBuf>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            image: String::new(),
            progress: Progress::Auto,
            log: Log::Default,
            raw: true,
            ascii: false,
            color: When::Auto,
            platform: None,
            record: None,
            token_file: None,
            token_user: None,
            retries: 3,
            stall_timeout: 600,
            host: None,
            sizes: Sizes::Auto,
            state: None,
            metrics: None,
        }
    }
}

/// The options of the viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewOptions {
    /// The name by which the program was started; error messages begin with it.
    pub(crate) program: &'static str,
    pub(crate) follow: bool,
    pub(crate) lines: usize,
    pub(crate) raw: bool,
    pub(crate) log: Option<PathBuf>,
    pub(crate) color: When,
    pub(crate) ascii: bool,
}

/// The name of the program. The names below are those by which it can be started as viewer or status; messages use them.
pub(crate) const NAME: &str = env!("CARGO_PKG_NAME");
const VIEWER: &str = "alm-pull";
const STATUS: &str = "alm-status";
const ALM: &str = "alm";
const ALM_PULL: &str = "alm pull";
const ALM_STATUS: &str = "alm status";

/// What is wrong with the arguments, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The name by which the program was started; the message begins with it.
    pub(crate) program: &'static str,
    pub(crate) reason: String,
}

/// Reads the arguments. The first one is the name of the program, as in `argv`.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Mode, Mistake> {
    let mut args = args.into_iter().peekable();
    let name = args.next().map(PathBuf::from).unwrap_or_default();
    let program = match name.file_name().and_then(|name| name.to_str()) {
        Some(ALM) if args.peek().is_some_and(|command| command == "pull") => ALM_PULL,
        Some(ALM) if args.peek().is_some_and(|command| command == "status") => ALM_STATUS,
        Some(ALM) => ALM,
        Some(VIEWER) => VIEWER,
        Some(STATUS) => STATUS,
        _ => NAME,
    };
    // `pull` or `status` is part of the program's name here, and no argument.
    let is_command = program == ALM_PULL || program == ALM_STATUS;
    let parser = lexopt::Parser::from_args(args.skip(usize::from(is_command)));
    match program {
        ALM => alm(parser),
        ALM_PULL | VIEWER => view(parser, ViewOptions { program, ..ViewOptions::default() }),
        ALM_STATUS | STATUS => status(parser, StatusOptions { program, ..StatusOptions::default() }),
        _ => puller(parser),
    }
    .map_err(|error| Mistake { program, reason: error.to_string() })
}

fn version() -> Mode {
    Mode::Say(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n").into())
}

fn alm(mut parser: lexopt::Parser) -> Result<Mode, lexopt::Error> {
    match parser.next()? {
        None | Some(Short('h') | Long("help")) => Ok(Mode::Say(ALM_USAGE.into())),
        Some(Short('V') | Long("version")) => Ok(version()),
        Some(Value(command)) if command == "help" => Ok(Mode::Say(ALM_USAGE.into())),
        Some(Value(command)) => Err(format!("unknown command '{}'", command.display()).into()),
        Some(other) => Err(other.unexpected()),
    }
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { program: NAME, follow: false, lines: 50, raw: false, log: None, color: When::Auto, ascii: false }
    }
}

fn view(mut parser: lexopt::Parser, mut view: ViewOptions) -> Result<Mode, lexopt::Error> {
    while let Some(arg) = parser.next()? {
        match arg {
            Short('f') | Long("follow") => view.follow = true,
            Short('n') | Long("lines") => view.lines = number(&mut parser, "--lines")?,
            Long("raw") => view.raw = true,
            Long("log") => view.log = Some(path(&mut parser, "--log")?),
            Long("color") => view.color = color(&mut parser)?,
            Long("ascii") => view.ascii = true,
            Long("view") => {}
            Short('h') | Long("help") => return Ok(Mode::Say(VIEW_USAGE.into())),
            Short('V') | Long("version") => return Ok(version()),
            Value(value) => {
                let value = value.display();
                return Err(format!(
                    "unexpected argument '{value}': this shows the log of all pulls, and pulls nothing"
                )
                .into());
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Mode::View(view))
}

/// The error for an argument after the image: somebody wrote `docker-pull-with-progress pull IMAGE`, or two images.
fn one_too_many(value: &OsStr, image: Option<&str>) -> lexopt::Error {
    let image = image.map_or_else(String::new, |image| format!(" after the image '{image}': one image at a time"));
    format!("unexpected argument '{}'{image}", value.display()).into()
}

fn puller(mut parser: lexopt::Parser) -> Result<Mode, lexopt::Error> {
    let mut pull = PullOptions::default();
    let (mut kind, mut image, mut speed) = (Kind::Pull, None, None);
    let mut given: Vec<String> = Vec::new();
    while let Some(arg) = parser.next()? {
        match &arg {
            Long(name) => given.push(format!("--{name}")),
            Short(name) => given.push(format!("-{name}")),
            Value(_) => {}
        }
        match arg {
            Long("check") => kind.choose(Kind::Check)?,
            Long("running") => kind.choose(Kind::Running(text(&mut parser, "--running")?))?,
            Long("replay") => kind.choose(Kind::Replay(path(&mut parser, "--replay")?))?,
            Long("view") if kind == Kind::Pull && image.is_none() => {
                let log = if let Log::File(path) = pull.log { Some(path) } else { None };
                refuse(&given, Some("--view"))?;
                return view(
                    parser,
                    ViewOptions { log, color: pull.color, ascii: pull.ascii, ..ViewOptions::default() },
                );
            }
            Long("status") if kind == Kind::Pull && image.is_none() => {
                return status(
                    parser,
                    StatusOptions { state: pull.state, ascii: pull.ascii, ..StatusOptions::default() },
                );
            }
            Long("status") => return Err("--status comes before the image and goes with no other mode".into()),
            Long("view") => return Err("--view goes with no image and no other mode".into()),
            Long("progress") => {
                let words = [
                    ("auto", Progress::Auto),
                    ("plain", Progress::Plain),
                    ("tty", Progress::Tty),
                    ("json", Progress::Json),
                    ("quiet", Progress::Quiet),
                ];
                pull.progress = choice(&mut parser, "--progress", &words)?;
            }
            Short('q') | Long("quiet") => pull.progress = Progress::Quiet,
            Long("log") => pull.log = Log::File(path(&mut parser, "--log")?),
            Long("no-log") => pull.log = Log::Off,
            Long("no-raw") => pull.raw = false,
            Long("ascii") => pull.ascii = true,
            Long("color") => pull.color = color(&mut parser)?,
            Long("platform") => pull.platform = Some(text(&mut parser, "--platform")?),
            Long("record") => pull.record = Some(path(&mut parser, "--record")?),
            Long("speed") => {
                let given = text(&mut parser, "--speed")?;
                // Read by serde_json, with `.5` allowed in addition: std's own parser would be linked for this option
                // alone, and brings a table of 10 KB.
                let number = if given.starts_with('.') { format!("0{given}") } else { given.clone() };
                match serde_json::from_str(&number) {
                    Ok(factor) if f64::is_finite(factor) && factor > 0.0 => speed = Some(factor),
                    _ => return Err(format!("--speed takes a plain number above 0, as 2 or 0.5, not '{given}'").into()),
                }
            }
            Long("token-file") => pull.token_file = Some(path(&mut parser, "--token-file")?),
            Long("token-user") => pull.token_user = Some(text(&mut parser, "--token-user")?),
            Long("retries") => pull.retries = number(&mut parser, "--retries")?,
            Long("stall-timeout") => pull.stall_timeout = number(&mut parser, "--stall-timeout")?,
            Long("sizes") => {
                let words = [("auto", Sizes::Auto), ("always", Sizes::Always), ("never", Sizes::Never)];
                pull.sizes = choice(&mut parser, "--sizes", &words)?;
            }
            Long("host") => pull.host = Some(text(&mut parser, "--host")?),
            Long("state") => pull.state = Some(path(&mut parser, "--state")?),
            Long("metrics") => pull.metrics = Some(path(&mut parser, "--metrics")?),
            Short('h') | Long("help") => return Ok(Mode::Say(USAGE.into())),
            Short('V') | Long("version") => return Ok(version()),
            Value(value) if image.is_none() && !matches!(kind, Kind::Replay(_)) => image = Some(value.string()?),
            Value(value) => return Err(one_too_many(&value, image.as_deref())),
            other => return Err(other.unexpected()),
        }
    }
    refuse(&given, kind.option())?;
    if speed.is_some() && !matches!(kind, Kind::Replay(_)) {
        return Err("--speed goes with --replay only".into());
    }
    if pull.token_user.is_some() && pull.token_file.is_none() {
        return Err("--token-user goes with --token-file only".into());
    }
    if pull.metrics.is_some() && pull.state.is_none() && matches!(kind, Kind::Replay(_)) {
        return Err("--metrics of a replay needs --state too: the metrics are made of the states".into());
    }
    if (pull.metrics.is_some() || pull.state.is_some()) && matches!(kind, Kind::Running(_)) {
        return Err("--running keeps no state: --state and --metrics do not go with it".into());
    }
    if let Kind::Replay(file) = kind {
        return match image {
            Some(image) => Err(format!("--replay takes a file and no image, but there is '{image}'").into()),
            None => Ok(Mode::Replay(file, speed, pull)),
        };
    }
    pull.image = image.ok_or("no image was named; give one as [REGISTRY/]NAME[:TAG]")?;
    Ok(match kind {
        Kind::Check => Mode::Check(pull),
        Kind::Running(name) => Mode::Running(name, pull),
        Kind::Pull | Kind::Replay(_) => Mode::Pull(pull),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Mode, String> {
        parse(line.split(' ').map(OsString::from)).map_err(|mistake| mistake.reason)
    }

    #[test]
    fn a_pull_and_its_options() {
        let check =
            |line: &str, expected: PullOptions| assert_eq!(parse_line(line), Ok(Mode::Pull(expected)), "{line}");
        let alpine = || PullOptions { image: "alpine".into(), ..PullOptions::default() };
        check("p alpine", alpine());
        check("/usr/bin/docker-pull-with-progress -- alpine", alpine());
        check("p -- -x", PullOptions { image: "-x".into(), ..PullOptions::default() });
        check("p -q alpine", PullOptions { progress: Progress::Quiet, ..alpine() });
        check("p alpine --quiet", PullOptions { progress: Progress::Quiet, ..alpine() });
        for (word, progress) in [
            ("auto", Progress::Auto),
            ("plain", Progress::Plain),
            ("tty", Progress::Tty),
            ("json", Progress::Json),
            ("quiet", Progress::Quiet),
        ] {
            check(&format!("p --progress {word} alpine"), PullOptions { progress, ..alpine() });
            check(&format!("p --progress={word} alpine"), PullOptions { progress, ..alpine() });
        }
        check("p --progress tty -q alpine", PullOptions { progress: Progress::Quiet, ..alpine() });
        check("p --log /l alpine", PullOptions { log: Log::File("/l".into()), ..alpine() });
        check("p --no-log alpine", PullOptions { log: Log::Off, ..alpine() });
        check("p --no-raw --ascii alpine", PullOptions { raw: false, ascii: true, ..alpine() });
        check("p --color always alpine", PullOptions { color: When::Always, ..alpine() });
        check("p --color=never alpine", PullOptions { color: When::Never, ..alpine() });
        check("p --platform linux/arm/v7 alpine", PullOptions { platform: Some("linux/arm/v7".into()), ..alpine() });
        check("p --record /r alpine", PullOptions { record: Some("/r".into()), ..alpine() });
        check("p --token-file /t alpine", PullOptions { token_file: Some("/t".into()), ..alpine() });
        check(
            "p --token-user u --token-file /t alpine",
            PullOptions { token_file: Some("/t".into()), token_user: Some("u".into()), ..alpine() },
        );
        check("p --retries 0 --stall-timeout 0 alpine", PullOptions { retries: 0, stall_timeout: 0, ..alpine() });
        for (word, sizes) in [("auto", Sizes::Auto), ("always", Sizes::Always), ("never", Sizes::Never)] {
            check(&format!("p --sizes {word} alpine"), PullOptions { sizes, ..alpine() });
        }
        check("p --host unix:///s alpine", PullOptions { host: Some("unix:///s".into()), ..alpine() });
        let defaults = PullOptions::default();
        assert_eq!((defaults.retries, defaults.stall_timeout, defaults.raw), (3, 600, true));
    }

    #[test]
    fn the_other_modes() {
        let check = |line: &str, expected: Mode| assert_eq!(parse_line(line), Ok(expected), "{line}");
        let alpine = || PullOptions { image: "alpine".into(), ..PullOptions::default() };
        check("p --check alpine", Mode::Check(alpine()));
        check("p alpine --check", Mode::Check(alpine()));
        check("p --running web alpine", Mode::Running("web".into(), alpine()));
        check("p --replay f", Mode::Replay("f".into(), None, PullOptions::default()));
        check("p --replay -", Mode::Replay("-".into(), None, PullOptions::default()));
        check("p --speed 2.5 --replay f", Mode::Replay("f".into(), Some(2.5), PullOptions::default()));
        check("p --speed .5 --replay f", Mode::Replay("f".into(), Some(0.5), PullOptions::default()));
        let logged = PullOptions { log: Log::File("l".into()), ..PullOptions::default() };
        check("p --replay f --log l", Mode::Replay("f".into(), None, logged));
        let view = ViewOptions::default;
        check("p --view", Mode::View(view()));
        let [viewer, alm_pull] = ["alm-pull", "alm pull"].map(|program| ViewOptions { program, ..view() });
        check("alm-pull", Mode::View(viewer.clone()));
        check("/usr/bin/alm pull", Mode::View(alm_pull.clone()));
        check("alm-pull -f", Mode::View(ViewOptions { follow: true, ..viewer.clone() }));
        check("alm pull -n 5 --follow", Mode::View(ViewOptions { lines: 5, follow: true, ..alm_pull.clone() }));
        check("alm pull -n0", Mode::View(ViewOptions { lines: 0, ..alm_pull }));
        check("p --view --lines=7 --raw", Mode::View(ViewOptions { lines: 7, raw: true, ..view() }));
        let styled = ViewOptions { log: Some("l".into()), color: When::Always, ascii: true, ..view() };
        check("p --log l --color always --ascii --view", Mode::View(styled.clone()));
        check("alm-pull --log l --color always --ascii", Mode::View(ViewOptions { program: "alm-pull", ..styled }));
        assert_eq!(view().lines, 50);
    }

    #[test]
    fn texts_to_print() {
        let check = |line: &str, begins: &str| match parse_line(line) {
            Ok(Mode::Say(text)) => assert!(text.starts_with(begins) && text.ends_with('\n'), "{line}: {text}"),
            other => panic!("{line}: {other:?}"),
        };
        check("p --help", "Pulls a Docker image");
        check("p alpine -h", "Pulls a Docker image");
        check("p --version", "docker-pull-with-progress ");
        check("p -V", "docker-pull-with-progress ");
        check("p --view --help", "Shows the progress");
        check("alm-pull --help", "Shows the progress");
        check("alm pull -h", "Shows the progress");
        check("alm-pull -V", "docker-pull-with-progress ");
        check("alm", "Usage: alm pull");
        check("alm help", "Usage: alm pull");
        check("alm --help", "Usage: alm pull");
        check("alm --version", "docker-pull-with-progress ");
        for text in [USAGE, VIEW_USAGE, usage::STATUS_USAGE, ALM_USAGE] {
            for line in text.lines() {
                assert!(line.is_ascii() && line.len() <= 125, "not ASCII, or more than 125 columns: {line}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_reported_in_one_line() {
        let check = |line: &str, says: &str| match parse_line(line) {
            Err(error) => {
                assert!(error.contains(says), "{line}: {error}");
                assert!(!error.contains('\n') && !error.ends_with('.'), "{line}: {error}");
            }
            mode => panic!("{line}: {mode:?}"),
        };
        check("p", "no image was named");
        check("p --check", "no image was named");
        check("p --running web", "no image was named");
        check("p pull b", "unexpected argument 'b' after the image 'pull': one image at a time");
        check("p --frobnicate a", "--frobnicate");
        check("p -x a", "-x");
        check("p --log", "--log");
        check("p --log= a", "--log is empty");
        check("p --host= a", "--host is empty");
        check("p --quiet=yes a", "--quiet");
        check("p --progress fancy a", "--progress takes auto, plain, tty, json or quiet, not 'fancy'");
        check("p --color blue a", "--color takes auto, always or never, not 'blue'");
        check("p --retries -1 a", "--retries takes a whole number, not '-1'");
        check("p --retries 1.5 a", "--retries takes a whole number");
        check("p --stall-timeout x a", "--stall-timeout takes a whole number, not 'x'");
        check("p --stall-timeout 99999999999999999999 a", "--stall-timeout takes a whole number");
        check("p --replay f a", "unexpected argument 'a'");
        check("p a --replay f", "--replay takes a file and no image, but there is 'a'");
        check("p --speed 2 a", "--speed goes with --replay only");
        for speed in ["0", "-1", ".", "NaN", "inf", "x", "1e999"] {
            check(&format!("p --speed {speed} --replay f"), "--speed takes a plain number above 0, as 2 or 0.5, not");
        }
        check("p --token-user u a", "--token-user goes with --token-file only");
        check("p --check --running web a", "exclude each other");
        check("p --replay f --check a", "exclude each other");
        check("p --check --view", "--view goes with no image and no other mode");
        check("p a --view", "--view goes with no image and no other mode");
        check("p --view a", "unexpected argument 'a': this shows the log");
        check("alm-pull a", "unexpected argument 'a': this shows the log");
        check("alm-pull --lines x", "--lines takes a whole number, not 'x'");
        check("alm frobnicate", "unknown command 'frobnicate'");
        check("alm -x", "-x");
    }

    #[test]
    fn who_was_started_answers() {
        let check = |line: &str, program| {
            let mistake = parse(line.split(' ').map(OsString::from)).expect_err("a mistake");
            assert_eq!(mistake.program, program, "{line}");
        };
        check("/usr/bin/alm pull -x", "alm pull");
        check("alm pull a", "alm pull");
        check("/usr/bin/alm-pull --lines", "alm-pull");
        check("alm push", "alm");
        check("alm -x pull", "alm");
        check("p -x", "docker-pull-with-progress");
        check("p --view -x", "docker-pull-with-progress");
    }

    #[test]
    fn text_that_is_not_unicode_is_wrong_usage() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        assert!(parse([bytes(b"p"), bytes(b"a\xff")]).is_err());
        assert!(parse([bytes(b"p"), bytes(b"--platform"), bytes(b"\xff"), bytes(b"a")]).is_err());
        // Only a path may have bytes that are not UTF-8.
        assert!(parse([bytes(b"p"), bytes(b"--log"), bytes(b"/\xff"), bytes(b"a")]).is_ok());
        assert!(parse([bytes(b"\xff"), bytes(b"a")]).is_ok());
        assert!(parse([]).is_err());
    }
}
