//! A wire between a client and a server that can be cut without a word, as a network is: nothing is
//! reset, bytes that are under way wait, and go on when it is mended. Where it leads may change.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    /// The server's port; 0 where there is none.
    to: AtomicU16,
    is_cut: AtomicBool,
}

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    state: Arc<State>,
    port: u16,
}

impl Wire {
    /// One that leads nowhere yet.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || carry(&client, &state));
            }
        });
        Self { state, port }
    }

    /// Where clients connect.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn lead_to(&self, port: u16) {
        self.state.to.store(port, Ordering::Release);
    }

    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Release);
    }

    pub(crate) fn mend(&self) {
        self.state.is_cut.store(false, Ordering::Release);
    }
}

impl State {
    fn wait(&self) {
        while self.is_cut.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn carry(client: &TcpStream, state: &Arc<State>) {
    state.wait();
    let to = state.to.load(Ordering::Acquire);
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
        return;
    };
    for stream in [client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (Ok(from), Ok(back)) = (server.try_clone(), client.try_clone()) else {
        return;
    };
    let shared = Arc::clone(state);
    thread::spawn(move || copy(from, back, &shared));
    if let (Ok(from), to) = (client.try_clone(), server) {
        copy(from, to, state);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        state.wait();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    state.wait();
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
