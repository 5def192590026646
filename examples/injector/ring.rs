//! The operations of a ring. They are no calls: they are entries in memory that runtime and kernel
//! share. So before each `io_uring_enter` the new submissions are looked at, and after it
//! the new completions. An operation that shall not be done becomes a no-op, one that shall be done
//! in part gets half of its length; what is reported of either is written over in its completion.
//!
//! With `defer_taskrun` (Linux 6.1) completions appear within `io_uring_enter` only, so none is
//! seen by the runtime before it was looked at here.

use std::ffi::{c_int, c_long};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::objects::{self, Object};
use super::plan::{self, Kind, Verdict};
use super::{fail, kernel};

const SUBMISSION_BYTES: usize = 64;
const COMPLETION_BYTES: usize = 16;
const OFFSET_SUBMISSIONS: i64 = 0x1000_0000;
const OFFSET_COMPLETIONS: i64 = 0x800_0000;
const NO_OP: u8 = 0;
const ACCEPT: u8 = 13;

/// Operations by their number, and what can be done to them.
const OPERATIONS: &[(u8, &str, Kind)] = &[
    (3, "ring fsync", Kind::Whole),
    (6, "ring poll", Kind::Whole),
    (ACCEPT, "ring accept", Kind::Whole),
    (16, "ring connect", Kind::Whole),
    (19, "ring close", Kind::Whole),
    (22, "ring read", Kind::Moving),
    (23, "ring write", Kind::Moving),
    (26, "ring send", Kind::Moving),
    (27, "ring recv", Kind::Moving),
];

/// Where the parts of a ring are, as the kernel said at its set-up.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    sub_head: usize,
    sub_tail: usize,
    sub_mask: usize,
    sub_array: usize,
    comp_tail: usize,
    comp_mask: usize,
    comp_entries: usize,
}

#[derive(Debug)]
struct Ring {
    descriptor: c_int,
    offsets: Offsets,
    /// Where its queues are mapped, one after the other; 0 while they are not.
    queue: usize,
    completions: usize,
    submissions: usize,
    /// Up to which entry each queue was looked at.
    submitted: u32,
    completed: u32,
    /// Operations whose completion is written over, and accepts, by their `user_data`.
    watched: Vec<(u64, Watch)>,
}

#[derive(Clone, Copy, Debug)]
enum Watch {
    Report(c_int),
    /// Its descriptor is closed first.
    AcceptedReport(c_int),
    Accepted,
}

static RINGS: Mutex<Vec<Ring>> = Mutex::new(Vec::new());

fn with_ring(descriptor: c_int, act: impl FnOnce(&mut Ring)) {
    if let Ok(mut rings) = RINGS.lock() {
        // A number may have been another ring's before.
        let found = rings
            .iter_mut()
            .rev()
            .find(|ring| ring.descriptor == descriptor);
        if let Some(ring) = found {
            act(ring);
        }
    }
}

pub(crate) fn set_up(args: [c_long; 6]) -> c_long {
    let verdict = plan::ask("io_uring_setup", Object::Ring, Kind::Certain);
    if let Verdict::Before(errno) = verdict {
        return fail(errno);
    }
    let made = kernel(libc::SYS_io_uring_setup, args);
    let Ok(descriptor) = c_int::try_from(made) else {
        return made;
    };
    if descriptor >= 0 {
        objects::remember(descriptor, Object::Ring);
        // SAFETY: the kernel has just filled the parameters, 120 bytes of them.
        let word = |at: usize| unsafe { *((args[1] as usize + at) as *const u32) as usize };
        let offsets = Offsets {
            sub_head: word(40),
            sub_tail: word(44),
            sub_mask: word(48),
            sub_array: word(64),
            comp_tail: word(84),
            comp_mask: word(88),
            comp_entries: word(100),
        };
        let ring = Ring {
            descriptor,
            offsets,
            queue: 0,
            completions: 0,
            submissions: 0,
            submitted: 0,
            completed: 0,
            watched: Vec::new(),
        };
        if let Ok(mut rings) = RINGS.lock() {
            rings.push(ring);
        }
    }
    made
}

pub(crate) fn mapped(descriptor: c_int, offset: i64, at: c_long) {
    let Ok(at) = usize::try_from(at) else { return };
    with_ring(descriptor, |ring| match offset {
        0 => (ring.queue, ring.completions) = (at, at),
        OFFSET_COMPLETIONS => ring.completions = at,
        OFFSET_SUBMISSIONS => ring.submissions = at,
        _ => {}
    });
}

pub(crate) fn enter(args: [c_long; 6]) -> c_long {
    let descriptor = args[0] as c_int;
    with_ring(descriptor, Ring::look_at_submissions);
    let verdict = plan::ask("io_uring_enter", Object::Ring, Kind::Whole);
    if let Verdict::Before(errno) = verdict {
        return fail(errno);
    }
    let entered = kernel(libc::SYS_io_uring_enter, args);
    // SAFETY: the place of this thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    with_ring(descriptor, Ring::look_at_completions);
    match verdict {
        Verdict::After(errno) => fail(errno),
        _ if entered < 0 => fail(errno),
        _ => entered,
    }
}

impl Ring {
    fn word(base: usize, offset: usize) -> u32 {
        // SAFETY: a counter of the mapped ring, aligned, which lives as long as the process.
        unsafe { AtomicU32::from_ptr((base + offset) as *mut u32) }.load(Ordering::Acquire)
    }

    fn look_at_submissions(&mut self) {
        if self.queue == 0 || self.submissions == 0 {
            return;
        }
        let Offsets {
            sub_head,
            sub_tail,
            sub_mask,
            sub_array,
            ..
        } = self.offsets;
        let head = Self::word(self.queue, sub_head);
        let tail = Self::word(self.queue, sub_tail);
        let mask = Self::word(self.queue, sub_mask);
        // What the kernel did not take last time was looked at already.
        if self.submitted.wrapping_sub(head) > tail.wrapping_sub(head) {
            self.submitted = head;
        }
        while self.submitted != tail {
            let place = (self.submitted & mask) as usize * 4;
            let index = Self::word(self.queue, sub_array + place) as usize;
            self.look_at(self.submissions + index * SUBMISSION_BYTES);
            self.submitted = self.submitted.wrapping_add(1);
        }
    }

    /// One submission, which is the kernel's only once `io_uring_enter` is called.
    fn look_at(&mut self, entry: usize) {
        // SAFETY: the entry is mapped, and its owner, this thread, has finished writing it.
        let (code, length) =
            unsafe { (&mut *(entry as *mut u8), &mut *((entry + 24) as *mut u32)) };
        // SAFETY: the same.
        let (descriptor, data) = unsafe {
            (
                *((entry + 4) as *const c_int),
                *((entry + 32) as *const u64),
            )
        };
        let Some((_, name, kind)) = OPERATIONS.iter().find(|(number, ..)| number == code) else {
            return;
        };
        let is_accept = *code == ACCEPT;
        let object = if is_accept {
            Object::Listener
        } else {
            objects::of(descriptor)
        };
        let watch = match plan::ask(name, object, *kind) {
            Verdict::Pass => is_accept.then_some(Watch::Accepted),
            Verdict::Before(errno) => {
                *code = NO_OP;
                // SAFETY: as above; a no-op knows no flags.
                unsafe { *((entry + 28) as *mut u32) = 0 };
                Some(Watch::Report(errno))
            }
            Verdict::After(errno) if is_accept => Some(Watch::AcceptedReport(errno)),
            Verdict::After(errno) => Some(Watch::Report(errno)),
            Verdict::Short => {
                *length = (*length / 2).max(1);
                None
            }
            Verdict::Cut(errno) => {
                *length = (*length / 2).max(1);
                Some(Watch::Report(errno))
            }
        };
        self.watched.extend(watch.map(|watch| (data, watch)));
    }

    fn look_at_completions(&mut self) {
        if self.completions == 0 {
            return;
        }
        let Offsets {
            comp_tail,
            comp_mask,
            comp_entries,
            ..
        } = self.offsets;
        let tail = Self::word(self.completions, comp_tail);
        let mask = Self::word(self.completions, comp_mask);
        while self.completed != tail {
            let place = (self.completed & mask) as usize * COMPLETION_BYTES;
            let entry = self.completions + comp_entries + place;
            // SAFETY: the entry is mapped, and the kernel has handed it over by moving the tail.
            let (data, result) =
                unsafe { (*(entry as *const u64), &mut *((entry + 8) as *mut c_int)) };
            let found = self
                .watched
                .iter()
                .position(|(watched, _)| *watched == data);
            if let Some(found) = found {
                let (_, watch) = self.watched.swap_remove(found);
                watch.apply(result);
            }
            self.completed = self.completed.wrapping_add(1);
        }
    }
}

impl Watch {
    fn apply(self, result: &mut c_int) {
        match self {
            Self::Report(errno) => *result = -errno,
            Self::AcceptedReport(errno) => {
                if *result >= 0 {
                    kernel(libc::SYS_close, [c_long::from(*result), 0, 0, 0, 0, 0]);
                }
                *result = -errno;
            }
            Self::Accepted => objects::remember(*result, Object::Client),
        }
    }
}
