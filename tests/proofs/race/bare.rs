//! The least that reading a stream of the engine can cost: `serde_json::from_slice` a line, into a struct that borrows,
//! and nothing done with it. What a replay costs is measured against this (`tests/proofs/race.py`).

use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::ExitCode;

/// The parts of a line that a replay looks at.
#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(default)]
    status: &'a str,
    #[serde(default)]
    id: &'a str,
    #[serde(default, rename = "progressDetail")]
    detail: Option<Detail>,
}

#[derive(serde::Deserialize)]
struct Detail {
    #[serde(default)]
    current: u64,
    #[serde(default)]
    total: u64,
}

fn main() -> ExitCode {
    let path = env::args_os().nth(1).expect("the file to read");
    // As much at once as the program reads.
    let mut reader = BufReader::with_capacity(16 << 10, File::open(path).expect("the file opens"));
    let (mut buffer, mut count) = (Vec::new(), 0_u64);
    while reader.read_until(b'\n', &mut buffer).expect("the file is read") > 0 {
        let line: Line<'_> = serde_json::from_slice(&buffer).expect("a line of the engine");
        let bytes = line.detail.map(|detail| (detail.current, detail.total));
        black_box((line.status, line.id, bytes));
        count += 1;
        buffer.clear();
    }
    println!("{count}");
    ExitCode::SUCCESS
}
