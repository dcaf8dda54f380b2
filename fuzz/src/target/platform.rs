//! Which entry of an index an engine chooses: two independent implementations agree, that of the agent, which asks a
//! registry for the entry, and that of the program, which decides whether a local image is that entry.
//!
//! The input is lines: first the requested platform (`linux/arm/v7`), then the engine's version, then one entry each.

use crate::docker::platform::{Platform as Ours, Rule};
use crate::platform::{Platform as Agents, Wanted};
use serde::Deserialize as _;
use serde_json::json;

const KNOWN: [&str; 14] = [
    "linux/arm",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm/v8",
    "linux/arm64",
    "linux/arm64/v8",
    "linux/amd64",
    "linux/amd64/v2",
    "linux/amd64/v3",
    "linux/amd64/v4",
    "linux/386",
    "linux/s390x",
    "linux/riscv64",
];

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let (Some(given), Some(version)) = (lines.next(), lines.next()) else { return };
    let index: Vec<serde_json::Value> = lines
        .take(64)
        .map(|line| {
            let mut parts = line.split('/').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            json!({"os": part(), "architecture": part(), "variant": part()})
        })
        .collect();
    let of_agent: Vec<Agents> = index.iter().map(|entry| Agents::deserialize(entry).expect("a platform")).collect();
    let Ok(wanted) = Wanted::new(Some(given), "linux/amd64", version, "") else { return };
    let chosen = wanted.choose(of_agent.iter().map(Some));
    // Never an entry without a platform if there is none, and none beyond the list.
    assert!(chosen.as_ref().is_ok_and(|place| *place < index.len()) || chosen.is_err());

    // A variant that no processor has is not compared.
    let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.\n".contains(&b));
    let has_empty = index.iter().any(|entry| entry["os"] == "" && entry["architecture"] == "");
    if !KNOWN.contains(&given) || !is_plain || has_empty {
        return;
    }
    let ours = Ours::parse(given).expect("a platform");
    let is_old = version.split('.').next().and_then(|major| major.parse::<u16>().ok()).is_some_and(|major| major < 23);
    let rule = if is_old { Rule::Old } else { Rule::Containerd };
    let of_ours: Vec<Option<Ours>> = index.iter().map(Ours::from_json).collect();
    let taken = ours.choose(&of_ours, true, rule);
    assert_eq!(taken.first().copied(), chosen.ok(), "{given} of {index:?} by {version}");
}
