//! Causes on this device: its disk, its memory, the engine's store, and images that this engine cannot use.
//!
//! **Invariant:** only data, in lower case; [`causes`](super::causes) says how it is read. The order within a clause
//! matters.

use crate::pull::failure::Kind;
use crate::pull::failure::causes::Rows;

pub(crate) const CAUSES: Rows = &[
    (
        Kind::DiskFull,
        words![
            "no space left on device",
            "disk quota exceeded",
            "not enough space",
            "thin pool has",
            "database or disk is full",
        ],
    ),
    (
        Kind::DiskBroken,
        words![
            "read-only file system",
            "input/output error",
            "structure needs cleaning",
            "bad message$",
            "no such device$",
            "transport endpoint is not connected",
            "stale nfs file handle",
            "stale file handle",
            // Podman's database on a file system that became read-only.
            "attempt to write a readonly database",
        ],
    ),
    (
        Kind::Memory,
        words![
            "cannot allocate memory",
            "out of memory",
            "not enough memory",
            "pthread_create failed",
            "failed to create new os thread",
            "fork/exec *: resource temporarily unavailable",
        ],
    ),
    (
        Kind::Platform,
        words![
            "no matching manifest for",
            "image with reference * was found but",
            "no match for platform",
            "no image found in",
            "choosing an image from manifest list",
            "image operating system",
            "cannot download * on this platform",
            "operating system is not supported",
            "unknown operating system or architecture",
            "no image satisfying requirements",
            "unsupported os",
            "*image's platform * does not match",
            "* does not provide the specified platform",
            "no suitable image",
        ],
    ),
    (
        Kind::Version,
        words![
            // An engine older than 23 reports a layer packed with zstd as an invalid tar.
            "archive/tar: invalid tar header",
            "archive/tar: unknown file mode",
            "invalid tar header",
            "magic number mismatch",
            "unsupported media*",
            "unsupported mime type",
            "unsupported compression",
            "unknown media type",
            "mediatype in manifest should be",
            "unsupported * media type",
            "no processor for media-type",
            // A registry that converts nothing, asked by an engine that does not know OCI images.
            "oci index found",
            "oci manifest found",
            "unknown service",
            "404 page not found$",
            "page not found$",
        ],
    ),
    (
        Kind::Store,
        words![
            "layer does not exist",
            "layer not known",
            "content digest",
            "content sha256",
            "failed to get content",
            "blob not found$",
            "error creating layer",
            "error creating temporary lease",
            "failed to create lease",
            "lease _",
            "lease does not exist",
            "failed to get reader from content store",
            "parent snapshot",
            "snapshot",
            "snapshotter not loaded",
            "failed to stat parent",
            "failed to mount",
            "signal: killed",
            // Of a helper of the engine: nothing of the image is run.
            "exec format error",
            "readlink",
            "file exists$",
            "directory not empty$",
            "too many open files",
            "unlinkat",
            "*/.tmp-committed*",
            "database not open",
            "failed to open database",
            "database is locked",
            "invalid database",
        ],
    ),
];
