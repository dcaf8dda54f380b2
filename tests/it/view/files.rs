//! What the viewer opens: files that it may not read, and what is no regular file.

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn who_may_read_it() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::with("secret", BARE);
    let copy = place.0.join("alm-pull");
    fs::copy(EXE, &copy).unwrap();
    let refuses = |expected: &str| {
        let mut command = Command::new(&copy);
        let (code, stdout, stderr) = run(command.arg("--log").arg(place.log()).uid(65534).gid(65534).env_clear());
        assert_eq!((code, stdout.len(), stderr.lines().count()), (1, 0, 1), "{stderr}");
        assert!(stderr.contains("permission denied") && stderr.contains(expected), "{stderr}");
    };
    fs::set_permissions(place.log(), Permissions::from_mode(0o600)).unwrap();
    refuses("only root may read it");
    fs::set_permissions(place.log(), Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(place.log(), Some(1), Some(4)).unwrap();
    refuses("only root and user daemon and group adm may read it");
    let directory = place.0.join("closed");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
    fs::remove_file(place.log()).unwrap();
    symlink(directory.join("log"), place.log()).unwrap();
    let mut command = Command::new(&copy);
    let (code, _, stderr) = run(command.arg("--log").arg(directory.join("log")).uid(65534).gid(65534));
    let expected = format!("only root and group root may enter {}", directory.display());
    assert!(code == 1 && stderr.contains(&expected), "{stderr}");
}

#[test]
fn what_is_no_log() {
    let place = Place::new("kinds");
    let fifo = place.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = place.0.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&place.0, &fifo, &socket, Path::new("/dev/zero"), Path::new("/dev/tty"), &fifo.join("x")] {
        for follow in ["", "-f"] {
            let (code, stdout, stderr) = run(program("alm-pull", follow).arg("--log").arg(path));
            assert_eq!((code, stdout.len(), stderr.lines().count()), (1, 0, 1), "{}: {stderr}", path.display());
            assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
        }
    }
}
