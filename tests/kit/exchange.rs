//! One request that p99 sent and what becomes of it: passed on or not, answered or not, by the
//! truth or by a lie that `liar` drew.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::answer::measure;
use super::dice::Dice;
use super::liar::{Act, Liar, Next, name};

/// One request that p99 sent.
pub(crate) struct Exchange<'a> {
    pub(crate) liar: &'a Liar,
    pub(crate) stream: &'a mut TcpStream,
    pub(crate) processor: &'a mut Option<TcpStream>,
    pub(crate) dice: &'a mut Dice,
    pub(crate) has_conflicts: bool,
    pub(crate) has_late_500s: bool,
    pub(crate) is_pay: bool,
}

impl Exchange<'_> {
    /// Tells the truth, or lies; what happens to the connection then.
    pub(crate) fn play(&mut self, request: Vec<u8>, act: Option<Act>) -> io::Result<Next> {
        let Some(act) = act else {
            let answer = self.pass(&request)?;
            self.stream.write_all(&answer)?;
            return Ok(Next::Go);
        };
        self.liar.note(name(act));
        match act {
            Act::Slow(ms) => {
                self.pause(ms);
                let answer = self.pass(&request)?;
                self.stream.write_all(&answer)?;
                Ok(Next::Go)
            }
            Act::ResetBefore => Ok(Next::Reset),
            Act::Deaf => Ok(Next::Hold),
            Act::Half => {
                let mut stream = TcpStream::connect(self.liar.processor)?;
                stream.write_all(&request[..request.len() / 2])?;
                Ok(Next::Reset)
            }
            Act::AtOnce(ms) => {
                // A lookup has nothing that could come later.
                if self.is_pay {
                    let wait = Duration::from_millis(self.dice.below(ms));
                    self.liar.pass_later(request, wait);
                }
                self.gateway()
            }
            Act::Alone => self.gateway(),
            Act::Failed => {
                if self.has_late_500s && self.is_pay && self.dice.is_one_in(2) {
                    let wait = Duration::from_millis(self.dice.below(1_500));
                    self.liar.pass_later(request, wait);
                }
                self.say(500, "")
            }
            Act::TooMany => {
                let after = self
                    .dice
                    .one_of(&["Retry-After: 1\r\n", "Retry-After: 0\r\n", ""]);
                self.say(429, after)
            }
            after => {
                let answer = self.pass(&request)?;
                self.answer(&answer, after)
            }
        }
    }

    /// Lies that begin when the processor has done its work.
    fn answer(&mut self, answer: &[u8], act: Act) -> io::Result<Next> {
        let end = if self.dice.is_one_in(2) {
            Next::Reset
        } else {
            Next::Finish
        };
        match act {
            Act::CutAfter => Ok(end),
            Act::CutInside => {
                let keep = 1 + self.dice.below(answer.len() as u64 - 1);
                let keep = usize::try_from(keep).expect("fits");
                self.stream.write_all(&answer[..keep])?;
                Ok(end)
            }
            Act::Swallow => Ok(Next::Hold),
            Act::Drip => {
                for byte in answer {
                    self.stream.write_all(&[*byte])?;
                    thread::sleep(Duration::from_micros(50));
                }
                Ok(Next::Go)
            }
            Act::Garbage => {
                self.stream.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n")?;
                Ok(Next::Finish)
            }
            Act::AfterCharge(ms) => {
                self.pause(ms);
                self.gateway()
            }
            Act::Elsewhere => self.say(302, "Location: /elsewhere\r\n"),
            _ => {
                if let Act::Late(ms) = act {
                    self.pause(ms);
                }
                self.stream.write_all(answer)?;
                Ok(Next::Go)
            }
        }
    }

    fn pass(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = pass(self.liar.processor, self.processor, request)?;
        if self.has_conflicts && answer.starts_with(b"HTTP/1.1 422 Unprocessable Entity") {
            self.liar.note("409, 423, 425 for 422");
            let line = self
                .dice
                .one_of(&["409 Conflict", "423 Locked", "425 Too Early"]);
            let rest = answer.split_off(b"HTTP/1.1 422 Unprocessable Entity".len());
            answer = [b"HTTP/1.1 ", line.as_bytes(), &rest].concat();
        }
        Ok(answer)
    }

    fn gateway(&mut self) -> io::Result<Next> {
        let status = self.dice.one_of(&[503, 503, 504, 504, 502, 408]);
        self.say(status, "")
    }

    fn say(&mut self, status: u16, field: &str) -> io::Result<Next> {
        let text = format!(
            "HTTP/1.1 {status} Gateway\r\nContent-Type: text/html\r\n{field}\
             Content-Length: 6\r\n\r\n<html>"
        );
        self.stream.write_all(text.as_bytes())?;
        Ok(Next::Go)
    }

    fn pause(&mut self, ms: u64) {
        thread::sleep(Duration::from_millis(self.dice.below(ms)));
    }
}

/// One request to the processor and its answer, on a connection that is kept.
pub(crate) fn pass(
    processor: SocketAddr,
    slot: &mut Option<TcpStream>,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    if slot.is_none() {
        let stream = TcpStream::connect(processor)?;
        stream.set_nodelay(true)?;
        *slot = Some(stream);
    }
    let stream = slot.as_mut().expect("it was just made");
    stream.write_all(request)?;
    read_message(stream, &mut Vec::new())
}

/// One whole request or answer; what comes behind it stays in `input`.
pub(crate) fn read_message(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        if let Some((head, length)) = measure(input)
            && head + length <= input.len()
        {
            let rest = input.split_off(head + length);
            return Ok(std::mem::replace(input, rest));
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}
