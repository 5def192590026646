//! A blocking client that sees exactly what is on the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use p99::payment::UpstreamId;
use p99::sim::{Simulator, SimulatorHandle, SimulatorOptions};

/// Nothing that should happen takes this long, however slow the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn start() -> SimulatorHandle {
    Simulator::start(SimulatorOptions::default()).expect("a free port")
}

/// Looks again and again until `is_so`.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let step = Duration::from_millis(1);
    for _ in 0..DEADLINE.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(step);
    }
    panic!("never happened: {what}");
}

pub(crate) fn id(number: u128) -> UpstreamId {
    UpstreamId(0x4a79_01b8_7d26_4d9d_aa19_0000_0000_0000 + number)
}

pub(crate) fn payment(number: u128) -> String {
    let id = id(number);
    format!(r#"{{"correlationId":"{id}","amount":19.90,"requestedAt":"2025-07-10T12:34:56.789Z"}}"#)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What a caller sees instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Reset,
    Closed { octets: usize },
    NoHttp,
}

pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// A write found the connection reset, and with that took the error that a read would see.
    is_reset: bool,
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
            is_reset: false,
        })
    }

    pub(crate) fn write(&mut self, text: &str) {
        // A peer that reset the connection shows at the next read.
        self.is_reset |= self.stream.write_all(text.as_bytes()).is_err();
    }

    pub(crate) fn send(&mut self, line: &str, headers: &str, body: &str) {
        let length = body.len();
        self.write(&format!(
            "{line} HTTP/1.1\r\nHost: sim\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    pub(crate) fn send_payment(&mut self, number: u128) {
        self.send("POST /payments", "", &payment(number));
    }

    pub(crate) fn call(&mut self, line: &str, body: &str) -> Answer {
        self.send(line, "X-Rinha-Token: 123\r\n", body);
        self.read().unwrap()
    }

    pub(crate) fn pay(&mut self, number: u128) -> u16 {
        self.send_payment(number);
        self.read().unwrap().status
    }

    pub(crate) fn look_up(&mut self, number: u128) -> u16 {
        self.call(&format!("GET /payments/{}", id(number)), "")
            .status
    }

    /// Reads one answer, or what came instead.
    pub(crate) fn read(&mut self) -> Result<Answer, Broken> {
        loop {
            if let Some(answer) = self.take_answer()? {
                return Ok(answer);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.is_reset => return Err(Broken::Reset),
                Ok(0) => {
                    return Err(Broken::Closed {
                        octets: self.input.len(),
                    });
                }
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(fault) if fault.kind() == ErrorKind::ConnectionReset => {
                    return Err(Broken::Reset);
                }
                Err(fault) => panic!("no answer by the deadline: {fault}"),
            }
        }
    }

    /// Whether nothing at all comes for a while. It can only err towards `true`.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(30)))
            .unwrap();
        let result = self.stream.read(&mut [0; 1]);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        matches!(result, Err(fault) if fault.kind() == ErrorKind::WouldBlock)
    }

    fn take_answer(&mut self) -> Result<Option<Answer>, Broken> {
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        let Some(status) = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest[..3].parse().ok())
        else {
            return Err(Broken::NoHttp);
        };
        let begin = end + 4;
        if head.contains("Transfer-Encoding: chunked") {
            let Some(coded) = self.input[begin..]
                .windows(5)
                .position(|five| five == b"0\r\n\r\n")
            else {
                return Ok(None);
            };
            let text = String::from_utf8(self.input[begin..begin + coded].to_vec()).unwrap();
            self.input.drain(..begin + coded + 5);
            // Lines of size and data take turns; no body here holds a line's end.
            let body = text.split("\r\n").skip(1).step_by(2).collect();
            return Ok(Some(Answer { status, head, body }));
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |digits| digits.parse::<usize>().unwrap());
        let Some(body) = self.input.get(begin..begin + length) else {
            return Ok(None);
        };
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.input.drain(..begin + length);
        Ok(Some(Answer { status, head, body }))
    }
}
