//! Names that resolve to what a test says, and places that are one processor now and another one
//! later: a place listens on an address and passes everything on to the processor that is there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use p99::testing::cores::Running;
use p99::testing::pay::Setup;
use p99::testing::upstream::NameLookup;

use crate::kit::stack::config;
use crate::kit::start::free_port;

/// What `proc-a` and `proc-b` resolve to; none is a failure.
#[derive(Clone, Default)]
pub(crate) struct Names {
    found: Arc<Mutex<[Vec<SocketAddr>; 2]>>,
    asked: Arc<AtomicUsize>,
    /// How long a resolution takes.
    pub(crate) delay: Duration,
}

impl Names {
    pub(crate) fn of(a: &[SocketAddr], b: &[SocketAddr]) -> Self {
        let names = Self::default();
        names.set(a, b);
        names
    }

    pub(crate) fn set(&self, a: &[SocketAddr], b: &[SocketAddr]) {
        *self.found.lock().unwrap() = [a.to_vec(), b.to_vec()];
    }

    /// How many resolutions there were.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// p99 before these two names.
    pub(crate) fn start_p99(&self, driver: &str, settings: &[(&str, &str)]) -> Running {
        let settings = [settings, &[("MONOIO_FORCE_LEGACY_DRIVER", driver)]].concat();
        let mut setup = Setup::new(config(["http://proc-a:80", "http://proc-b:80"], &settings));
        let names = self.clone();
        setup.lookup = NameLookup::new(move |host, _| {
            names.asked.fetch_add(1, Ordering::SeqCst);
            thread::sleep(names.delay);
            let [a, b] = &*names.found.lock().unwrap();
            let found = if host == "proc-a" { a } else { b };
            if found.is_empty() {
                return Err(std::io::Error::other("no server of names answers"));
            }
            Ok(found.clone())
        });
        Running::start(&setup).unwrap()
    }
}

/// See the header of this file.
pub(crate) struct Place {
    address: SocketAddr,
    open: Option<Open>,
}

struct Open {
    is_closing: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Place {
    /// A place at which the processor at `target` is.
    pub(crate) fn new(target: SocketAddr) -> Self {
        // While it is closed no connection of this machine's may get its port.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        let mut place = Self {
            address: listener.local_addr().unwrap(),
            open: None,
        };
        place.serve(listener, target);
        place
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener closes, and then every connection.
    pub(crate) fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        open.is_closing.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        open.accepting.join().unwrap();
        for stream in open.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From here on the processor at `target` is here.
    pub(crate) fn open(&mut self, target: SocketAddr) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.serve(listener, target);
    }

    fn serve(&mut self, listener: TcpListener, target: SocketAddr) {
        let is_closing = Arc::new(AtomicBool::new(false));
        let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
        let (closing, kept) = (Arc::clone(&is_closing), Arc::clone(&streams));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if closing.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(near), Ok(far)) = (stream, TcpStream::connect(target)) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || pass_on(from, to));
                }
                kept.lock().unwrap().extend([near, far]);
            }
        });
        self.open = Some(Open {
            is_closing,
            streams,
            accepting,
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.close();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut chunk) {
        if count == 0 || to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
