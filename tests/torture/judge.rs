//! What may become of a process in which a kernel call failed: it goes on, or it ends by itself and
//! says why. Never a panic, a signal or no end at all.

use std::path::Path;
use std::process::ExitStatus;

use crate::cases::Case;
use crate::kit::report::Report;

/// How one process of a scene ended.
pub(crate) struct End {
    pub(crate) status: Option<ExitStatus>,
    /// It ended before it was told to.
    pub(crate) is_early: bool,
    pub(crate) log: String,
}

/// No panic, no signal, an end in time; and who ends otherwise than asked says why.
pub(crate) fn judge(case: &Case, journal: &Path, end: &End, report: &mut Report) {
    let story = || {
        let lines: Vec<_> = end.log.lines().rev().take(6).collect();
        format!("{case:?}: {:?}: {}", end.status, lines.join(" | "))
    };
    let Some(status) = end.status else {
        report.broke("a stop ends in time", story);
        return;
    };
    if end.log.contains("panicked") || status.code().is_none() {
        report.broke("no panic and no signal", story);
        return;
    }
    let has_struck = end.log.contains("torture: ");
    let has_ended = end.is_early || !status.success();
    if has_ended && case.mode == "short" {
        report.broke("a short read or write is no fault", story);
    }
    if !has_struck || case.mode == "short" || !(has_ended || case.must_be_said()) {
        return;
    }
    let fault = format!("os error {}", case.errno);
    let place = case.place(journal);
    let is_clear = |line: &str| {
        line.contains(&fault) && place.as_ref().is_none_or(|place| line.contains(place))
    };
    if !end.log.lines().any(is_clear) {
        report.broke("a fault is said, with its place", story);
    }
}

impl Case {
    /// Whether p99 has to say that this call failed even where it goes on: what the journal lost or
    /// could not bring to the disk concerns the operator.
    fn must_be_said(&self) -> bool {
        let Some((call, object)) = self.name.rsplit_once(' ') else {
            return false;
        };
        let files = [
            "segment",
            "snapshot",
            "MANIFEST",
            "PROCESSORS",
            "LOCK",
            "journal-directory",
        ];
        // An interrupted call is made again. What cannot be removed is removed at the next start,
        // and what a file's attributes are is but a hint.
        let is_light = ["unlink", "statx", "lseek"].contains(&call);
        files.contains(&object) && self.errno != libc::EINTR && !is_light
    }

    /// What a message about this call has to name.
    fn place(&self, journal: &Path) -> Option<String> {
        let (_, object) = self.name.rsplit_once(' ')?;
        match object {
            "segment" | "snapshot" | "MANIFEST" | "PROCESSORS" | "LOCK" | "journal-directory" => {
                Some(journal.display().to_string())
            }
            "listener" if self.name.starts_with("bind") => Some("listen on 127.66.".to_owned()),
            _ => None,
        }
    }
}
