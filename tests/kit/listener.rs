//! Where a liar listens: a place that can close for good while its connections live on, and end
//! them later, so that names can move in every order of events.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use super::liar::Liar;

/// A connection's thread holds two buffers of 4 KiB.
const STACK_BYTES: usize = 256 * 1024;

/// A place where a liar listens. It can close for good, and end the connections that came there.
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    is_closing: Arc<AtomicBool>,
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn open(liar: &Arc<Liar>, address: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(TcpListener::bind(address)?);
        let is_closing = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<HashMap<u64, TcpStream>>> = Arc::default();
        let (acceptor, closing) = (Arc::clone(&socket), Arc::clone(&is_closing));
        let (liar, connections) = (Arc::clone(liar), Arc::clone(&open));
        let thread = thread::spawn(move || {
            for number in 0.. {
                let accepted = acceptor.accept();
                if closing.load(Ordering::Acquire) {
                    return;
                }
                let Ok((stream, _)) = accepted else {
                    continue;
                };
                // Without it answers still arrive, only later.
                let _ = stream.set_nodelay(true);
                let twin = stream.try_clone().expect("a descriptor");
                connections.lock().expect("whole").insert(number, twin);
                let (liar, connections) = (Arc::clone(&liar), Arc::clone(&connections));
                let serve = move || {
                    liar.serve(stream);
                    connections.lock().expect("whole").remove(&number);
                };
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn(serve).expect("a thread");
            }
        });
        Ok(Self {
            socket,
            is_closing,
            open,
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it has one")
    }

    /// Connects are refused from now on. What is connected stays.
    pub(crate) fn close(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.is_closing.store(true, Ordering::Release);
        // It fails only when the socket does not listen, which is what is wanted.
        let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Both);
        thread.join().expect("it ends");
    }

    /// Ends all connections that came here.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().expect("whole").values() {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // It fails when the peer has gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        self.cut();
    }
}
