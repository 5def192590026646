//! What a descriptor or a path is about, so that calls have names that mean something.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// Descriptors that have names; more are called [`Object::Other`].
const DESCRIPTORS: usize = 1 << 16;

macro_rules! objects {
    ($($object:ident $name:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Object { $($object),* }

        const ALL: &[Object] = &[$(Object::$object),*];

        impl Object {
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$object => $name),* }
            }
        }
    };
}

objects! {
    Other "other"
    Log "log"
    Segment "segment"
    Snapshot "snapshot"
    Manifest "MANIFEST"
    Processors "PROCESSORS"
    Lock "LOCK"
    JournalDir "journal-directory"
    ParentDir "parent-directory"
    Null "null"
    Procfs "procfs"
    File "file"
    Socket "socket"
    Listener "listener"
    Client "client"
    Upstream "upstream"
    Pair "socketpair"
    Waker "waker"
    Epoll "epoll"
    Ring "ring"
    Process "process"
    Thread "thread"
    Name "name"
    Signal "signal"
}

static TABLE: [AtomicU8; DESCRIPTORS] = [const { AtomicU8::new(0) }; DESCRIPTORS];

pub(crate) fn remember(descriptor: c_int, object: Object) {
    let place = usize::try_from(descriptor)
        .ok()
        .and_then(|at| TABLE.get(at));
    if let Some(place) = place {
        place.store(object as u8, Ordering::Relaxed);
    }
}

pub(crate) fn of(descriptor: c_int) -> Object {
    let place = usize::try_from(descriptor)
        .ok()
        .and_then(|at| TABLE.get(at));
    let number = place.map_or(0, |place| place.load(Ordering::Relaxed));
    match (descriptor, number) {
        (2, 0) => Object::Log,
        (_, number) => ALL
            .get(usize::from(number))
            .copied()
            .unwrap_or(Object::Other),
    }
}

pub(crate) fn of_path(path: *const c_char) -> Object {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| std::env::var_os("TORTURE_DIR").map(PathBuf::from));
    if path.is_null() {
        return Object::Other;
    }
    // SAFETY: the caller of open(2) hands over a C string.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    let path = Path::new(OsStr::from_bytes(bytes));
    if path == Path::new("/dev/null") {
        return Object::Null;
    }
    if path.starts_with("/proc") || path.starts_with("/sys") {
        return Object::Procfs;
    }
    let Some(directory) = directory else {
        return Object::File;
    };
    if path == directory {
        return Object::JournalDir;
    }
    if Some(path) == directory.parent() {
        return Object::ParentDir;
    }
    if path.parent() != Some(directory) {
        return Object::File;
    }
    let name = path.file_name().unwrap_or_default().as_bytes();
    let ends = |end: &[u8]| name.ends_with(end);
    match name {
        _ if ends(b".segment") => Object::Segment,
        _ if ends(b".snapshot") => Object::Snapshot,
        b"LOCK" => Object::Lock,
        _ if name.starts_with(b"MANIFEST") => Object::Manifest,
        _ if name.starts_with(b"PROCESSORS") => Object::Processors,
        _ => Object::File,
    }
}
