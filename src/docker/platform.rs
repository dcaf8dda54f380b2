//! Which entry of an image's index an engine chooses for a platform, and what it can run: containerd's rules.
//!
//! Needed by `--check`, which has to know without a pull what a pull would fetch, and by a pull, which warns if the
//! image cannot run. `alm-agent` has an implementation of its own, for platforms of which all parts are known; that the
//! two agree is what the fuzz target `platform` checks.
//!
//! **Invariant:** pure. A property of a platform that is not known never counts against it.

use crate::docker::value::field;
use serde_json::Value;

/// `OS/ARCH[/VARIANT]` in docker's names; parts that are not known are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: String,
}

/// How an engine chooses an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// By containerd's rules: Docker since 23, and podman nearly so.
    Containerd,
    /// Docker before 23.
    Old,
}

const SYSTEMS: [&str; 18] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

const ARCHITECTURES: [&str; 18] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc", "ppc64", "ppc64le",
    "riscv", "riscv64", "s390", "s390x", "sparc64", "wasm",
];

impl Platform {
    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            // `windows(10.0.17763)`: the version is ignored.
            os => os.split('(').next().unwrap_or_default().to_owned(),
        };
        let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("amd64" | "x86_64" | "x86-64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("arm64" | "aarch64", "8") => ("arm64", "v8"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// Parses the value of `--platform`. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.()+".contains(&byte))
        };
        if !parts.iter().all(is_word) {
            return Err("a part of it is empty or has a character that no platform has");
        }
        match parts[..] {
            [one] => {
                let (system, architecture) = (Self::new(one, "", ""), Self::new("", one, ""));
                if SYSTEMS.contains(&system.os.as_str()) {
                    Ok(system)
                } else if ARCHITECTURES.contains(&architecture.architecture.as_str()) {
                    Ok(architecture)
                } else {
                    Err("it is neither an operating system nor an architecture that docker knows")
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err("it has more than three parts"),
        }
    }

    /// The platform in the JSON of an image, an index or an engine (`Arch`); `None` if it has no part of one.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |name| field(value, name).as_str();
        let architecture = text("architecture").or_else(|| text("arch")).unwrap_or_default();
        let platform = Self::new(text("os").unwrap_or_default(), architecture, text("variant").unwrap_or_default());
        (platform != Self::default()).then_some(platform)
    }

    /// This platform, with its unknown parts taken from `engine`.
    pub(crate) fn or(mut self, engine: &Self) -> Self {
        if self.os.is_empty() {
            self.os.clone_from(&engine.os);
        }
        if self.architecture.is_empty() {
            self.architecture.clone_from(&engine.architecture);
            self.variant.clone_from(&engine.variant);
        }
        self
    }

    /// The variant, or the default of its architecture.
    fn variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "") => "v7",
            ("arm64", "v8") => "",
            (_, variant) => variant,
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.os == other.os && self.architecture == other.architecture && self.variant() == other.variant()
    }

    /// Whether an image that names this platform can be that entry of an index: images often leave out the variant.
    pub(crate) fn may_be(&self, entry: &Self) -> bool {
        let has_variant = !self.variant.is_empty() && !entry.variant.is_empty();
        self.os == entry.os
            && self.architecture == entry.architecture
            && (!has_variant || self.variant() == entry.variant())
    }

    /// The platforms that are accepted for this one, best first.
    fn fitting(&self) -> Vec<Self> {
        let with = |architecture: &str, variant: String| Self {
            os: self.os.clone(),
            architecture: architecture.to_owned(),
            variant,
        };
        // With or without its `v`, as engines read it; no architecture has a v10.
        let number = |variant: &str| {
            variant.strip_prefix('v').unwrap_or(variant).parse::<u16>().ok().map(|number| number.min(9))
        };
        let mut list = vec![self.clone()];
        match self.architecture.as_str() {
            "amd64" => {
                let own = number(&self.variant).unwrap_or(1);
                list.extend((2..own).rev().map(|n| with("amd64", format!("v{n}"))));
                // A variant that is not a number has no older ones.
                list.extend((own > 1).then(|| with("amd64", String::new())));
                list.push(with("386", String::new()));
            }
            "arm" => {
                let own = number(self.variant()).unwrap_or(5);
                list.extend((5..own).rev().map(|n| with("arm", format!("v{n}"))));
            }
            "arm64" => {
                list.push(with("arm64", String::new()));
                list.extend((5..=8).rev().map(|n| with("arm", format!("v{n}"))));
            }
            _ => {}
        }
        list
    }

    /// Whether an engine whose own platform is `self` can run an image of this platform. Variants of amd64 are not
    /// compared: an engine does not report which one its processor has.
    pub(crate) fn runs(&self, image: &Self) -> bool {
        let is_unknown =
            [&self.os, &self.architecture, &image.os, &image.architecture].iter().any(|part| part.is_empty());
        let is_amd64 = self.architecture == "amd64" && image.architecture == "amd64";
        is_unknown || (self.os == image.os && is_amd64) || self.takes(image)
    }

    /// Whether an image of this platform is accepted for `self`.
    pub(crate) fn takes(&self, image: &Self) -> bool {
        self.fitting().iter().any(|fitting| {
            image.os == fitting.os
                && image.architecture == fitting.architecture
                && (image.variant.is_empty() || image.variant() == fitting.variant())
        })
    }

    /// The entries of an index that an engine may choose for this platform: at most one, unless the engine chooses by
    /// the features of its processor, which it does not report. An entry without a platform is `None`. `is_given`: the
    /// platform was requested, and is not the engine's own.
    pub(crate) fn choose(&self, index: &[Option<Self>], is_given: bool, rule: Rule) -> Vec<usize> {
        let first = |fits: &dyn Fn(&Self) -> bool| index.iter().position(|entry| entry.as_ref().is_some_and(fits));
        if rule == Rule::Old {
            let any_arm =
                || first(&|entry| self.architecture == "arm" && entry.architecture == "arm" && entry.os == self.os);
            return first(&|entry| entry.is(self)).or_else(any_arm).into_iter().collect();
        }
        let is_amd64 = |entry: &Self| entry.os == self.os && entry.architecture == "amd64";
        if !is_given
            && self.architecture == "amd64"
            && index.iter().flatten().any(|entry| is_amd64(entry) && !entry.variant.is_empty())
        {
            let entries = index.iter().enumerate();
            return entries.filter(|(_, entry)| entry.as_ref().is_some_and(is_amd64)).map(|(at, _)| at).collect();
        }
        let best = self.fitting().iter().find_map(|fitting| first(&|entry| entry.is(fitting)));
        best.or_else(|| index.iter().position(Option::is_none)).into_iter().collect()
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for part in [&self.os, &self.architecture, &self.variant].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{separator}{part}")?;
            separator = "/";
        }
        Ok(())
    }
}

/// The variant of a 32-bit ARM processor from the text of /proc/cpuinfo, as containerd determines it.
pub(crate) fn arm_variant(cpuinfo: &str) -> &'static str {
    let field = |name: &str| {
        let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    match field("cpu architecture").as_deref() {
        // The kernel of the first Pis reports 7.
        Some("7") if field("model name").is_some_and(|model| model.starts_with("armv6-compatible")) => "v6",
        Some("8" | "aarch64") => "v8",
        Some("6" | "6tej") => "v6",
        Some("5" | "5t" | "5te" | "5tej") => "v5",
        _ => "v7",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    /// What is chosen from `index` (in its order; `-` is an entry without a platform) for each wanted platform; one
    /// with a `*` in front is the engine's own, and was not requested.
    fn check(rule: Rule, index: &str, table: &[(&str, &str)]) {
        let names: Vec<&str> = index.split(' ').collect();
        let entries: Vec<_> =
            names.iter().map(|name| (*name != "-").then(|| platform(&format!("linux/{name}")))).collect();
        for (wanted, expected) in table {
            for wanted in wanted.split(' ') {
                let own = wanted.strip_prefix('*');
                let chosen =
                    platform(&format!("linux/{}", own.unwrap_or(wanted))).choose(&entries, own.is_none(), rule);
                let taken: Vec<&str> = chosen.iter().map(|at| names[*at]).collect();
                let taken = if taken.is_empty() { "refused".to_owned() } else { taken.join(" ") };
                assert_eq!(taken, *expected, "{rule:?} [{index}] for {wanted}");
            }
        }
    }

    #[test]
    fn engines_since_23_take_what_containerd_takes() {
        let check = |index, table: &[(&str, &str)]| check(Rule::Containerd, index, table);
        check(
            "arm/v5 arm/v6",
            &[
                ("arm arm/v7 arm/v8 arm/v6 arm64 arm64/v8", "arm/v6"),
                ("arm/v5", "arm/v5"),
                ("*amd64 386 amd64/v2", "refused"),
            ],
        );
        for index in ["arm/v8 arm/v7", "arm/v7 arm/v8"] {
            check(
                index,
                &[
                    ("arm arm/v7", "arm/v7"),
                    ("arm/v8 arm64 arm64/v8", "arm/v8"),
                    ("*amd64 arm/v6 arm/v5 386 amd64/v2", "refused"),
                ],
            );
        }
        check(
            "arm/v6 arm/v7 arm64/v8",
            &[
                ("arm arm/v7 arm/v8", "arm/v7"),
                ("arm/v6", "arm/v6"),
                ("arm64 arm64/v8", "arm64/v8"),
                ("arm/v5", "refused"),
            ],
        );
        check(
            "arm amd64",
            &[("*amd64 amd64/v2", "amd64"), ("arm arm/v7 arm/v8 arm64", "arm"), ("arm/v6 arm/v5 386", "refused")],
        );
        check(
            "arm64 arm/v7",
            &[("arm/v7 arm/v8 arm", "arm/v7"), ("arm64", "arm64"), ("*amd64 arm/v6 amd64/v2", "refused")],
        );
        // An index by buildx, with its attestations.
        check(
            "amd64 arm64 arm/v7 unknown",
            &[("*amd64 amd64/v2", "amd64"), ("arm64", "arm64"), ("arm/v7", "arm/v7"), ("386 arm/v6", "refused")],
        );
        check("arm64", &[("arm64 arm64/v8", "arm64"), ("*amd64 arm/v7 386", "refused")]);
        for index in ["arm64/v8.2 arm64", "arm64/v9 arm64"] {
            check(index, &[("arm64", "arm64"), ("arm/v7 *amd64", "refused")]);
        }
        check("386", &[("*amd64 386 amd64/v2", "386"), ("arm/v7 arm64", "refused")]);
        check("386 amd64", &[("*amd64 amd64/v2", "amd64"), ("386", "386")]);
        check("amd64/v3 amd64/v2 amd64", &[("amd64", "amd64"), ("amd64/v2", "amd64/v2"), ("arm/v7", "refused")]);
        // Only the engine knows the variant of its processor.
        check("amd64/v3 amd64/v2 amd64", &[("*amd64", "amd64/v3 amd64/v2 amd64")]);
        for index in ["- arm/v6 arm64 amd64", "arm/v6 arm64 amd64 -"] {
            check(index, &[("arm/v7 arm/v6", "arm/v6"), ("arm64", "arm64"), ("*amd64", "amd64"), ("arm/v5 386", "-")]);
        }
        check("s390x -", &[("arm/v7 arm64 *amd64 386", "-"), ("s390x", "s390x")]);
        check("amd64 amd64", &[("*amd64", "amd64")]);
        // The first of equal entries, and none of another system.
        let entries = [Some(platform("windows/amd64")), Some(platform("linux/amd64")), Some(platform("linux/amd64"))];
        assert_eq!(platform("linux/amd64").choose(&entries, false, Rule::Containerd), [1]);
    }

    #[test]
    fn engines_before_23_have_a_rule_of_their_own() {
        let check = |index, table: &[(&str, &str)]| check(Rule::Old, index, table);
        check("arm/v5 arm/v6", &[("arm arm/v7 arm/v8 arm/v5", "arm/v5"), ("arm/v6", "arm/v6"), ("arm64", "refused")]);
        check("arm/v8 arm/v7", &[("arm/v8 arm/v6 arm/v5", "arm/v8"), ("arm/v7", "arm/v7"), ("arm64", "refused")]);
        check("arm/v7 arm/v8", &[("arm/v6 arm/v5 arm/v7", "arm/v7"), ("arm/v8", "arm/v8")]);
        check("arm/v6 arm/v7 arm64/v8", &[("arm/v8 arm/v5", "arm/v6"), ("arm64", "arm64/v8")]);
        check("arm amd64", &[("arm/v6 arm/v5 arm/v7", "arm"), ("arm64 amd64/v2", "refused"), ("*amd64", "amd64")]);
        check("arm64 arm/v7", &[("arm/v6 arm/v5", "arm/v7"), ("amd64/v2", "refused")]);
        check("386", &[("*amd64 amd64/v2", "refused"), ("386", "386")]);
        check("386 amd64", &[("amd64/v2", "refused"), ("*amd64", "amd64")]);
        check("amd64/v3 amd64/v2 amd64", &[("*amd64 amd64", "amd64"), ("amd64/v2", "amd64/v2")]);
        check("- arm/v6 amd64", &[("arm/v7", "arm/v6"), ("386 arm64", "refused"), ("*amd64", "amd64")]);
        check("s390x -", &[("arm/v7 *amd64", "refused")]);
    }

    #[test]
    fn what_an_engine_runs() {
        let check = |engine: &str, runs: &str, not: &str| {
            let engine = platform(engine);
            for image in runs.split(' ') {
                assert!(engine.runs(&platform(image)), "{engine} runs {image}");
            }
            for image in not.split(' ') {
                assert!(!engine.runs(&platform(image)), "{engine} does not run {image}");
            }
        };
        check("linux/arm64", "linux/arm64 linux/arm64/v8 linux/arm/v8 linux/arm/v5 linux/arm", "linux/amd64 linux/386");
        check("linux/amd64", "linux/amd64 linux/amd64/v3 linux/386 linux", "linux/arm64 linux/arm windows/amd64");
        check("linux/arm/v6", "linux/arm/v6 linux/arm/v5 linux/arm", "linux/arm/v7 linux/arm64 linux/amd64");
        check("linux/arm/v7", "linux/arm/v7 linux/arm/v6 linux/arm", "linux/arm/v8 linux/arm64");
        check("linux/riscv64", "linux/riscv64", "linux/arm64");
        // An engine that does not report its platform is assumed to run everything.
        assert!(Platform::default().runs(&platform("linux/arm64")));
    }

    /// As 20.10.24, 26.1.5 and 28.5.2 were seen to read them.
    #[test]
    fn variants_that_are_no_numbers() {
        let index = "amd64 386";
        check(
            Rule::Containerd,
            index,
            &[
                ("amd64/v amd64/v0 amd64/v2.1 amd64/x", "386"),
                ("amd64/v1 amd64/2 amd64/v300", "amd64"),
                ("arm64/v9", "refused"),
            ],
        );
        check(Rule::Old, index, &[("amd64/v1", "amd64"), ("amd64/v amd64/2 amd64/v300 amd64/x arm64/v9", "refused")]);
    }

    #[test]
    fn platforms_as_they_are_written() {
        let check = |text: &str, expected: &str| assert_eq!(platform(text).to_string(), expected, "{text}");
        check("linux/arm/v7", "linux/arm/v7");
        check("Linux/ARM/V7", "linux/arm/v7");
        check("linux/aarch64", "linux/arm64");
        check("linux/x86_64", "linux/amd64");
        check("linux/armhf", "linux/arm/v7");
        check("linux/arm/7", "linux/arm/v7");
        check("armel", "arm/v6");
        check("arm64", "arm64");
        check("linux", "linux");
        check("windows(10.0.17763)/amd64", "windows/amd64");
        for text in
            ["", "/", "linux/", "/arm", "linux//v7", "linux/arm/v7/x", "a b", "linux/ar m", "x", "linux/é", " linux"]
        {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
        let engine = platform("linux/arm/v6");
        assert_eq!(platform("linux").or(&engine), engine);
        assert_eq!(platform("arm").or(&engine).to_string(), "linux/arm");
        assert_eq!(platform("windows/amd64").or(&engine).to_string(), "windows/amd64");
    }

    #[test]
    fn unknown_platforms_are_not_held_against_an_image() {
        let parse = |os: &str, architecture: &str, variant: &str| {
            Platform::from_json(&serde_json::json!({"Os": os, "Architecture": architecture, "Variant": variant}))
        };
        assert_eq!(parse("", "", ""), None);
        assert_eq!(Platform::from_json(&serde_json::json!({"Os": 7})), None);
        let arm = parse("linux", "arm", "").unwrap();
        assert!(arm.may_be(&platform("linux/arm/v6")) && !arm.may_be(&platform("linux/arm64")));
        assert!(platform("linux/arm/v5").takes(&arm));
        assert!(!parse("linux", "arm", "v6").unwrap().may_be(&platform("linux/arm/v7")));
    }

    #[test]
    fn processors_of_pis() {
        assert_eq!(arm_variant("model name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n"), "v6");
        assert_eq!(arm_variant("model name\t: ARMv7 Processor rev 4 (v7l)\nCPU architecture: 7\n"), "v7");
        assert_eq!(arm_variant("processor: 0\nCPU architecture: 8\n"), "v8");
        assert_eq!(arm_variant(""), "v7");
    }
}
