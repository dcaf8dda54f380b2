//! Which requests the engine gets, and which names of images never become one.

use super::*;

#[test]
fn the_api_is_negotiated() {
    let check = |engine_has: &str, spoken: &str| {
        let temp = Temp::new();
        let engine = Engine::with(&temp, engine_has, whole(GOOD));
        assert_eq!(run(&mut pull(&temp, &engine)).code, Some(0));
        let lines: Vec<_> = engine.requests().into_iter().map(|request| request.line).collect();
        assert_eq!(lines[0], "GET /_ping");
        assert!(lines[1].starts_with(&format!("POST {spoken}/images/create?")), "{engine_has}: {lines:?}");
    };
    check("1.41", "/v1.41");
    check("1.44", "/v1.44");
    check("1.51", "/v1.51");
    check("1.99", "/v1.51");
    check("2.0", "/v1.51");
    check("", "");
    check("x", "");
}

#[test]
fn a_request_names_one_image_and_is_encoded() {
    let check = |image: &str, more: &[&str], query: &str| {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(program(&temp).args(["--no-log", "--host", &engine.host(), image]).args(more));
        assert_eq!(ended.code, Some(0), "{image}: {ended:?}");
        let request = engine.pull_request();
        assert_eq!(request.line, format!("POST /v1.41/images/create?{query}"));
        assert_eq!(request.header("x-registry-auth"), Some("e30="), "{}", request.head);
        assert_eq!(request.header("host"), Some("localhost"));
        assert_eq!(request.header("content-length"), Some("0"));
        assert_eq!(request.header("connection"), Some("close"));
        assert!(request.head.starts_with("POST ") && request.head.contains(" HTTP/1.1\r\n"), "{}", request.head);
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let encoded = format!("sha256%3A{}", "ab".repeat(32));
    // Names that no other test uses, because another test might hold the lock of the same image.
    check("q1", &[], "fromImage=q1&tag=latest");
    check("q2:3", &[], "fromImage=q2&tag=3");
    check("user/q3:a_b.c-d", &[], "fromImage=user%2Fq3&tag=a_b.c-d");
    check("localhost:5000/a/b__c:t", &[], "fromImage=localhost%3A5000%2Fa%2Fb__c&tag=t");
    check("[::1]:5000/q4:t", &[], "fromImage=%5B%3A%3A1%5D%3A5000%2Fq4&tag=t");
    check(&format!("q5@{digest}"), &[], &format!("fromImage=q5&tag={encoded}"));
    check(&format!("q6:1@{digest}"), &[], &format!("fromImage=q6&tag={encoded}"));
    check("q7", &["--platform", "linux/arm/v7"], "fromImage=q7&tag=latest&platform=linux%2Farm%2Fv7");
    check("q8", &["--platform", "a b&c=d+e"], "fromImage=q8&tag=latest&platform=a%20b%26c%3Dd%2Be");
}

#[test]
fn a_bad_reference_is_wrong_usage_before_any_socket_is_opened() {
    let long = "a".repeat(300);
    for image in ["", "UPPER", "a b", "a\tb", "a\u{1b}b", "a\nb", "a:", "a@sha256:12", ":tag", "a//b", &long, "é"] {
        let temp = Temp::new();
        let engine = Engine::new(&temp, whole(GOOD));
        let ended = run(program(&temp).args(["--host", &engine.host(), "--log", &temp.at("log"), "--", image]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{image:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{image:?}: {}", ended.stderr);
        assert!(ended.stderr.len() > 40 && !ended.stderr.contains(['\u{1b}', '\t']), "{image:?}: {}", ended.stderr);
        assert!(engine.requests().is_empty(), "{image:?}");
        assert!(!temp.join("log").exists(), "{image:?}");
    }
    let temp = Temp::new();
    for args in [&[][..], &["-x"], &["-image"], &["a", "b"], &["--retries", "x", "a"], &["--replay"], &["--check"]] {
        let ended = run(program(&temp).args(args));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{args:?}: {}", ended.stderr);
    }
}
