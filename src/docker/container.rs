//! Interprets an engine's answer about a container: whether it runs, whether it can be reached over the network, and which
//! image it runs.
//!
//! Separate from the request, because the engine says "running" of a container that is restarted endlessly, that is
//! paused, or whose network belongs to a container that is gone.
//!
//! **Invariant:** a container has a problem only if the engine or the kernel reports it; what is not reported counts as
//! well.

use crate::docker::platform::Platform;
use serde_json::Value;
use std::path::PathBuf;

/// A namespace that a container shares with another one.
pub(crate) struct SharedNamespace<'a> {
    /// Its name in `/proc/PID/ns`.
    namespace: &'static str,
    /// The other container's id.
    pub(crate) owner: &'a str,
}

/// Why a container does not run, as a phrase that follows its name; `None` if it runs.
pub(crate) fn problem(container: &Value) -> Option<String> {
    let state = &container["State"];
    let is = |key: &str| state[key].as_bool() == Some(true);
    let count = container["RestartCount"].as_u64().unwrap_or(0);
    if is("Restarting") {
        return Some(format!("is restarting again and again ({count} times so far)"));
    }
    if is("Paused") {
        return Some("is paused".to_owned());
    }
    if is("Dead") {
        return Some("is dead".to_owned());
    }
    if !is("Running") {
        return Some("does not run".to_owned());
    }
    (state["Health"]["Status"].as_str() == Some("unhealthy")).then(|| "is unhealthy".to_owned())
}

/// The id of the image that a container was created from; `None` if the answer is not complete.
pub(crate) fn image_id(container: &Value) -> Option<&str> {
    container["Image"].as_str().filter(|_| container["State"]["Running"].is_boolean())
}

/// The digest of the manifest that a container was created from, which only the containerd store reports.
pub(crate) fn manifest(container: &Value) -> Option<&str> {
    container["ImageManifestDescriptor"]["digest"].as_str()
}

/// The platform of that manifest.
pub(crate) fn platform(container: &Value) -> Option<Platform> {
    let platform = Platform::from_json(&container["ImageManifestDescriptor"]["platform"]);
    platform.filter(|_| manifest(container).is_some())
}

/// The namespaces that a container takes from other containers.
pub(crate) fn shared_namespaces(container: &Value) -> Vec<SharedNamespace<'_>> {
    let modes = [("net", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode")];
    let shared = modes.into_iter().filter_map(|(namespace, key)| {
        let owner = container["HostConfig"][key].as_str()?.strip_prefix("container:")?;
        Some(SharedNamespace { namespace, owner })
    });
    shared.collect()
}

impl SharedNamespace<'_> {
    /// Why a container is alone in a namespace that it takes from another, as a phrase that follows its name. No packet
    /// arrives there any more: a container that is started again, even the same one, gets new namespaces.
    pub(crate) fn problem(&self, container: &Value, owner: Option<&Value>) -> Option<String> {
        let kind = match self.namespace {
            "net" => "network",
            other => other,
        };
        let of = self.owner.get(..12).unwrap_or(self.owner);
        let dead = |why: &str| Some(format!("is in the {kind} namespace of container {of}, which {why}"));
        let Some(owner) = owner else { return dead("is gone") };
        if owner["State"]["Running"].as_bool() == Some(false) {
            return dead("does not run");
        }
        let is_left = match (self.inode(container), self.inode(owner)) {
            (Some(here), Some(there)) => here != there,
            // The namespaces cannot be seen from here, so the start times decide.
            _ => started(owner).zip(started(container)).is_some_and(|(owner, own)| owner > own),
        };
        if is_left { dead("was started again since") } else { None }
    }

    fn inode(&self, container: &Value) -> Option<PathBuf> {
        let pid = container["State"]["Pid"].as_u64().filter(|&pid| pid > 0)?;
        std::fs::read_link(format!("/proc/{pid}/ns/{}", self.namespace)).ok()
    }
}

/// When a container was started, in a form that can be compared: seconds, and the fraction, whose trailing zeros
/// engines leave out.
fn started(container: &Value) -> Option<(&str, &str)> {
    let time = container["State"]["StartedAt"].as_str()?.strip_suffix('Z')?;
    Some(time.split_once('.').unwrap_or((time, "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_runs_only_when_it_does_nothing_else() {
        let check = |state: Value, expected: Option<&str>| {
            let container = json!({"RestartCount": 7, "State": state});
            assert_eq!(problem(&container).as_deref(), expected, "{container}");
        };
        check(json!({"Running": true}), None);
        check(json!({"Running": true, "Restarting": false, "Paused": false, "Dead": false}), None);
        check(json!({"Running": true, "Health": null}), None);
        check(json!({"Running": true, "Health": {"Status": "healthy"}}), None);
        check(json!({"Running": true, "Health": {"Status": "starting"}}), None);
        check(json!({"Running": true, "Health": {"Status": "unhealthy"}}), Some("is unhealthy"));
        check(json!({"Running": true, "Restarting": true}), Some("is restarting again and again (7 times so far)"));
        check(json!({"Running": true, "Paused": true}), Some("is paused"));
        check(json!({"Running": false, "Dead": true}), Some("is dead"));
        check(json!({"Running": false}), Some("does not run"));
    }

    #[test]
    fn a_namespace_is_dead_without_the_container_that_made_it() {
        let id = "0123456789abcdef";
        let at = |time: &str, pid: u32| json!({"State": {"Running": true, "StartedAt": time, "Pid": pid}});
        let check = |owner: Option<Value>, started: &str, expected: Option<&str>| {
            let container = json!({
                "HostConfig": {"NetworkMode": format!("container:{id}"), "PidMode": "host", "IpcMode": "private"},
                "State": {"Running": true, "StartedAt": started, "Pid": 0},
            });
            let all = shared_namespaces(&container);
            assert_eq!(all.len(), 1);
            let dead = all[0].problem(&container, owner.as_ref());
            let expected =
                expected.map(|why| format!("is in the network namespace of container 0123456789ab, which {why}"));
            assert_eq!(dead, expected, "{owner:?} {started}");
        };
        let noon = "2026-11-25T12:00:00";
        check(None, noon, Some("is gone"));
        check(Some(json!({"State": {"Running": false}})), noon, Some("does not run"));
        check(Some(at("2026-11-25T12:00:00Z", 0)), "2026-11-25T12:00:00.1Z", None);
        check(Some(at("2026-11-25T12:00:00.45Z", 0)), "2026-11-25T12:00:00.5Z", None);
        check(Some(at("2026-11-25T12:00:00.5Z", 0)), "2026-11-25T12:00:00.45Z", Some("was started again since"));
        check(Some(at("2026-11-25T12:00:01Z", 0)), "2026-11-25T12:00:00.9Z", Some("was started again since"));
        // What is not reported counts as well.
        check(Some(json!({})), noon, None);
    }

    #[test]
    fn what_the_kernel_says_goes_before_the_times() {
        let pid = std::process::id();
        let here = json!({"HostConfig": {"IpcMode": "container:x"}, "State": {"StartedAt": "2026-01-01T00:00:00Z", "Pid": pid}});
        let owner = json!({"State": {"StartedAt": "2027-01-01T00:00:00Z", "Pid": pid}});
        assert_eq!(shared_namespaces(&here)[0].problem(&here, Some(&owner)), None);
    }
}
