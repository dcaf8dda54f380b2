//! Docker's credentials for a registry, as the value of `X-Registry-Auth`.
//!
//! An engine has no credentials unless its client sends them. docker's CLI searches for them, and this module does the
//! same in the same order: `DOCKER_AUTH_CONFIG`, then a credential helper, else config.json itself. Where the rules
//! seem odd, they are what docker 20.10 and 28 were observed to do. A token file replaces the search.
//!
//! **Invariant:** nothing is printed or logged. No warning, error or origin contains anything that was read from a
//! helper, an entry or a token file: it says where and what kind of thing is wrong. Types that hold a secret are not
//! `Debug`.

use std::mem;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::docker::config::{Config, read};
use crate::docker::environment::Environment;
use crate::docker::value::{as_object, field, parse_lenient, text};
use crate::docker::{base64, value};
use crate::os::child::{Setup, collect, program};
use crate::os::wait::OnTick;

/// Docker Hub's name in all of docker's credentials, from the time of its first index.
const HUB: &str = "https://index.docker.io/v1/";

/// What a helper without credentials prints on its standard output.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// Bytes; far more than any real token or answer has. A service account's key has 2.4 KB.
const SECRET_MAX: usize = 64 << 10;

/// The result of a search.
#[derive(Default)]
pub(crate) struct Found {
    /// The value of `X-Registry-Auth`; `e30=` is anonymous.
    pub(crate) header: String,
    /// The user's name for messages; `None` if anonymous.
    pub(crate) user: Option<String>,
    /// For messages: where the credentials were found, or all places where there were none.
    pub(crate) origin: String,
    pub(crate) warnings: Vec<String>,
    /// A config.json with only these credentials if they come from a token file: docker's CLI takes them in no other
    /// form.
    pub(crate) docker_config: Option<String>,
}

/// What is sent to the engine, under docker's names; an empty one is not sent.
#[derive(Default, serde::Serialize)]
struct Credentials {
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registrytoken: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    serveraddress: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
}

impl Credentials {
    fn of(username: String, password: String) -> Self {
        Self { password, username, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        let Self { identitytoken, password, registrytoken, username, .. } = self;
        [identitytoken, password, registrytoken, username].into_iter().all(String::is_empty)
    }
}

/// Adds `server`, under whatever key the credentials were found: the containerd store ignores credentials whose host is
/// not the registry's.
fn found(mut credentials: Credentials, server: &str, origin: String, warnings: Vec<String>) -> Found {
    let Credentials { username, password, identitytoken, registrytoken, .. } = &credentials;
    let user = match username.as_str() {
        "" if credentials.is_empty() => None,
        "" => Some(TOKEN_USER.to_owned()),
        // Some registries take a token in place of the user's name; then the name is the secret.
        _ if password.is_empty() && identitytoken.is_empty() && registrytoken.is_empty() => {
            Some("<a user without a password>".to_owned())
        }
        user => Some(user.to_owned()),
    };
    if user.is_some() {
        credentials.serveraddress = Some(server.to_owned());
    }
    // Strings cannot fail to become JSON.
    let json = serde_json::to_vec(&credentials).unwrap_or_default();
    Found { header: base64::url_safe(&json), user, origin, warnings, docker_config: None }
}

/// The credentials that docker would use for `registry`.
fn find(registry: &str, environment: &Environment, config: &Config, on_tick: OnTick<'_>) -> Found {
    let server = server(registry);
    let (mut searched, mut warnings) = (Vec::new(), Vec::new());
    if let Some(text) = &environment.docker_auth_config {
        let place = "DOCKER_AUTH_CONFIG".to_owned();
        // Only the exact key: docker does not search this variable for older spellings of a registry.
        match parse_lenient(text.as_bytes()).and_then(|root| entry(&field(&root, "auths")[server])) {
            Ok(credentials) if !credentials.is_empty() => {
                return found(credentials, server, place, warnings);
            }
            Ok(_) => {}
            Err(error) => warnings.push(format!("{place}: {error}")),
        }
        searched.push(place);
    }

    warnings.extend(config.error.clone());
    let (mut place, root) = (config.place.clone(), &config.root);
    let mut credentials = stored(root, server).unwrap_or_else(|error| {
        warnings.push(format!("{place}: {error}"));
        Credentials::default()
    });
    match helper(root, server, environment) {
        Ok(None) => {}
        Ok(Some(Helper { name, chosen })) => match ask(&name, server, environment, on_tick) {
            Ok(answer) => {
                // docker keeps this field of the file's entry, even if the helper has no credentials.
                credentials = Credentials { registrytoken: credentials.registrytoken, ..answer };
                searched.push(mem::replace(&mut place, name));
            }
            // docker continues with the file's entry, which usually does not exist.
            Err(error) => {
                if chosen {
                    warnings.push(format!("credential helper {name} {error}"));
                }
                searched.push(format!("{name} (which {error})"));
            }
        },
        Err(error) => warnings.push(format!("{place}: {error}")),
    }
    if credentials.is_empty() {
        searched.push(place);
        place = searched.join(", ");
    }
    found(credentials, server, place, warnings)
}

/// The name under which docker keeps a registry's credentials. `registry-1.docker.io` is not treated as Docker Hub, as
/// in docker.
fn server(registry: &str) -> &str {
    if matches!(registry, "docker.io" | "index.docker.io") { HUB } else { registry }
}

/// The entry of `auths` for a registry.
fn stored(root: &Value, server: &str) -> Result<Credentials, String> {
    let Some(auths) = as_object(field(root, "auths"), "\"auths\"")? else {
        return Ok(Credentials::default());
    };
    // An exact key counts even if it is empty: docker login leaves such an entry when a helper has the secret.
    let old = || auths.iter().find(|(key, _)| host(key) == server);
    entry(auths.get(server).or_else(|| Some(old()?.1)).unwrap_or(&Value::Null))
}

/// The host that a key of `auths` names, which may be in an older form: `https://registry.example.com/v1/`.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Reads one entry of `auths`.
fn entry(entry: &Value) -> Result<Credentials, String> {
    as_object(entry, "the registry's entry")?;
    let mut credentials = Credentials {
        username: text(entry, "username")?,
        password: text(entry, "password")?,
        identitytoken: text(entry, "identitytoken")?,
        registrytoken: text(entry, "registrytoken")?,
        serveraddress: None,
    };
    let auth = text(entry, "auth")?;
    if !auth.is_empty() {
        let bytes = base64::decode(&auth).ok_or("\"auth\" is not base64")?;
        let pair = String::from_utf8_lossy(&bytes);
        let (user, password) = pair.split_once(':').unwrap_or_default();
        if user.is_empty() {
            return Err("\"auth\" holds no user:password".to_owned());
        }
        user.clone_into(&mut credentials.username);
        password.trim_matches('\0').clone_into(&mut credentials.password);
    }
    Ok(credentials)
}

/// A credential helper.
struct Helper {
    name: String,
    /// Whether the user configured it: then its failure is worth a warning. Docker's default needs none: a desktop's
    /// key ring never works on a machine without one.
    chosen: bool,
}

/// The helper that docker uses for a registry.
fn helper(root: &Value, server: &str, environment: &Environment) -> Result<Option<Helper>, String> {
    let helpers = field(root, "credHelpers");
    let suffix = match helpers.get(server) {
        // An empty name is a choice, too: no helper for this registry, not even `credsStore`.
        Some(Value::String(suffix)) => Some(suffix.clone()),
        Some(_) => return Err("an entry of \"credHelpers\" is not text".to_owned()),
        None => Some(text(root, "credsStore")?).filter(|suffix| !suffix.is_empty()),
    };
    if let Some(suffix) = suffix {
        // The name is going to be executed: a path in it is a mistake or an attack.
        if !suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err("a credential helper's name is refused, it is no plain word".to_owned());
        }
        let name = format!("docker-credential-{suffix}");
        return Ok((!suffix.is_empty()).then_some(Helper { name, chosen: true }));
    }
    let holds = |value: &Value| value.as_object().is_some_and(|object| !object.is_empty());
    if holds(helpers) || holds(field(root, "auths")) {
        return Ok(None);
    }
    // If none is configured, docker uses the platform's own helper if it is installed.
    let installed = |name: &str| program(name, &environment.path).is_some();
    let suffix = if installed("pass") { "pass" } else { "secretservice" };
    let name = format!("docker-credential-{suffix}");
    Ok(installed(&name).then_some(Helper { name, chosen: false }))
}

/// Runs a helper. Its output on failure is discarded, because that may contain a secret.
fn ask(name: &str, server: &str, environment: &Environment, on_tick: OnTick<'_>) -> Result<Credentials, String> {
    let mut command = Command::new(program(name, &environment.path).ok_or("was not found on PATH")?);
    command.arg("get").env("PATH", &environment.path);
    // In its own process group all of its children can be killed; but then it could not read a passphrase from the
    // terminal.
    let own_group = !environment.terminal;
    let setup = Setup { input: Some(server.as_bytes()), own_group, ..Setup::default() };
    let (status, output) = collect(command, setup, environment.helper_limit, SECRET_MAX, on_tick)?;
    if !status.success() {
        let none = output.trim_ascii() == NOT_FOUND;
        return if none { Ok(Credentials::default()) } else { Err(format!("failed ({status})")) };
    }
    let answer = parse_lenient(&output).ok().filter(Value::is_object).ok_or("gave no JSON object")?;
    let wrong = |error| format!("gave a wrong answer: {error}");
    let user = text(&answer, "Username").map_err(wrong)?;
    let secret = text(&answer, "Secret").map_err(wrong)?;
    Ok(if user == TOKEN_USER {
        Credentials { identitytoken: secret, ..Credentials::default() }
    } else {
        Credentials::of(user, secret)
    })
}

/// Whose credentials are searched for, and where.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The host as it is written in the reference.
    pub(crate) registry: &'a str,
    /// A file with a token, in place of all other sources, and the name of its user.
    pub(crate) token_file: Option<&'a Path>,
    pub(crate) token_user: Option<&'a str>,
    pub(crate) environment: &'a Environment,
    pub(crate) config: &'a Config,
}

impl Search<'_> {
    /// Searches. `on_tick` is called at least every 50 ms while a helper runs.
    pub(crate) fn run(self, on_tick: OnTick<'_>) -> Result<Found, String> {
        match self.token_file {
            Some(file) => from_token_file(file, self.token_user, self.registry, self.config),
            None => Ok(find(self.registry, self.environment, self.config, on_tick)),
        }
    }
}

/// Reads a registry's password from a file, for `user` or the user that its content implies. `config` is the rest of
/// the configuration that docker's CLI gets in place of the user's.
fn from_token_file(path: &Path, user: Option<&str>, registry: &str, config: &Config) -> Result<Found, String> {
    let place = path.display().to_string();
    let wrong = |error: &str| format!("token file {place}: {error}");
    let file = read(path, SECRET_MAX).map_err(|error| wrong(&error))?.ok_or_else(|| wrong("no such file"))?;
    let token = String::from_utf8(file.bytes).map_err(|_| wrong("not UTF-8 text"))?;
    let token = token.trim_end_matches(['\r', '\n', ' ', '\t']);
    if token.trim().is_empty() {
        return Err(wrong("empty"));
    }
    let mut warnings = Vec::new();
    if file.mode & 0o066 != 0 {
        warnings.push(format!("token file {place} is open to others than its owner: chmod 600 {place}"));
    }
    let user = user.unwrap_or_else(|| match parse_lenient(token.as_bytes()) {
        Ok(key) if key["type"] == "service_account" => "_json_key",
        _ => "oauth2accesstoken",
    });
    let credentials = Credentials::of(user.to_owned(), token.to_owned());
    let server = server(registry);
    let pair = base64::standard(format!("{user}:{token}").as_bytes());
    let auths = value::object([(server, value::object([("auth", pair.into())]))]);
    let headers = field(&config.root, "HttpHeaders");
    let docker_config = match headers {
        Value::Null => value::object([("auths", auths)]),
        headers => value::object([("auths", auths), ("HttpHeaders", headers.clone())]),
    };
    let docker_config = serde_json::to_string(&docker_config).ok();
    Ok(Found { docker_config, ..found(credentials, server, place, warnings) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use std::ops::ControlFlow;
    use std::path::PathBuf;
    use std::time::Duration;
    use std::{env, fs};

    /// In every entry, helper and token file below; nothing but a header may have it, and there it is coded.
    const SECRET: &str = "s3cr:t+/é";

    /// A configuration directory and a directory of programs.
    struct Home(PathBuf);

    impl Home {
        fn new(config: &str) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("dpwp-auth-{}-{number}", std::process::id());
            let path = env::temp_dir().join(name);
            fs::create_dir_all(path.join("bin")).unwrap();
            fs::write(path.join("config.json"), config).unwrap();
            Self(path)
        }

        fn config(&self) -> String {
            self.0.join("config.json").display().to_string()
        }

        /// A program on the PATH of `environment`. Written by a shell: a file that this process has open for writing
        /// while another test forks cannot be run.
        fn program(&self, name: &str, script: &str) {
            let status = Command::new("/bin/sh")
                .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#, "sh"])
                .arg(self.0.join("bin").join(name))
                .arg(script)
                .status();
            assert!(status.unwrap().success());
        }

        fn environment(&self) -> Environment {
            let path = format!("relative:{}:/usr/bin:/bin", self.0.join("bin").display());
            Environment {
                docker_config: Some(self.0.clone()),
                docker_auth_config: None,
                docker_host: None,
                docker_context: None,
                content_trust: false,
                home: None,
                path: path.into(),
                helper_limit: Duration::from_secs(10),
                terminal: false,
            }
        }

        fn find(&self, registry: &str) -> (Value, Found) {
            found_for(registry, &self.environment())
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn found_for(registry: &str, environment: &Environment) -> (Value, Found) {
        let found = find(registry, environment, &Config::read(environment), &mut || ControlFlow::Continue(()));
        let shown = format!("{:?} {} {:?}", found.user, found.origin, found.warnings);
        assert!(!shown.contains("s3cr"), "{shown}");
        (decoded(&found), found)
    }

    fn decoded(found: &Found) -> Value {
        let standard = found.header.replace('-', "+").replace('_', "/");
        serde_json::from_slice(&base64::decode(&standard).unwrap()).unwrap()
    }

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    /// `user:password` as config.json has it.
    fn auth(pair: &str) -> String {
        base64::standard(pair.as_bytes())
    }

    fn sent(user: &str, password: &str, server: &str) -> Value {
        serde_json::json!({"username": user, "password": password, "serveraddress": server})
    }

    /// `user password server`, `-` for nothing, or JSON.
    fn expected(text: &str) -> Value {
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["-"] => value("{}"),
            [user, password, server] => sent(user, &password.replace("SECRET", SECRET), server),
            _ => value(text),
        }
    }

    #[test]
    fn entries_of_config_json() {
        let secret = auth(&format!("me:{SECRET}"));
        // `$` is the coded pair of `me` and SECRET.
        let table = r#"
            exact | r.example.com | {"auths":{"r.example.com":{"auth":"$"}}} | me SECRET r.example.com
            url | r.example.com | {"auths":{"https://r.example.com/v1/":{"auth":"$"}}} | me SECRET r.example.com
            path | r.example.com | {"auths":{"r.example.com/v2":{"auth":"$"}}} | me SECRET r.example.com
            port | h:5000 | {"auths":{"h":{},"http://h:5000":{"auth":"$"}}} | me SECRET h:5000
            other port | h:5000 | {"auths":{"h":{"auth":"$"}}} | -
            exact first | h | {"auths":{"https://h":{"auth":"$"},"h":{}}} | -
            hub | docker.io | {"auths":{"https://index.docker.io/v1/":{"auth":"$"}}} | me SECRET https://index.docker.io/v1/
            index | index.docker.io | {"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}} | u p https://index.docker.io/v1/
            not hub | docker.io | {"auths":{"docker.io":{"auth":"$"},"index.docker.io":{"auth":"$"}}} | -
            apart | registry-1.docker.io | {"auths":{"https://index.docker.io/v1/":{"auth":"$"}}} | -
            case | h | {"Auths":{"h":{"AUTH":"$"}}} trailing | me SECRET h
            fields | h | {"auths":{"h":{"username":"u","password":"p:w"}}} | u p:w h
            auth wins | h | {"auths":{"h":{"username":"u","password":"p","auth":"$"}}} | me SECRET h
            nul | h | {"auths":{"h":{"auth":"dTpwAAAA"}}} | u p h
            identity | h | {"auths":{"h":{"auth":"MDA6","identitytoken":"s3cr"}}} | {"username":"00","identitytoken":"s3cr","serveraddress":"h"}
            bearer | h | {"auths":{"h":{"registrytoken":"s3cr"}}} | {"registrytoken":"s3cr","serveraddress":"h"}
            nulls | h | {"auths":{"h":{"auth":null}},"credsStore":null,"credHelpers":null} | -
            none | h | {"auths":{}} | -
            empty | h |  | -"#;
        for row in table.trim().lines() {
            let cells: Vec<_> = row.trim_start().split(" | ").collect();
            let home = Home::new(&cells[2].replace('$', &secret));
            let (header, found) = home.find(cells[1]);
            assert_eq!(header, expected(cells[3]), "{row}");
            assert_eq!(found.warnings, [""; 0], "{row}");
            assert_eq!(found.origin, home.config(), "{row}");
            assert_eq!(found.user.is_some(), cells[3] != "-", "{row}");
        }
        // A name without a password may be a token.
        let bare = format!(r#"{{"auths":{{"h":{{"auth":"{}"}}}}}}"#, auth("s3cr3t:"));
        let (header, found) = Home::new(&bare).find("h");
        assert_eq!(header["username"], "s3cr3t");
        assert_eq!(found.user.as_deref(), Some("<a user without a password>"));
    }

    #[test]
    fn what_is_malformed_is_a_warning_without_its_content() {
        let table = r#"
            cut | {"auths":{"h":{"auth":"s3cr3t | not valid JSON (line 1, column 29)
            word | {"auths": s3cr3t} | not valid JSON (line 1, column 11)
            root | ["s3cr3t"] | the whole is not an object
            auths | {"auths":"s3cr3t"} | "auths" is not an object
            entry | {"auths":{"h":"s3cr3t"}} | the registry's entry is not an object
            type | {"auths":{"h":{"auth":["s3cr3t"]}}} | "auth" is not text
            number | {"auths":{"h":{"password":123456}}} | "password" is not text
            alphabet | {"auths":{"h":{"auth":"s3cr3t!!"}}} | "auth" is not base64
            padding | {"auths":{"h":{"auth":"dTpwdw"}}} | "auth" is not base64
            no colon | {"auths":{"h":{"auth":"czNjcjN0"}}} | "auth" holds no user:password
            no user | {"auths":{"h":{"auth":"OnMzY3IzdA=="}}} | "auth" holds no user:password
            store | {"credsStore":["s3cr3t"]} | "credsStore" is not text
            helpers | {"credHelpers":{"h":7}} | an entry of "credHelpers" is not text
            slash | {"credsStore":"../s3cr3t"} | a credential helper's name is refused, it is no plain word
            odd | {"credHelpers":{"h":"a b"}} | a credential helper's name is refused, it is no plain word"#;
        for row in table.trim().lines() {
            let cells: Vec<_> = row.trim_start().split(" | ").collect();
            let home = Home::new(cells[1]);
            let (_, found) = home.find("h");
            assert_eq!(found.header, "e30=", "{row}");
            assert_eq!(found.warnings, [format!("{}: {}", home.config(), cells[2])], "{row}");
            assert_eq!(found.origin, home.config(), "{row}");
        }
        // An entry for another registry does not matter.
        let home = Home::new(r#"{"auths":{"other":{"auth":"!"},"h":{"auth":"dTpw"}}}"#);
        assert_eq!(home.find("h").0, sent("u", "p", "h"));
    }

    #[test]
    fn what_cannot_be_read() {
        let home = Home::new("");
        let config = home.0.join("config.json");
        fs::remove_file(&config).unwrap();
        let (header, found) = home.find("h");
        assert_eq!((header, found.warnings.len()), (value("{}"), 0));
        assert_eq!(found.origin, format!("{} (no such file)", config.display()));

        fs::create_dir(&config).unwrap();
        assert_eq!(home.find("h").1.warnings, [format!("{}: is a directory, not a regular file", config.display())]);
        fs::remove_dir(&config).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &config, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(
            home.find("h").1.warnings,
            [format!("{}: is a FIFO or socket, not a regular file", config.display())]
        );
        fs::remove_file(&config).unwrap();
        fs::write(&config, " ".repeat(crate::docker::config::MAX + 1)).unwrap();
        assert_eq!(home.find("h").1.warnings, [format!("{}: is larger than 1024 KiB", config.display())]);

        let nowhere = Environment { docker_config: None, ..home.environment() };
        assert_eq!(found_for("h", &nowhere).1.origin, "config.json (no home directory)");
    }

    #[test]
    fn docker_auth_config_comes_first() {
        let home = Home::new(r#"{"auths":{"h":{"auth":"dTpw"},"i":{"auth":"dTpw"}}}"#);
        let found_for = |text: &str, registry: &str| {
            found_for(registry, &Environment { docker_auth_config: Some(text.to_owned()), ..home.environment() })
        };
        let own = format!(r#"{{"auths":{{"h":{{"auth":"{}"}},"https://i":{{"auth":"eDp5"}}}}}}"#, auth("e:s3cr3t"));
        let (header, found) = found_for(&own, "h");
        assert_eq!((header, found.origin.as_str()), (sent("e", "s3cr3t", "h"), "DOCKER_AUTH_CONFIG"));
        // Only its exact keys count.
        assert_eq!(found_for(&own, "i").0, sent("u", "p", "i"));
        let (header, found) = found_for(&own, "j");
        assert_eq!(header, value("{}"));
        assert_eq!(found.origin, format!("DOCKER_AUTH_CONFIG, {}", home.0.join("config.json").display()));
        for (text, warning) in [
            ("s3cr3t", "DOCKER_AUTH_CONFIG: not valid JSON (line 1, column 1)"),
            (r#"{"auths":{"h":{"auth":"s3cr3t"}}}"#, "DOCKER_AUTH_CONFIG: \"auth\" is not base64"),
        ] {
            let (header, found) = found_for(text, "h");
            assert_eq!((header, found.warnings), (sent("u", "p", "h"), vec![warning.to_owned()]));
        }
    }

    /// Answers with the server it was asked for; has nothing.
    const FULL: &str = r#"read -r s; printf '{"ServerURL":"%s","Username":"u:%s","Secret":"SECRET"}' "$s" "$s""#;
    const NONE: &str = "cat >&2; echo credentials not found in native keychain; exit 1";

    #[test]
    fn helpers() {
        let table = r#"
            store | h | {"credsStore":"x"} | FULL | u:h SECRET h |
            hub store | docker.io | {"credsStore":"x"} | FULL | u:https://index.docker.io/v1/ SECRET https://index.docker.io/v1/ |
            helper | h | {"credHelpers":{"h":"x"},"credsStore":"missing"} | FULL | u:h SECRET h |
            other | h | {"credHelpers":{"g":"x"},"auths":{"h":{"auth":"dTpw"}}} | FULL | u p h |
            off | h | {"credHelpers":{"h":""},"credsStore":"x","auths":{"h":{"auth":"dTpw"}}} | FULL | u p h |
            over | h | {"credsStore":"x","auths":{"h":{"auth":"dTpw"}}} | FULL | u:h SECRET h |
            token | h | {"credsStore":"x"} | echo '{"Username":"<token>","Secret":"s3cr"}' | {"identitytoken":"s3cr","serveraddress":"h"} |
            lower | h | {"credsStore":"x"} | echo '{"username":"u","secret":"p"} more' | u p h |
            none | h | {"credsStore":"x","auths":{"h":{"auth":"dTpw"}}} | NONE | - |
            bearer | h | {"credsStore":"x","auths":{"h":{"registrytoken":"s3cr"}}} | NONE | {"registrytoken":"s3cr","serveraddress":"h"} |
            nothing | h | {"credsStore":"x"} | echo '{}' | - |
            failed | h | {"credsStore":"x"} | echo s3cr3t; exit 3 | - | failed (exit status: 3)
            failed but | h | {"credsStore":"x","auths":{"h":{"auth":"dTpw"}}} | exit 3 | u p h | failed (exit status: 3)
            killed | h | {"credsStore":"x"} | kill -9 $$ | - | failed (signal: 9 (SIGKILL))
            babble | h | {"credsStore":"x"} | echo s3cr3t | - | gave no JSON object
            silent | h | {"credsStore":"x"} | true | - | gave no JSON object
            wrong | h | {"credsStore":"x"} | echo '{"Username":"u","Secret":["s3cr3t"]}' | - | gave a wrong answer: "Secret" is not text
            endless | h | {"credsStore":"x"} | yes s3cr3t | - | wrote more than 64 KiB
            background | h | {"credsStore":"x"} | sleep 1 & echo '{"Username":"u","Secret":"p"}' | u p h |"#;
        for row in table.trim().lines() {
            let cells: Vec<_> = row.trim_start().split(" |").map(str::trim_start).collect();
            let home = Home::new(cells[2]);
            let script = cells[3].replace("FULL", FULL).replace("NONE", NONE);
            home.program("docker-credential-x", &script.replace("SECRET", SECRET));
            let (header, found) = home.find(cells[1]);
            assert_eq!(header, expected(cells[4]), "{row}: {:?}", found.warnings);
            let warning = format!("credential helper docker-credential-x {}", cells[5]);
            let count = usize::from(!cells[5].is_empty());
            assert_eq!(found.warnings, vec![warning; count], "{row}");
        }
    }

    #[test]
    fn the_places_that_were_searched() {
        let home = Home::new(r#"{"credsStore":"x"}"#);
        let config = home.0.join("config.json").display().to_string();
        let (_, found) = home.find("h");
        assert_eq!(found.warnings, ["credential helper docker-credential-x was not found on PATH"]);
        assert_eq!(found.origin, format!("docker-credential-x (which was not found on PATH), {config}"));
        home.program("docker-credential-x", NONE);
        assert_eq!(home.find("h").1.origin, format!("{config}, docker-credential-x"));
        home.program("docker-credential-x", FULL);
        assert_eq!(home.find("h").1.origin, "docker-credential-x");
    }

    #[test]
    fn a_hanging_helper_is_given_up() {
        let home = Home::new(r#"{"credsStore":"x"}"#);
        home.program("docker-credential-x", "sleep 20");
        let limited = Environment { helper_limit: Duration::from_millis(200), ..home.environment() };
        let (header, found) = found_for("h", &limited);
        assert_eq!(header, value("{}"));
        assert_eq!(found.warnings, ["credential helper docker-credential-x did not answer within 0s"]);

        let mut ticks = 0;
        let environment = home.environment();
        let found = find("h", &environment, &Config::read(&environment), &mut || {
            ticks += 1;
            if ticks == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(found.header, "e30=");
        assert_eq!(found.warnings, ["credential helper docker-credential-x was interrupted"]);
    }

    #[test]
    fn the_platforms_helper_where_nothing_is_configured() {
        let answer = r#"echo '{"Username":"u","Secret":"p"}'"#;
        let home = Home::new("{}");
        home.program("docker-credential-secretservice", answer);
        assert_eq!(home.find("h").0, sent("u", "p", "h"));
        // Nobody asked for it, so that it does not work is no warning.
        home.program("docker-credential-secretservice", "exit 1");
        let (header, found) = home.find("h");
        assert_eq!((header, found.warnings.len()), (value("{}"), 0));
        assert!(found.origin.starts_with("docker-credential-secretservice (which failed"), "{}", found.origin);
        home.program("docker-credential-pass", answer);
        assert_eq!(home.find("h").0, value("{}"));
        home.program("pass", "");
        assert_eq!(home.find("h").0, sent("u", "p", "h"));
        fs::write(home.0.join("config.json"), r#"{"auths":{"x":{}}}"#).unwrap();
        assert_eq!(home.find("h").0, value("{}"));
    }

    #[test]
    fn token_files() {
        let home = Home::new("");
        let path = home.0.join("token");
        let place = path.display().to_string();
        let write = |text: &[u8], mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let key = r#"{"type": "service_account", "private_key": "s3cr3t"}"#;
        for (text, user, registry, expected) in [
            ("s3cr3t\n", None, "h", sent("oauth2accesstoken", "s3cr3t", "h")),
            (" s3cr 3t \r\n\t\n", None, "docker.io", sent("oauth2accesstoken", " s3cr 3t", HUB)),
            ("s3cr3t", Some("me"), "h", sent("me", "s3cr3t", "h")),
            (key, None, "h", sent("_json_key", key, "h")),
            (key, Some("me"), "h", sent("me", key, "h")),
            (r#"{"type":"user"}"#, None, "h", sent("oauth2accesstoken", r#"{"type":"user"}"#, "h")),
        ] {
            write(text.as_bytes(), 0o600);
            let found = from_token_file(&path, user, registry, &Config::default()).ok().unwrap();
            assert_eq!(decoded(&found), expected);
            assert_eq!((found.origin.as_str(), found.warnings.len()), (place.as_str(), 0));
            assert_eq!(found.user.as_deref(), expected["username"].as_str());
        }
        for (mode, count) in [(0o400, 0), (0o700, 0), (0o640, 1), (0o604, 1)] {
            write(b"s3cr3t", mode);
            let found = from_token_file(&path, None, "h", &Config::default()).ok().unwrap();
            let warning = format!("token file {place} is open to others than its owner: chmod 600 {place}");
            assert_eq!(found.warnings, vec![warning; count]);
            fs::remove_file(&path).unwrap();
        }
        for (text, error) in [
            (&b"\n"[..], "empty"),
            (b"", "empty"),
            (b"s3cr3t\xff", "not UTF-8 text"),
            (&vec![b'x'; SECRET_MAX + 1], "is larger than 64 KiB"),
        ] {
            write(text, 0o600);
            assert_eq!(
                from_token_file(&path, None, "h", &Config::default()).err().unwrap(),
                format!("token file {place}: {error}")
            );
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(
            from_token_file(&path, None, "h", &Config::default()).err().unwrap(),
            format!("token file {place}: no such file")
        );
        let error = from_token_file(&home.0, None, "h", &Config::default()).err().unwrap();
        assert_eq!(error, format!("token file {}: is a directory, not a regular file", home.0.display()));
    }
}
