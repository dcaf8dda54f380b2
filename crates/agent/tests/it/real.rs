//! Debian's docker-registry, for real answers: with plain HTTP, htpasswd, TLS, and client certificates.
//!
//! Needs `docker-registry` and `htpasswd`, which `tests/run.sh` installs; fails without them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::agent::{Call, Scratch};
use crate::fake::{DOCKER, OCI, digest_of as digest};
use crate::pki::Authority;

struct Registry {
    child: Child,
    address: String,
    scratch: Rc<Scratch>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// `http` are the lines of its configuration below that key, `beside` other lines; `{dir}` is the scratch directory.
    fn start(scratch: Rc<Scratch>, http: &str, beside: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let directory = scratch.0.display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n\
            http:\n  addr: {address}\n{http}{beside}"
        );
        let config = scratch.write("config.yml", text.replace("{dir}", &directory));
        let log = fs::File::create(scratch.0.join("log")).expect("a log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(log.try_clone().expect("a copy"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("docker-registry, which tests/lab/lab.sh install brings");
        let registry = Self { child, address, scratch };
        for _ in 0..200 {
            if TcpStream::connect(&registry.address).is_ok() {
                return registry;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "docker-registry does not listen: {}",
            fs::read_to_string(registry.scratch.0.join("log")).unwrap_or_default()
        );
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/lib/app:{tag}", self.address)
    }
}

/// Pushes by plain HTTP; the registry can then be restarted with other settings over the same content.
fn push(address: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> ureq::http::Response<ureq::Body> {
    let url = if path.starts_with("http") { path.to_owned() } else { format!("http://{address}/v2/lib/app/{path}") };
    let request =
        ureq::http::Request::builder().method(method).uri(url).header("content-type", kind).body(body.to_vec());
    let answer = ureq::run(request.expect("a request")).expect("the registry takes it");
    assert!(answer.status().is_success(), "{answer:?}");
    answer
}

fn push_blob(address: &str, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    let upload = push(address, "POST", "blobs/uploads/", "application/octet-stream", b"");
    let location = upload.headers()["location"].to_str().expect("text").to_owned();
    let mark = if location.contains('?') { '&' } else { '?' };
    push(address, "PUT", &format!("{location}{mark}digest={digest}"), "application/octet-stream", bytes);
    digest
}

/// Pushes an image with blobs of these sizes; returns its digest and length, and the answer that the agent must give.
fn push_image(address: &str, kind: &str, tag: &str, sizes: &[usize]) -> (String, usize, Vec<(String, u64)>) {
    let config = push_blob(address, format!("{{\"tag\":\"{tag}{kind}\"}}").as_bytes());
    let (mut layers, mut expected) = (Vec::new(), Vec::new());
    for (place, &size) in sizes.iter().enumerate() {
        let fill = u8::try_from(place + 1).expect("few layers");
        let digest = push_blob(address, &vec![fill ^ tag.as_bytes()[0]; size]);
        layers.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#
        ));
        expected.push((digest["sha256:".len()..][..12].to_owned(), size as u64));
    }
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":4}},"layers":[{}]}}"#,
        layers.join(",")
    );
    push(address, "PUT", &format!("manifests/{tag}"), kind, text.as_bytes());
    (digest(text.as_bytes()), text.len(), expected)
}

#[test]
fn plain_with_indexes_of_both_families() {
    let registry = Registry::start(Rc::new(Scratch::new("real-plain")), "", "");
    for kinds in [OCI, DOCKER] {
        let family = if kinds == OCI { "oci" } else { "docker" };
        let (arm, arm_length, arm_layers) =
            push_image(&registry.address, kinds[1], &format!("{family}-arm"), &[1000, 20]);
        let (amd, amd_length, amd_layers) =
            push_image(&registry.address, kinds[1], &format!("{family}-amd"), &[70_000]);
        let (note, note_length, _) = push_image(&registry.address, kinds[1], &format!("{family}-note"), &[33]);
        let entry = |digest: &str, length: usize, platform: &str| {
            format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{length},"platform":{{{platform}}}}}"#, kinds[1])
        };
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{},{},{}]}}"#,
            kinds[0],
            entry(&note, note_length, r#""os":"unknown","architecture":"unknown""#),
            entry(&arm, arm_length, r#""os":"linux","architecture":"arm","variant":"v7""#),
            entry(&amd, amd_length, r#""os":"linux","architecture":"amd64""#),
        );
        push(&registry.address, "PUT", &format!("manifests/{family}"), kinds[0], text.as_bytes());

        let answer = Call::sizes(&registry.image(family)).ask();
        assert_eq!(answer.layers(), amd_layers);
        answer.has("digest", &digest(text.as_bytes())).has("platform", "linux/amd64");
        let answer = Call::sizes(&registry.image(family)).with("/engine", "linux/arm/v7".into()).ask();
        assert_eq!(answer.layers(), arm_layers);
        assert_eq!(answer.json["total"], 1020);
        // Requested by its digest it has no platform.
        let answer = Call::sizes(&format!("{}/lib/app@{arm}", registry.address)).ask();
        assert_eq!(answer.layers(), arm_layers);
        answer.has("digest", &arm);
        let answer = Call::digest(&registry.image(family)).ask();
        answer.has("digest", &digest(text.as_bytes()));
    }
    Call::sizes(&registry.image("none")).ask().is_kind("not-found");
}

/// Starts a registry twice over the same content: with plain HTTP to push to, and then with the settings of the test.
fn restarted(name: &str, http: &str, beside: &str, files: &[(&str, &str)]) -> (Registry, Vec<(String, u64)>) {
    let scratch = Rc::new(Scratch::new(name));
    for (name, text) in files {
        scratch.write(name, text);
    }
    let plain = Registry::start(scratch.clone(), "", "");
    let (_, _, layers) = push_image(&plain.address, OCI[1], "app", &[4000, 500]);
    drop(plain);
    (Registry::start(scratch, http, beside), layers)
}

#[test]
fn htpasswd() {
    let made = Command::new("htpasswd").args(["-Bbn", "user", "secret"]).output().expect("htpasswd, of apache2-utils");
    let file = String::from_utf8(made.stdout).expect("text");
    let beside = "auth: {htpasswd: {realm: r, path: \"{dir}/users\"}}\n";
    let (registry, layers) = restarted("real-htpasswd", "", beside, &[("users", &file)]);
    let call = || Call::sizes(&registry.image("app"));
    call().ask().is_kind("auth");
    call().login("user", "wrong").ask().is_kind("auth");
    assert_eq!(call().login("user", "secret").ask().layers(), layers);
    Call::digest(&registry.image("app"))
        .login("user", "secret")
        .ask()
        .has("digest", &served_digest(&registry, "user:secret"));
}

/// The digest, as the registry itself reports it.
fn served_digest(registry: &Registry, login: &str) -> String {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let url = format!("http://{}/v2/lib/app/manifests/app", registry.address);
    let answer = ureq::get(url).header("accept", OCI[1]).header("authorization", format!("Basic {login}")).call();
    digest(&answer.expect("an answer").body_mut().read_to_vec().expect("a manifest"))
}

#[test]
fn tls_with_certs_d_and_client_certificates() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (server, client) = (authority.identity(&["127.0.0.1"]), clients.identity(&["pi"]));
    let key = server.key.serialize_pem();
    let files = [("server.crt", server.pem.as_str()), ("server.key", &key), ("clients.crt", &clients.pem)];
    for (name, more) in [("real-tls", ""), ("real-mtls", "    clientcas: [\"{dir}/clients.crt\"]\n")] {
        let http = "  tls:\n    certificate: \"{dir}/server.crt\"\n    key: \"{dir}/server.key\"\n".to_owned() + more;
        let (registry, layers) = restarted(name, &http, "", &files);
        let certs = Scratch::new(&format!("{name}-certs"));
        let call = || Call::sizes(&registry.image("app")).verified().certs(&certs.0);
        call().ask().is_kind("tls");
        certs.write(&format!("{}/ca.crt", registry.address), &authority.pem);
        if !more.is_empty() {
            call().ask().is_kind("tls");
            certs.write(&format!("{}/client.cert", registry.address), &client.pem);
            certs.write(&format!("{}/client.key", registry.address), client.key.serialize_pem());
        }
        let answer = call().ask();
        assert_eq!(answer.layers(), layers, "{name}");
        answer.has("asked", &format!("https://{}", registry.address));
    }
}
