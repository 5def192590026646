//! Judges a load run of another program (`scripts/run-k6`): the file of its records, and the file
//! of what the run left behind.

use std::path::PathBuf;

use clap::Args;

use crate::kit::load::{self, Run};
use crate::kit::report::Report;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// One line a request: `P id cents status origin`
    records: PathBuf,
    /// Both processors' rows, the summaries and the latency, as JSON
    run: PathBuf,
}

pub(crate) fn run(options: &Options) -> bool {
    let read = |path| std::fs::read_to_string(path).expect("a file of the run");
    let left: Run = serde_json::from_str(&read(&options.run)).expect("what run-k6 writes");
    let mut report = Report::default();
    load::judge(&read(&options.records), &left, &mut report);
    report.print("audit")
}
