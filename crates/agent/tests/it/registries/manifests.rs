//! Manifests and indexes with all kinds of layers and platforms, and answers that the agent must not trust.

use serde_json::{Value, json};

use crate::agent::{Answer, Call};
use crate::fake::{
    DOCKER, OCI, Server, answer, digest, digest_of, image, index, registry, sealed, simple, simple_digest,
    simple_layers,
};

/// The agent's answer about `app`, the first of these manifests, and the registry that has them.
fn ask(manifests: Vec<(&'static str, String)>, platform: Option<&str>, version: &str) -> (Answer, Server) {
    let manifests = sealed(manifests);
    let server = Server::start(None, move |request| registry(&manifests, request));
    let call = Call::sizes(&format!("{}/a:app", server.address)).with("/platform", json!(platform));
    (call.with("/version", json!(version)).ask(), server)
}

fn layer(kind: &str, start: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": digest(start), "size": size})
}

#[test]
fn layers_of_every_kind() {
    let elsewhere = Server::start(None, |_| answer("200 OK", &[], ""));
    let mut foreign = layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "f0", 70);
    foreign["urls"] = json!([format!("http://{}/layer", elsewhere.address)]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI[1],
        "config": layer("application/vnd.oci.image.config.v1+json", "c0", 7),
        "layers": [
            layer("application/vnd.oci.image.layer.v1.tar+zstd", "2510", 4_000_000_000),
            layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "d0", 60),
            foreign,
            layer("application/vnd.oci.image.layer.v1.tar", "e0", 0),
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip", "1a", 50),
            layer("application/vnd.oci.image.layer.v1.tar+zstd", "2510", 4_000_000_000),
        ],
        "annotations": {"com.example.note": "x"},
        "subject": layer(OCI[1], "5b", 9),
    });
    let (answer, _server) = ask(vec![("app", manifest.to_string())], None, "28.5.2");
    let expected = [("2510", 4_000_000_000), ("d0", 60), ("f0", 70), ("e0", 0), ("1a", 50)];
    assert_eq!(answer.layers(), expected.map(|(start, size)| (format!("{start:0<12}"), size)));
    assert_eq!(answer.json["total"], 4_000_000_180_u64);
    assert_eq!(elsewhere.lines(), [""; 0], "asked where a foreign layer is");

    // An artifact that is not an image: the engine itself reports that.
    let empty = layer("application/vnd.oci.empty.v1+json", "44136fa355b3", 2);
    let artifact = json!({"schemaVersion": 2, "artifactType": "application/x", "config": empty, "layers": [empty]});
    let (answer, _server) = ask(vec![("app", artifact.to_string())], None, "28.5.2");
    assert_eq!(answer.layers(), [("44136fa355b3".to_owned(), 2)]);
    let (answer, _server) = ask(vec![("app", image(OCI[1], &[]))], None, "28.5.2");
    assert_eq!((answer.layers(), &answer.json["total"]), (vec![], &json!(0)));
}

#[test]
fn layers_that_cannot_be_summed() {
    let without = json!({"schemaVersion": 2, "layers": [layer("x", "aa", 1), {"digest": digest("bb")}]});
    let schema_1 = json!({"schemaVersion": 1, "name": "a", "tag": "app", "fsLayers": [{"blobSum": digest("aa")}], "signatures": []});
    let artifact =
        json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": [layer("x", "aa", 1)]});
    for manifest in [without, schema_1, artifact] {
        let (answer, server) = ask(vec![("app", manifest.to_string())], None, "20.10.24");
        answer.is_kind("format");
        assert_eq!(server.lines().len(), 1);
    }
}

#[test]
fn indexes_of_every_kind() {
    let image = |start| image(OCI[1], &[(start, 1)]);
    // An index with attestations only.
    let attested = |entries: &[(&str, &str)]| index(OCI, entries);
    let (answer, server) =
        ask(vec![("app", attested(&[("a0", "unknown/unknown")])), ("a0", image("aa"))], None, "28.5.2");
    answer.is_kind("platform");
    assert_eq!(server.lines().len(), 1, "asked for an attestation");

    // An index in an index, and an entry whose manifest the registry does not have.
    let inner = index(OCI, &[("a2", "linux/amd64")]);
    let (answer, server) =
        ask(vec![("app", index(OCI, &[("a1", "linux/amd64")])), ("a1", inner), ("a2", image("22"))], None, "28.5.2");
    answer.is_kind("format");
    assert_eq!(server.lines().len(), 2);
    let (answer, _server) = ask(vec![("app", index(DOCKER, &[("a1", "linux/amd64")]))], None, "28.5.2");
    answer.is_kind("not-found");
    let (answer, _server) = ask(vec![("app", index(OCI, &[]))], None, "28.5.2");
    answer.is_kind("platform");

    // Windows' versions and features of the operating system have no effect on Linux.
    let windows = r#"{"os":"windows","architecture":"amd64","os.version":"10.0.17763.1"}"#;
    let linux = r#"{"os":"linux","architecture":"amd64","os.version":"6.1","os.features":["x"],"features":["sse4"]}"#;
    let list = [("a1", windows), ("a2", linux)]
        .map(|(start, platform)| format!(r#"{{"digest":"{}","size":9,"platform":{platform}}}"#, digest(start)));
    let list = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#, OCI[0], list.join(","));
    let (answer, _server) = ask(vec![("app", list), ("a1", image("11")), ("a2", image("22"))], None, "28.5.2");
    assert_eq!(answer.layers(), [("220000000000".to_owned(), 1)]);
}

#[test]
fn each_variant_of_arm() {
    let manifests = || {
        let names = [("a5", "linux/arm/v5"), ("a6", "linux/arm/v6"), ("a7", "linux/arm/v7"), ("a8", "linux/arm/v8")];
        let mut list = vec![("app", index(DOCKER, &names))];
        list.extend(names.map(|(name, _)| (name, image(DOCKER[1], &[(name, 1)]))));
        list
    };
    for (platform, new, old) in [
        ("linux/arm/v5", "a5", "a5"),
        ("linux/arm/v6", "a6", "a6"),
        ("linux/arm/v7", "a7", "a7"),
        ("linux/arm", "a7", "a7"),
        ("linux/arm/v8", "a8", "a8"),
        // For 20.10 none of them fits, so it takes the first; later engines take the newest.
        ("linux/arm/v9", "a8", "a5"),
        ("linux/arm64", "a8", ""),
    ] {
        for (version, expected) in [("28.5.2", new), ("20.10.24", old)] {
            let (answer, _server) = ask(manifests(), Some(platform), version);
            if expected.is_empty() {
                answer.is_kind("platform");
            } else {
                assert_eq!(answer.layers()[0].0, format!("{expected:0<12}"), "{platform} {version}");
            }
        }
    }
}

#[test]
fn no_other_bytes_than_the_digest_names() {
    let good = simple()[0].1.clone();
    let other = image(OCI[1], &[("dd44", 4)]);
    let list = index(OCI, &[("a1", "linux/amd64")]);
    let text = (good.clone(), other.clone());
    let server = Server::start(None, move |request| {
        let (good, other) = &text;
        let header = |value: &str, body: &str| answer("200 OK", &[("docker-content-digest", value)], body);
        match request.path.split('/').nth(2).unwrap_or_default() {
            "right" => header(&simple_digest(), good),
            "garbage" => header("x", good),
            // An index with an entry for which the registry sends another manifest.
            "index" if request.path.ends_with("/app") => {
                answer("200 OK", &[], &list.replace(&digest("a1"), &simple_digest()))
            }
            "swapped" | "index" => header(&simple_digest(), other),
            "long" => header(&format!("sha512:{}", "0".repeat(128)), good),
            // No header, and the same body for each request.
            _ => answer("200 OK", &[], good),
        }
    });
    let ask = |name: &str| Call::sizes(&format!("{}/{name}", server.address)).ask();
    for name in ["right:app", "silent:app", "garbage:app"] {
        let answer = ask(name);
        assert_eq!(answer.layers(), simple_layers(), "{name}");
        answer.has("digest", &simple_digest());
    }
    assert_eq!(ask(&format!("any@{}", simple_digest())).layers(), simple_layers());
    for name in ["swapped:app", "index:app", "long:app", &format!("any@{}", digest_of(other.as_bytes()))] {
        ask(name).is_kind("format");
    }
}

#[test]
fn odd_headers_of_answers() {
    let server = Server::start(None, |request| {
        let text = &simple()[0].1;
        let typed = |kind: &str| answer("200 OK", &[("content-type", kind)], text);
        match request.path.split('/').nth(2).unwrap_or_default() {
            "none" => answer("200 OK", &[], text),
            "parameters" => typed(&format!("{}; charset=\"utf-8\"; x=y", OCI[1])),
            "text" => typed("text/plain"),
            "capitals" => typed(&DOCKER[1].to_ascii_uppercase()),
            "identity" => answer("200 OK", &[("content-encoding", "identity")], text),
            // The first bytes of gzip, which was not requested.
            "gzip" => {
                let mut bytes = answer("200 OK", &[("content-encoding", "gzip")], "12345");
                let at = bytes.len() - 5;
                bytes[at..].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0]);
                bytes
            }
            "empty" => answer("204 No Content", &[], ""),
            "part" => answer("206 Partial Content", &[], text),
            "choices" => answer("300 Multiple Choices", &[("location", "/v2/none/manifests/app")], ""),
            _ => answer("404 Not Found", &[], ""),
        }
    });
    for (name, kind) in [
        ("none", ""),
        ("parameters", ""),
        ("text", ""),
        ("capitals", ""),
        ("identity", ""),
        ("gzip", "format"),
        ("empty", "network"),
        ("part", "network"),
        ("choices", "network"),
    ] {
        let answer = Call::sizes(&format!("{}/{name}:app", server.address)).ask();
        if kind.is_empty() {
            assert_eq!(answer.layers(), simple_layers(), "{name}");
        } else {
            answer.is_kind(kind);
        }
    }
    assert!(server.requests().iter().all(|request| request.header("accept-encoding").is_none()));
}
