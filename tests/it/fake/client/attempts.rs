//! Which failures are followed by another attempt, and when: the containerd store keeps what was downloaded, and a graphdriver
//! does not.

use super::*;

const EXISTS: &str = r#"{"status":"Already exists","progressDetail":{"hidecounts":true},"id":"def456"}"#;

/// The registry broke off after some bytes, in the words of the containerd store.
const BROKEN: &str = r#"{"errorDetail":{"message":"failed to copy: read: connection reset by peer"},"error":"failed to copy: read: connection reset by peer"}"#;

#[test]
fn the_containerd_store_is_asked_again_at_once() {
    let check = |lines: &[&str], others: &[(&'static str, String)], is_at_once: bool| {
        let temp = Temp::new();
        let (engine, moments) = engine(&temp, vec![whole(lines), whole(GOOD)], others);
        let live = run(&mut retrying(&temp, &engine, "3"));
        assert_eq!(live.code, Some(0), "{live:?}");
        replays_like(&temp, &live, "at once");
        let moments = moments.lock().expect("nobody panics with it").clone();
        let between = moments[1] - moments[0];
        let when = if is_at_once { "at once" } else { "in 5s" };
        assert!(live.stdout.contains(&format!("🔁 Retry 1/3 {when}: ")), "{lines:?}: {}", live.stdout);
        assert_eq!(between < Duration::from_secs(4), is_at_once, "{lines:?}: {between:?}");
        let asked = engine.requests();
        let pings = asked.iter().filter(|request| request.line.ends_with("/_ping")).count();
        // The version is still known, or the engine is asked again.
        assert_eq!(pings, if is_at_once { 1 } else { 2 });
    };
    let store = |name: &str| ("/info", format!(r#"{{"DriverStatus":[["driver-type","io.containerd.{name}"]]}}"#));
    let down = BAR;
    check(&[FROM, LAYER, down, BROKEN], &[], true);
    check(&[FROM, LAYER, EXISTS, LAYER, down, RESET], &[store("snapshotter.v1")], true);
    check(&[FROM, LAYER, down, RESET], &[store("snapshotter.v1")], true);
    check(&[FROM, LAYER, down, RESET], &[store("none")], false);
    check(&[FROM, LAYER, down, RESET], &[], false);
    // Nothing was downloaded, so nothing is lost.
    check(&[FROM, LAYER, BROKEN], &[store("snapshotter.v1")], false);
}

/// A slow device: its engine takes longer to answer which store it has than that store keeps unfinished layers.
#[test]
fn a_slow_engine_is_asked_for_its_store_in_time() {
    for (driver, when) in [("io.containerd.snapshotter.v1", "at once"), ("none", "in 5s")] {
        let temp = Temp::new();
        let info = answer(200, &format!(r#"{{"DriverStatus":[["driver-type","{driver}"]],"Name":"pi"}}"#));
        let count = AtomicUsize::new(0);
        let engine = Engine::serve(&temp.join("docker.sock"), move |request: &Request| {
            if request.line.ends_with("/_ping") {
                let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";
                return vec![Step::Write(head.into())];
            }
            if request.line.starts_with("POST ") {
                // An error that both stores can report, some time after the download began.
                let rest = [&chunk(RESET)[..], LAST_CHUNK].concat();
                return match count.fetch_add(1, Ordering::Relaxed) {
                    0 => vec![begun(&[FROM, LAYER, BAR]), Step::Wait, Step::Write(rest)],
                    _ => whole(GOOD),
                };
            }
            std::thread::sleep(Duration::from_millis(300));
            vec![Step::Write(info.clone())]
        });
        std::fs::create_dir(temp.join(".docker")).expect("a directory");
        temp.write(".docker/config.json", r#"{"HttpHeaders":{"X-Site":"berlin"}}"#);
        // Without a request for sizes, whose answer would contain the store.
        let running = Running::start(retrying(&temp, &engine, "1").args(["--sizes", "never"]));
        assert!(eventually(LIMIT, || lines(&engine).iter().any(|line| line.ends_with("/info"))));
        std::thread::sleep(Duration::from_millis(600));
        engine.go();
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(&format!("🔁 Retry 1/1 {when}: ")), "{driver}: {ended:?}");
        // Only once, and with the same API version as all other requests.
        let asked: Vec<_> = engine.requests().into_iter().filter(|request| request.line.ends_with("/info")).collect();
        assert_eq!((asked.len(), asked[0].header("x-site")), (1, Some("berlin")), "{asked:?}");
        replays_like(&temp, &ended, driver);
    }
}

/// The error of Docker 28.5 with its containerd store when it was asked again while it deleted unfinished layers.
#[test]
fn a_deletion_that_was_met_is_no_end() {
    let deleted = "failed to check image sha256:0ff937e0: rpc error: code = NotFound desc = content digest sha256:0ff937e0: not found";
    let deleted = format!(r#"{{"errorDetail":{{"message":"{deleted}"}},"error":"{deleted}"}}"#);
    let temp = Temp::new();
    let pulls = vec![whole([FROM, LAYER, BAR, BROKEN]), whole([FROM, &deleted]), whole(GOOD)];
    let (engine, _) = engine(&temp, pulls, &[]);
    let live = run(&mut retrying(&temp, &engine, "3"));
    assert_eq!(live.code, Some(0), "{live:?}");
    for line in ["🔁 Retry 1/3 at once: failed to copy", "🔁 Retry 2/3 in 5s: failed to check image"] {
        assert!(live.stdout.contains(line), "{line}: {}", live.stdout);
    }
    replays_like(&temp, &live, "deleted");
}

#[test]
fn bytes_are_fetched_from_nothing_no_more_than_twice() {
    let retries_of = |pulls: Vec<Vec<Step>>, retries: &str| {
        let temp = Temp::new();
        let (engine, _) = engine(&temp, pulls, &[]);
        let live = run(&mut retrying(&temp, &engine, retries));
        replays_like(&temp, &live, "retries");
        let shown = texts(&live.stdout).into_iter().filter_map(|text| text.strip_prefix("🔁 Retry "));
        let whens: Vec<String> = shown.map(|text| text.split(": ").next().unwrap_or_default().to_owned()).collect();
        (live.code, whens.join(", "))
    };
    let from_nothing = |error: &str| whole([FROM, LAYER, BAR, error]);
    let further = || whole([FROM, LAYER, &bar(1_000_000), BROKEN]);
    // The same bytes again: the second attempt has downloaded fewer than the first.
    let less = || whole([FROM, LAYER, &BAR.replace("12000000", "3000000"), BROKEN]);
    assert_eq!(retries_of(vec![from_nothing(RESET), less(), whole(GOOD)], "9"), (Some(1), "1/9 in 5s".into()));
    assert_eq!(retries_of(vec![from_nothing(BROKEN), less(), whole(GOOD)], "9"), (Some(1), "1/9 at once".into()));
    assert_eq!(
        retries_of(vec![from_nothing(BROKEN), further(), whole(GOOD)], "9"),
        (Some(0), "1/9 at once, 2/9 in 5s".into())
    );
}
