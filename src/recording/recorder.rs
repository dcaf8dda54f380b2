//! Writes a recording.
//!
//! Separate from reading a recording: the two share only the format.
//!
//! **Invariant:** every row is written whole, with one write.

use super::{Header, findings};
use crate::os::file;
use crate::pull::End;
use crate::pull::disk::DiskSpace;
use crate::pull::failure::{Failure, Sent};
use crate::pull::sizes::Sizes;
use crate::report::line::{Method, Opening, Retry};
use crate::report::stamp::rfc3339;
use serde::de::IgnoredAny;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// A recording that is being written.
pub(crate) struct Recorder {
    file: File,
    line: Vec<u8>,
}

impl Recorder {
    /// Creates or overwrites `path`. Only its owner may read it, because the engine's lines are in it unchanged.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: file::create_private(path)?, line: Vec::new() })
    }

    /// Writes the first line.
    pub(crate) fn header(&mut self, header: &Header) -> io::Result<()> {
        let Header { image, started, engine, api } = header;
        self.line.extend_from_slice(b"{\"version\":1");
        let started = started.map(rfc3339).unwrap_or_default();
        for (key, value) in [("image", image), ("started", &started), ("engine", engine), ("api", api)] {
            write!(self.line, ",\"{key}\":{}", json(value))?;
        }
        self.line.push(b'}');
        self.flush()
    }

    /// Writes the row that begins the first attempt.
    pub(crate) fn open(&mut self, at: u64, opening: &Opening) -> io::Result<()> {
        self.entry(at, "a");
        write!(self.line, "{{\"attempt\":1,\"mode\":\"{}\"", mode(opening.method))?;
        for (key, value) in [("reason", &opening.reason), ("attached", &opening.attached)] {
            if let Some(value) = value {
                write!(self.line, ",\"{key}\":{}", json(value))?;
            }
        }
        self.line.extend_from_slice(b"}]");
        self.flush()
    }

    /// Writes the row that announces another attempt.
    pub(crate) fn retry(&mut self, at: u64, retry: &Retry, method: Method) -> io::Result<()> {
        self.entry(at, "a");
        let Retry { number, limit, wait, failure } = retry;
        write!(self.line, "{{\"attempt\":{},\"mode\":\"{}\",\"wait\":{wait}", number + 1, mode(method))?;
        if let Some(limit) = limit {
            write!(self.line, ",\"retries\":{limit}")?;
        }
        write!(self.line, ",\"reason\":{},\"kind\":\"{}\"}}]", json(&failure.text), failure.kind.name())?;
        self.flush()
    }

    /// Writes a line of the engine. `is_json` means that it is known to be JSON; otherwise it is parsed to find out, which
    /// allocates.
    pub(crate) fn line(&mut self, at: u64, line: &[u8], is_json: bool) -> io::Result<()> {
        match std::str::from_utf8(line) {
            Ok(text) if is_json || serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                self.entry(at, "e");
                self.line.extend_from_slice(line);
            }
            _ => {
                self.entry(at, "r");
                write!(self.line, "{}", json(&String::from_utf8_lossy(line)))?;
            }
        }
        self.line.push(b']');
        self.flush()
    }

    /// Writes a warning of this program.
    pub(crate) fn warning(&mut self, at: u64, warning: &str) -> io::Result<()> {
        self.entry(at, "w");
        write!(self.line, "{}]", json(warning))?;
        self.flush()
    }

    /// Writes the sizes of the layers that the registry reported.
    pub(crate) fn sizes(&mut self, at: u64, sizes: &Sizes) -> io::Result<()> {
        self.finding(at, &findings::sizes(sizes))
    }

    /// Writes the free space where the engine keeps its images.
    pub(crate) fn space(&mut self, at: u64, space: &DiskSpace) -> io::Result<()> {
        self.finding(at, &findings::space(space))
    }

    fn finding(&mut self, at: u64, data: &str) -> io::Result<()> {
        self.entry(at, "s");
        write!(self.line, "{data}]")?;
        self.flush()
    }

    /// Writes how the pull ended, and why, if it failed.
    pub(crate) fn end(&mut self, at: u64, end: &End, failure: Option<&Failure>, exit: u8) -> io::Result<()> {
        self.entry(at, "x");
        let word = match end {
            End::Complete | End::Exited(_) => "complete".to_owned(),
            End::Cut(_) => "cut".to_owned(),
            End::Refused(status) => format!("refused {status}"),
            End::Stalled(_) => "stalled".to_owned(),
            End::Signal(signal) => format!("signal {signal}"),
        };
        write!(self.line, "{{\"end\":\"{word}\"")?;
        if let Some(failure) = failure {
            write!(self.line, ",\"reason\":{},\"kind\":\"{}\"", json(&failure.text), failure.kind.name())?;
            let credentials = match failure.credentials {
                Sent::None => "",
                Sent::Docker => ",\"credentials\":true",
                Sent::TokenFile => ",\"credentials\":\"token file\"",
            };
            self.line.extend_from_slice(credentials.as_bytes());
        }
        write!(self.line, ",\"exit\":{exit}}}]")?;
        self.flush()
    }

    fn entry(&mut self, at: u64, code: &str) {
        // Writing into memory cannot fail.
        let _ = write!(self.line, "[{}.{:03},\"{code}\",", at / 1000, at % 1000);
    }

    /// Writes the line at once and whole, so that the recording of a killed program is complete up to that moment.
    fn flush(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        let written = self.file.write_all(&self.line);
        self.line.clear();
        written
    }
}

/// `text` as a JSON string.
fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn mode(method: Method) -> &'static str {
    match method {
        Method::Api => "api",
        Method::Cli => "cli",
    }
}
