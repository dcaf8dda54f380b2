//! Facts about this host: its name, its address on the network, how full a file system is.
//!
//! **Invariant:** nothing is sent to the network, and nothing here waits for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The host name; `None` if it cannot be read.
pub(crate) fn name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

/// The address of this host on the network: connecting a datagram socket only makes the kernel choose a route, here to
/// addresses that are reserved for documentation.
pub(crate) fn address() -> Option<String> {
    // As addresses and not as text, which could be a name: to resolve one takes 30 KB of the executable.
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip().to_string())
    };
    towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
        .or_else(|| towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()))
}

/// How full the file system of `path` is, computed as df does: percent used, and bytes free.
pub(crate) fn disk_usage(path: &str) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(path).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let all = used.saturating_add(disk.f_bavail);
    let percent = used.saturating_mul(100).checked_div(all)?;
    Some((percent, disk.f_bavail.saturating_mul(disk.f_frsize)))
}
