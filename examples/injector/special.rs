//! Calls that libc does more for than to ask the kernel: they go on to libc's own function.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};

use super::objects::{self, Object};
use super::plan::{self, Kind, Verdict};
use super::{fail, kernel, next, ring, whole};

/// What libc's own function of this name is.
fn real<F: Copy>(name: &CStr) -> F {
    let found = next(name);
    assert!(!found.is_null() && size_of::<F>() == size_of::<*mut c_void>());
    // SAFETY: a pointer to a function, which is what every caller asks for.
    unsafe { std::mem::transmute_copy(&found) }
}

type Thread = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut c_void, *const c_void, Thread, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    main: Thread,
    argument: *mut c_void,
) -> c_int {
    match plan::ask("spawn", Object::Thread, Kind::Certain) {
        Verdict::Before(errno) => errno,
        _ => unsafe { real::<Create>(c"pthread_create")(thread, attributes, main, argument) },
    }
}

type Resolve =
    unsafe extern "C" fn(*const c_char, *const c_char, *const c_void, *mut *mut c_void) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const c_void,
    found: *mut *mut c_void,
) -> c_int {
    match plan::ask("resolve", Object::Name, Kind::Certain) {
        Verdict::Before(errno) => {
            fail(errno);
            libc::EAI_SYSTEM
        }
        _ => unsafe { real::<Resolve>(c"getaddrinfo")(node, service, hints, found) },
    }
}

type Action = unsafe extern "C" fn(c_int, *const c_void, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(signal: c_int, new: *const c_void, old: *mut c_void) -> c_int {
    let own = real::<Action>(c"sigaction");
    // The standard library looks after stack overflows; that is none of p99's.
    if !matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP) {
        return unsafe { own(signal, new, old) };
    }
    match plan::ask("sigaction", Object::Signal, Kind::Certain) {
        Verdict::Before(errno) => fail(errno) as c_int,
        _ => unsafe { own(signal, new, old) },
    }
}

type OpenDir = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type ReadDir = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn opendir(path: *const c_char) -> *mut c_void {
    match plan::ask("opendir", objects::of_path(path), Kind::Certain) {
        Verdict::Before(errno) => {
            fail(errno);
            std::ptr::null_mut()
        }
        _ => unsafe { real::<OpenDir>(c"opendir")(path) },
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn readdir64(directory: *mut c_void) -> *mut c_void {
    match plan::ask("readdir", Object::File, Kind::Certain) {
        Verdict::Before(errno) => {
            fail(errno);
            std::ptr::null_mut()
        }
        _ => unsafe { real::<ReadDir>(c"readdir64")(directory) },
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn statx(
    descriptor: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    found: *mut c_void,
) -> c_int {
    // Each argument as the kernel takes it.
    let args = [
        c_long::from(descriptor),
        path as c_long,
        c_long::from(flags),
        c_long::from(mask),
        found as c_long,
        0,
    ];
    // The standard library asks once with nothing, to see whether the kernel knows the call.
    if path.is_null() || found.is_null() {
        return kernel(libc::SYS_statx, args) as c_int;
    }
    let object = match unsafe { CStr::from_ptr(path) }.is_empty() {
        true => objects::of(descriptor),
        false => objects::of_path(path),
    };
    whole("statx", object, (libc::SYS_statx, args)) as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut c_int,
) -> c_int {
    let args = [
        c_long::from(domain),
        c_long::from(kind),
        c_long::from(protocol),
        pair as c_long,
        0,
        0,
    ];
    if let Verdict::Before(errno) = plan::ask("socketpair", Object::Pair, Kind::Certain) {
        return fail(errno) as c_int;
    }
    let made = kernel(libc::SYS_socketpair, args) as c_int;
    if made == 0 {
        // SAFETY: the kernel has just filled both places.
        unsafe {
            objects::remember(*pair, Object::Pair);
            objects::remember(*pair.add(1), Object::Pair);
        }
    }
    made
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    let args = [
        address as c_long,
        length as c_long,
        c_long::from(protection),
        c_long::from(flags),
        c_long::from(descriptor),
        offset,
    ];
    if objects::of(descriptor) != Object::Ring || descriptor < 0 {
        return kernel(libc::SYS_mmap, args) as *mut c_void;
    }
    if let Verdict::Before(errno) = plan::ask("mmap", Object::Ring, Kind::Certain) {
        return fail(errno) as *mut c_void;
    }
    let mapped = kernel(libc::SYS_mmap, args);
    ring::mapped(descriptor, offset, mapped);
    mapped as *mut c_void
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: the same call under another name.
    unsafe { mmap(address, length, protection, flags, descriptor, offset) }
}

/// What io_uring is called by, and what else has no function of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let args = [a, b, c, d, e, f];
    match number {
        libc::SYS_io_uring_setup => ring::set_up(args),
        libc::SYS_io_uring_enter => ring::enter(args),
        libc::SYS_io_uring_register => whole("io_uring_register", Object::Ring, (number, args)),
        _ => kernel(number, args),
    }
}
