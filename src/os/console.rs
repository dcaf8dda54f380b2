//! A text console of this device, such as `/dev/tty1`. It is not the controlling terminal of this program, and other
//! programs write on it, too.
//!
//! Separate from `output`, because here nothing may wait and nothing is final: Ctrl-S stops a console, a getty hangs it
//! up, the kernel writes on it at any time.
//!
//! **Invariant:** no call blocks. At the end the console has its cursor and its settings back.

use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Restores the console: cursor, colours, an empty screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[H\x1b[2J";

/// How much of a frame was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Painted {
    Whole,
    /// A part of it or nothing: the console accepts nothing now, or is gone for a moment.
    NotWhole,
}

pub(crate) struct Console {
    path: PathBuf,
    open: Option<(File, Option<Termios>)>,
}

impl Console {
    /// Opens the console at `path`; an error if that is not a console.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), open: Some(open(path)?) })
    }

    /// Columns and rows, asked each time because the font can change. `None` while the console is gone.
    pub(crate) fn size(&mut self) -> Option<(usize, usize)> {
        if self.open.is_none() {
            // Another program may have changed settings and cursor meanwhile: a full frame restores them.
            self.open = open(&self.path).ok();
        }
        let (file, _) = self.open.as_ref()?;
        match tcgetwinsize(file) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Some((size.ws_col.into(), size.ws_row.into())),
            Ok(_) => Some((80, 25)),
            Err(_) => {
                self.open = None;
                None
            }
        }
    }

    pub(crate) fn paint(&mut self, frame: &[u8]) -> Painted {
        let Some((file, _)) = &mut self.open else { return Painted::NotWhole };
        let mut rest = frame;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(count @ 1..) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Painted::NotWhole,
                Ok(0) | Err(_) => {
                    // Hung up (EIO) by a getty that started: opened again when the size is asked next.
                    self.open = None;
                    return Painted::NotWhole;
                }
            }
        }
        Painted::Whole
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.paint(LEAVE);
        if let Some((file, Some(before))) = &self.open {
            let _ = tcsetattr(file, OptionalActions::Now, before);
        }
    }
}

/// Opens the console, switches the echo of input off, and returns the settings from before.
fn open(path: &Path) -> io::Result<(File, Option<Termios>)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    if !file.is_terminal() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no terminal"));
    }
    let before = tcgetattr(&file).ok();
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        let _ = tcsetattr(&file, OptionalActions::Now, &silent);
    }
    Ok((file, before))
}
