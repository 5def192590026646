//! A processor's answer, cut into any reads and then closed: any cut gives the same answer or the
//! same fault, and what is accepted is what a second, plain reading finds. Only a fully read
//! answer proves anything about a payment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p99::testing::http::{AnswerFault, AnswerFraming, AnswerHead, AnswerReader, RetryAfter};
use p99_fuzz::http::{Message, chunked};
use p99_fuzz::{Input, pieces};

/// The answer, its body, and whether it took the end of the input to complete it.
type Read = Result<(AnswerHead, Vec<u8>, bool), AnswerFault>;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let choice = input.byte();
    let for_head = choice & 1 == 1;
    let body_bytes_max = if choice & 2 == 2 { 64 } else { 8_192 };
    let seed = u16::try_from(input.number::<2>()).unwrap();
    let stream = input.rest();
    let whole = read(&[stream], for_head, body_bytes_max);
    assert_eq!(whole, read(&pieces(stream, seed), for_head, body_bytes_max));
    if let Ok((head, body, by_close)) = whole {
        check(&head, &body, stream, for_head);
        assert_eq!(by_close, head.framing == AnswerFraming::UntilClose);
    }
});

fn read(pieces: &[&[u8]], for_head: bool, body_bytes_max: usize) -> Read {
    let mut reader = AnswerReader::new(for_head, body_bytes_max);
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if let Some(answer) = reader.advance(&mut buffer)? {
            return Ok((answer.head, buffer[answer.body].to_vec(), false));
        }
    }
    let answer = reader.close(&buffer)?;
    Ok((answer.head, buffer[answer.body].to_vec(), true))
}

fn check(head: &AnswerHead, body: &[u8], stream: &[u8], for_head: bool) {
    let mut start = 0;
    let message = loop {
        assert!(!stream[start..].starts_with(b"\r\n"));
        let message = Message::read(&stream[start..]);
        start += message.head_bytes;
        if !message.line[1].starts_with(b"1") {
            break message;
        }
        assert_ne!(message.line[1], b"101", "nobody asked for another protocol");
    };
    assert_eq!(head.head_bytes, start);
    let status = std::str::from_utf8(message.line[1]).unwrap();
    assert_eq!(status.parse(), Ok(head.status));
    assert!((200..600).contains(&head.status));
    let behind = &stream[start..];
    let has_no_body = for_head || matches!(head.status, 204 | 304);
    let (framing, expected) = match message.framing() {
        _ if has_no_body => (AnswerFraming::None, Vec::new()),
        None => (AnswerFraming::UntilClose, behind.to_vec()),
        Some(Some(length)) => {
            let body = behind[..usize::try_from(length).unwrap()].to_vec();
            (AnswerFraming::Length(length), body)
        }
        Some(None) => (AnswerFraming::Chunked, chunked(behind).0),
    };
    assert_eq!((head.framing, body), (framing, expected.as_slice()));
    let options = message.values("connection");
    let mut options = options.iter().flat_map(|line| line.split(|b| *b == b','));
    let closes = options.any(|option| p99_fuzz::http::trim(option).eq_ignore_ascii_case(b"close"));
    assert!(!(closes && head.keep_alive), "a closed connection is kept");
    // Delay in seconds: digits alone, however many. A date is read by tests of its own.
    let rests = message.values("retry-after");
    if let Some(rest) = rests.last() {
        let rest = p99_fuzz::http::trim(rest);
        let is_number = !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
        let seconds = is_number.then(|| {
            let text = std::str::from_utf8(rest).unwrap();
            text.parse().unwrap_or(u32::MAX)
        });
        match head.retry_after {
            Some(RetryAfter::Seconds(read)) => assert_eq!(Some(read), seconds),
            Some(RetryAfter::At(_)) | None => assert_eq!(seconds, None),
        }
    } else {
        assert_eq!(head.retry_after, None);
    }
}
