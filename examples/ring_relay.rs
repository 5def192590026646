//! A prototype to decide by, not to ship: `relay` again, on a minimal ring of its own instead of
//! monoio's. It shows what an event loop that knows io_uring better would save p99:
//! `scripts/bench-proxies` runs both relays and p99 beside each other, and docs/PERFORMANCE.md says
//! what came out.
//!
//! Same ring setup as p99's (coop_taskrun, single_issuer, defer_taskrun), same copies. One loop
//! over completions instead of tasks and wakers; then, one after the other:
//!
//! - `bare`: nothing more;
//! - `poll-first`: a read waits for its poll at once. Without it the kernel tries the read first,
//!   in vain, as nothing has come yet when a proxy begins to wait;
//! - `fixed`: that, and sockets that are registered with the ring, so that no operation takes a
//!   reference to a file.
//!
//! `ring_relay UPSTREAM_PORT [bare|poll-first|fixed] [PORT]` prints `listening PORT`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of the benchmarks: it may stop at whatever it does not expect"
)]

use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, opcode, squeue, types};

/// As large as a payment's buffers in p99.
const BUFFER_BYTES: usize = 4 * 1024;
/// More sockets than a round of the benchmark opens.
const SOCKETS_MAX: u32 = 8 * 1024;
/// IORING_RECVSEND_POLL_FIRST of linux/io_uring.h.
const POLL_FIRST: u16 = 1;
const ACCEPTED: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Bare,
    PollFirst,
    Fixed,
}

/// One direction of one client's bytes. It lives as long as the process, so that the kernel's
/// pointer into its buffer is always good.
struct Flow {
    from: TcpStream,
    to: TcpStream,
    /// Their places among the registered files.
    places: [u32; 2],
    buffer: Box<[u8; BUFFER_BYTES]>,
    /// What of the buffer is still to be written; none while it is read into.
    unsent: std::ops::Range<usize>,
}

struct Relay {
    ring: IoUring,
    level: Level,
    listener: TcpListener,
    upstream: u16,
    flows: Vec<Flow>,
}

impl Relay {
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: buffers and sockets of flows live as long as the process.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit().expect("the ring takes what is queued");
        }
    }

    fn accept(&mut self) {
        let listener = types::Fd(self.listener.as_raw_fd());
        let entry = opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut());
        self.push(&entry.build().user_data(ACCEPTED));
    }

    fn read(&mut self, index: usize) {
        let flow = &mut self.flows[index];
        flow.unsent = 0..0;
        let (buffer, length) = (flow.buffer.as_mut_ptr(), BUFFER_BYTES as u32);
        let mut entry = if self.level >= Level::Fixed {
            opcode::Recv::new(types::Fixed(flow.places[0]), buffer, length).build()
        } else {
            opcode::Recv::new(types::Fd(flow.from.as_raw_fd()), buffer, length).build()
        };
        if self.level >= Level::PollFirst {
            // SAFETY: an entry is the kernel's struct io_uring_sqe and nothing else; its second
            // half word is `ioprio`, for which this version of the crate has no setter here.
            unsafe { (&raw mut entry).cast::<u16>().add(1).write(POLL_FIRST) };
        }
        self.push(&entry.user_data(index as u64 * 2));
    }

    fn write(&mut self, index: usize) {
        let flow = &self.flows[index];
        let bytes = &flow.buffer[flow.unsent.clone()];
        let (buffer, length) = (bytes.as_ptr(), bytes.len() as u32);
        let entry = if self.level >= Level::Fixed {
            opcode::Send::new(types::Fixed(flow.places[1]), buffer, length).build()
        } else {
            opcode::Send::new(types::Fd(flow.to.as_raw_fd()), buffer, length).build()
        };
        self.push(&entry.user_data(index as u64 * 2 + 1));
    }

    /// A client has come.
    fn accepted(&mut self, client: TcpStream) {
        let server = TcpStream::connect(("127.0.0.1", self.upstream)).expect("the upstream");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("sets TCP_NODELAY");
        }
        let index = self.flows.len();
        let places = [index as u32, index as u32 + 1];
        if self.level >= Level::Fixed {
            let files = [client.as_raw_fd(), server.as_raw_fd()];
            let submitter = self.ring.submitter();
            submitter
                .register_files_update(places[0], &files)
                .expect("fewer sockets than places");
        }
        let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        let flow = |from, to, places| Flow {
            from,
            to,
            places,
            buffer: Box::new([0; BUFFER_BYTES]),
            unsent: 0..0,
        };
        let [a, b] = places;
        let flows = [
            flow(copy(&client), copy(&server), [a, b]),
            flow(server, client, [b, a]),
        ];
        self.flows.extend(flows);
        self.read(index);
        self.read(index + 1);
    }

    fn done(&mut self, data: u64, result: i32) {
        if data == ACCEPTED {
            assert!(result >= 0, "accepts: {result}");
            // SAFETY: the kernel has just opened it for us.
            let client = unsafe { std::os::fd::FromRawFd::from_raw_fd(result) };
            self.accept();
            return self.accepted(client);
        }
        let (index, is_write) = ((data / 2) as usize, data % 2 == 1);
        let flow = &mut self.flows[index];
        match usize::try_from(result) {
            Ok(count) if count > 0 && is_write => flow.unsent.start += count,
            Ok(count) if count > 0 => flow.unsent = 0..count,
            // The other direction ends when its peer closes in turn. Closing twice is no harm.
            Ok(_) | Err(_) => return drop(flow.to.shutdown(Shutdown::Write)),
        }
        if flow.unsent.is_empty() {
            self.read(index);
        } else {
            self.write(index);
        }
    }

    fn run(&mut self) {
        let mut done = Vec::new();
        self.accept();
        loop {
            self.ring.submit_and_wait(1).expect("the ring works");
            done.extend(
                self.ring
                    .completion()
                    .map(|one| (one.user_data(), one.result())),
            );
            for (data, result) in done.drain(..) {
                self.done(data, result);
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default| arguments.get(place).map_or(default, String::as_str);
    let level = match word(1, "fixed") {
        "bare" => Level::Bare,
        "poll-first" => Level::PollFirst,
        "fixed" => Level::Fixed,
        other => panic!("no such ring: {other}"),
    };
    let port: u16 = word(2, "0").parse().expect("a port to listen on");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let port = listener.local_addr().expect("has a port").port();
    let ring = IoUring::builder()
        .setup_coop_taskrun()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(1_024)
        .expect("this kernel grants that ring");
    if level >= Level::Fixed {
        let submitter = ring.submitter();
        submitter
            .register_files_sparse(SOCKETS_MAX)
            .expect("places for registered files");
    }
    writeln!(std::io::stdout(), "listening {port}").expect("tells its port");
    Relay {
        ring,
        level,
        listener,
        upstream: word(0, "").parse().expect("the upstream's port"),
        flows: Vec::new(),
    }
    .run();
}
