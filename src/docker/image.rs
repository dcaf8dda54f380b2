//! What an engine reports about a local image, and whether that is what a pull would fetch.
//!
//! Separate from the requests, because each image store has its own form of answer, and each form has gaps.
//!
//! **Invariant:** pure. «Here» and «not here» are what the engine reported; anything else is [`Here::Unknown`].

use crate::docker::platform::{Platform, Rule};
use crate::docker::value::field;
use serde_json::Value;

/// What is read of the answer of `GET /images/NAME/json`.
pub(crate) const FIELDS: [&str; 7] = ["Id", "RepoDigests", "Descriptor", "Architecture", "Os", "Variant", "Manifests"];

/// These [`FIELDS`].
pub(crate) struct Image(pub(super) Value);

/// What the registry has: the answer of `GET /distribution/NAME/json`, or only a digest.
pub(crate) struct Distribution {
    pub(crate) digest: String,
    /// Whether it is an index (a list of manifests); `None` if not known.
    is_index: Option<bool>,
    /// The platforms of the index, in its order.
    platforms: Vec<Option<Platform>>,
}

/// Which platform a pull would fetch.
pub(crate) struct Wanted {
    /// The requested platform, else the engine's own.
    pub(crate) platform: Platform,
    pub(crate) is_given: bool,
    pub(crate) rule: Rule,
}

/// Whether the entry that a pull would fetch is here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Yes,
    /// The local image is for these platforms, as far as they are known.
    No(String),
    /// It cannot be known, for this reason.
    Unknown(&'static str),
}

/// An entry of an index, as the containerd store reports it.
struct Entry {
    platform: Option<Platform>,
    digest: String,
    is_available: bool,
}

impl Distribution {
    pub(crate) fn new(answer: &Value) -> Option<Self> {
        let descriptor = field(answer, "Descriptor");
        let digest = field(descriptor, "digest").as_str().filter(|digest| !digest.is_empty())?.to_owned();
        let platforms = field(answer, "Platforms").as_array().map(Vec::as_slice).unwrap_or_default();
        let platforms = platforms.iter().map(Platform::from_json).collect();
        Some(Self { digest, is_index: is_index(descriptor), platforms })
    }
}

impl From<String> for Distribution {
    /// What is known if the registry was asked only for the digest.
    fn from(digest: String) -> Self {
        Self { digest, is_index: None, platforms: Vec::new() }
    }
}

/// Whether a descriptor is that of an index; `None` if it does not state its type.
fn is_index(descriptor: &Value) -> Option<bool> {
    let kind = field(descriptor, "mediaType").as_str()?;
    let ends = |ends: &[&str]| ends.iter().any(|end| kind.ends_with(end));
    if ends(&["manifest.list.v2+json", "image.index.v1+json"]) {
        return Some(true);
    }
    ends(&["manifest.v2+json", "image.manifest.v1+json"]).then_some(false)
}

/// A digest or an id without `sha256:`, if it has that.
pub(crate) fn without_algorithm(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

impl Image {
    /// The id as the engine reports it.
    pub(crate) fn reported_id(&self) -> Option<&str> {
        self.0["Id"].as_str()
    }

    /// The id without its algorithm, which podman leaves out.
    pub(crate) fn id(&self) -> Option<&str> {
        self.reported_id().map(without_algorithm)
    }

    /// The digests under which registries have the image. With the containerd store the image's id is one of them; the
    /// graphdriver's id is never the digest of a manifest.
    pub(crate) fn digests(&self) -> Vec<&str> {
        let names = self.0["RepoDigests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut digests: Vec<&str> = names.iter().filter_map(|name| Some(name.as_str()?.split_once('@')?.1)).collect();
        // The same manifest can be known under two names, or from two repositories.
        digests.dedup();
        digests
    }

    /// The digest of the manifest that was requested or that the name refers to; `None` if that is an index.
    pub(crate) fn manifest(&self) -> Option<&str> {
        let descriptor = &self.0["Descriptor"];
        descriptor["digest"].as_str().filter(|_| is_index(descriptor) != Some(true))
    }

    /// The platform that the image itself names.
    fn platform(&self) -> Option<Platform> {
        Platform::from_json(&self.0)
    }

    /// Whether the engine reports that nothing is here for the platform that it chose: the containerd store of Docker
    /// 30 leaves these fields empty then.
    fn is_hollow(&self) -> bool {
        self.0["Architecture"] == "" && self.0["Os"].as_str().is_none_or(str::is_empty)
    }

    /// Whether the image is in the containerd store.
    fn is_of_containerd(&self) -> bool {
        self.id().is_some_and(|id| self.digests().iter().any(|digest| without_algorithm(digest) == id))
    }

    /// The entries of its index, if the engine reports them.
    fn entries(&self) -> Vec<Entry> {
        let manifests = self.0["Manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let images = manifests.iter().filter(|manifest| manifest["Kind"] == "image");
        images
            .map(|manifest| Entry {
                platform: [&manifest["ImageData"]["Platform"], &manifest["Descriptor"]["platform"]]
                    .into_iter()
                    .find_map(Platform::from_json),
                digest: [&manifest["Descriptor"]["digest"], &manifest["ID"]]
                    .into_iter()
                    .find_map(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                is_available: manifest["Available"] == true,
            })
            .collect()
    }

    /// The platforms for which it is here, as far as they are known.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        let entries = self.entries();
        if entries.is_empty() {
            return self.platform().into_iter().collect();
        }
        entries.into_iter().filter(|entry| entry.is_available).filter_map(|entry| entry.platform).collect()
    }

    /// Whether the entry of its digest that a pull would fetch is certainly here, whatever other entries the index has.
    pub(crate) fn has_for_certain(&self, wanted: Option<&Wanted>) -> bool {
        let is_listed = !self.entries().is_empty();
        // No entry fits a platform better than the platform itself. An arm without a variant may be any variant.
        let is_itself = |here: &Platform, wanted: &Wanted| {
            wanted.platform.is(here) && (here.architecture != "arm" || !here.variant.is_empty())
        };
        let is_wanted = wanted.zip(self.platform()).is_some_and(|(wanted, here)| is_itself(&here, wanted));
        (is_listed || is_wanted) && self.has(wanted, None) == Here::Yes
    }

    /// Whether the entry that a pull would fetch is here, given that this is the image that the registry has.
    /// `registry` is the registry's answer, if it was asked.
    pub(crate) fn has(&self, wanted: Option<&Wanted>, registry: Option<&Distribution>) -> Here {
        let no = || {
            let here: Vec<String> = self.platforms().iter().map(Platform::to_string).collect();
            Here::No(here.join(", "))
        };
        let yes_if = |is_here: bool| if is_here { Here::Yes } else { no() };
        let entries = self.entries();
        let known_index = registry.and_then(|registry| registry.is_index).or_else(|| is_index(&self.0["Descriptor"]));
        let is_one_manifest = match (known_index, &entries[..]) {
            (Some(is_index), _) => !is_index,
            (None, [only]) => self.id() == Some(without_algorithm(&only.digest)),
            (None, _) => false,
        };
        if let [first, ..] = &entries[..] {
            let Some(wanted) = wanted.filter(|_| !is_one_manifest) else {
                return yes_if(if is_one_manifest {
                    first.is_available
                } else {
                    entries.iter().any(|e| e.is_available)
                });
            };
            let index: Vec<_> = entries.iter().map(|entry| entry.platform.clone()).collect();
            let taken = wanted.platform.choose(&index, wanted.is_given, wanted.rule);
            return yes_if(taken.iter().any(|at| entries[*at].is_available));
        }
        if self.is_hollow() {
            return no();
        }
        // A manifest without an index is fetched for any platform.
        let (Some(wanted), Some(here), false) = (wanted, self.platform(), is_one_manifest) else { return Here::Yes };
        let index = registry.map(|registry| &registry.platforms[..]).unwrap_or_default();
        let taken = wanted.platform.choose(index, wanted.is_given, wanted.rule);
        let is_here = if taken.is_empty() {
            wanted.platform.takes(&here)
        } else {
            taken.iter().any(|at| index[*at].as_ref().is_none_or(|entry| here.may_be(entry)))
        };
        if !is_here && self.is_of_containerd() {
            // The image may have several platforms, of which this engine reports one.
            return Here::Unknown("this engine does not say which platforms of the image are here");
        }
        yes_if(is_here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn wanted(platform: &str, is_given: bool, rule: Rule) -> Wanted {
        Wanted { platform: Platform::parse(platform).unwrap(), is_given, rule }
    }

    fn platform_json(platform: &str) -> Value {
        let platform = Platform::parse(platform).unwrap();
        json!({"os": platform.os, "architecture": platform.architecture, "variant": platform.variant})
    }

    fn registry(media_type: &str, platforms: &[&str]) -> Distribution {
        let platforms: Vec<Value> = platforms.iter().map(|platform| platform_json(platform)).collect();
        Distribution::new(
            &json!({"Descriptor": {"digest": "sha256:d", "mediaType": media_type}, "Platforms": platforms}),
        )
        .unwrap()
    }

    /// An image as the classic store reports it.
    fn classic(platform: &str) -> Image {
        let json = platform_json(platform);
        let (os, architecture, variant) = (&json["os"], &json["architecture"], &json["variant"]);
        Image(json!({"Id": "sha256:c", "RepoDigests": ["a@sha256:d"],
            "Os": os, "Architecture": architecture, "Variant": variant}))
    }

    /// An image as the containerd store reports it since API 1.48; a `+` marks the entries that are available.
    fn containerd(entries: &[&str]) -> Image {
        let manifests = entries.iter().map(|entry| {
            let platform = platform_json(entry.trim_start_matches('+'));
            json!({"Kind": "image", "Available": entry.starts_with('+'), "ID": "sha256:m",
                "Descriptor": {"digest": "sha256:m"}, "ImageData": {"Platform": platform}})
        });
        let attestation = json!({"Kind": "attestation", "Available": true});
        let manifests: Vec<Value> = manifests.chain([attestation]).collect();
        // The top level describes the engine's own platform, which may not be here.
        Image(json!({"Id": "sha256:d", "RepoDigests": ["a@sha256:d"], "Os": "", "Architecture": "",
            "Descriptor": {"mediaType": INDEX, "digest": "sha256:d"}, "Manifests": manifests}))
    }

    fn no(platforms: &str) -> Here {
        Here::No(platforms.to_owned())
    }

    #[test]
    fn what_is_certain_without_the_index() {
        let check = |image: &Image, wanted_: &str, expected| {
            let wanted = wanted(wanted_, true, Rule::Containerd);
            assert_eq!(image.has_for_certain(Some(&wanted)), expected, "{} for {wanted_}", image.0);
        };
        check(&classic("linux/arm/v7"), "linux/arm/v7", true);
        check(&classic("linux/arm64/v8"), "linux/arm64", true);
        check(&classic("linux/amd64"), "linux/amd64", true);
        // The index may have v7, too, or the image's own variant may be another.
        check(&classic("linux/arm/v6"), "linux/arm/v7", false);
        check(&classic("linux/arm"), "linux/arm/v7", false);
        check(&classic("linux/386"), "linux/amd64", false);
        check(&classic("linux/arm64"), "linux/amd64", false);
        assert!(!classic("linux/amd64").has_for_certain(None));
        // The containerd store lists the whole index.
        let both = containerd(&["+linux/arm/v6", "linux/arm/v7"]);
        check(&both, "linux/arm/v6", true);
        check(&both, "linux/arm/v7", false);
    }

    #[test]
    fn the_classic_store_has_one_platform() {
        let check = |here: &str, index: &[&str], wanted_: &str, expected: Here| {
            let wanted = wanted(wanted_, true, Rule::Containerd);
            let has = classic(here).has(Some(&wanted), Some(&registry(INDEX, index)));
            assert_eq!(has, expected, "{here} of {index:?} for {wanted_}");
        };
        let both = &["linux/amd64", "linux/arm64"];
        check("linux/arm64", both, "linux/amd64", no("linux/arm64"));
        check("linux/arm64", both, "linux/arm64", Here::Yes);
        check("linux/arm64", both, "linux/arm64/v8", Here::Yes);
        // For arm v7, v6 is chosen from an index without v7.
        check("linux/arm/v6", &["linux/arm/v6"], "linux/arm/v7", Here::Yes);
        check("linux/arm/v6", &["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", no("linux/arm/v6"));
        check("linux/arm/v8", &["linux/arm/v8"], "linux/arm64", Here::Yes);
        check("linux/386", &["linux/386"], "linux/amd64", Here::Yes);
        check("linux/386", &["linux/386", "linux/amd64"], "linux/amd64", no("linux/386"));
        // A variant that the image does not state counts as matching.
        check("linux/arm", &["linux/arm/v6"], "linux/arm/v6", Here::Yes);
        // A pull would be refused; but what is here is for another platform in any case.
        check("linux/arm64", &["linux/arm64"], "linux/amd64", no("linux/arm64"));
        // Without a request the engine's own platform counts.
        let own = wanted("linux/amd64", false, Rule::Containerd);
        assert_eq!(classic("linux/arm64").has(Some(&own), Some(&registry(INDEX, both))), no("linux/arm64"));
        assert_eq!(classic("linux/amd64").has(Some(&own), Some(&registry(INDEX, both))), Here::Yes);
        let variants = registry(INDEX, &["linux/amd64/v3", "linux/amd64"]);
        assert_eq!(classic("linux/amd64").has(Some(&own), Some(&variants)), Here::Yes);
        assert_eq!(classic("linux/arm64").has(None, Some(&registry(INDEX, both))), Here::Yes);
        // Docker before 23 chooses the first entry of an index for any arm.
        let v7 = wanted("linux/arm/v7", true, Rule::Old);
        let index = registry(INDEX, &["linux/arm/v5", "linux/arm/v6"]);
        assert_eq!(classic("linux/arm/v5").has(Some(&v7), Some(&index)), Here::Yes);
        assert_eq!(classic("linux/arm/v6").has(Some(&v7), Some(&index)), no("linux/arm/v6"));
    }

    #[test]
    fn one_manifest_is_taken_whatever_is_wanted() {
        let arm = wanted("linux/arm64", true, Rule::Containerd);
        let one = registry(MANIFEST, &["linux/amd64"]);
        assert_eq!(classic("linux/amd64").has(Some(&arm), Some(&one)), Here::Yes);
        let mut image = containerd(&["+linux/amd64"]);
        assert_eq!(image.has(Some(&arm), Some(&one)), Here::Yes);
        // An image without an index is its own only entry.
        image.0["Descriptor"] = Value::Null;
        image.0["Id"] = json!("sha256:m");
        assert_eq!(image.has(Some(&arm), None), Here::Yes);
        assert_eq!(containerd(&["linux/amd64"]).has(Some(&arm), Some(&one)), no(""));
    }

    #[test]
    fn the_containerd_store_says_what_is_available() {
        let check = |entries: &[&str], wanted_: &str, expected: Here| {
            let wanted = wanted(wanted_, true, Rule::Containerd);
            assert_eq!(containerd(entries).has(Some(&wanted), None), expected, "{entries:?} for {wanted_}");
        };
        check(&["linux/amd64", "+linux/arm64"], "linux/amd64", no("linux/arm64"));
        check(&["linux/amd64", "+linux/arm64"], "linux/arm64", Here::Yes);
        check(&["+linux/amd64", "+linux/arm64"], "linux/arm64", Here::Yes);
        check(&["+linux/arm/v6"], "linux/arm/v7", Here::Yes);
        check(&["+linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", no("linux/arm/v6"));
        check(&["linux/amd64", "linux/arm64"], "linux/arm64", no(""));
        check(&["+linux/amd64"], "linux/s390x", no("linux/amd64"));
        let image = containerd(&["linux/amd64", "+linux/arm64"]);
        assert_eq!(image.has(None, None), Here::Yes);
        let platforms: Vec<String> = image.platforms().iter().map(Platform::to_string).collect();
        assert_eq!(platforms, ["linux/arm64"]);
    }

    #[test]
    fn an_engine_that_shows_one_of_several_says_nothing_of_the_others() {
        let arm = wanted("linux/arm64", true, Rule::Containerd);
        let mut image = classic("linux/amd64");
        image.0["Id"] = json!("sha256:d");
        assert!(matches!(image.has(Some(&arm), None), Here::Unknown(_)));
        image.0["Architecture"] = json!("arm64");
        assert_eq!(image.has(Some(&arm), None), Here::Yes);
        // Docker 30 has nothing of this platform.
        (image.0["Os"], image.0["Architecture"]) = (json!(""), json!(""));
        assert_eq!(image.has(Some(&arm), None), no(""));
        assert_eq!(image.has(None, None), no(""));
        // An image that reports no platform is accepted.
        assert_eq!(Image(json!({"Id": "1"})).has(Some(&arm), None), Here::Yes);
    }

    #[test]
    fn digests_are_those_of_all_names() {
        let digests = ["a/b@sha256:2", "c@sha256:2", "h:5000/d@sha256:3", "odd"];
        let image = Image(json!({"Id": "sha256:1", "RepoDigests": digests}));
        assert_eq!(image.digests(), ["sha256:2", "sha256:3"]);
        assert!(Image(json!({"RepoDigests": null})).digests().is_empty());
        assert_eq!(image.id(), Some("1"));
    }

    #[test]
    fn what_a_registry_has() {
        assert!(Distribution::new(&json!({})).is_none());
        assert!(Distribution::new(&json!({"Descriptor": {"digest": ""}})).is_none());
        let found = Distribution::new(&json!({"Descriptor": {"digest": "sha256:d"}})).unwrap();
        assert_eq!((found.digest.as_str(), found.is_index, found.platforms.len()), ("sha256:d", None, 0));
        assert_eq!(registry(INDEX, &["linux/amd64"]).is_index, Some(true));
        assert_eq!(registry("application/vnd.docker.distribution.manifest.list.v2+json", &[]).is_index, Some(true));
        assert_eq!(registry(MANIFEST, &[]).is_index, Some(false));
    }
}
