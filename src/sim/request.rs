//! One HTTP/1.1 request to the simulated processor, read from bytes: which call it is, its token,
//! its body. Pure; `connection` feeds it what arrived until there is enough.
//!
//! It is apart from p99's own `http` for the same reason as `wire`: a mistake shared by both ends
//! shows in no test. It is as strict as the real one's server is towards requests that p99 could
//! send by mistake: no Host, both lengths, two different lengths are 400.

use std::borrow::Cow;
use std::ops::Range;

use super::faults::Route;
use super::store::Window;
use super::wire;
use crate::payment::UpstreamId;

/// Longest request head; ours are under 400 bytes.
const SIM_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request body: a payment has 120 bytes, [`SIM_FAULTS_MAX`] faults have 150 each.
const SIM_BODY_BYTES_MAX: usize = 64 * 1024;

/// Header lines of a request; p99 sends six.
const HEADERS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `POST /payments`.
    Pay,
    /// `GET /payments/{id}`.
    Lookup(UpstreamId),
    /// `GET /payments/service-health`.
    Health,
    /// `GET /readyz`: not part of the processor's contract; the container's health check asks it.
    Ready,
    /// Anything below `/admin`.
    Admin(Admin),
    /// A known path with another method: 405.
    WrongMethod,
    /// No such path, or an id in it that is no UUID: 404.
    Unknown,
}

/// The calls that need the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    /// `GET /admin/payments-summary`; `None` when an end of the window is no date: 400.
    Summary(Option<Window>),
    /// `GET /admin/payments`.
    Rows,
    /// `POST /admin/purge-payments`.
    Purge,
    /// `PUT /admin/configurations/token`.
    Token,
    /// `PUT /admin/configurations/delay`.
    Delay,
    /// `PUT /admin/configurations/failure`.
    Failure,
    /// `PUT /admin/configurations/faults`.
    Faults,
    /// `PUT /admin/configurations/refusing`.
    Refusing,
    /// `GET /admin/configurations/faults`.
    ListFaults,
}

impl Call {
    /// The route that faults know this call by.
    #[must_use]
    pub(crate) const fn route(self) -> Option<Route> {
        match self {
            Self::Pay => Some(Route::Pay),
            Self::Lookup(_) => Some(Route::Lookup),
            Self::Health => Some(Route::Health),
            Self::Ready | Self::Admin(_) | Self::WrongMethod | Self::Unknown => None,
        }
    }

    fn read(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (expected, call) = match path {
            "/payments" => ("POST", Self::Pay),
            "/payments/service-health" => ("GET", Self::Health),
            "/readyz" => ("GET", Self::Ready),
            "/admin/payments-summary" => ("GET", Self::Admin(Admin::Summary(window(query)))),
            "/admin/payments" => ("GET", Self::Admin(Admin::Rows)),
            "/admin/purge-payments" => ("POST", Self::Admin(Admin::Purge)),
            "/admin/configurations/token" => ("PUT", Self::Admin(Admin::Token)),
            "/admin/configurations/delay" => ("PUT", Self::Admin(Admin::Delay)),
            "/admin/configurations/failure" => ("PUT", Self::Admin(Admin::Failure)),
            "/admin/configurations/refusing" => ("PUT", Self::Admin(Admin::Refusing)),
            "/admin/configurations/faults" if method == "GET" => {
                ("GET", Self::Admin(Admin::ListFaults))
            }
            "/admin/configurations/faults" => ("PUT", Self::Admin(Admin::Faults)),
            _ => match path.strip_prefix("/payments/").and_then(wire::read_id) {
                Some(id) => ("GET", Self::Lookup(id)),
                None => return Self::Unknown,
            },
        };
        if method == expected {
            call
        } else {
            Self::WrongMethod
        }
    }
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Fixed(usize),
    Chunked,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// What is asked for.
    pub call: Call,
    /// `X-Rinha-Token`.
    pub token: Option<String>,
    /// Whether the caller lets the connection live on.
    pub keeps_alive: bool,
    /// Whether the caller waits for a 100 before it sends the body.
    pub awaits_continue: bool,
    /// Bytes of the head with its empty line.
    pub head_bytes: usize,
    length: Length,
}

/// A body taken out of what arrived, and how many bytes it took up there.
pub(crate) type TakenBody<'a> = (Cow<'a, [u8]>, usize);

/// Bytes that are no request: 400 and the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Head {
    /// Reads the head at the start of `bytes`; `None` when its end has not arrived.
    ///
    /// # Errors
    /// What arrived can never become a head.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let head_bytes = match request.parse(bytes).map_err(|_| Unreadable)? {
            httparse::Status::Complete(head_bytes) => head_bytes,
            httparse::Status::Partial if bytes.len() < SIM_HEAD_BYTES_MAX => {
                return Ok(None);
            }
            httparse::Status::Partial => return Err(Unreadable),
        };
        let method = request.method.ok_or(Unreadable)?;
        let target = request.path.ok_or(Unreadable)?;
        let mut head = Self {
            call: Call::read(method, target),
            token: None,
            keeps_alive: request.version == Some(1),
            awaits_continue: false,
            head_bytes,
            length: Length::Fixed(0),
        };
        head.take(request.headers)?;
        Ok(Some(head))
    }

    fn take(&mut self, headers: &[httparse::Header<'_>]) -> Result<(), Unreadable> {
        let (mut hosts, mut fixed, mut chunked) = (0, None, false);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = || std::str::from_utf8(header.value).map_err(|_| Unreadable);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                let length = read_length(value()?)?;
                if fixed.replace(length).is_some_and(|other| other != length) {
                    return Err(Unreadable);
                }
            } else if is("transfer-encoding") {
                if chunked || !value()?.eq_ignore_ascii_case("chunked") {
                    return Err(Unreadable);
                }
                chunked = true;
            } else if is("connection") {
                let value = value()?;
                let has = |word: &str| {
                    value
                        .split(',')
                        .any(|w| w.trim().eq_ignore_ascii_case(word))
                };
                self.keeps_alive = !has("close") && (self.keeps_alive || has("keep-alive"));
            } else if is("expect") {
                self.awaits_continue = value()?.eq_ignore_ascii_case("100-continue");
            } else if is("x-rinha-token") {
                self.token = Some(value()?.to_owned());
            }
        }
        self.length = match (fixed, chunked) {
            (Some(_), true) => return Err(Unreadable),
            (None, true) => Length::Chunked,
            (fixed, false) => Length::Fixed(fixed.unwrap_or(0)),
        };
        if hosts == 1 { Ok(()) } else { Err(Unreadable) }
    }

    /// Takes the body out of `bytes`, which begin after the head, and says how many bytes it
    /// took up; `None` when its end has not arrived.
    ///
    /// # Errors
    /// What arrived can never become a body of legal size.
    pub(crate) fn body<'a>(&self, bytes: &'a [u8]) -> Result<Option<TakenBody<'a>>, Unreadable> {
        match self.length {
            Length::Fixed(length) => Ok(bytes
                .get(..length)
                .map(|body| (Cow::Borrowed(body), length))),
            Length::Chunked => Ok(chunked(bytes)?.map(|(body, used)| (Cow::Owned(body), used))),
        }
    }
}

fn read_length(text: &str) -> Result<usize, Unreadable> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    length
        .filter(|length| *length <= SIM_BODY_BYTES_MAX)
        .ok_or(Unreadable)
}

/// Decodes a whole chunked body (RFC 9112, section 7.1), trailers included. It starts over each
/// time more has arrived: bodies here have a few hundred bytes.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Unreadable> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = next_line(bytes, at)? else {
            return Ok(None);
        };
        let text = bytes.get(line.clone()).unwrap_or_default();
        let size = chunk_size(text)?;
        at = line.end + 2;
        if size == 0 {
            break;
        }
        if body.len() + size > SIM_BODY_BYTES_MAX {
            return Err(Unreadable);
        }
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= size + 2) else {
            return Ok(None);
        };
        let (chunk, rest) = rest.split_at(size);
        if !rest.starts_with(b"\r\n") {
            return Err(Unreadable);
        }
        body.extend_from_slice(chunk);
        at += size + 2;
    }
    // Trailers are read and dropped, up to the empty line.
    loop {
        let Some(line) = next_line(bytes, at)? else {
            return Ok(None);
        };
        at = line.end + 2;
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
    }
}

/// The bytes from `at` to the next CRLF.
fn next_line(bytes: &[u8], at: usize) -> Result<Option<Range<usize>>, Unreadable> {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.windows(2).position(|pair| pair == b"\r\n") {
        Some(length) => Ok(Some(at..at + length)),
        None if rest.len() > SIM_HEAD_BYTES_MAX => Err(Unreadable),
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, Unreadable> {
    let text = std::str::from_utf8(line).map_err(|_| Unreadable)?;
    let digits = text.split(';').next().unwrap_or_default().trim_end();
    let legal = (1..=8).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit());
    let size = u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| legal)
        .ok_or(Unreadable)?;
    usize::try_from(size).map_err(|_| Unreadable)
}

/// The window of a summary's query; `None` when an end is there and no date.
fn window(query: &str) -> Option<Window> {
    let mut window = Window::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let end = match name {
            "from" => &mut window.from,
            "to" => &mut window.to,
            _ => continue,
        };
        if !value.is_empty() {
            *end = Some(wire::read_window_end(&percent_decoded(value)?)?);
        }
    }
    Some(window)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
