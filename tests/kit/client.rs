//! A blocking HTTP/1.1 client on one kept connection of any kind: it sends bytes as they are, reads
//! one answer after the other, and says what came instead of one. It never repeats anything.
//!
//! Tests use the calls that panic, for what must not happen there; runs in which it may happen use
//! those that give an `io::Result`.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use p99::testing::payment::{Cents, UpstreamId};

pub(crate) use super::answer::{Answer, Broken};
use super::answer::{BodyOf, body_of, whole_answer};

/// Nothing that should happen takes this long, however slow the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until `is_so`.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks again while the answer is 503: a core or a disk that stands still for a while, as on a busy
/// machine. A payment that was told so is free, and may be sent again.
pub(crate) fn patiently(what: &str, mut ask: impl FnMut() -> Answer) -> Answer {
    let mut answer = ask();
    wait_until(what, || {
        let is_busy = answer.status == 503;
        if is_busy {
            answer = ask();
        }
        !is_busy
    });
    answer
}

/// Sends a payment, patiently, that ends as held: no one knows yet whether it is charged.
pub(crate) fn held(pay: impl FnMut() -> Answer) {
    let answer = patiently("a payment is held", pay);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// The `number`-th id of the tests, a UUID.
pub(crate) fn id(number: usize) -> UpstreamId {
    UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_0000_0000_0000 + number as u128)
}

/// The body of a payment.
pub(crate) fn payment(id: impl Display, amount: &str) -> String {
    format!(r#"{{"correlationId":"{id}","amount":{amount}}}"#)
}

/// What a client needs of its connection.
pub(crate) trait Stream: Read + Write + Send {
    /// How long a read or a write may take.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
    fn end_writing(&self) -> io::Result<()>;
    /// Another handle of the same connection.
    fn another(&self) -> io::Result<Box<dyn Stream>>;
}

macro_rules! is_a_stream {
    ($($kind:ty),+) => {
        $(impl Stream for $kind {
            fn set_patience(&self, patience: Duration) -> io::Result<()> {
                self.set_write_timeout(Some(patience))?;
                self.set_read_timeout(Some(patience))
            }

            fn end_writing(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            fn another(&self) -> io::Result<Box<dyn Stream>> {
                Ok(Box::new(self.try_clone()?))
            }
        })+
    };
}

is_a_stream!(TcpStream, UnixStream);

impl Stream for Box<dyn Stream> {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        (**self).set_patience(patience)
    }

    fn end_writing(&self) -> io::Result<()> {
        (**self).end_writing()
    }

    fn another(&self) -> io::Result<Box<dyn Stream>> {
        (**self).another()
    }
}

#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    input: Vec<u8>,
    /// A write found the connection reset, and with that took the error that a read would see.
    is_reset: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("it listens")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        Self::over(stream)
    }

    /// Makes the close a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("it is open");
    }

    /// Whether nothing at all comes for a while. It can only err towards `true`.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.set_patience(Duration::from_millis(30));
        let result = self.stream.read(&mut [0; 1]);
        self.set_patience(DEADLINE);
        matches!(result, Err(fault) if fault.kind() == ErrorKind::WouldBlock)
    }
}

impl Client<UnixStream> {
    pub(crate) fn connect_unix(path: impl AsRef<Path>) -> Self {
        let stream = UnixStream::connect(path).expect("it listens");
        Self::over(stream).expect("it is open")
    }
}

impl<S: Stream> Client<S> {
    /// A client on a connection that is open.
    pub(crate) fn over(stream: S) -> io::Result<Self> {
        stream.set_patience(DEADLINE)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            is_reset: false,
        })
    }

    /// How long a read may take.
    pub(crate) fn set_patience(&self, patience: Duration) {
        // A zero timeout would mean none.
        let patience = patience.max(Duration::from_millis(1));
        self.stream.set_patience(patience).expect("it is open");
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn write(&mut self, text: &str) {
        // A peer that reset the connection shows at the next read.
        self.is_reset |= self.send_bytes(text.as_bytes()).is_err();
    }

    /// Says that no more comes.
    pub(crate) fn end_writing(&self) {
        // The other side may have closed meanwhile.
        let _ = self.stream.end_writing();
    }

    /// Sends a request with a JSON body, or none where it is empty.
    pub(crate) fn send(&mut self, line: &str, headers: &str, body: &str) {
        self.write(&request(line, headers, body));
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call(&mut self, line: &str, headers: &str, body: &str) -> Answer {
        assert!(!line.starts_with("HEAD"), "use `read_head`");
        self.ask(&request(line, headers, body))
    }

    /// The same with bytes of the caller's own.
    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        self.write(request);
        self.read()
            .unwrap_or_else(|broken| panic!("{request}: {broken:?}"))
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), "", "")
    }

    /// Pays and reads the answer.
    pub(crate) fn pay(&mut self, id: impl Display, amount: &str) -> Answer {
        self.call("POST /payments", "", &payment(id, amount))
    }

    /// Sends a request and reads its answer, where both may fail, and from a server of either
    /// version of HTTP/1.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send_bytes(request)?;
        Ok(self.read_with(body_of)?)
    }

    /// Reads one answer, or what came instead.
    pub(crate) fn read(&mut self) -> Result<Answer, Broken> {
        let answer = self.read_with(body_of)?;
        let is_right = answer.head.starts_with("HTTP/1.1 ");
        is_right.then_some(answer).ok_or(Broken::NoHttp)
    }

    /// Reads the answer to a HEAD request: its head alone.
    pub(crate) fn read_head(&mut self) -> Result<Answer, Broken> {
        self.read_with(|_, _| Ok(Some((Vec::new(), 0))))
    }

    /// Everything until the connection ends; an error when that is a reset.
    pub(crate) fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        bytes.append(&mut self.input);
        self.stream.read_to_end(bytes)
    }

    /// Another client on the same connection: one that reads while this one writes.
    pub(crate) fn another(&self) -> Client<Box<dyn Stream>> {
        Client {
            stream: self.stream.another().expect("a descriptor"),
            input: Vec::new(),
            is_reset: false,
        }
    }

    fn read_with(&mut self, body_of: BodyOf) -> Result<Answer, Broken> {
        loop {
            if let Some((answer, used)) = whole_answer(&self.input, body_of)? {
                self.input.drain(..used);
                return Ok(answer);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.is_reset => return Err(Broken::Reset),
                Ok(0) => {
                    let bytes = self.input.len();
                    return Err(Broken::Closed { bytes });
                }
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(fault) => match fault.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Broken::Silence),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Broken::Reset),
                },
            }
        }
    }
}

/// One question on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut request = Vec::with_capacity(128);
    write_get(path, &mut request);
    Client::try_connect(address)?.exchange(&request)
}

/// The status of a GET, if anything answers.
pub(crate) fn probe(address: SocketAddr, path: &str) -> Option<u16> {
    Some(get(address, path).ok()?.status)
}

/// The same over a unix socket.
pub(crate) fn probe_unix(socket: &str, path: &str) -> Option<u16> {
    let stream = UnixStream::connect(socket).ok()?;
    let request = request(&format!("GET {path}"), "", "");
    let answer = Client::over(stream).ok()?.exchange(request.as_bytes());
    Some(answer.ok()?.status)
}

pub(crate) fn write_get(path: &str, out: &mut Vec<u8>) {
    write!(out, "GET {path} HTTP/1.1\r\nHost: p99\r\n\r\n").expect("a Vec takes every byte");
}

/// The bytes of one payment.
pub(crate) fn write_payment(id: &str, amount: Cents, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(96);
    write!(body, r#"{{"correlationId":"{id}","amount":"#).expect("a Vec takes every byte");
    amount.write(&mut body);
    body.push(b'}');
    write!(
        out,
        "POST /payments HTTP/1.1\r\nHost: p99\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .expect("a Vec takes every byte");
    out.extend_from_slice(&body);
}

/// The bytes of one request.
pub(crate) fn request(line: &str, headers: &str, body: &str) -> String {
    if body.is_empty() {
        return format!("{line} HTTP/1.1\r\nHost: p99\r\n{headers}\r\n");
    }
    let length = body.len();
    let media = if headers.contains("Content-Type") {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    format!(
        "{line} HTTP/1.1\r\nHost: p99\r\n{media}{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}
