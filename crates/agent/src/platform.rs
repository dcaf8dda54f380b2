//! Which entry of an index an engine chooses.
//!
//! There are two rules, both as engines were observed to follow them. Before version 23: exactly the platform, and for
//! a 32-bit ARM without a match the first entry of any ARM variant. Since 23: containerd's rule, by which a processor
//! also runs what was built for older ones.
//!
//! **Invariant:** pure. If the engine's choice cannot be known there is none: for an amd64 image with variants the
//! engine decides by its processor.

use serde::Deserialize;

use crate::failure::{Failure, Kind, Result};

#[derive(Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(default)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

/// The platform that is looked for, and the rule by which the engine chooses.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    platform: Platform,
    /// The platform is amd64, and only the engine knows which variant its processor has.
    any_amd64: bool,
    old: bool,
}

impl Wanted {
    /// From `--platform`, the platform and version in `GET /version`, and the text of /proc/cpuinfo.
    pub(crate) fn new(given: Option<&str>, engine: &str, version: &str, cpuinfo: &str) -> Result<Self> {
        let wrong =
            |what: &str| Failure::new(Kind::Platform, format!("{what} is not a platform; write OS/ARCH[/VARIANT]"));
        let mut host = Platform::parse(engine).ok_or_else(|| wrong("what the engine reports as its platform"))?;
        if host.architecture == "arm" && engine.split('/').count() < 3 {
            arm_variant(cpuinfo).clone_into(&mut host.variant);
        }
        let old = is_before_23(version);
        let Some(given) = given else {
            let any_amd64 = !old && host.architecture == "amd64" && host.variant.is_empty();
            return Ok(Self { platform: host, any_amd64, old });
        };
        let mut platform = Platform::parse(given).ok_or_else(|| wrong("the value of --platform"))?;
        if platform.architecture.is_empty() {
            (platform.architecture, platform.variant) = (host.architecture, host.variant);
        } else if platform.os.is_empty() {
            platform.os = host.os;
        }
        Ok(Self { platform, any_amd64: false, old })
    }

    /// The position of the entry that fits best; the first of equal ones. `None` in `list` is an entry without a
    /// platform.
    pub(crate) fn choose<'a>(&self, list: impl Iterator<Item = Option<&'a Platform>>) -> Result<usize> {
        let wanted = &self.platform;
        let fitting = if self.old { vec![wanted.clone()] } else { wanted.fitting() };
        let mut best: Option<(usize, usize)> = None;
        for (place, entry) in list.enumerate() {
            let rank = match entry.map(|platform| platform.clone().normal()) {
                Some(entry) if self.any_amd64 && entry.is_amd64_variant() => {
                    let error = "the engine chooses by its processor, for the image has variants of amd64";
                    return Err(Failure::new(Kind::Unsupported, error));
                }
                Some(entry) => match fitting.iter().position(|fits| *fits == entry) {
                    None if self.old && entry.is_arm() && wanted.is_arm() && entry.os == wanted.os => Some(1),
                    rank => rank,
                },
                None if self.old => None,
                None => Some(fitting.len()),
            };
            if let Some(rank) = rank.filter(|rank| best.is_none_or(|(min, _)| *rank < min)) {
                best = Some((rank, place));
            }
        }
        let none = || Failure::new(Kind::Platform, format!("the image has nothing for {}", wanted.name()));
        best.map(|(_, place)| place).ok_or_else(none)
    }
}

impl Platform {
    /// Parses `OS/ARCH[/VARIANT]`, `OS`, or `ARCH[/VARIANT]`; parts that are missing are empty.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<String> = text.split('/').map(str::to_ascii_lowercase).collect();
        let is_part =
            |part: &String| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !parts.iter().all(is_part) {
            return None;
        }
        let is_os = |part: &str| matches!(part, "linux" | "windows" | "darwin" | "freebsd");
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let [os, architecture, variant] = match parts[..] {
            [os] if is_os(os) => [os, "", ""],
            [architecture] => ["", architecture, ""],
            [os, architecture] if is_os(os) => [os, architecture, ""],
            [architecture, variant] => ["", architecture, variant],
            [os, architecture, variant] => [os, architecture, variant],
            _ => return None,
        }
        .map(str::to_owned);
        Some(Self { os, architecture, variant }.normal())
    }

    /// Replaces the different names of one platform by one name.
    fn normal(mut self) -> Self {
        for part in [&mut self.os, &mut self.architecture, &mut self.variant] {
            part.make_ascii_lowercase();
        }
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            same => same,
        };
        let (architecture, variant) = (architecture.to_owned(), variant.to_owned());
        Self { architecture, variant, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let Self { os, architecture, variant } = self.clone().normal();
        let slash = if variant.is_empty() { "" } else { "/" };
        format!("{os}/{architecture}{slash}{variant}")
    }

    fn is_arm(&self) -> bool {
        self.architecture == "arm"
    }

    fn is_amd64_variant(&self) -> bool {
        self.architecture == "amd64" && !self.variant.is_empty()
    }

    /// The platforms that a processor of this kind runs, best first.
    fn fitting(&self) -> Vec<Self> {
        let other = |architecture: &str, variant: String| {
            Self { os: self.os.clone(), architecture: architecture.to_owned(), variant }.normal()
        };
        let older = |architecture, min: u8, max: u8| {
            (min..=max).rev().map(move |version| other(architecture, format!("v{version}")))
        };
        // With or without its `v`, as engines read it; no architecture has a v10.
        let version = self.variant.strip_prefix('v').unwrap_or(&self.variant).parse::<u16>().map_or(0, |n| n.min(9));
        let version = u8::try_from(version).unwrap_or(0);
        let mut list = vec![self.clone()];
        match self.architecture.as_str() {
            "amd64" => {
                list.extend(older("amd64", 1, version.saturating_sub(1)));
                list.push(other("386", String::new()));
            }
            "arm" => list.extend(older("arm", 5, version.saturating_sub(1))),
            // Engines differ in what v9 and later variants fall back to, so those match only themselves.
            "arm64" if self.variant.is_empty() => list.extend(older("arm", 5, 8)),
            _ => {}
        }
        list
    }
}

/// Whether it is an engine that knows nothing of containerd's rules.
pub(crate) fn is_before_23(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u16>().ok()).is_some_and(|major| major < 23)
}

/// The variant of a 32-bit ARM processor, as the engine reads it from /proc/cpuinfo; v7 if it is not stated.
fn arm_variant(cpuinfo: &str) -> &'static str {
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

    /// The requested platform of each column of `CELLS`; `none` is an engine on amd64 without `--platform`.
    const COLUMNS: [&str; 8] = ["none", "arm/v7", "arm/v8", "arm/v6", "arm/v5", "arm64", "386", "amd64/v2"];

    /// What engines chose from an index, `-` if they refused: observed with 20.10.24, and with 26.1.5, 28.5.2 and
    /// 30.0.0-dev with either store. In a list `?` is an entry without a platform, `a` a buildx attestation; `?!` in a
    /// cell: the engine's processor decides. The second text is for 20.10, if it differs.
    const CELLS: &[(&str, &str, &str)] = &[
        ("arm/v5 arm/v6", "- arm/v6 arm/v6 arm/v6 arm/v5 arm/v6 - -", "- arm/v5 arm/v5 arm/v6 arm/v5 - - -"),
        ("arm/v8 arm/v7", "- arm/v7 arm/v8 - - arm/v8 - -", "- arm/v7 arm/v8 arm/v8 arm/v8 - - -"),
        ("arm/v7 arm/v8", "- arm/v7 arm/v8 - - arm/v8 - -", "- arm/v7 arm/v8 arm/v7 arm/v7 - - -"),
        (
            "arm/v6 arm/v7 arm64/v8",
            "- arm/v7 arm/v7 arm/v6 - arm64/v8 - -",
            "- arm/v7 arm/v6 arm/v6 arm/v6 arm64/v8 - -",
        ),
        ("arm amd64", "amd64 arm arm - - arm - amd64", "amd64 arm arm arm arm - - -"),
        ("arm64 arm/v7", "- arm/v7 arm/v7 - - arm64 - -", "- arm/v7 arm/v7 arm/v7 arm/v7 arm64 - -"),
        (
            "amd64 arm64 arm/v7 a a a",
            "amd64 arm/v7 arm/v7 - - arm64 - amd64",
            "amd64 arm/v7 arm/v7 arm/v7 arm/v7 arm64 - -",
        ),
        (
            "a a a amd64 arm64 arm/v7",
            "amd64 arm/v7 arm/v7 - - arm64 - amd64",
            "amd64 arm/v7 arm/v7 arm/v7 arm/v7 arm64 - -",
        ),
        ("arm64", "- - - - - arm64 - -", ""),
        ("arm64/v8", "- - - - - arm64/v8 - -", ""),
        ("arm64/v8.2 arm64", "- - - - - arm64 - -", ""),
        ("arm64/v9 arm64", "- - - - - arm64 - -", ""),
        ("386", "386 - - - - - 386 386", "- - - - - - 386 -"),
        ("386 amd64", "amd64 - - - - - 386 amd64", "amd64 - - - - - 386 -"),
        ("amd64/v3 amd64/v2 amd64", "?! - - - - - - amd64/v2", "amd64 - - - - - - amd64/v2"),
        ("amd64 amd64/v2 amd64/v3", "?! - - - - - - amd64/v2", "amd64 - - - - - - amd64/v2"),
        (
            "? amd64 arm/v6 arm/v7 arm64",
            "amd64 arm/v7 arm/v7 arm/v6 ? arm64 ? amd64",
            "amd64 arm/v7 arm/v6 arm/v6 arm/v6 arm64 - -",
        ),
        (
            "amd64 arm/v6 arm/v7 arm64 ?",
            "amd64 arm/v7 arm/v7 arm/v6 ? arm64 ? amd64",
            "amd64 arm/v7 arm/v6 arm/v6 arm/v6 arm64 - -",
        ),
        (
            "amd64 arm/v7 arm64 ?",
            "amd64 arm/v7 arm/v7 ? ? arm64 ? amd64",
            "amd64 arm/v7 arm/v7 arm/v7 arm/v7 arm64 - -",
        ),
        ("s390x ?", "? ? ? ? ? ? ? ?", "- - - - - - - -"),
        ("windows/amd64 amd64", "amd64 - - - - - - amd64", "amd64 - - - - - - -"),
    ];

    fn entry(word: &str) -> Option<Platform> {
        let parts: Vec<&str> = match word {
            "?" => return None,
            "a" => vec!["unknown", "unknown"],
            word if word.starts_with("windows/") => word.split('/').collect(),
            word => ["linux"].into_iter().chain(word.split('/')).collect(),
        };
        let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
        Some(Platform { os: part(0), architecture: part(1), variant: part(2) })
    }

    fn choose(list: &str, wanted: &Wanted) -> String {
        let words: Vec<&str> = list.split(' ').collect();
        let entries: Vec<_> = words.iter().map(|word| entry(word)).collect();
        match wanted.choose(entries.iter().map(Option::as_ref)) {
            Ok(place) => words[place].to_owned(),
            Err(failure) if failure.kind == Kind::Unsupported => "?!".to_owned(),
            Err(failure) => {
                assert_eq!(failure.kind, Kind::Platform);
                "-".to_owned()
            }
        }
    }

    fn wanted(given: &str, version: &str) -> Wanted {
        let given = Some(format!("linux/{given}")).filter(|_| given != "none");
        Wanted::new(given.as_deref(), "linux/amd64", version, "").unwrap()
    }

    #[test]
    fn what_engines_took() {
        let mut cells = 0;
        for (list, new, old) in CELLS {
            for (versions, row) in [
                (&["23.0.0", "26.1.5", "28.5.2", "30.0.0-dev", ""][..], new),
                (&["20.10.24", "19.03.15"][..], if old.is_empty() { new } else { old }),
            ] {
                let row: Vec<&str> = row.split(' ').collect();
                assert_eq!(row.len(), COLUMNS.len(), "{list}");
                for (column, expected) in COLUMNS.iter().zip(row) {
                    for version in versions {
                        assert_eq!(choose(list, &wanted(column, version)), expected, "{list}: {column}, {version}");
                        cells += 1;
                    }
                }
            }
        }
        assert_eq!(cells, CELLS.len() * COLUMNS.len() * 7);
    }

    #[test]
    fn several_names_of_one() {
        for (list, _, _) in CELLS {
            for version in ["20.10.24", "28.5.2"] {
                for (name, same) in [
                    ("arm", "arm/v7"),
                    ("arm/7", "arm/v7"),
                    ("armhf", "arm/v7"),
                    ("armel", "arm/v6"),
                    ("aarch64", "arm64"),
                    ("arm64/v8", "arm64"),
                    ("i386", "386"),
                    ("x86_64/v2", "amd64/v2"),
                ] {
                    assert_eq!(
                        choose(list, &wanted(name, version)),
                        choose(list, &wanted(same, version)),
                        "{list} {name}"
                    );
                }
            }
        }
        // With --platform the processor does not decide.
        let list = "amd64/v3 amd64/v2 amd64";
        for given in ["linux/amd64", "linux", "amd64", "linux/x86-64/v1"] {
            assert_eq!(
                choose(list, &Wanted::new(Some(given), "linux/amd64", "28.5.2", "").unwrap()),
                "amd64",
                "{given}"
            );
        }
    }

    /// As 20.10.24, 26.1.5 and 28.5.2 were seen to read them.
    #[test]
    fn variants_that_are_no_numbers() {
        for (given, new, old) in [
            ("amd64/v", "386", "-"),
            ("amd64/v0", "386", "-"),
            ("amd64/v1", "amd64", "amd64"),
            ("amd64/2", "amd64", "-"),
            ("amd64/v2.1", "386", "-"),
            ("amd64/v300", "amd64", "-"),
            ("amd64/x", "386", "-"),
            ("arm64/v9", "-", "-"),
        ] {
            assert_eq!(choose("amd64 386", &wanted(given, "28.5.2")), new, "{given}");
            assert_eq!(choose("amd64 386", &wanted(given, "20.10.24")), old, "{given}");
        }
    }

    #[test]
    fn the_first_of_equals() {
        let entries = [entry("amd64"), entry("amd64")];
        assert_eq!(wanted("none", "28.5.2").choose(entries.iter().map(Option::as_ref)), Ok(0));
    }

    #[test]
    fn the_engines_own_platform() {
        const ZERO: &str = "model name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n";
        const PI_2: &str = "model name\t: ARMv7 Processor rev 4 (v7l)\nCPU architecture: 7\n";
        const PI_4: &str = "processor: 0\nCPU architecture: 8\n";
        for (given, engine, cpuinfo, expected) in [
            (None, "linux/arm", ZERO, "linux/arm/v6"),
            (None, "linux/arm", PI_2, "linux/arm/v7"),
            (None, "linux/arm", PI_4, "linux/arm/v8"),
            (None, "linux/arm", "", "linux/arm/v7"),
            (None, "linux/arm/v6", PI_4, "linux/arm/v6"),
            (None, "linux/arm64", PI_4, "linux/arm64"),
            (Some("linux"), "linux/arm", ZERO, "linux/arm/v6"),
            (Some("linux/arm"), "linux/arm", ZERO, "linux/arm/v7"),
            (Some("arm/v6"), "linux/arm64", PI_4, "linux/arm/v6"),
            (Some("ARM64"), "linux/amd64", "", "linux/arm64"),
        ] {
            let wanted = Wanted::new(given, engine, "28.5.2", cpuinfo).unwrap();
            assert_eq!(wanted.platform.name(), expected, "{given:?} {engine}");
        }
        for wrong in ["", "linux/", "a/b/c/d", "linux/a b", "linux/\u{e9}"] {
            assert!(Wanted::new(Some(wrong), "linux/amd64", "28", "").is_err(), "{wrong:?}");
            assert!(Wanted::new(None, wrong, "28", "").is_err(), "{wrong:?}");
        }
    }
}
