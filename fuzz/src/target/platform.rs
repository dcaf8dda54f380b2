//! Which entry of an index an engine takes: the agent, which asks a registry for it, and the program, which says of a local image
//! whether it is that one, are of one mind.
//!
//! The input: lines. The first has what is asked for (`linux/arm/v7`), the second the engine's version, then an entry each.

use crate::docker::platform::{Platform as Ours, Rule};
use crate::platform::{Platform as Agents, Wanted};
use serde_json::json;

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
    // Never the last resort that is not there, and none beyond the list.
    assert!(chosen.as_ref().is_ok_and(|place| *place < index.len()) || chosen.is_err());

    // The program takes more names for an operating system, and fewer characters.
    let is_whole = given.split('/').count() >= 2 && given.starts_with("linux/");
    let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.\n".contains(&b));
    let Ok(ours) = Ours::parse(given) else { return };
    if !is_whole || !is_plain || index.iter().any(|entry| entry["os"] == "" && entry["architecture"] == "") {
        return;
    }
    let is_old = version.split('.').next().and_then(|major| major.parse::<u16>().ok()).is_some_and(|major| major < 23);
    let rule = if is_old { Rule::Old } else { Rule::Containerd };
    let of_ours: Vec<Option<Ours>> = index.iter().map(Ours::told).collect();
    let taken = ours.choose(&of_ours, true, rule);
    assert_eq!(taken.first().copied(), chosen.ok(), "{given} of {index:?} by {version}");
}

use serde::Deserialize as _;
