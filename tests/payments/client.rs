//! A blocking client that sees exactly what p99 puts on the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use p99::payment::UpstreamId;

/// Nothing that should happen takes this long, however slow the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Looks again and again until `is_so`.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let step = Duration::from_millis(2);
    for _ in 0..DEADLINE.as_millis() / step.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(step);
    }
    panic!("never happened: {what}");
}

/// The `number`-th id of the tests, a UUID.
pub(crate) fn id(number: usize) -> UpstreamId {
    UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_0000_0000_0000 + number as u128)
}

/// The body of a payment.
pub(crate) fn payment(id: impl std::fmt::Display, amount: &str) -> String {
    format!(r#"{{"correlationId":"{id}","amount":{amount}}}"#)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What a client sees instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// RST, or a write to a connection that is gone.
    Reset,
    /// FIN after this many bytes.
    Closed { octets: usize },
    /// Nothing within the client's patience.
    Silence,
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("it listens")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
        })
    }

    /// How long a read may take.
    pub(crate) fn set_patience(&self, patience: Duration) {
        // A zero timeout would mean none.
        let patience = Some(patience.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(patience).unwrap();
    }

    /// Makes the close a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn write(&mut self, text: &str) {
        // A peer that reset the connection shows at the next read.
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Sends a request with a JSON body, or none where it is empty.
    pub(crate) fn send(&mut self, line: &str, headers: &str, body: &str) {
        self.write(&request(line, headers, body));
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call(&mut self, line: &str, headers: &str, body: &str) -> Answer {
        self.send(line, headers, body);
        let answer = self
            .read()
            .unwrap_or_else(|broken| panic!("{line}: {broken:?}"));
        assert!(!line.starts_with("HEAD"), "use `head`");
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), "", "")
    }

    /// Pays and reads the answer.
    pub(crate) fn pay(&mut self, id: impl std::fmt::Display, amount: &str) -> Answer {
        self.call("POST /payments", "", &payment(id, amount))
    }

    /// Reads one answer, or what came instead.
    pub(crate) fn read(&mut self) -> Result<Answer, Broken> {
        self.read_with(Answer::framed)
    }

    /// Reads the answer to a HEAD request: its head alone.
    pub(crate) fn read_head(&mut self) -> Result<Answer, Broken> {
        self.read_with(|_| 0)
    }

    fn read_with(&mut self, body_bytes: fn(&Answer) -> usize) -> Result<Answer, Broken> {
        loop {
            if let Some(answer) = self.take_answer(body_bytes) {
                return Ok(answer);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    let octets = self.input.len();
                    return Err(Broken::Closed { octets });
                }
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(fault) => {
                    let is_one_of = |kinds: &[ErrorKind]| kinds.contains(&fault.kind());
                    if is_one_of(&[ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]) {
                        return Err(Broken::Reset);
                    }
                    if is_one_of(&[ErrorKind::WouldBlock, ErrorKind::TimedOut]) {
                        return Err(Broken::Silence);
                    }
                    assert!(is_one_of(&[ErrorKind::Interrupted]), "{fault}");
                }
            }
        }
    }

    fn take_answer(&mut self, body_bytes: fn(&Answer) -> usize) -> Option<Answer> {
        let end = self.input.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(self.input[..end].to_vec()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1")[..3]
            .parse()
            .unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let begin = end + 4;
        let body = self.input.get(begin..begin + body_bytes(&answer))?;
        answer.body = String::from_utf8(body.to_vec()).unwrap();
        self.input.drain(..begin + answer.body.len());
        Some(answer)
    }
}

impl Answer {
    fn framed(&self) -> usize {
        match self.status {
            100..=199 | 204 | 304 => 0,
            _ => self.field("Content-Length").unwrap().parse().unwrap(),
        }
    }
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
