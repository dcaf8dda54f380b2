//! The outbox: what is sent as one message, when a message is tried again, and when it is discarded.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Device, SECRET, apprise, ok, titles};
use crate::fake::{Server, answer};
use crate::pki::Authority;

#[test]
fn more_than_three_are_one_message() {
    let server = ok();
    let device = Device::seen(&[apprise(&server)]);
    for at in 0..5 {
        device.fail(&format!("app:{at}"), "network");
    }
    device.once(0);
    assert_eq!(titles(&server), ["pi-1 (Köln): 5 notices, 5 of failures"]);
    for at in 0..3 {
        device.state(&format!("app:{at}"), "Done", "Up to date", json!({}));
    }
    device.once(0);
    assert_eq!(titles(&server).len(), 4);
}

#[test]
fn a_receiver_that_says_when_is_not_asked_before() {
    for retry in ["3600", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        let answers = Arc::new(Mutex::new(vec![
            answer("200 OK", &[], ""),
            answer("429 Too Many Requests", &[("retry-after", retry)], ""),
        ]));
        let server = Server::start(None, move |_| answers.lock().expect("answers").pop().expect("asked too often"));
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let journal = device.once(1);
        assert!(journal.contains("tried again") && journal.contains("429"), "{journal}");
        // Not even after a restart.
        device.once(1);
        assert_eq!(server.requests().len(), 1);
        let waiting = device.waiting();
        let after = waiting.values().next().expect("one waits")["after"].as_str().expect("a time").to_owned();
        assert!(*after > *"2026-11-28T00:00:00Z", "{after}");
        device.pass_time();
        device.once(0);
        assert_eq!(server.requests().len(), 2);
        assert!(device.waiting().is_empty());
    }
}

#[test]
fn what_becomes_of_a_notice_by_what_is_answered() {
    for (status, waits) in [
        ("200 OK", false),
        ("204 No Content", false),
        ("400 Bad Request", false),
        ("404 Not Found", false),
        ("410 Gone", false),
        ("408 Request Timeout", true),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
        ("302 Found", true),
    ] {
        let server = Server::start(None, move |request| {
            // Some servers return what they were sent.
            answer(status, &[("location", &format!("http://127.0.0.1:1/{SECRET}"))], &format!("no {}", request.path))
        });
        let device = Device::seen(&[apprise(&server)]);
        device.fail("app:1", "network");
        let journal = device.once(i32::from(waits));
        assert!(journal.contains(&status[..3]), "{status}: {journal}");
        assert_eq!(
            journal.contains("given up"),
            status.starts_with("40") && !waits || status.starts_with("410"),
            "{journal}"
        );
        assert_eq!((device.waiting().len(), server.requests().len()), (usize::from(waits), 1), "{status}");
    }
}

#[test]
fn a_third_attempt_that_ends_unclear_is_the_last() {
    let server = Server::start(None, |_| answer("502 Bad Gateway", &[], ""));
    let device = Device::seen(&[apprise(&server)]);
    device.fail("app:1", "network");
    for count in 1..=2 {
        device.once(1);
        assert_eq!(device.waiting().values().next().expect("it waits")["unclear"], count);
        device.once(1);
        assert_eq!(server.requests().len(), count, "it is left alone for a while");
        device.pass_time();
    }
    let journal = device.once(0);
    assert!(journal.contains("is given up after 3 attempts: 502"), "{journal}");
    assert_eq!((device.waiting().len(), server.requests().len()), (0, 3));
}

#[test]
fn a_receiver_that_was_not_reached_is_waited_for() {
    let authority = Authority::new();
    let tls = authority.identity(&["127.0.0.1"]).server(None);
    let unknown = Server::start(Some(tls), |_| answer("200 OK", &[], ""));
    let closed = ok().address.clone();
    for (url, why) in [
        (format!("https://{}/{SECRET}", unknown.address), "TLS: "),
        (format!("http://{closed}/{SECRET}"), "refused"),
        (format!("https://nobody.invalid/{SECRET}"), "failed to lookup address"),
    ] {
        let mut device = Device::new(std::slice::from_ref(&url));
        let roots = device.scratch.write("roots.pem", Authority::new().pem);
        device.env.push(("SSL_CERT_FILE", roots.display().to_string()));
        device.once(0);
        device.fail("app:1", "network");
        for _ in 0..4 {
            let journal = device.once(1);
            assert!(journal.contains(why) && journal.contains("tried again"), "{url}: {journal}");
        }
        assert_eq!(device.waiting().len(), 1);
        let server = ok();
        device.receivers(&[apprise(&server)]);
        device.once(0);
        assert!(device.waiting().is_empty(), "what waits for a receiver that is gone goes");
    }
    assert!(unknown.requests().is_empty());
}

#[test]
fn a_full_disk_delays_nothing_where_the_spare_was_made_and_loses_nothing_where_not() {
    let server = ok();
    let device = Device::new(&[apprise(&server)]);
    fs::create_dir_all(device.outbox()).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(device.outbox()).status();
    assert!(mounted.expect("mount runs").success(), "needs root");
    let fill = || {
        // The write fails when the disk is full, to the last byte.
        let _ = fs::write(device.outbox().join("filler"), vec![0; 512 * 1024]);
    };
    let check = || {
        device.once(0);
        fill();
        device.fail("app:1", "disk-full");
        device.once(0);
        assert_eq!(titles(&server).len(), 1);
        // Now the reserved space is used up, too.
        fill();
        for at in 2..6 {
            device.fail(&format!("app:{at}"), "disk-full");
        }
        let journal = device.once(0);
        assert!(journal.contains("cannot be kept in") || titles(&server).len() == 2, "{journal}");
        fs::remove_file(device.outbox().join("filler")).expect("it was there");
        device.once(0);
        device.once(0);
        assert_eq!(titles(&server).len(), 2, "{:?}", titles(&server));
        assert_eq!(titles(&server)[1], "pi-1 (Köln): 4 notices, 4 of failures");
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    assert!(Command::new("umount").arg(device.outbox()).status().expect("umount runs").success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
