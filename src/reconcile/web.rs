//! Fetches a book: one GET over http, https or a unix socket, with blocking sockets and a bound on
//! every silence. The body is read as it comes; one that ends early is a fault, never a shorter
//! book. Page by page another program does it: a book is also a file or a pipe.

use std::io::{self, Cursor, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::row::{BookFault, End};
use crate::clock::UnixMillis;
use crate::config::{Origin, UpstreamUrl};
use crate::http::{AnswerFraming, ChunkedDecoder, parse_answer};
use crate::limits;
use crate::reconcile::RECONCILE_READ_BYTES;
use crate::tls::{Material, peer_name};
use crate::wire::write_instant;

/// How long a processor that lists its payments may be silent: it may sort millions first.
const RECONCILE_SILENCE_MAX: Duration = Duration::from_secs(60);

/// What goes with a request for a book.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Over https: who is believed, and what is shown.
    pub material: Option<Arc<Material>>,
    /// The name that the certificate must be for; without it, the host of the URL.
    pub name: Option<ServerName<'static>>,
}

impl Access {
    fn seal(&self, host: &str, stream: TcpStream) -> Result<Box<dyn Stream>, String> {
        let none = "no authority to believe: set SSL_CERT_FILE";
        let material = self.material.as_ref().ok_or(none)?;
        let name = self.name.clone().or_else(|| peer_name(host));
        let name = name.ok_or("no certificate can be for this host")?;
        let sealed = material.client(&name)?.over(stream)?;
        Ok(Box::new(sealed))
    }
}

/// A stream of either family.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Asks for the book at `url`, in which `{from}` and `{to}` are the window's ends, a second wider:
/// a processor may keep whole seconds.
pub(super) fn get(
    url: &str,
    access: &Access,
    window: (Option<UnixMillis>, Option<UnixMillis>),
    end: Option<End>,
) -> Result<impl Read, BookFault> {
    let (mut stream, host, path) = connect(url, access)?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: p99/{}\r\n\
         Accept: application/json, text/csv\r\n",
        fill(path, window),
        env!("CARGO_PKG_VERSION")
    )
    .into_bytes();
    for (name, value) in &access.headers {
        request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).map_err(BookFault::Io)?;
    let mut buffer = Vec::new();
    loop {
        match parse_answer(&buffer, false) {
            Ok(Some(head)) if head.status == 200 => {
                buffer.drain(..head.head_bytes.min(buffer.len()));
                return Ok(Body::new(Cursor::new(buffer).chain(stream), head.framing));
            }
            Ok(Some(head)) => return Err(BookFault::Answer(format!("answers {}", head.status))),
            Ok(None) => {}
            Err(_) => return Err(BookFault::Answer("does not answer in HTTP/1.1".to_owned())),
        }
        end.as_ref()
            .map_or(Ok(()), End::check)
            .map_err(BookFault::Io)?;
        let mut some = [0; 4096];
        match stream.read(&mut some).map_err(BookFault::Io)? {
            0 => return Err(BookFault::Answer("ends before it has answered".to_owned())),
            count => buffer.extend_from_slice(some.get(..count).unwrap_or_default()),
        }
    }
}

/// The connection, the value of Host, and the path.
fn connect<'a>(
    url: &'a str,
    access: &Access,
) -> Result<(Box<dyn Stream>, String, &'a str), BookFault> {
    let words = |text: &str| BookFault::Answer(text.to_owned());
    let silence = Some(RECONCILE_SILENCE_MAX);
    if let Some(rest) = url.strip_prefix("unix:") {
        let (socket, path) = rest
            .split_once(":/")
            .map(|(socket, _)| (socket, rest.get(socket.len() + 1..).unwrap_or("/")))
            .ok_or_else(|| words("write unix:/socket:/path"))?;
        let stream = UnixStream::connect(socket).map_err(BookFault::Io)?;
        stream.set_read_timeout(silence).map_err(BookFault::Io)?;
        stream.set_write_timeout(silence).map_err(BookFault::Io)?;
        return Ok((Box::new(stream), "localhost".to_owned(), path));
    }
    let is_plain = |path: &str| path.bytes().all(|byte| byte.is_ascii_graphic());
    let (origin, path) = UpstreamUrl::split_authority(url)
        .filter(|(_, path)| is_plain(path))
        .ok_or_else(|| words("write http[s]://host[:port]/path"))?;
    let (parsed, is_sealed) = match &origin {
        Origin::Http(parsed) => (parsed, false),
        Origin::Https(parsed) => (parsed, true),
        Origin::Unix(_) => return Err(words("write unix:/socket:/path")),
    };
    let path = if path.is_empty() { "/" } else { path };
    let addresses = (parsed.host.as_str(), parsed.port).to_socket_addrs();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses
        .map_err(BookFault::Io)?
        .take(limits::PROBE_ADDRESSES_MAX)
    {
        match TcpStream::connect_timeout(&address, limits::PROBE_STEP_TIME_MAX) {
            Ok(stream) => {
                stream.set_read_timeout(silence).map_err(BookFault::Io)?;
                stream.set_write_timeout(silence).map_err(BookFault::Io)?;
                let stream = match is_sealed {
                    true => access
                        .seal(&parsed.host, stream)
                        .map_err(|why| words(&why))?,
                    false => Box::new(stream),
                };
                return Ok((stream, parsed.authority(), path));
            }
            Err(error) => last = error,
        }
    }
    Err(BookFault::Io(last))
}

fn fill(path: &str, (from, to): (Option<UnixMillis>, Option<UnixMillis>)) -> String {
    let text = |at: i64| {
        let mut out = Vec::new();
        write_instant(UnixMillis(at), &mut out);
        String::from_utf8(out).unwrap_or_default()
    };
    let from = text(from.map_or(0, |at| at.0.saturating_sub(1_000)));
    let to = text(to.map_or(i64::MAX, |at| at.0.saturating_add(1_000)));
    path.replace("{from}", &from).replace("{to}", &to)
}

/// The body as it comes.
struct Body<S> {
    source: S,
    /// Bytes of the body, those before `at` given out.
    buffer: Vec<u8>,
    at: usize,
    frame: Frame,
}

enum Frame {
    /// Bytes that are still to come.
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Done,
}

impl<S: Read> Body<S> {
    fn new(source: S, framing: AnswerFraming) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            at: 0,
            frame: match framing {
                AnswerFraming::None => Frame::Done,
                AnswerFraming::Length(length) => Frame::Length(length),
                AnswerFraming::Chunked => Frame::Chunked(ChunkedDecoder::new(u64::MAX)),
                AnswerFraming::UntilClose => Frame::UntilClose,
            },
        }
    }

    /// Reads some more; true when there is none.
    fn refill(&mut self) -> io::Result<bool> {
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut");
        self.buffer.resize(RECONCILE_READ_BYTES, 0);
        self.at = 0;
        let most = match &self.frame {
            Frame::Done | Frame::Length(0) => 0,
            Frame::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Frame::Chunked(_) | Frame::UntilClose => usize::MAX,
        };
        let most = most.min(self.buffer.len());
        let count = match most {
            0 => 0,
            most => self
                .source
                .read(self.buffer.get_mut(..most).unwrap_or_default())?,
        };
        self.buffer.truncate(count);
        match &mut self.frame {
            Frame::Done | Frame::Length(0) => return Ok(true),
            Frame::UntilClose => return Ok(count == 0),
            Frame::Length(_) | Frame::Chunked(_) if count == 0 => return Err(cut()),
            Frame::Length(left) => *left -= count as u64,
            Frame::Chunked(decoder) => {
                let decoded = decoder
                    .decode(&mut self.buffer)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "malformed chunks"))?;
                self.buffer.truncate(decoded.written);
                if decoded.is_done {
                    self.frame = Frame::Done;
                }
            }
        }
        Ok(false)
    }
}

impl<S: Read> Read for Body<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() {
            if self.refill()? {
                return Ok(0);
            }
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Serves one answer; returns what was asked and what was read.
    fn ask(answer: &[u8], path: &str) -> (String, Result<String, String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let answer = answer.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut some = [0; 1024];
            while !asked.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut some).unwrap();
                asked.extend_from_slice(&some[..count]);
            }
            // In pieces, so that the borders lie anywhere.
            for piece in answer.chunks(7) {
                stream.write_all(piece).unwrap();
            }
            String::from_utf8(asked).unwrap()
        });
        let access = Access {
            headers: vec![("X-Token".to_owned(), b"123".to_vec())],
            ..Access::default()
        };
        let window = (Some(UnixMillis(2_000)), Some(UnixMillis(3_000)));
        let mut text = String::new();
        let read = get(&url, &access, window, None)
            .map_err(|fault| fault.to_string())
            .and_then(|mut body| {
                body.read_to_string(&mut text)
                    .map_err(|fault| fault.to_string())
            });
        (server.join().unwrap(), read.map(|_| text))
    }

    #[test]
    fn every_framing_is_read_to_its_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n[1,2,3,4,5]",
            "HTTP/1.1 200 OK\r\n\r\n[1,2,3,4,5]",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             6\r\n[1,2,3\r\n5\r\n,4,5]\r\n0\r\n\r\n",
        ] {
            let (asked, read) = ask(answer.as_bytes(), "/list?a={from}&b={to}");
            assert_eq!(read.as_deref(), Ok("[1,2,3,4,5]"), "{answer}");
            let line = "GET /list?a=1970-01-01T00:00:01.000Z&b=1970-01-01T00:00:04.000Z HTTP/1.1";
            assert!(asked.starts_with(line), "{asked}");
            assert!(asked.contains("\r\nX-Token: 123\r\n"), "{asked}");
        }
    }

    #[test]
    fn a_cut_or_a_refusal_is_a_fault() {
        for (answer, what) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n[1,2,3,4,5]",
                "cut",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[1,2,3\r\n",
                "cut",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                "",
            ),
            (
                "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
                "answers 401",
            ),
            (
                "HTTP/1.1 302 No\r\nContent-Length: 0\r\n\r\n",
                "answers 302",
            ),
            ("SSH-2.0\r\n\r\n", "does not answer in HTTP/1.1"),
            ("", "ends before"),
        ] {
            let fault = ask(answer.as_bytes(), "/").1.unwrap_err();
            assert!(fault.contains(what), "{answer}: {fault}");
        }
        for url in [
            "ftp://a/",
            "https://127.0.0.1:1/",
            "http://a b/",
            "unix:/nowhere",
            "http://:80/",
        ] {
            assert!(
                get(url, &Access::default(), (None, None), None).is_err(),
                "{url}"
            );
        }
    }
}
