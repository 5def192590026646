//! Bytes: request heads, answers of processors, and what is written.

use std::hint::black_box;

use criterion::Criterion;
use p99::testing::clock::UnixMillis;
use p99::testing::http::{
    AnswerReader, DateCache, FixedHead, HeadRules, ResponseHead, parse_head, write_response,
};
use p99::testing::wire;

const SMALL: &[u8] = b"POST /payments HTTP/1.1\r\nHost: 127.0.0.1:9999\r\n\
Content-Type: application/json\r\nContent-Length: 71\r\n\r\n";
/// What a browser or an SDK behind a balancer sends.
const LARGE: &[u8] = b"POST /payments HTTP/1.1\r\nHost: payments.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\nContent-Type: application/json; charset=utf-8\r\n\
X-Forwarded-For: 192.0.2.17\r\nX-Request-Id: 4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3\r\n\
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
Content-Length: 71\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
Date: Tue, 24 Nov 2026 07:23:45 GMT\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\
Connection: keep-alive\r\n\r\n{\"message\":\"payment processed successfully\"}";

pub fn bench(criterion: &mut Criterion) {
    let rules = HeadRules { auth_header: None };
    for (name, head) in [("4 fields", SMALL), ("10 fields", LARGE)] {
        criterion.bench_function(&format!("request head, {name}"), |bencher| {
            bencher.iter(|| parse_head(black_box(head), &rules));
        });
    }
    let mut answer = ANSWER.to_vec();
    criterion.bench_function("answer of a processor", |bencher| {
        bencher.iter(|| AnswerReader::new(false, 8_192).advance(black_box(&mut answer)));
    });
    let mut dates = DateCache::default();
    let mut out = Vec::with_capacity(1_024);
    criterion.bench_function("response writing", |bencher| {
        bencher.iter(|| {
            out.clear();
            let head = ResponseHead {
                content_type: "application/json",
                ..ResponseHead::new(200, dates.at(UnixMillis(1_752_150_896_000)))
            };
            write_response(&mut out, black_box(&head), wire::CHARGED, false);
        });
    });
    let body = [b'x'; 116];
    let fields: [(&str, &[u8]); 2] = [("User-Agent", b"p99"), ("Accept", b"application/json")];
    let head = FixedHead::new("127.0.0.1:8001", "/payments", &fields);
    criterion.bench_function("upstream request writing", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&head).write_post(&mut out, &[], body.len());
            out.extend_from_slice(&body);
        });
    });
}
