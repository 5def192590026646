//! A second, plain reading of HTTP/1.1 messages, for what p99 accepted: it assumes that a message
//! is well-formed, stops at every form that has two readings, and shares no code with p99.

/// One message as this reading understands it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The three parts of the first line.
    pub line: [&'a [u8]; 3],
    /// Names in lower case, values without blanks around them.
    pub fields: Vec<(String, &'a [u8])>,
    /// Bytes before the body.
    pub head_bytes: usize,
}

impl<'a> Message<'a> {
    /// Reads the head at the front of `bytes`. Panics on what no accepted message may hold.
    pub fn read(bytes: &'a [u8]) -> Self {
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let end = find(&bytes[start..], b"\r\n\r\n").expect("an empty line") + start;
        let head = &bytes[start..end];
        let mut lines = Vec::new();
        let mut rest = head;
        while let Some(at) = find(rest, b"\r\n") {
            lines.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        lines.push(rest);
        for line in &lines {
            assert!(
                !line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
                "a line is one line: {:?}",
                line.escape_ascii().to_string()
            );
        }
        let mut parts = lines[0].splitn(3, |byte| *byte == b' ');
        let mut part = || parts.next().unwrap_or_default();
        let line = [part(), part(), part()];
        let fields = lines[1..].iter().map(|line| field(line)).collect();
        Self {
            line,
            fields,
            head_bytes: end + 4,
        }
    }

    /// Every value of the field `name`.
    pub fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| *value).collect()
    }

    /// The length of the body, `Some(None)` when it is chunked. Panics on two answers.
    pub fn framing(&self) -> Option<Option<u64>> {
        let lengths = self.values("content-length");
        let codings = self.values("transfer-encoding");
        assert!(lengths.len() + codings.len() <= 1, "framed twice");
        if let Some(coding) = codings.first() {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "another coding");
            return Some(None);
        }
        let text = std::str::from_utf8(lengths.first()?).unwrap();
        assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
        Some(Some(text.parse().unwrap()))
    }
}

fn field(line: &[u8]) -> (String, &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
    let name = std::str::from_utf8(&line[..colon]).expect("a name in ASCII");
    let is_token = |c: char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c);
    assert!(!name.is_empty() && name.chars().all(is_token), "{name:?}");
    (name.to_ascii_lowercase(), trim(&line[colon + 1..]))
}

/// Without the blanks and tabs around it.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Decodes the chunked body at the front of `bytes`; how many of them it took.
pub fn chunked(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line_end = at + find(&bytes[at..], b"\r\n").expect("the line of a size");
        let line = &bytes[at..line_end];
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let digits = std::str::from_utf8(&line[..digits.count()]).unwrap();
        let size = usize::from_str_radix(digits, 16).expect("a size");
        let behind = line.get(digits.len());
        assert!(matches!(behind, None | Some(b';' | b' ' | b'\t')));
        at = line_end + 2;
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at += size;
        assert_eq!(&bytes[at..at + 2], b"\r\n", "the end of a chunk");
        at += 2;
    }
    loop {
        let end = at + find(&bytes[at..], b"\r\n").expect("the end of the trailers");
        let is_last = end == at;
        at = end + 2;
        if is_last {
            return (body, at);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
