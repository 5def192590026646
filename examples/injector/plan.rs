//! Which call fails: counts every call by its name, and knows the one that the environment names.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use super::kernel;
use super::objects::Object;

/// What can be done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Done or not.
    Whole,
    /// Bytes, of which a part can be moved.
    Moving,
    /// Once done it cannot be said to have failed.
    Certain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Not done, and this error.
    Before(c_int),
    /// Done, and this error.
    After(c_int),
    /// A part is done.
    Short,
    /// A part is done, and this error.
    Cut(c_int),
}

#[derive(Debug)]
struct Wanted {
    name: String,
    number: u64,
    verdict: Verdict,
}

/// How often each call was made, by its name and what it was about.
type Counts = BTreeMap<(String, &'static str), (Kind, u64)>;

#[derive(Debug)]
struct Plan {
    counts: Mutex<Counts>,
    wanted: Option<Wanted>,
    report: Option<PathBuf>,
}

fn wanted() -> Option<Wanted> {
    let text = std::env::var("TORTURE_FAIL").ok()?;
    let mut parts = text.split('|');
    let name = parts.next()?.to_owned();
    let number = parts.next()?.parse().ok()?;
    let mode = parts.next()?;
    let errno = parts.next()?.parse().ok()?;
    let verdict = match mode {
        "before" => Verdict::Before(errno),
        "after" => Verdict::After(errno),
        "short" => Verdict::Short,
        "cut" => Verdict::Cut(errno),
        _ => return None,
    };
    Some(Wanted {
        name,
        number,
        verdict,
    })
}

fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let report = std::env::var_os("TORTURE_COUNT").map(PathBuf::from);
        if report.is_some() {
            // SAFETY: the function takes nothing and stays as long as the process.
            unsafe { libc::atexit(tell) };
        }
        Plan {
            counts: Mutex::default(),
            wanted: wanted(),
            report,
        }
    })
}

/// Counts a call and says what is to become of it.
pub(crate) fn ask(name: &str, object: Object, kind: Kind) -> Verdict {
    let plan = plan();
    if plan.report.is_none()
        && !plan
            .wanted
            .as_ref()
            .is_some_and(|wanted| wanted.is(name, object))
    {
        return Verdict::Pass;
    }
    let Ok(mut counts) = plan.counts.lock() else {
        return Verdict::Pass;
    };
    let count = counts.entry((name.to_owned(), object.name()));
    let (_, count) = count.or_insert((kind, 0));
    *count += 1;
    match &plan.wanted {
        Some(wanted) if wanted.number == *count && wanted.is(name, object) => {
            let text = format!("torture: {} {} struck\n", name, object.name());
            drop(counts);
            let (at, length) = (text.as_ptr() as i64, text.len() as i64);
            kernel(libc::SYS_write, [2, at, length, 0, 0, 0]);
            wanted.verdict
        }
        _ => Verdict::Pass,
    }
}

impl Wanted {
    fn is(&self, name: &str, object: Object) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.and_then(|rest| rest.strip_prefix(' ')) == Some(object.name())
    }
}

/// One line for each kind of call.
extern "C" fn tell() {
    let plan = plan();
    let (Some(path), Ok(counts)) = (&plan.report, plan.counts.lock()) else {
        return;
    };
    let mut text = String::new();
    for ((name, object), (kind, count)) in &*counts {
        let _ = writeln!(text, "{name} {object}|{kind:?}|{count}");
    }
    drop(counts);
    let _ = std::fs::write(path, text);
}
