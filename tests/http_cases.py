#!/usr/bin/env python3
"""Run raw HTTP/1.1 cases (JSON lines) against HOST PORT. Standard library only.

usage: http_cases.py HOST PORT [--cases FILE] [--only SUBSTR] [--skip SUBSTR] [--upstream-down]
                     [--timeout S] [--jobs N] [--pid PID] [--slow S] [--quiet] [--rfc-only] [--json OUT]
One fresh connection per case. Prints PASS/FAIL lines, then 'N passed, N failed'. Exit 1 on a failure.
Case fields: id, raw (latin-1), expect, why, ref; optional: n (most answers allowed), min_n, status (allowed
status per answer), also (extra statuses for a refusal), after (open|close|sync|any), methods, pieces
[[bytes,delay],...], drip (ms per byte), half_close, partial (FIN after raw, no 2xx), rst, never, never_first,
absent, fill/fill2 ([unit,count] for @@FILL@@/@@FILL2@@), soft (a refusal may keep the connection, if in sync),
relax_close, relax_hang, maxn, allow405, policy (refusal is the safe choice, not an RFC MUST).
The uuid 00000000-0000-4000-8000-000000000000 in raw is replaced with a fresh one.
"""
import argparse, json, os, re, socket, struct, sys, time, uuid
from concurrent.futures import ThreadPoolExecutor
U0 = b"00000000-0000-4000-8000-000000000000"
PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
REFUSE = set(range(400, 500)) | {501, 505}

class Resp:
    def __init__(s): s.status = 0; s.ver = b""; s.headers = []; s.body = b""; s.close = False; s.complete = False; s.bad = []
    def get(s, k): return [v for n, v in s.headers if n.lower() == k]

def parse(buf, methods, eof):
    """-> (complete responses, leftover bytes, error)"""
    out, pos, i = [], 0, 0
    while pos < len(buf):
        end = buf.find(b"\r\n\r\n", pos)
        if end < 0: return out, buf[pos:], None
        lines = buf[pos:end].split(b"\r\n")
        m = re.match(rb"^(HTTP/1\.[01]) (\d{3})(?: [\t\x20-\x7e\x80-\xff]*)?$", lines[0])
        if not m: return out, buf[pos:], "bad status line %r" % lines[0][:60]
        r = Resp(); r.ver, r.status = m.group(1), int(m.group(2))
        for ln in lines[1:]:
            n, c, v = ln.partition(b":")
            if not c or not TOKEN.match(n) or re.search(rb"[\x00\r\n]", v): r.bad.append("bad header line %r" % ln[:60])
            r.headers.append((n, v.strip(b" \t")))
        p = end + 4
        if r.status < 200:
            if r.status == 101: r.complete = True; out.append(r); return out, buf[p:], None
            out.append(r); r.complete = True; pos = p; continue
        meth = methods[i] if i < len(methods) else "GET"; i += 1
        cl, tev = r.get(b"content-length"), r.get(b"transfer-encoding")
        if cl and tev: r.bad.append("both Content-Length and Transfer-Encoding")
        if len(cl) > 1: r.bad.append("several Content-Length")
        r.close = any(b"close" in [o.strip().lower() for o in v.split(b",")] for v in r.get(b"connection")) or (r.ver == b"HTTP/1.0" and not any(b"keep-alive" in v.lower() for v in r.get(b"connection")))
        if meth == "HEAD" or r.status in (204, 304):
            if r.status == 204 and cl: r.bad.append("Content-Length in 204")
            r.complete = True
        elif tev:
            while True:
                e = buf.find(b"\r\n", p)
                if e < 0: return out, buf[pos:], None
                try: n = int(buf[p:e].split(b";")[0], 16)
                except ValueError: r.bad.append("bad chunk"); return out + [r], b"", None
                if len(buf) < e + 2 + n + 2: return out, buf[pos:], None
                r.body += buf[e + 2:e + 2 + n]; p = e + 2 + n + 2
                if n == 0: break
            r.complete = True
        elif cl:
            if not cl[0].isdigit(): r.bad.append("bad Content-Length"); n = 0
            else: n = int(cl[0])
            if len(buf) < p + n: return out, buf[pos:], None
            r.body = buf[p:p + n]; p += n; r.complete = True
        else:
            if not r.close: r.bad.append("no length and no Connection: close")
            r.body = buf[p:]; p = len(buf); r.close = True
            if not eof: return out, buf[pos:], None
            r.complete = True
        out.append(r); pos = p
    return out, b"", None

def finals(rs): return [r for r in rs if r.status >= 200]

class Conn:
    def __init__(s, a, methods):
        s.s = socket.create_connection((a.host, a.port), timeout=a.timeout); s.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.buf = b""; s.eof = False; s.methods = methods; s.send_failed = False
    def send(s, b):
        try: s.s.sendall(b)
        except (BrokenPipeError, ConnectionResetError, socket.timeout, OSError): s.send_failed = True
    def pump(s, t):
        if s.eof: return False
        s.s.settimeout(max(t, 0.001))
        try: d = s.s.recv(65536)
        except (socket.timeout, TimeoutError, BlockingIOError): return False
        except OSError: s.eof = True; return False
        if not d: s.eof = True; return False
        s.buf += d; return True
    def wait(s, want, deadline, need_eof=False, grace=0.12):
        """read until `want` final answers (+grace for extra ones), EOF, or the deadline"""
        while True:
            rs, left, err = parse(s.buf, s.methods, s.eof)
            if err or s.eof: return rs, left, err
            now = time.time()
            if now >= deadline: return rs, left, err
            if not need_eof and len(finals(rs)) >= want and not left:
                if not s.pump(grace): return parse(s.buf, s.methods, s.eof)
            else: s.pump(min(deadline - now, 0.25))
    def in_sync(s, timeout):
        """one normal request on the same connection gets exactly one 2xx"""
        before = len(finals(parse(s.buf, s.methods, s.eof)[0]))
        s.send(PROBE); rs, left, err = s.wait(before + 1, time.time() + timeout)
        f = finals(rs)
        return len(f) == before + 1 and not left and not err and 200 <= f[-1].status < 300

def run(c, a):
    raw = c["raw"].encode("latin-1")
    for k, tag in (("fill", b"@@FILL@@"), ("fill2", b"@@FILL2@@")):
        if k in c: raw = raw.replace(tag, c[k][0].encode("latin-1") * c[k][1])
    raw = raw.replace(U0, str(uuid.uuid4()).encode())
    n = c.get("n", 1); also = set(c.get("also", [])); exp = c["expect"]; T = a.timeout
    refusal = exp in ("reject_400", "reject_any_4xx_or_close")
    soft = c.get("soft", False)
    try: k = Conn(a, c.get("methods", []))
    except OSError as e: return "cannot connect: %s" % e, []
    try:
        t0 = time.time()
        if c.get("drip"):
            for i in range(len(raw)): k.send(raw[i:i + 1]); time.sleep(c["drip"] / 1000)
        elif c.get("pieces"):
            p = 0
            for cnt, d in c["pieces"]:
                k.send(raw[p:p + cnt]); p += cnt; end = time.time() + d
                while time.time() < end: k.pump(end - time.time())
            k.send(raw[p:])
        else:
            if len(raw) > 200000:        # keep reading while writing, so that neither side blocks
                for i in range(0, len(raw), 65536):
                    k.send(raw[i:i + 65536])
                    if k.send_failed: break
                    k.s.setblocking(False)
                    try:
                        d = k.s.recv(65536, socket.MSG_DONTWAIT); k.buf += d
                        if not d: k.eof = True
                    except BlockingIOError: pass
                    except OSError: k.eof = True
                    k.s.settimeout(T)
            else: k.send(raw)
        if c.get("partial"):
            rs, left, err = k.wait(1, time.time() + 0.3)
            if c.get("rst"):
                k.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); k.s.close()
                return (None, rs) if not any(200 <= r.status < 300 for r in rs) else ("2xx to an incomplete message", rs)
            try: k.s.shutdown(socket.SHUT_WR)
            except OSError: pass
            rs, left, err = k.wait(99, time.time() + T, need_eof=True)
            f = finals(rs)
            if any(200 <= r.status < 300 for r in f): return "2xx to an incomplete message", rs
            if err: return err, rs
            if any(r.status not in REFUSE | {408} for r in f): return "status %s to an incomplete message" % [r.status for r in f], rs
            if not k.eof: return "connection still open %.1f s after FIN" % T, rs
            return None, rs
        if c.get("half_close"):
            try: k.s.shutdown(socket.SHUT_WR)
            except OSError: pass
        need_eof = (refusal and not soft and not c.get("relax_close")) or c.get("after") == "close"
        rs, left, err = k.wait(n, time.time() + T, need_eof=need_eof)
        f = finals(rs); st = [r.status for r in rs]; fst = [r.status for r in f]
        if err: return err, rs
        for r in rs:
            if r.bad: return "; ".join(r.bad), rs
        blob = k.buf
        if c.get("absent") and c["absent"].encode() in blob: return "answer contains %r" % c["absent"], rs
        for bad in c.get("never", []):
            if bad in st: return "status %d must not be used here" % bad, rs
        if f and c.get("never_first") and f[0].status in c["never_first"]: return "accepted (%d)" % f[0].status, rs
        if left and not k.eof: return "incomplete answer %r" % left[:60], rs
        if left and k.eof: return "truncated answer %r" % left[:60], rs
        if a.upstream_down: fok = {502, 503, 504}
        else: fok = set()
        def good(i, s):
            if "status" in c and i < len(c["status"]): return s in c["status"][i] or s in fok
            return 200 <= s < 300 or s in fok
        after = c.get("after", "close")
        if any(r.status == 405 and not r.get(b"allow") for r in f) and c.get("allow405"): return "405 without Allow", rs
        if exp == "accept":
            if len(f) > n: return "%d answers, at most %d expected (desync): %s" % (len(f), n, fst), rs
            if len(f) < c.get("min_n", n): return "%d answers, %d expected: %s%s" % (len(f), c.get("min_n", n), fst, "" if k.eof else ", no close"), rs
            for i, s in enumerate(fst):
                if not good(i, s): return "answer %d has status %d: %s" % (i + 1, s, fst), rs
            if len(f) < n and not k.eof: return "%d of %d answers and the connection stays open: %s" % (len(f), n, fst), rs
        elif exp == "reject_400":
            first = f[0].status if f else None
            if first != 400 and first not in also: return "expected 400%s, got %s" % ("/" + "/".join(map(str, sorted(also))) if also else "", fst or ("close" if k.eof else "no answer (hang)")), rs
            if len(f) > (n if soft else 1): return "refused, but the bytes after it were answered too (smuggling): %s" % fst, rs
        elif exp == "reject_any_4xx_or_close":
            if len(f) > c.get("maxn", c.get("n", 1)): return "not refused, %d answers: %s" % (len(f), fst), rs
            if f and f[0].status not in REFUSE | also | {408}: return "expected a refusal, got %s" % fst, rs
            if not f and not k.eof and not c.get("relax_hang"): return "no answer and no close within %.1f s (hang)" % T, rs
            if c.get("relax_hang") and not f: return None, rs
        else:
            if len(f) > n: return "%d answers, at most %d possible (desync): %s" % (len(f), n, fst), rs
            for s in fst:
                if not (200 <= s < 300 or s in REFUSE | also | fok): return "status %s" % fst, rs
            if not f and not k.eof: return "no answer and no close within %.1f s (hang)" % T, rs
            if f and len(f) < n and not k.eof and f[-1].status < 400: return "%d of %d answers, connection open (hang or desync): %s" % (len(f), n, fst), rs
        # the connection afterwards
        if refusal and not soft:
            if not k.eof:
                if f and f[-1].close: return None, rs          # declared close, nothing more answered: a lingering close
                if c.get("relax_close") and k.in_sync(T): return None, rs
                return "refused with %s but the connection stays open" % fst, rs
            return None, rs
        if after == "any": return None, rs
        if after == "close":
            if f and f[-1].close and f[-1].status >= 400: return None, rs
            if exp == "either" and f and f[-1].status < 400 and not k.eof: return (None, rs) if k.in_sync(T) else ("open and out of sync: %s" % fst, rs)
            if not k.eof: return "connection not closed: %s" % fst, rs
            return None, rs
        if k.eof:
            if after == "open": return "connection closed, keep-alive expected: %s" % fst, rs
            return None, rs
        if f and f[-1].close:
            rs, left, err = k.wait(99, time.time() + T, need_eof=True)
            return (None, rs) if k.eof else ("said close but stays open", rs)
        if not k.in_sync(T):
            if k.eof and after != "open": return None, rs
            return "connection open but the next request fails (desync): %s" % fst, rs
        return None, rs
    finally:
        try: k.s.close()
        except OSError: pass

def alive(a):
    try:
        k = Conn(a, []); ok = k.in_sync(5.0); k.s.close(); return ok
    except OSError: return False

def proc(pid):
    try:
        rss = int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % pid).read()).group(1))
        return len(os.listdir("/proc/%d/fd" % pid)), rss
    except Exception: return None

def slow(a, secs):
    """a peer that stalls must be dropped within `secs` seconds"""
    bad = 0
    for name, b in (("idle", b""), ("request-line", b"GET /healthz HT"), ("headers", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-"), ("body", b"POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"), ("chunk", b"POST /payments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), ("dribble", b"GET /healthz HTTP/1.1\r\nHost: x\r\n")):
        k = Conn(a, []); k.send(b); t = time.time()
        while time.time() - t < secs and not k.eof:
            k.pump(0.5)
            if name == "dribble": k.send(b"X: y\r\n"); 
            if name == "dribble" and k.send_failed: k.eof = True
        bad += not k.eof
        print("%s slow-%s %s" % ("PASS" if k.eof else "FAIL", name, "closed after %.1f s" % (time.time() - t) if k.eof else "still open after %d s" % secs)); k.s.close()
    return bad

def main():
    p = argparse.ArgumentParser(); p.add_argument("host"); p.add_argument("port", type=int)
    p.add_argument("--cases", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "http_cases.jsonl"))
    p.add_argument("--only", action="append", default=[]); p.add_argument("--skip", action="append", default=[])
    p.add_argument("--upstream-down", action="store_true"); p.add_argument("--timeout", type=float, default=2.0)
    p.add_argument("--jobs", type=int, default=8); p.add_argument("--pid", type=int); p.add_argument("--slow", type=float, default=0)
    p.add_argument("--quiet", action="store_true"); p.add_argument("--json"); p.add_argument("--rfc-only", action="store_true", help="leave out cases marked policy")
    a = p.parse_args()
    cs = [json.loads(l) for l in open(a.cases) if l.strip()]
    if a.only: cs = [c for c in cs if any(o in c["id"] for o in a.only)]
    cs = [c for c in cs if not any(o in c["id"] for o in a.skip) and not (a.rfc_only and c.get("policy"))]
    if not alive(a): print("FAIL server does not answer GET /healthz before the run"); print("0 passed, 1 failed"); return 1
    before = proc(a.pid) if a.pid else None
    def one(c):
        try: err, rs = run(c, a)
        except Exception as e: err, rs = "runner: %s: %s" % (type(e).__name__, e), []
        dead = None
        if err or c["expect"].startswith("reject"): dead = not alive(a)
        return c, err, rs, dead
    ok = bad = 0; t0 = time.time(); res = []
    with ThreadPoolExecutor(a.jobs) as ex:
        for c, err, rs, dead in ex.map(one, cs):
            if dead: err = (err + "; " if err else "") + "SERVER NO LONGER ANSWERS"
            st = ",".join(str(r.status) for r in rs)
            res.append(dict(id=c["id"], expect=c["expect"], error=err, statuses=st))
            if err: bad += 1; print("FAIL %-28s %-24s %s   [%s; RFC %s]" % (c["id"], c["expect"], err, c["why"], c["ref"]))
            else:
                ok += 1
                if not a.quiet: print("PASS %-28s %-24s %s" % (c["id"], c["expect"], st or "closed"))
    if alive(a): ok += 1
    else: bad += 1; print("FAIL final: a normal request on a fresh connection fails")
    if before:
        time.sleep(1.0); now = proc(a.pid)
        if not now: bad += 1; print("FAIL process %d is gone" % a.pid)
        else:
            leak = now[0] - before[0]
            print("%s fds %d -> %d, RSS %d -> %d kB" % ("PASS" if leak <= 4 else "FAIL", before[0], now[0], before[1], now[1])); ok += leak <= 4; bad += leak > 4
    if a.slow: b = slow(a, a.slow); bad += b; ok += 6 - b
    if a.json: json.dump(res, open(a.json, "w"), indent=0)
    print("%d passed, %d failed in %.1f s" % (ok, bad, time.time() - t0)); return 1 if bad else 0
if __name__ == "__main__": sys.exit(main())
