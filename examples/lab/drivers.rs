//! Does p99 run on io_uring where the kernel grants it, and on epoll where it does not?
//!
//! Starts p99 three times: as it is, with io_uring switched off by MONOIO_FORCE_LEGACY_DRIVER, and
//! with the three io_uring calls refused by a seccomp filter, as Docker's default profile does it.
//! Each time a payment must be charged, and p99_driver_info and the log must name the driver that
//! the kernel left.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::gauge;
use crate::kit::client::{Client, write_payment};
use crate::kit::process::P99;
use crate::kit::report::Report;
use crate::kit::scratch::Scratch;
use crate::kit::told::{Amount, Numbers};

/// The three calls have the same numbers on every 64-bit architecture of Linux.
const CALLS: [i64; 3] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

const DRIVER: &str = "the driver that the kernel left";

pub(crate) fn run(binary: &Path) -> bool {
    let mut report = Report::default();
    let granted = if grants_io_uring() {
        "io_uring"
    } else {
        "epoll"
    };
    let lab = std::env::current_exe().expect("its own path");
    let refused = vec![lab.display().to_string(), "refuse-io-uring".to_owned()];
    for (number, (name, expected, is_forced, under)) in [
        ("as it is", granted, false, Vec::new()),
        ("forced", "epoll", true, Vec::new()),
        ("refused by seccomp", "epoll", false, refused),
    ]
    .into_iter()
    .enumerate()
    {
        let scratch = Scratch::new(&format!("drivers-{number}")).expect("a folder");
        let processors = gauge::processors();
        let mut plan = gauge::plan(binary, &scratch, &processors);
        plan.under = under;
        plan.set("MONOIO_FORCE_LEGACY_DRIVER", u8::from(is_forced));
        plan.set("REQUEST_TIMEOUT_MS", 5_000);
        plan.set("RUST_LOG", "info");
        let Some(p99) = P99::start(&plan, &mut report) else {
            continue;
        };
        let mut client = Client::connect(plan.address);
        let numbers = Numbers { seed: 1 };
        let mut request = Vec::new();
        let id = numbers.id(0).to_string();
        write_payment(&id, numbers.amount(0, Amount::Usual), &mut request);
        let answer = client.exchange(&request);
        let status = answer.map_or(0, |answer| answer.status);
        let charged: usize = processors.iter().map(|one| one.rows().len()).sum();
        let says =
            |driver| gauge::metric(&plan, &format!("p99_driver_info{{driver=\"{driver}\"}}")) > 0.0;
        let is_metric_right = ["io_uring", "epoll"]
            .iter()
            .all(|driver| says(driver) == (*driver == expected));
        let is_log_right = p99.log().contains(&format!("on {expected}"));
        report.row(
            name,
            format!(
                "{expected}: payment {status}, charged {charged}, metric {is_metric_right}, \
                 log {is_log_right}"
            ),
        );
        if (status, charged, is_metric_right, is_log_right) != (200, 1, true, true) {
            report.broke(DRIVER, || format!("{name}: {}", p99.last_words()));
        }
        p99.end(&mut report);
    }
    report.print("drivers")
}

/// Whether this kernel lets this process make a ring of two entries.
fn grants_io_uring() -> bool {
    io_uring::IoUring::new(2).is_ok()
}

/// From here on the calls answer EPERM; then this process becomes `command`.
pub(crate) fn refuse_and_become(command: &[String]) -> io::Error {
    if let Err(fault) = refuse_io_uring() {
        return fault;
    }
    if grants_io_uring() {
        return io::Error::other("the filter does not hold");
    }
    match command.split_first() {
        Some((program, words)) => Command::new(program).args(words).exec(),
        None => io::ErrorKind::InvalidInput.into(),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of the kernel's interface"
)]
fn refuse_io_uring() -> io::Result<()> {
    let step = |code: u32, hit: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: hit,
        jf: 0,
        k: value,
    };
    // The number of the call is the first word.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (place, call) in CALLS.into_iter().enumerate() {
        // A hit jumps over the comparisons that are left and over "allow".
        let jump = (CALLS.len() - place) as u8;
        program.push(step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            jump,
            call as u32,
        ));
    }
    let answers = [
        libc::SECCOMP_RET_ALLOW,
        libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
    ];
    program.extend(answers.map(|answer| step(libc::BPF_RET | libc::BPF_K, 0, answer)));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to a program that lives through both calls, which only read it.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
