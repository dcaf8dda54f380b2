//! The command line.
//!
//! **Invariant:** pure. Arguments become plain data; nothing is read from the environment, nothing printed.

use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) const USAGE: &str = "\
Pulls a Docker image and tells, layer by layer, how far it is.

Usage: docker-pull-with-progress [OPTIONS] IMAGE
       docker-pull-with-progress --check IMAGE         is the local image what the registry has? pulls nothing
       docker-pull-with-progress --running NAME IMAGE  does container NAME run the local IMAGE?
       docker-pull-with-progress --replay FILE         play a recorded stream (- is stdin) as if it were a pull
       docker-pull-with-progress --view [OPTIONS]      show the log; the same as alm-pull, and as alm pull

Options:
  --progress MODE          auto, plain (the log lines), tty (live bars), json or quiet [auto: tty on a terminal, else plain]
  -q, --quiet              only the image's full reference, at the end
  --log FILE               where the log goes [/var/log/alm/docker-pull.log; a replay writes none unless told]
  --no-log                 write no log
  --no-raw                 leave the engine's own lines out of the log
  --ascii                  pure ASCII on stdout and stderr, as where the locale is not UTF-8
  --color WHEN             auto, always or never [auto]
  --platform OS/ARCH[/VARIANT]
                           pull for another platform than the engine's
  --record FILE            keep the whole stream with its timing; FILE is overwritten
  --speed N                replay at N times the recorded speed [as fast as possible]
  --token-file FILE        the registry password is in this file [docker's own credentials]
  --token-user NAME        the user that goes with it [oauth2accesstoken; _json_key for a service account's key]
  --retries N              tries after a failure that may pass [3]
  --stall-timeout SECONDS  give up when nothing moves for so long; 0 never [600]
  --host ADDRESS           the engine: unix://PATH, or what only docker's CLI can reach [as docker finds it]
  -h, --help               this text
  -V, --version            the version

Exit codes: 0 pulled or up to date; 1 failed; 2 wrong usage; 128+n ended by signal n; without the engine's socket docker's.
  --check: 0 current, 1 newer or missing here, 3 cannot tell.  --running: 0 yes, 1 no, 3 cannot tell.
";

pub(crate) const VIEW_USAGE: &str = "\
Shows the progress of Docker image pulls, from the log that docker-pull-with-progress writes.

Usage: alm pull [OPTIONS]   (or alm-pull, or docker-pull-with-progress --view)

Options:
  -f, --follow     go on showing lines as they come; Ctrl-C ends it
  -n, --lines NUM  how many of the last lines to show; 0 shows none [50]
  --raw            the engine's own lines too
  --log FILE       the log [/var/log/alm/docker-pull.log]
  --color WHEN     auto, always or never [auto]
  --ascii          pure ASCII, as where the locale is not UTF-8
  -h, --help       this text
  -V, --version    the version
";

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Mode {
    /// A text to print.
    Say(String),
    Pull(Pull),
    Check(Pull),
    Running(String, Pull),
    Replay(PathBuf, Option<f64>, Pull),
    View(View),
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

/// Whether and where to log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Log {
    #[default]
    Default,
    File(PathBuf),
    Off,
}

impl Log {
    /// The file to log to, where one is wanted; `default` where none was named.
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
pub(crate) struct Pull {
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
    /// Seconds; 0 is never.
    pub(crate) stall_timeout: u64,
    pub(crate) host: Option<String>,
}

impl Default for Pull {
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
        }
    }
}

/// The options of the viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) follow: bool,
    pub(crate) lines: usize,
    pub(crate) raw: bool,
    pub(crate) log: Option<PathBuf>,
    pub(crate) color: When,
    pub(crate) ascii: bool,
}

/// Reads the arguments, the program's own name first. An error is one line for the user, who is then told of `--help`.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Mode, String> {
    let mut args = args.into_iter();
    let name = args.next().map(PathBuf::from).unwrap_or_default();
    let parser = lexopt::Parser::from_args(args);
    match name.file_name().and_then(|name| name.to_str()) {
        Some("alm") => alm(parser),
        Some("alm-pull") => view(parser, &View::default()),
        _ => puller(parser),
    }
    .map_err(|error| error.to_string())
}

fn version() -> Mode {
    Mode::Say(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n").into())
}

fn alm(mut parser: lexopt::Parser) -> Result<Mode, lexopt::Error> {
    match parser.next()? {
        None | Some(Short('h') | Long("help")) => Ok(Mode::Say(ALM_USAGE.into())),
        Some(Short('V') | Long("version")) => Ok(version()),
        Some(Value(command)) if command == "help" => Ok(Mode::Say(ALM_USAGE.into())),
        Some(Value(command)) if command == "pull" => view(parser, &View::default()),
        Some(Value(command)) => Err(format!("unknown command '{}'", command.display()).into()),
        Some(other) => Err(other.unexpected()),
    }
}

pub(crate) const ALM_USAGE: &str = "\
Usage: alm pull [OPTIONS]   shows the progress of Docker image pulls (alm pull --help tells more)
       alm help             shows this text
       alm --version        shows the version
";

impl Default for View {
    fn default() -> Self {
        Self { follow: false, lines: 50, raw: false, log: None, color: When::Auto, ascii: false }
    }
}

fn view(mut parser: lexopt::Parser, defaults: &View) -> Result<Mode, lexopt::Error> {
    let mut view = defaults.clone();
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
            other => return Err(other.unexpected()),
        }
    }
    Ok(Mode::View(view))
}

fn puller(mut parser: lexopt::Parser) -> Result<Mode, lexopt::Error> {
    #[derive(PartialEq)]
    enum Kind {
        Pull,
        Check,
        Running(String),
        Replay(PathBuf),
    }
    let mut pull = Pull::default();
    let (mut kind, mut image, mut speed) = (Kind::Pull, None, None);
    let choose = |kind: &mut Kind, new| match kind {
        Kind::Pull => {
            *kind = new;
            Ok(())
        }
        _ => Err(lexopt::Error::from("--check, --running, --replay and --view exclude each other")),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("check") => choose(&mut kind, Kind::Check)?,
            Long("running") => choose(&mut kind, Kind::Running(text(&mut parser, "--running")?))?,
            Long("replay") => choose(&mut kind, Kind::Replay(path(&mut parser, "--replay")?))?,
            Long("view") if kind == Kind::Pull && image.is_none() => {
                let log = if let Log::File(path) = pull.log { Some(path) } else { None };
                return view(parser, &View { log, color: pull.color, ascii: pull.ascii, ..View::default() });
            }
            Long("view") => return Err("--view goes with no image and no other mode".into()),
            Long("progress") => {
                pull.progress = match &*text(&mut parser, "--progress")? {
                    "auto" => Progress::Auto,
                    "plain" => Progress::Plain,
                    "tty" => Progress::Tty,
                    "json" => Progress::Json,
                    "quiet" => Progress::Quiet,
                    other => {
                        return Err(format!("--progress takes auto, plain, tty, json or quiet, not '{other}'").into());
                    }
                }
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
                // As JSON reads numbers, but with `.5`: std's own way would be in the executable for this alone, with a
                // table of 10 KB.
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
            Long("host") => pull.host = Some(text(&mut parser, "--host")?),
            Short('h') | Long("help") => return Ok(Mode::Say(USAGE.into())),
            Short('V') | Long("version") => return Ok(version()),
            Value(value) if image.is_none() && !matches!(kind, Kind::Replay(_)) => image = Some(value.string()?),
            Value(value) => return Err(format!("unexpected argument '{}'", value.display()).into()),
            other => return Err(other.unexpected()),
        }
    }
    if speed.is_some() && !matches!(kind, Kind::Replay(_)) {
        return Err("--speed goes with --replay only".into());
    }
    if pull.token_user.is_some() && pull.token_file.is_none() {
        return Err("--token-user goes with --token-file only".into());
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

/// The value of an option, which may not be empty.
fn text(parser: &mut lexopt::Parser, option: &str) -> Result<String, lexopt::Error> {
    let value = parser.value()?.string()?;
    if value.is_empty() { Err(format!("{option} is empty").into()) } else { Ok(value) }
}

fn path(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, lexopt::Error> {
    let value = parser.value()?;
    if value.is_empty() { Err(format!("{option} is empty").into()) } else { Ok(value.into()) }
}

fn number<T: std::str::FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error> {
    let given = text(parser, option)?;
    given.parse().map_err(|_| format!("{option} takes a whole number, not '{given}'").into())
}

fn color(parser: &mut lexopt::Parser) -> Result<When, lexopt::Error> {
    match &*text(parser, "--color")? {
        "auto" => Ok(When::Auto),
        "always" => Ok(When::Always),
        "never" => Ok(When::Never),
        other => Err(format!("--color takes auto, always or never, not '{other}'").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Mode, String> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn a_pull_and_its_options() {
        let check = |line: &str, expected: Pull| assert_eq!(parse_line(line), Ok(Mode::Pull(expected)), "{line}");
        let alpine = || Pull { image: "alpine".into(), ..Pull::default() };
        check("p alpine", alpine());
        check("/usr/bin/docker-pull-with-progress -- alpine", alpine());
        check("p -- -x", Pull { image: "-x".into(), ..Pull::default() });
        check("p -q alpine", Pull { progress: Progress::Quiet, ..alpine() });
        check("p alpine --quiet", Pull { progress: Progress::Quiet, ..alpine() });
        for (word, progress) in [
            ("auto", Progress::Auto),
            ("plain", Progress::Plain),
            ("tty", Progress::Tty),
            ("json", Progress::Json),
            ("quiet", Progress::Quiet),
        ] {
            check(&format!("p --progress {word} alpine"), Pull { progress, ..alpine() });
            check(&format!("p --progress={word} alpine"), Pull { progress, ..alpine() });
        }
        check("p --progress tty -q alpine", Pull { progress: Progress::Quiet, ..alpine() });
        check("p --log /l alpine", Pull { log: Log::File("/l".into()), ..alpine() });
        check("p --no-log alpine", Pull { log: Log::Off, ..alpine() });
        check("p --no-raw --ascii alpine", Pull { raw: false, ascii: true, ..alpine() });
        check("p --color always alpine", Pull { color: When::Always, ..alpine() });
        check("p --color=never alpine", Pull { color: When::Never, ..alpine() });
        check("p --platform linux/arm/v7 alpine", Pull { platform: Some("linux/arm/v7".into()), ..alpine() });
        check("p --record /r alpine", Pull { record: Some("/r".into()), ..alpine() });
        check("p --token-file /t alpine", Pull { token_file: Some("/t".into()), ..alpine() });
        check(
            "p --token-user u --token-file /t alpine",
            Pull { token_file: Some("/t".into()), token_user: Some("u".into()), ..alpine() },
        );
        check("p --retries 0 --stall-timeout 0 alpine", Pull { retries: 0, stall_timeout: 0, ..alpine() });
        check("p --host unix:///s alpine", Pull { host: Some("unix:///s".into()), ..alpine() });
        let defaults = Pull::default();
        assert_eq!((defaults.retries, defaults.stall_timeout, defaults.raw), (3, 600, true));
    }

    #[test]
    fn the_other_modes() {
        let check = |line: &str, expected: Mode| assert_eq!(parse_line(line), Ok(expected), "{line}");
        let alpine = || Pull { image: "alpine".into(), ..Pull::default() };
        check("p --check alpine", Mode::Check(alpine()));
        check("p alpine --check", Mode::Check(alpine()));
        check("p --running web alpine", Mode::Running("web".into(), alpine()));
        check("p --replay f", Mode::Replay("f".into(), None, Pull::default()));
        check("p --replay -", Mode::Replay("-".into(), None, Pull::default()));
        check("p --speed 2.5 --replay f", Mode::Replay("f".into(), Some(2.5), Pull::default()));
        check("p --speed .5 --replay f", Mode::Replay("f".into(), Some(0.5), Pull::default()));
        let logged = Pull { log: Log::File("l".into()), ..Pull::default() };
        check("p --replay f --log l", Mode::Replay("f".into(), None, logged));
        let view = View::default;
        check("p --view", Mode::View(view()));
        check("alm-pull", Mode::View(view()));
        check("/usr/bin/alm pull", Mode::View(view()));
        check("alm-pull -f", Mode::View(View { follow: true, ..view() }));
        check("alm pull -n 5 --follow", Mode::View(View { lines: 5, follow: true, ..view() }));
        check("alm pull -n0", Mode::View(View { lines: 0, ..view() }));
        check("p --view --lines=7 --raw", Mode::View(View { lines: 7, raw: true, ..view() }));
        let looks = View { log: Some("l".into()), color: When::Always, ascii: true, ..view() };
        check("p --log l --color always --ascii --view", Mode::View(looks.clone()));
        check("alm-pull --log l --color always --ascii", Mode::View(looks));
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
        for text in [USAGE, VIEW_USAGE, ALM_USAGE] {
            assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 125));
        }
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
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
        check("p a b", "unexpected argument 'b'");
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
        check("p --view a", "a");
        check("alm-pull a", "a");
        check("alm-pull --lines x", "--lines takes a whole number, not 'x'");
        check("alm frobnicate", "unknown command 'frobnicate'");
        check("alm -x", "-x");
    }

    #[test]
    fn text_that_is_not_unicode_is_wrong_usage() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        assert!(parse([bytes(b"p"), bytes(b"a\xff")]).is_err());
        assert!(parse([bytes(b"p"), bytes(b"--platform"), bytes(b"\xff"), bytes(b"a")]).is_err());
        // But a path may be anything.
        assert!(parse([bytes(b"p"), bytes(b"--log"), bytes(b"/\xff"), bytes(b"a")]).is_ok());
        assert!(parse([bytes(b"\xff"), bytes(b"a")]).is_ok());
        assert!(parse([]).is_err());
    }
}
