//! The sizes of layers from `alm-agent`, and what happens if its answer is missing or wrong.

use super::*;
use std::fs;
use std::path::Path;

const FROM_APP: &str = r#"{"status":"Pulling from a","id":"1"}"#;

fn layer(status: &str, detail: &str, id: &str) -> String {
    format!(r#"{{"status":"{status}","progressDetail":{{{detail}}},"id":"{id}"}}"#)
}

fn announced() -> Vec<String> {
    let mut lines = vec![FROM_APP.to_owned()];
    lines.extend(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"].map(|id| layer("Pulling fs layer", "", id)));
    lines.push(layer("Already exists", "", "cccccccccccc"));
    lines.push(layer("Downloading", r#""current":1000000,"total":10000000"#, "aaaaaaaaaaaa"));
    lines
}

fn finished() -> Vec<String> {
    let mut lines: Vec<String> = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"].map(|id| layer("Pull complete", "", id)).into();
    lines.push(STATUS.to_owned());
    lines
}

/// A correct answer of the agent, with this size of the second layer.
fn good(bytes: u64) -> String {
    format!(
        "cat >question; echo '{{\"digest\":null,\"platform\":null,\"layers\":[[\"aaaaaaaaaaaa\",10000000],\
        [\"bbbbbbbbbbbb\",{bytes}],[\"cccccccccccc\",7]],\"total\":0,\"asked\":\"x\"}}'"
    )
}

struct Pulled {
    temp: Temp,
    ended: Ended,
    requests: Vec<String>,
}

/// Pulls with this script as the agent, or without an agent if it is empty. The engine continues after the agent has had time
/// to answer.
fn pull_with(agent: &str, info: &str, options: &[&str]) -> Pulled {
    pull_from(VERSION, agent, info, options)
}

const VERSION: &str = r#"{"Version":"20.10.24","Os":"linux","Arch":"arm"}"#;

/// The same with an engine of this version.
fn pull_from(version: &'static str, agent: &str, info: &str, options: &[&str]) -> Pulled {
    pull_in(prepared(agent), version, info, options, |_| {
        // Longer than the agent of any test takes.
        std::thread::sleep(Duration::from_millis(1500));
    })
}

/// A directory with the program and the agent.
fn prepared(agent: &str) -> Temp {
    let temp = Temp::new();
    // A copy of the program in its own directory, so that PATH decides which agent is found.
    let own = temp.join("own");
    fs::create_dir(&own).expect("a directory");
    fs::copy(crate::support::PROGRAM, own.join("pull")).expect("a copy");
    if !agent.is_empty() {
        temp.script("alm-agent", &format!("PATH=/usr/bin:/bin; cd {}; {agent}", temp.display()));
    }
    temp
}

/// Pulls there; the engine goes on after `meanwhile`.
fn pull_in(temp: Temp, version: &'static str, info: &str, options: &[&str], meanwhile: impl FnOnce(&Temp)) -> Pulled {
    let info = info.replace("HOST", fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim());
    let info = info.replace("ROOT", &temp.at(""));
    let engine = Engine::serve(&temp.join("docker.sock"), move |request| {
        let stream = [announced(), finished()]
            .map(|lines| lines.iter().fold(Vec::new(), |all, line| [all, chunk(line)].concat()));
        let [begin, rest] = stream;
        match request.line.split(' ').nth(1).unwrap_or_default() {
            "/_ping" => vec![Step::Write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK".to_vec())],
            "/v1.41/info" => vec![Step::Write(answer(200, &info))],
            "/v1.41/version" => vec![Step::Write(answer(200, version))],
            _ => vec![Step::Write([head(), begin].concat()), Step::Wait, Step::Write([rest, LAST_CHUNK.to_vec()].concat())],
        }
    });
    let mut command = crate::support::clean(Command::new(temp.join("own/pull")), &temp);
    command.args([
        "--retries",
        "0",
        "--host",
        &engine.host(),
        "--log",
        &temp.at("log"),
        "--record",
        &temp.at("r.jsonl"),
    ]);
    let running = Running::start(command.args(options).arg(temp.image()));
    meanwhile(&temp);
    engine.go();
    let ended = running.end();
    let requests = engine.requests().into_iter().map(|request| request.line).collect();
    Pulled { temp, ended, requests }
}

const INFO: &str = r#"{"Name":"HOST","DockerRootDir":"ROOT","DriverStatus":[["Backing Filesystem","extfs"]],"RegistryConfig":{"InsecureRegistryCIDRs":["127.0.0.0/8"]},"HttpProxy":"","HttpsProxy":"","NoProxy":"x","Warnings":null}"#;

#[track_caller]
fn check_unknown(pulled: &Pulled) {
    assert_eq!((pulled.ended.code, pulled.ended.stderr.as_str()), (Some(0), ""), "{}", pulled.ended.stdout);
    assert!(!pulled.ended.stdout.contains("📏"), "{}", pulled.ended.stdout);
    assert!(!pulled.temp.read("r.jsonl").contains(",\"s\","));
    assert!(pulled.ended.stdout.contains("Downloaded: ≥10MB in "), "{}", pulled.ended.stdout);
    replays_like(&pulled.temp, &pulled.ended, "unknown");
}

#[test]
fn the_agents_answer_is_shown_and_replayed() {
    let pulled = pull_with(&good(5_000_000), INFO, &[]);
    assert_eq!((pulled.ended.code, pulled.ended.stderr.as_str()), (Some(0), ""), "{}", pulled.ended.stdout);
    let log = pulled.temp.read("log");
    assert!(log.contains("📏 To download: 15MB in 2 layers (1 cached)"), "{log}");
    assert!(log.contains("Downloaded: 15MB in "), "{log}");
    let recorded = pulled.temp.read("r.jsonl");
    assert!(recorded.contains(
        r#""s",{"layers":[["aaaaaaaaaaaa",10000000],["bbbbbbbbbbbb",5000000],["cccccccccccc",7]],"total":15000007}]"#
    ));
    assert!(recorded.contains(r#""s",{"room":{"containerd":false,"twice":"#), "{recorded}");
    replays_like(&pulled.temp, &pulled.ended, "sizes");

    let request = pulled.temp.read("question");
    for part in [
        r#""do":"sizes""#,
        r#""engine":"linux/arm""#,
        r#""version":"20.10.24""#,
        r#""NoProxy":"x""#,
        r#""auth":{}"#,
        r#""limit_ms":4000"#,
        &format!(r#""image":"{}""#, pulled.temp.image()),
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    assert!(!request.contains("DockerRootDir"), "{request}");
}

/// The text without what no two pulls have alike: names, times and speeds.
fn comparable(pulled: &Pulled, text: &str) -> String {
    let is_time = |word: &str| {
        word.trim_matches(['[', ']', '(', ')', ',']).chars().all(|c| c.is_ascii_digit() || ".:-hmsKMGB/".contains(c))
            && (word.contains(['[', ']']) || word.ends_with('s') || word.contains("B/s"))
    };
    let text = text.replace(&pulled.temp.image(), "IMAGE");
    text.split_inclusive([' ', '\n']).map(|word| if is_time(word.trim()) { "TIME " } else { word }).collect()
}

#[test]
fn an_agent_that_fails_changes_nothing() {
    let good_5 = good(5_000_000);
    let agents = [
        "",
        "exit 1",
        "kill -9 $$",
        "cat >/dev/null; echo '{\"kind\":\"auth\",\"error\":\"x\"}'; exit 1",
        "echo not json",
        "sleep 30",
        "yes",
        "head -c 1000000 /dev/zero",
        "exec >&-; sleep 30",
        "trap '' TERM; sleep 30 & wait",
        "kill -STOP $$",
        // A half answer, one that is not UTF-8, two, none, one among others, by the letter and never whole.
        "printf '{\"layers\":[['; sleep 30",
        r#"printf '{"layers":[["aaaaaaaaaaaa",1],["bbbbbbbbbbbb",1],["cccccccccccc",1]],"x":"\377"}\n'"#,
        &format!("{good_5}; {good_5}"),
        "true",
        &format!("echo hello; {good_5}"),
        "while printf '['; do sleep 0.01; done",
        // Right, but it does not end; it is ended by a signal, or with a failure; of a size that none has.
        &format!("{good_5}; sleep 30"),
        &format!("{good_5}; exec >&-; sleep 30"),
        &format!("{good_5}; kill -STOP $$"),
        &format!("{good_5}; kill -9 $$"),
        &format!("{good_5}; exit 1"),
        &good(1 << 63),
        &good(u64::MAX),
        // It reads nothing, and its children hold its output.
        "exec <&-; sleep 30 & sleep 30 & exit 1",
    ];
    // All files are written before the first program starts: a file that is open for writing cannot be started.
    let temps: Vec<Temp> = agents.iter().map(|agent| prepared(agent)).chain([prepared(""), prepared("")]).collect();
    // A program that cannot be started, and one whose interpreter is missing.
    temps[agents.len()].script("alm-agent", "");
    temps[agents.len()].write("alm-agent", [0x7f, b'E', b'L', b'F']);
    temps[agents.len() + 1].script("alm-agent", "");
    temps[agents.len() + 1].write("alm-agent", "#!/nonexistent\n");
    let wait = |_: &Temp| std::thread::sleep(Duration::from_millis(1500));
    let without = pull_in(prepared(""), VERSION, INFO, &["--sizes", "never"], wait);
    check_unknown(&without);
    let pulls: Vec<Pulled> = std::thread::scope(|scope| {
        let running: Vec<_> =
            temps.into_iter().map(|temp| scope.spawn(move || pull_in(temp, VERSION, INFO, &[], wait))).collect();
        running.into_iter().map(|pull| pull.join().expect("a pull")).collect()
    });
    for (pulled, agent) in pulls.iter().zip(agents.iter().chain(&["no program", "no interpreter"])) {
        check_unknown(pulled);
        for file in ["log", "stdout"] {
            let [with, without] = [pulled, &without].map(|pulled| match file {
                "log" => comparable(pulled, &pulled.temp.read("log")),
                _ => comparable(pulled, &pulled.ended.stdout),
            });
            assert_eq!(with, without, "{agent}: {file}");
        }
    }
}

#[test]
fn an_agent_may_be_slow_and_leave_something_running() {
    let answer = good(5_000_000);
    let by_the_letter = format!(
        "({answer}) | while IFS= read -r line; do while [ \"$line\" ]; do printf %.1s \"$line\"; line=${{line#?}}; done; sleep 0.3; done"
    );
    for agent in [&by_the_letter, &format!("{answer}; sleep 3 & exit 0")] {
        let pulled = pull_with(agent, INFO, &[]);
        assert!(
            pulled.ended.stdout.contains("📏 To download: 15MB in 2 layers (1 cached)"),
            "{agent}: {}",
            pulled.ended.stdout
        );
        assert_eq!((pulled.ended.code, pulled.ended.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn an_agent_that_hangs_is_killed_while_the_pull_goes_on() {
    let agents = [
        "trap '' TERM INT HUP; sleep 40 & echo $$ $! >pids; wait",
        "sleep 40 & echo $$ $! >pids; kill -STOP $$",
        "exec >&-; sleep 40 & echo $$ $! >pids; wait",
    ];
    let temps = agents.map(prepared);
    std::thread::scope(|scope| {
        for temp in temps {
            scope.spawn(move || {
                let is_alive = |pid: &&str| {
                    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                    // What has ended and is not waited for yet counts as gone: its grandchild is another's to wait for.
                    !stat.is_empty() && !stat.contains(") Z ")
                };
                let pulled = pull_in(temp, VERSION, INFO, &[], |temp| {
                    let begun = std::time::Instant::now();
                    let pids = || temp.read("pids");
                    while pids().split_whitespace().count() < 2 && begun.elapsed() < crate::support::LIMIT {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    let pids = pids();
                    assert_eq!(pids.split_whitespace().filter(is_alive).count(), 2, "{pids}");
                    while pids.split_whitespace().any(|pid| is_alive(&pid)) {
                        assert!(begun.elapsed() < crate::support::LIMIT, "{pids} live on");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    assert!(begun.elapsed() > Duration::from_secs(3), "it had less than its time");
                });
                check_unknown(&pulled);
            });
        }
    });
}

#[test]
fn the_total_is_exact_in_the_state_and_in_json_too() {
    let temp = prepared(&good(5_000_000));
    let state_directory = temp.at("state");
    let options = ["--progress", "json", "--state", &state_directory];
    let states = |temp: &Temp| {
        let files = fs::read_dir(temp.join("state")).into_iter().flatten().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect::<String>()
    };
    // The second layer has not begun, and the engine has not named its size.
    let second = r#"{"id":"bbbbbbbbbbbb","text":"Waiting","current":0,"total":5000000,"percent":0}"#;
    let parts = [r#""current":1000000,"total":15000000,"#, r#""exact":true,"#, second];
    let pulled = pull_in(temp, VERSION, INFO, &options, |temp| {
        let begun = std::time::Instant::now();
        while !parts.iter().all(|part| states(temp).contains(part)) {
            assert!(begun.elapsed() < crate::support::LIMIT, "{}", states(temp));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(pulled.ended.code, Some(0), "{}", pulled.ended.stderr);
    for part in [r#""text":"To download","details":"15MB in 2 layers (1 cached)""#, r#""bytes":15000000,"#] {
        assert!(pulled.ended.stdout.contains(part), "{part}: {}", pulled.ended.stdout);
    }
}

#[test]
fn an_answer_of_another_image_is_forgotten() {
    let agent = good(5_000_000).replace("bbbbbbbbbbbb", "dddddddddddd");
    let pulled = pull_with(&agent, INFO, &[]);
    assert_eq!(pulled.ended.code, Some(0));
    assert!(!pulled.ended.stdout.contains("📏") && pulled.ended.stdout.contains("Downloaded: ≥10MB in "));
    replays_like(&pulled.temp, &pulled.ended, "another image");
}

#[test]
fn it_is_asked_only_where_the_engine_is_this_host() {
    for info in [
        INFO.replace("HOST", "elsewhere"),
        INFO.replace("RegistryConfig", "Other"),
        "{}".to_owned(),
        "not json".to_owned(),
    ] {
        let pulled = pull_with(&good(5_000_000), &info, &[]);
        check_unknown(&pulled);
        assert!(!Path::new(&pulled.temp.at("question")).exists(), "{info}");
    }
    let podman =
        r#"{"Version":"4.3.1","Os":"linux","Arch":"arm","Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#;
    let pulled = pull_from(podman, &good(5_000_000), INFO, &[]);
    check_unknown(&pulled);
    assert!(!Path::new(&pulled.temp.at("question")).exists());
    let pulled = pull_with(&good(5_000_000), INFO, &["--sizes", "never"]);
    check_unknown(&pulled);
    assert!(pulled.requests.iter().all(|line| !line.contains("/info")), "{:?}", pulled.requests);
    // Without an agent there are no requests for sizes.
    let pulled = pull_with("", INFO, &["--sizes", "always"]);
    assert!(pulled.requests.iter().all(|line| !line.contains("/info")), "{:?}", pulled.requests);
}

#[test]
fn what_cannot_fit_is_ended_before_it_is_paid_for() {
    // Half a terabyte: no /dev/shm is that large.
    let pulled = pull_with(&good(1 << 39), &INFO.replace("ROOT", "/dev/shm"), &[]);
    assert_eq!(pulled.ended.code, Some(1));
    let reason = text_after(&pulled.ended.stdout, "❌ PULL FAILED: ");
    assert!(reason.starts_with("no space left on device for this image: it needs at least 549.7GB more"), "{reason}");
    assert!(reason.ends_with(" are free"), "{reason}");
    assert!(text_after(&pulled.ended.stdout, "💡 ").contains("docker image prune"), "{}", pulled.ended.stdout);
    assert!(pulled.temp.read("r.jsonl").contains(r#""kind":"disk-full""#));
    replays_like(&pulled.temp, &pulled.ended, "no room");
}
