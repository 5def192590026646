//! A library that is loaded before libc (`LD_PRELOAD`) and sees every call to the kernel that the
//! p99 binary makes, the ring's operations too: it counts them by name, and has one of them fail.
//! p99 itself knows nothing of it: what runs under it is the binary as it is shipped.
//!
//! | variable | meaning |
//! |---|---|
//! | `TORTURE_COUNT` | a file that gets one line for each kind of call when the process ends |
//! | `TORTURE_FAIL` | `NAME\|N\|MODE\|ERRNO`: the N-th call of that name fails once |
//! | `TORTURE_DIR` | the journal's directory, so that its files have names |
//!
//! A name is the call and what it is about: `fdatasync segment`, `ring recv upstream`.
//! Modes: `before` does nothing and reports the error; `after` does it and reports the error all
//! the same; `short` does a part and says so; `cut` does a part and reports the error.
//!
//! `tests/torture` uses it. Never part of p99.

#![allow(
    clippy::missing_safety_doc,
    clippy::undocumented_unsafe_blocks,
    clippy::too_many_arguments,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unsafe_code,
    reason = "each function is libc's own, with its own contract, and hands on what it was given"
)]

mod objects;
mod plan;
mod ring;
pub mod special;

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::sync::OnceLock;

use objects::Object;
use plan::{Kind, Verdict};

type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;

/// The next function of this name behind this library's own.
pub(crate) fn next(name: &CStr) -> *mut c_void {
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// The kernel itself.
pub(crate) fn kernel(number: c_long, args: [c_long; 6]) -> c_long {
    static REAL: OnceLock<usize> = OnceLock::new();
    let real = *REAL.get_or_init(|| next(c"syscall") as usize);
    let [a, b, c, d, e, f] = args;
    unsafe {
        let real: Syscall = std::mem::transmute(real);
        real(number, a, b, c, d, e, f)
    }
}

pub(crate) fn fail(errno: c_int) -> c_long {
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// A call that is done or not done.
fn whole(name: &str, object: Object, (number, args): (c_long, [c_long; 6])) -> c_long {
    match plan::ask(name, object, Kind::Whole) {
        Verdict::Before(errno) => fail(errno),
        Verdict::After(errno) => {
            kernel(number, args);
            fail(errno)
        }
        Verdict::Pass | Verdict::Short | Verdict::Cut(_) => kernel(number, args),
    }
}

/// A call that makes a descriptor. One that is not handed out is closed again.
fn making(name: &str, (object, made): (Object, Object), call: (c_long, [c_long; 6])) -> c_int {
    let verdict = plan::ask(name, object, Kind::Whole);
    if let Verdict::Before(errno) = verdict {
        return fail(errno) as c_int;
    }
    let descriptor = kernel(call.0, call.1);
    if let Verdict::After(errno) = verdict {
        if descriptor >= 0 {
            kernel(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0]);
        }
        return fail(errno) as c_int;
    }
    if descriptor >= 0 {
        objects::remember(descriptor as c_int, made);
    }
    descriptor as c_int
}

/// A call that moves so many bytes at most; their number is the third argument.
fn moving(name: &str, descriptor: c_int, (number, args): (c_long, [c_long; 6])) -> isize {
    let part = |args: [c_long; 6]| {
        let [a, b, length, d, e, f] = args;
        kernel(number, [a, b, (length / 2).max(1), d, e, f])
    };
    let object = objects::of(descriptor);
    let moved = match plan::ask(name, object, Kind::Moving) {
        Verdict::Pass => kernel(number, args),
        Verdict::Before(errno) => fail(errno),
        Verdict::After(errno) => {
            kernel(number, args);
            fail(errno)
        }
        Verdict::Short => part(args),
        Verdict::Cut(errno) => {
            part(args);
            fail(errno)
        }
    };
    moved as isize
}

macro_rules! argument {
    ($value:expr) => {
        $value as c_long
    };
}

macro_rules! arguments {
    ($a:expr) => {
        [argument!($a), 0, 0, 0, 0, 0]
    };
    ($a:expr, $b:expr) => {
        [argument!($a), argument!($b), 0, 0, 0, 0]
    };
    ($a:expr, $b:expr, $c:expr) => {
        [argument!($a), argument!($b), argument!($c), 0, 0, 0]
    };
    ($a:expr, $b:expr, $c:expr, $d:expr) => {
        [
            argument!($a),
            argument!($b),
            argument!($c),
            argument!($d),
            0,
            0,
        ]
    };
    ($a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        [
            argument!($a),
            argument!($b),
            argument!($c),
            argument!($d),
            argument!($e),
            0,
        ]
    };
}

/// Calls about a descriptor, their first argument.
macro_rules! on_descriptors {
    ($($name:ident($($arg:ident: $type:ty),*) as $number:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(descriptor: c_int $(, $arg: $type)*) -> c_int {
            let call = (libc::$number, arguments!(descriptor $(, $arg)*));
            whole(stringify!($name), objects::of(descriptor), call) as c_int
        }
    )*};
}

on_descriptors! {
    fsync() as SYS_fsync;
    fdatasync() as SYS_fdatasync;
    ftruncate64(length: i64) as SYS_ftruncate;
    fallocate(mode: c_int, offset: i64, length: i64) as SYS_fallocate;
    flock(operation: c_int) as SYS_flock;
    fchmod(mode: c_uint) as SYS_fchmod;
    listen(backlog: c_int) as SYS_listen;
    shutdown(how: c_int) as SYS_shutdown;
    getsockname(address: *mut c_void, length: *mut c_void) as SYS_getsockname;
    getpeername(address: *mut c_void, length: *mut c_void) as SYS_getpeername;
    setsockopt(level: c_int, name: c_int, value: *const c_void, length: c_uint) as SYS_setsockopt;
    getsockopt(level: c_int, name: c_int, value: *mut c_void, length: *mut c_void)
        as SYS_getsockopt;
    fcntl(command: c_int, value: c_long) as SYS_fcntl;
    ioctl(request: c_long, value: c_long) as SYS_ioctl;
    epoll_ctl(operation: c_int, about: c_int, event: *mut c_void) as SYS_epoll_ctl;
}

/// Calls that move bytes through a descriptor.
macro_rules! on_bytes {
    ($($name:ident($($arg:ident: $type:ty),*) as $number:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            descriptor: c_int,
            bytes: *mut c_void,
            length: usize
            $(, $arg: $type)*
        ) -> isize {
            let call = (libc::$number, arguments!(descriptor, bytes, length $(, $arg)*));
            moving(stringify!($name), descriptor, call)
        }
    )*};
}

on_bytes! {
    read() as SYS_read;
    write() as SYS_write;
    pread64(offset: i64) as SYS_pread64;
    pwrite64(offset: i64) as SYS_pwrite64;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    descriptor: c_int,
    bytes: *mut c_void,
    length: usize,
    flags: c_int,
) -> isize {
    let call = (
        libc::SYS_recvfrom,
        arguments!(descriptor, bytes, length, flags),
    );
    moving("recv", descriptor, call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    descriptor: c_int,
    bytes: *const c_void,
    length: usize,
    flags: c_int,
) -> isize {
    let call = (
        libc::SYS_sendto,
        arguments!(descriptor, bytes, length, flags),
    );
    moving("send", descriptor, call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lseek64(descriptor: c_int, offset: i64, whence: c_int) -> i64 {
    let call = (libc::SYS_lseek, arguments!(descriptor, offset, whence));
    whole("lseek", objects::of(descriptor), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(descriptor: c_int, address: *const c_void, length: c_uint) -> c_int {
    objects::remember(descriptor, Object::Listener);
    let call = (libc::SYS_bind, arguments!(descriptor, address, length));
    whole("bind", Object::Listener, call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(
    descriptor: c_int,
    address: *const c_void,
    length: c_uint,
) -> c_int {
    objects::remember(descriptor, Object::Upstream);
    let call = (libc::SYS_connect, arguments!(descriptor, address, length));
    whole("connect", Object::Upstream, call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let call = (libc::SYS_socket, arguments!(domain, kind, protocol));
    making("socket", (Object::Socket, Object::Socket), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    descriptor: c_int,
    address: *mut c_void,
    length: *mut c_void,
    flags: c_int,
) -> c_int {
    let call = (
        libc::SYS_accept4,
        arguments!(descriptor, address, length, flags),
    );
    making("accept", (Object::Listener, Object::Client), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(descriptor: c_int) -> c_int {
    let object = objects::of(descriptor);
    let call = (libc::SYS_dup, arguments!(descriptor));
    making("dup", (object, object), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_create1(flags: c_int) -> c_int {
    let call = (libc::SYS_epoll_create1, arguments!(flags));
    making("epoll_create", (Object::Epoll, Object::Epoll), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_create(_size: c_int) -> c_int {
    let call = (libc::SYS_epoll_create1, arguments!(0));
    making("epoll_create", (Object::Epoll, Object::Epoll), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn eventfd(value: c_uint, flags: c_int) -> c_int {
    let call = (libc::SYS_eventfd2, arguments!(value, flags));
    making("eventfd", (Object::Waker, Object::Waker), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    descriptor: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
) -> c_int {
    let call = (
        libc::SYS_epoll_pwait,
        arguments!(descriptor, events, most, timeout),
    );
    whole("epoll_wait", Object::Epoll, call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let object = objects::of_path(path);
    let call = (
        libc::SYS_openat,
        arguments!(libc::AT_FDCWD, path, flags, mode),
    );
    let creates = flags & libc::O_CREAT != 0;
    let name = if creates { "create" } else { "open" };
    making(name, (object, object), call)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let call = (
        libc::SYS_renameat2,
        arguments!(libc::AT_FDCWD, from, libc::AT_FDCWD, to),
    );
    whole("rename", objects::of_path(to), call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let call = (libc::SYS_unlinkat, arguments!(libc::AT_FDCWD, path, 0));
    whole("unlink", objects::of_path(path), call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    let call = (libc::SYS_mkdirat, arguments!(libc::AT_FDCWD, path, mode));
    whole("mkdir", objects::of_path(path), call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_setaffinity(pid: c_int, size: usize, set: *const c_void) -> c_int {
    let call = (libc::SYS_sched_setaffinity, arguments!(pid, size, set));
    whole("sched_setaffinity", Object::Process, call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn setrlimit(resource: c_uint, limit: *const c_void) -> c_int {
    let call = (libc::SYS_setrlimit, arguments!(resource, limit));
    whole("setrlimit", Object::Process, call) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrlimit(resource: c_uint, limit: *mut c_void) -> c_int {
    let call = (libc::SYS_getrlimit, arguments!(resource, limit));
    whole("getrlimit", Object::Process, call) as c_int
}
