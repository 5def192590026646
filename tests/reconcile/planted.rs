//! Ten differences among very many payments: each is found, nothing else is, and memory does not
//! grow with their number.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use p99::testing::payment::Processor;

use super::book::{HEAD, charge, name, row, write_journal};
use super::found;
use super::kit::report::say;
use super::kit::scratch::Scratch;
use super::kit::stack::count;

/// Of one reconciliation, whatever it compares.
const RESIDENT_KIB_MAX: u64 = 200 << 10;

fn processor(number: u64) -> Processor {
    match number % 10 {
        0 => Processor::FALLBACK,
        _ => Processor::DEFAULT,
    }
}

/// Kind and number of each difference.
type Planted = [(&'static str, u64); 10];

/// Scattered over all of them; none ends with 0, so all are charged at the first.
fn plant(payments: u64) -> Planted {
    let place = |tenth: u64| payments / 10 * tenth + 7;
    [
        ("amount", place(4)),
        ("amount", place(5)),
        ("charged_at_two", place(6)),
        ("charged_at_two", place(7)),
        ("charged_twice", place(8)),
        ("missing_here", payments + 1),
        ("missing_here", payments + 2),
        ("missing_there", place(0)),
        ("missing_there", place(1)),
        ("other_processor", place(2)),
    ]
}

/// Writes both books, a.csv and b.csv, as the journal has it but for what is planted.
fn write_books(scratch: &Scratch, payments: u64, planted: &Planted) {
    let create = |name: &str| {
        let mut book = BufWriter::new(File::create(scratch.file(name)).unwrap());
        book.write_all(HEAD.as_bytes()).unwrap();
        book
    };
    let (mut a, mut b) = (create("a.csv"), create("b.csv"));
    let write = |book: &mut BufWriter<File>, text: String| book.write_all(text.as_bytes()).unwrap();
    for number in 0..payments {
        let (own, other) = match processor(number) {
            Processor::DEFAULT => (&mut a, &mut b),
            _ => (&mut b, &mut a),
        };
        let line = row(number, number);
        let kind = planted.iter().find(|(_, place)| *place == number);
        match kind.map(|(kind, _)| *kind) {
            Some("missing_there") => {}
            Some("other_processor") => write(other, line),
            Some("charged_twice") => write(own, line.repeat(2)),
            Some("amount") => write(own, row(number, number + 1)),
            Some("charged_at_two") => {
                write(own, line.clone());
                write(other, line);
            }
            _ => write(own, line),
        }
    }
    for (kind, number) in planted {
        if *kind == "missing_here" {
            write(&mut a, row(*number, *number));
        }
    }
    a.flush().unwrap();
    b.flush().unwrap();
}

#[test]
fn ten_differences_are_found_in_bounded_memory() {
    let payments = u64::try_from(count(30_000, 10_000_000)).unwrap();
    let scratch = Scratch::new("planted").unwrap();
    let dir = scratch.file("journal");
    let records = (0..payments).flat_map(|number| charge(number, processor(number)));
    write_journal(&dir, usize::try_from(payments).unwrap(), records);
    let planted = plant(payments);
    write_books(&scratch, payments, &planted);
    let (status, resident_kib) = compare(&scratch, &dir);
    let err = std::fs::read_to_string(scratch.file("err")).unwrap();
    assert_eq!(status, 1, "{err}");
    let mut expected = planted.map(|(kind, number)| (kind.to_owned(), name(number)));
    expected.sort();
    let out = std::fs::read_to_string(scratch.file("out")).unwrap();
    assert_eq!(found(&out), expected);
    let rare = payments / 10;
    let usual = payments - 8 - rare;
    assert!(
        err.contains(&format!("matched fallback: payments {rare},")),
        "{err}"
    );
    assert!(
        err.contains(&format!("matched default: payments {usual},")),
        "{err}"
    );
    assert!(resident_kib <= RESIDENT_KIB_MAX, "{resident_kib} KiB");
    say(&format!("{payments} payments: {resident_kib} KiB resident"));
}

/// Runs the command; its exit status, and the most that was resident.
fn compare(scratch: &Scratch, dir: &Path) -> (i32, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p99"));
    command.env_clear().args(["reconcile", "--csv"]);
    command.arg("--journal").arg(dir);
    command.arg("--temporary").arg(scratch.path());
    for (name, file) in [("default", "a.csv"), ("fallback", "b.csv")] {
        command.args(["--processor", &format!("{name}={}", scratch.text(file))]);
    }
    let out = File::create(scratch.file("out")).unwrap();
    let err = File::create(scratch.file("err")).unwrap();
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let mut child = command.spawn().unwrap();
    let mut resident_kib = 0;
    // What wait4 says has the most of this process in it, from before the exec.
    loop {
        resident_kib = most_resident_kib(child.id()).unwrap_or(resident_kib);
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code().unwrap(), resident_kib);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// It never falls; none once the process has ended.
fn most_resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
