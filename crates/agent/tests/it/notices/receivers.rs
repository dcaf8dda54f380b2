//! Receivers of notices: the messages that each kind gets, proxies, and the file of addresses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{Device, SECRET, apprise, ok, titles};
use crate::fake::{Server, answer};
use crate::hub::Proxy;
use crate::pki::Authority;

#[test]
fn each_receiver_hears_of_each_change_once_in_its_own_words() {
    let (slack, ntfy, json) = (ok(), ok(), ok());
    let device = Device::seen(&[
        format!("http://{}/api/{SECRET}/slack", slack.address),
        format!("ntfy://:{SECRET}@{}/topic", ntfy.address),
        apprise(&json),
    ]);
    device.fail("app:1", "disk-full");
    let journal = device.once(0);
    assert_eq!(journal.matches("was delivered").count(), 3, "{journal}");
    let body = |server: &Server| serde_json::from_str::<Value>(&server.requests()[0].body).expect("JSON");
    let title = "pi-1 (Köln): app:1 cannot be pulled: no space <left> & more";
    let rest = "What to do: make room\nFailing since 2026-11-24 23:31 UTC, 6 runs.";
    let escaped = format!("{title}\n{rest}").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(body(&slack), json!({"text": escaped, "mrkdwn": false}));
    assert_eq!(slack.lines(), [format!("POST /api/{SECRET}/slack")]);
    let expected = json!({"topic": "topic", "title": title, "message": rest, "priority": 4, "tags": ["warning"]});
    assert_eq!((body(&ntfy), ntfy.lines()), (expected, vec!["POST /".to_owned()]));
    assert_eq!(ntfy.authorizations().len(), 1);
    let expected = json!({"version": "1.0", "title": title, "message": rest, "attachments": [], "type": "failure"});
    assert_eq!(body(&json), expected);
    // The same state again and an up-to-date image are not reported; a recovery, a new image and a rollback are.
    device.once(0);
    device.state("other:1", "Done", "Up to date", json!({}));
    device.once(0);
    assert_eq!(json.requests().len(), 1);
    device.state("app:1", "Done", "Up to date", json!({}));
    device.once(0);
    device.pull("app:1", "sha256:12");
    device.once(0);
    device.once(0);
    device.scratch.write(
        "state/container/web.json",
        r#"{"v":1,"name":"web","image":"app:1","digest":"sha256:1","status":"Rolled back","since":"2026-11-25T02:18:33Z","details":"unhealthy"}"#,
    );
    device.once(0);
    device.once(0);
    let expected = [
        title,
        "pi-1 (Köln): app:1 works again",
        "pi-1 (Köln): app:1 has a new image",
        "pi-1 (Köln): container web was rolled back from the new app:1: unhealthy",
    ];
    assert_eq!(titles(&json), expected);
    assert_eq!((slack.requests().len(), ntfy.requests().len()), (4, 4));
    assert!(device.waiting().is_empty());
}

#[test]
fn slack_by_its_own_name_through_a_proxy() {
    let authority = Authority::new();
    let tls = authority.identity(&["hooks.slack.com"]).server(None);
    let slack = Server::start(Some(tls), |_| answer("200 OK", &[], "ok"));
    let proxy = Proxy::start(&slack.address);
    let mut device = Device::new(&[format!("https://hooks.slack.com/services/T0/B0/{SECRET}")]);
    let roots = device.scratch.write("roots.pem", authority.pem);
    device.env = vec![
        ("SSL_CERT_FILE", roots.display().to_string()),
        ("HTTPS_PROXY", format!("http://user:word@{}", proxy.address)),
    ];
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("pi-1 (Köln): a test\n"), "{text}");
    assert!(text.ends_with("line 3, Slack at https://hooks.slack.com: delivered, 200 OK\n"), "{text}");
    assert_eq!(proxy.asked(), ["CONNECT hooks.slack.com:443 HTTP/1.1"]);
    assert_eq!(slack.lines(), [format!("POST /services/T0/B0/{SECRET}")]);
    device.env[1].1 = "socks5://127.0.0.1:1".into();
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not delivered, the proxy in the environment is not understood"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    // A proxy that does not answer.
    device.env[1].1 = "127.0.0.1:1".into();
    assert!(String::from_utf8_lossy(&device.run("--test-notice").stdout).contains("not delivered, "));
}

#[test]
fn the_test_reports_each_answer() {
    let (good, bad) = (ok(), Server::start(None, |_| answer("403 Forbidden", &[], "invalid_token\nmore")));
    let echo = Server::start(None, |request| answer("404 Not Found", &[], &format!("Cannot POST {}", request.path)));
    let device = Device::new(&[apprise(&good), apprise(&bad), apprise(&echo)]);
    let output = device.run("--test-notice");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("line 3, Apprise at http://127.0.0.1: delivered, 200 OK\n"), "{text}");
    assert!(text.contains("line 4, Apprise at http://127.0.0.1: refused, 403 Forbidden: invalid_token\n"), "{text}");
    assert!(text.ends_with("line 5, Apprise at http://127.0.0.1: refused, 404 Not Found\n"), "{text}");
    assert!(!text.contains(SECRET) && output.stderr.is_empty());
    assert!(!device.outbox().exists(), "a test leaves nothing");
}

#[test]
fn a_file_that_is_wrong_is_named_and_not_shown() {
    let device = Device::new(&[format!("gopher://{SECRET}")]);
    let check = |expected: &str| {
        let output = device.run("--once");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected) && text.contains("/notify") && !text.contains(SECRET), "{text}");
    };
    check("line 3: this is no address");
    device.receivers(&[]);
    check("has 0 addresses");
    device.receivers(&["https://a.test/".to_owned()]);
    fs::set_permissions(device.scratch.0.join("notify"), fs::Permissions::from_mode(0o644)).expect("its mode");
    check("can be read by everybody");
    fs::remove_file(device.scratch.0.join("notify")).expect("it was there");
    check("No such file");
}
