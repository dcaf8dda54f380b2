//! Faults in the answers to other requests than the pull, and faults of the socket itself.

use super::answer::{ANSWERS, Answer, Expected, failure};
use super::http::heads;
use super::{Fault, Script, good_ping};
use crate::support::{Engine, FIXTURES, Request, Step, Temp, answer};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};

/// An answer to the first request.
pub(super) const PING: &str = "http/dockerd-28.5.2-containerd-_ping-GET";

/// The failure if no engine answers and there is no docker CLI.
const NO_DOCKER: &str = "no docker command was found on PATH";

/// The reasons if the engine does not answer whether it has the image, and if it answers that it does not have it.
const NO_ANSWER: &str = "without saying that it succeeded, and gives no answer whether it has the image";
const NO_IMAGE: &str = "without saying that it succeeded, and has no image";

fn case(name: &str) -> &'static Answer {
    ANSWERS.iter().find(|answer| answer.name == name).expect("a fixture")
}

/// Stops at every byte of an answer, and whether it is complete then.
fn stops(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<Step>, bool)> {
    (0..=bytes.len()).flat_map(move |place| {
        let begin = Step::Write(bytes[..place].to_vec());
        let is_whole = place == bytes.len();
        [
            (format!("cut at byte {place}"), vec![begin.clone()], is_whole),
            (format!("reset at byte {place}"), vec![begin, Step::Reset], is_whole),
        ]
    })
}

/// Endless bytes and lines after a correct head.
fn endless() -> impl Iterator<Item = (String, Vec<Step>)> {
    ["x", "\n", "{", "{\"Id\":\"", " "].into_iter().flat_map(|piece| {
        ["", "Content-Length: 18446744073709551615\r\n", "Transfer-Encoding: chunked\r\n"].map(|framing| {
            let begin = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
            let chunk = if framing.starts_with('T') {
                format!("1000\r\n{}\r\n", piece.repeat(4096 / piece.len()))
            } else {
                piece.repeat(4096)
            };
            let steps = vec![Step::Write(begin.into_bytes()), Step::Endless(chunk.into_bytes())];
            (format!("{piece:?} without end, {:?}", framing.trim_end()), steps)
        })
    })
}

/// The same as the answer to a pull. Nothing in it is movement.
pub(super) fn streams() -> impl Iterator<Item = Fault> {
    let tiny = case("http/dockerd-20.10.24-fresh-tiny");
    endless().map(|(name, steps)| {
        let fault = Fault::of("without end", tiny, &name, steps, failure("nothing has moved for 1s"));
        Fault { has_short_limit: true, ..fault }
    })
}

/// The first request: whether there is an engine, and its version.
pub(super) fn pings() -> impl Iterator<Item = Fault> {
    let raw = std::fs::read(format!("{FIXTURES}/{PING}.raw")).expect("a fixture");
    let tiny = case("http/dockerd-20.10.24-fresh-tiny");
    let fault = move |name: &str, ping: Vec<Step>, is_good: bool| {
        let expected = if is_good { Expected::Success } else { failure(NO_DOCKER) };
        let mut fault = Fault::of("ping", tiny, name, vec![Step::Write(tiny.bytes.clone())], expected);
        fault.script.ping = ping;
        fault.says = if is_good { "" } else { "the engine at " };
        fault.with_short_limit_if_stalled()
    };
    let mut faults: Vec<Fault> = stops(&raw).map(|(name, steps, is_good)| fault(&name, steps, is_good)).collect();
    faults.extend(heads().into_iter().map(|(name, mut head, wrong)| {
        head.push(Step::Write(b"2\r\nOK\r\n0\r\n\r\n".to_vec()));
        fault(&name, head, wrong.is_none())
    }));
    faults.extend([0, 1, 20, raw.len() - 1].map(|place| {
        fault(&format!("stalled at byte {place}"), vec![Step::Write(raw[..place].to_vec()), Step::Stall], false)
    }));
    faults.extend(endless().map(|(name, steps)| fault(&name, steps, false)));
    for status in [201, 204, 301, 404, 500, 503] {
        faults.push(fault(&format!("status {status}"), vec![Step::Write(answer(status, "OK"))], false));
    }
    faults.into_iter()
}

/// The last request, whether the image is there: podman's stream does not report success.
pub(super) fn inspections() -> impl Iterator<Item = Fault> {
    let pulled = case("podman-4.3.1/fresh-three");
    let id = pulled.image();
    let fault = move |name: &str, inspect: Vec<Step>, wrong: Option<&str>| {
        let expected = wrong.map_or(Expected::Success, failure);
        let mut fault = Fault::of("inspection", pulled, name, vec![Step::Write(pulled.bytes.clone())], expected);
        fault.script.inspect = inspect;
        fault.with_short_limit_if_stalled()
    };
    let unless = |is_good: bool| (!is_good).then_some(NO_ANSWER);
    let whole = answer(200, &format!("{{\"Id\":\"sha256:{id}00ff\",\"RepoTags\":[\"a:1\"],\"Size\":5}}\n"));
    let mut faults: Vec<Fault> =
        stops(&whole).map(|(name, steps, is_good)| fault(&name, steps, unless(is_good))).collect();
    faults.extend(heads().into_iter().map(|(name, mut head, wrong)| {
        let body = format!("{{\"Id\":\"{id}\"}}");
        head.push(Step::Write(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()));
        fault(&name, head, unless(wrong.is_none()))
    }));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for wrong in ["NaN", "1e400", "-1", "5", "null", "[]", "{}", "\"\"", "\"0\"", "\"\\ud800\"", "\"sha256:\"", &deep] {
        let body = format!("{{\"Id\":{wrong}}}");
        let name = format!("Id is {wrong:.20}");
        let is_id = matches!(wrong, "\"\"" | "\"0\"" | "\"sha256:\"");
        let reason = if is_id { NO_IMAGE } else { NO_ANSWER };
        faults.push(fault(&name, vec![Step::Write(answer(200, &body))], Some(reason)));
    }
    for body in ["", "{}", "[]", "null", "5", "{\"Id\"", "{\"id\":\"\"}"] {
        faults.push(fault(&format!("{body:?}"), vec![Step::Write(answer(200, body))], Some(NO_ANSWER)));
    }
    for status in [201, 204, 301, 404, 500, 503] {
        let answer = answer(status, &format!("{{\"Id\":\"{id}\"}}"));
        let reason = if status == 404 { NO_IMAGE } else { NO_ANSWER };
        faults.push(fault(&format!("status {status}"), vec![Step::Write(answer)], Some(reason)));
    }
    faults.extend(endless().map(|(name, steps)| fault(&name, steps, Some(NO_ANSWER))));
    let stalled = vec![Step::Write(whole[..whole.len() - 1].to_vec()), Step::Stall];
    faults.push(fault("stalled", stalled, Some(NO_ANSWER)));
    faults.into_iter()
}

/// Paths that are not sockets, or sockets that are not an engine's. They exist as long as this value.
pub(super) struct Sockets {
    temp: Temp,
    _listening: (Vec<Engine>, UnixDatagram),
}

impl Sockets {
    pub(super) fn new() -> Self {
        let temp = Temp::new();
        let make = |name: &str, kind| {
            rustix::fs::mknodat(rustix::fs::CWD, temp.join(name), kind, 0o644.into(), 0).expect("a file");
        };
        let link = |name: &str, target: &str| symlink(temp.join(target), temp.join(name)).expect("a link");
        std::fs::create_dir(temp.join("directory")).expect("a directory");
        temp.write("file", "");
        make("fifo", rustix::fs::FileType::Fifo);
        make("dead", rustix::fs::FileType::Socket);
        drop(UnixListener::bind(temp.join("closed")).expect("a socket"));
        link("link to nothing", "nothing");
        link("link to itself", "link to itself");
        link("link to a directory", "directory");
        link("link to the dead", "dead");
        link("link to an engine", "engine");
        link("link to the link", "link to an engine");
        let datagrams = UnixDatagram::bind(temp.join("datagrams")).expect("a socket");
        let serve = |name: &str, answer: fn(&Request) -> Vec<u8>| {
            Engine::serve(&temp.join(name), move |request| vec![Step::Write(answer(request))])
        };
        let tiny = case("http/dockerd-20.10.24-fresh-tiny");
        let engine = Engine::serve(&temp.join("engine"), |request| {
            let is_ping = request.line.ends_with("/_ping");
            if is_ping { good_ping() } else { vec![Step::Write(tiny.bytes.clone())] }
        });
        let others = vec![
            engine,
            serve("silent", |_| Vec::new()),
            serve("ssh", |_| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
            serve("mail", |_| b"220 localhost ESMTP\r\n500 what?\r\n".to_vec()),
            serve("echo", |request| request.head.clone().into_bytes()),
            serve("zeros", |_| vec![0; 1_000_000]),
            serve("another server", |_| answer(404, "404 page not found\n")),
            serve("a web server", |_| answer(200, "<html>It works!</html>\n")),
        ];
        Self { temp, _listening: (others, datagrams) }
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let fault = |name: &str, says: &'static str, expected: Expected| {
            let script = Script::default();
            let host = Some(format!("unix://{}", self.temp.at(name)));
            Fault {
                kind: "socket",
                name: format!("socket: {name}"),
                script,
                host,
                says,
                has_short_limit: false,
                expected,
            }
        };
        let no = |name, says| fault(name, says, failure(NO_DOCKER));
        vec![
            no("nothing", "there is no Docker socket at "),
            no("directory", " is not a socket"),
            no("file", " is not a socket"),
            no("fifo", " is not a socket"),
            no("file/below", "the engine's socket "),
            no("dead", "nothing listens on the Docker socket "),
            no("closed", "nothing listens on the Docker socket "),
            no("link to nothing", "there is no Docker socket at "),
            no("link to itself", "the engine's socket "),
            no("link to a directory", " is not a socket"),
            no("link to the dead", "nothing listens on the Docker socket "),
            no("datagrams", "the engine's socket "),
            no("silent", " does not answer: "),
            no("ssh", " does not answer: "),
            no("mail", " does not answer: "),
            no("echo", " does not answer: "),
            no("zeros", " does not answer: "),
            no("another server", "answers a ping with HTTP status 404"),
            fault("a web server", "", failure("without saying that it succeeded")),
            fault("engine", "", Expected::Success),
            fault("link to an engine", "", Expected::Success),
            fault("link to the link", "", Expected::Success),
        ]
    }
}
