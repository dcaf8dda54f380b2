//! Users and groups from the system's own tables, and the runtime directory of a user.
//!
//! std knows only the home directory of the current user, and a static executable cannot use the C library's databases.
//!
//! **Invariant:** at most [`MAX`] bytes of a table are read; a table that cannot be read has no entries.

use crate::os::file;
use std::path::{Path, PathBuf};

/// Bytes; far more than any real table has.
const MAX: usize = 1 << 20;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Field number `field` of the entry whose third field is `id`.
fn field_of(table: &str, id: u32, field: usize) -> Option<&str> {
    let mut entries = table.lines().map(|line| line.split(':'));
    let mut entry = entries.find(|entry| entry.clone().nth(2).is_some_and(|found| found.parse() == Ok(id)))?;
    entry.nth(field)
}

fn table(path: &str) -> String {
    let bytes = file::read(Path::new(path), MAX).map(|(bytes, _)| bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a user; the number if there is no name.
pub(crate) fn user_name(id: u32) -> String {
    field_of(&table(USERS), id, 0).map_or_else(|| id.to_string(), str::to_owned)
}

/// The name of a group; the number if there is no name.
pub(crate) fn group_name(id: u32) -> String {
    field_of(&table(GROUPS), id, 0).map_or_else(|| id.to_string(), str::to_owned)
}

/// The home directory of the current user in the table, whatever `HOME` says.
pub(crate) fn home() -> Option<PathBuf> {
    let table = table(USERS);
    field_of(&table, rustix::process::getuid().as_raw(), 5).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The directory for files of this user's running programs: root's, or that of the user's session.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/run"));
    }
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_number() {
        let table = "root:x:0:0:root:/root:/bin/bash\nbroken:x:7\npi:x:1000:1000:,,,:/home/pi:/bin/sh\n";
        assert_eq!(field_of(table, 0, 5), Some("/root"));
        assert_eq!(field_of(table, 1000, 5), Some("/home/pi"));
        assert_eq!(field_of(table, 1000, 0), Some("pi"));
        assert_eq!(field_of(table, 7, 0), Some("broken"));
        assert_eq!(field_of(table, 7, 5), None);
        assert_eq!(field_of(table, 8, 0), None);
        assert_eq!(field_of("adm:x:4:syslog,pi\n", 4, 0), Some("adm"));
    }
}
