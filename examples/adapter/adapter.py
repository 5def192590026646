"""An adapter between p99 and a payment provider: `adapter.py SOCKET BOOK`. See docs/PROCESSOR.md.

It keeps a book of its own, so that an id is charged once whatever p99 or the provider repeat.
"""

import http.server
import json
import os
import socketserver
import sqlite3
import sys

SOCKET, BOOK = sys.argv[1:3]


def charge(key, amount):
    """True: charged; False: refused; an exception: not known. Put the call of your provider here,
    with `key` as its idempotency key and a timeout below p99's ATTEMPT_TIMEOUT_MS."""
    return float(amount) < 1000


class Adapter(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_message = lambda *_: None  # noqa: E731 - a unix socket has no client address to log

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            order = json.loads(body, parse_float=str, parse_int=str)
            row = order["correlationId"], order["amount"], order["requestedAt"]
        except (ValueError, KeyError):
            return self.answer(400, {"message": "no payment"})
        with sqlite3.connect(BOOK) as book:  # on disk before the provider is called
            book.execute("INSERT INTO book VALUES (?, ?, ?, 'asked') ON CONFLICT (id) DO UPDATE SET "
                         "amount = excluded.amount, requested_at = excluded.requested_at, "
                         "state = 'asked' WHERE state = 'refused'", row)
        if self.state(row[0])[2] == "charged":
            return self.answer(422, {"message": "stored already"})
        try:
            is_charged = charge(row[0], row[1])
        except Exception:  # the row stays 'asked': p99 sends the same id again
            return self.answer(503, {"message": "not known"})
        with sqlite3.connect(BOOK) as book:  # and before p99 is told
            word = "charged" if is_charged else "refused"
            book.execute("UPDATE book SET state = ? WHERE id = ?", (word, row[0]))
        return self.answer(*((200, {"message": "charged"}) if is_charged
                             else (400, {"message": "refused"})))

    def do_GET(self):
        key = self.path.rsplit("/", 1)[-1]
        amount, requested_at, state = self.state(key)
        if state == "asked":  # neither yes nor no
            return self.answer(503, {"message": "not known"})
        if state != "charged":
            return self.answer(404, {"message": "not charged"})
        record = '{"correlationId":"%s","amount":%s,"requestedAt":"%s"}'
        return self.answer(200, record % (key, amount, requested_at))

    def state(self, key):
        with sqlite3.connect(BOOK) as book:
            query = "SELECT amount, requested_at, state FROM book WHERE id = ?"
            return book.execute(query, (key,)).fetchone() or (None, None, None)

    def answer(self, status, body):
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads, request_queue_size = True, 256


with sqlite3.connect(BOOK) as created:
    created.execute("CREATE TABLE IF NOT EXISTS book "
                    "(id TEXT PRIMARY KEY, amount TEXT, requested_at TEXT, state TEXT)")
if os.path.exists(SOCKET):
    os.unlink(SOCKET)
Server(SOCKET, Adapter).serve_forever()
