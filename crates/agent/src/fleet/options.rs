//! The service's command line.
//!
//! **Invariant:** no option contains a secret: a password is in a file, and a broker's URL with a password is refused.

use super::session::Version;
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// Bytes. Topics could be 65,535 bytes long; no real name is longer than this, and lines of the journal stay readable.
const MAX_NAME: usize = 255;

/// The command line, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// None where the service only sends notices.
    pub(crate) broker: Option<Address>,
    pub(crate) site: Option<String>,
    /// The first levels of all topics: `fleet`, `fleet/eu`.
    pub(crate) topic: String,
    /// The file with the authorities to trust; else the system's.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) login: Option<Login>,
    pub(crate) device: Option<String>,
    pub(crate) version: Version,
    /// Publish the state once, and end.
    pub(crate) once: bool,
    /// The directory with the states, in place of the device's default directories.
    pub(crate) state: Option<PathBuf>,
    /// The file with the receivers of notices.
    pub(crate) notify_file: Option<PathBuf>,
    /// Send each receiver one message, and end.
    pub(crate) test_notice: bool,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    /// Without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The device's certificate and its key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}

/// The device's name at the broker, and the file with its password.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
}

/// `HOST:PORT`, as people write it.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl Options {
    /// Whether these arguments are those of the service, which has options and no command.
    pub(crate) fn are_in(args: &[OsString]) -> bool {
        let first = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
        first.starts_with("--") && !["--help", "--version"].contains(&first)
    }

    /// Parses all arguments; the first is the program's name.
    pub(crate) fn parse(args: &[OsString]) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_iter(args);
        let (mut broker, mut site, mut topic, mut ca, mut device, mut state) = (None, None, None, None, None, None);
        let (mut file, mut key, mut user, mut password_file) = (None, None, None, None);
        let (mut version, mut once) = (Version::Five, false);
        let (mut notify_file, mut test_notice) = (None, false);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("broker") => broker = Some(read("--broker", parser.value()?, address)?),
                Long("site") => site = Some(read("--site", parser.value()?, one_line)?),
                Long("topic") => topic = Some(read("--topic", parser.value()?, topic_root)?),
                Long("device") => device = Some(read("--device", parser.value()?, topic_level)?),
                Long("ca") => ca = Some(parser.value()?.into()),
                Long("cert") => file = Some(parser.value()?.into()),
                Long("key") => key = Some(parser.value()?.into()),
                Long("user") => user = Some(read("--user", parser.value()?, one_line)?),
                Long("password-file") => password_file = Some(parser.value()?.into()),
                Long("state") => state = Some(parser.value()?.into()),
                Long("mqtt") => version = read("--mqtt", parser.value()?, Version::parse)?,
                Long("once") => once = true,
                Long("notify-file") => notify_file = Some(parser.value()?.into()),
                Long("test-notice") => test_notice = true,
                other => return Err(other.unexpected()),
            }
        }
        let certificate = both(file, key, "--cert and --key")?.map(|(file, key)| Certificate { file, key });
        let login = both(user, password_file, "--user and --password-file")?;
        let login = login.map(|(user, password_file)| Login { user, password_file });
        if broker.is_some() && certificate.is_none() && login.is_none() {
            return Err("say who this device is: --cert with --key, or --user with --password-file".into());
        }
        if test_notice && notify_file.is_none() {
            return Err("--test-notice needs --notify-file".into());
        }
        if broker.is_none() && notify_file.is_none() {
            return Err("--broker is missing: mqtts://HOST:PORT; or --notify-file FILE".into());
        }
        Ok(Self {
            broker,
            site,
            topic: topic.unwrap_or_else(|| "fleet".to_owned()),
            ca,
            certificate,
            login,
            device,
            version,
            once,
            state,
            notify_file,
            test_notice,
        })
    }
}

/// In place of lexopt's `parse`, whose error repeats the value: somebody may have put a secret there.
fn read<T>(name: &str, value: OsString, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = value.into_string().map_err(|_| format!("{name}: it has to be UTF-8"))?;
    parse(&text).map_err(|why| format!("{name}: {why}"))
}

fn both<A, B>(one: Option<A>, other: Option<B>, names: &str) -> Result<Option<(A, B)>, String> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        _ => Err(format!("{names} belong together")),
    }
}

/// `mqtts://HOST[:PORT]`
fn address(text: &str) -> Result<Address, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("the broker is named as mqtts://HOST:PORT".into());
    };
    // The address is not repeated in the error: it may contain a password.
    if rest.contains('@') {
        return Err("an address with a login can be read by all: use --user and --password-file".into());
    }
    match scheme.to_ascii_lowercase().as_str() {
        "mqtts" => {}
        "mqtt" | "tcp" | "ws" => return Err(format!("{scheme}:// is not encrypted: use mqtts://")),
        _ => return Err(format!("{scheme}:// is not known here: use mqtts://")),
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':'))).ok_or("a ] is missing")?
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(8883), |port| port.parse().map_err(|_| format!("{port} is no port")))?;
    if host.is_empty() || port == 0 || host.contains(['/', '?', '#']) {
        return Err("the broker is named as mqtts://HOST:PORT".into());
    }
    Ok(Address { host: host.to_owned(), port })
}

fn one_line(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains(alm_state::is_hostile) {
        return Err(format!("it has to be one line of 1 to {MAX_NAME} bytes"));
    }
    Ok(text.to_owned())
}

/// Checks the name of one level of a topic.
pub(super) fn topic_level(text: &str) -> Result<String, String> {
    let text = one_line(text)?;
    if text.contains(['/', '+', '#']) || text.starts_with('$') {
        return Err("as part of a topic it has no / + or #, and no $ at its beginning".into());
    }
    Ok(text)
}

/// Checks the root of the topics: one level or more.
fn topic_root(text: &str) -> Result<String, String> {
    text.split('/').try_for_each(|part| topic_level(part).map(drop))?;
    one_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let args: Vec<OsString> = ["alm-agent"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
        assert!(Options::are_in(&args), "{line}");
        Options::parse(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn required_and_optional_options() {
        let minimal = parse("--broker mqtts://b.example --cert /c --key /k").expect("options");
        let broker = minimal.broker.map(|broker| broker.to_string());
        assert_eq!((broker.as_deref(), minimal.topic.as_str()), (Some("b.example:8883"), "fleet"));
        assert_eq!((minimal.version, minimal.once, minimal.login), (Version::Five, false, None));
        let all = "--broker mqtts://[::1]:1883/ --site Berlin --topic fleet/eu --ca /ca --user pi --password-file /p --device d --mqtt 3.1.1 --once --state /s";
        let all = parse(all).expect("options");
        let broker = all.broker.map(|broker| broker.to_string());
        assert_eq!((broker.as_deref(), all.topic.as_str()), (Some("[::1]:1883"), "fleet/eu"));
        assert_eq!((all.version, all.once, all.site.as_deref()), (Version::ThreeOneOne, true, Some("Berlin")));
        assert_eq!(all.login, Some(Login { user: "pi".into(), password_file: "/p".into() }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |line: &str, expected: &str| {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        };
        let who = "--user u --password-file /p";
        check("--broker mqtts://b", "say who this device is");
        check("--broker mqtts://b --cert /c", "--cert and --key belong together");
        check("--broker mqtts://b --user u", "--user and --password-file belong together");
        check(who, "--broker is missing");
        check("--site Berlin", "or --notify-file FILE");
        check("--test-notice", "--test-notice needs --notify-file");
        check(&format!("{who} --broker b:8883"), "mqtts://HOST:PORT");
        check(&format!("{who} --broker mqtt://b"), "mqtt:// is not encrypted");
        check(&format!("{who} --broker https://b"), "https:// is not known here");
        check(&format!("{who} --broker mqtts://b:0"), "mqtts://HOST:PORT");
        check(&format!("{who} --broker mqtts://b:99999"), "99999 is no port");
        check(&format!("{who} --broker mqtts://:8883"), "mqtts://HOST:PORT");
        check(&format!("{who} --broker mqtts://b/path"), "mqtts://HOST:PORT");
        check(&format!("{who} --broker mqtts://b --mqtt 4"), "5 or 3.1.1");
        check(&format!("{who} --password secret"), "invalid option '--password'");
        for topic in ["fleet/#", "+", "fleet/", "/fleet", "$SYS", "a//b", "a\u{7}"] {
            check(&format!("{who} --broker mqtts://b --topic {topic}"), "");
        }
        check(&format!("{who} --broker mqtts://b --device a/b"), "no / + or #");
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = parse("--broker mqtts://user:secret@b").expect_err("an error");
        assert!(!error.contains("secret"), "{error}");
    }
}
