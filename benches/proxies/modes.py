"""What each mode of bench-proxies measures. Every mode returns (rounds, lines of its report)."""

import contextlib
import statistics
import time

import report
import rounds
import sides

ROWS = ("p99 off", "p99 os", "p99 always", "haproxy", "nginx", "relay deferred",
        "relay plain", "ring bare", "ring poll-first", "ring fixed", "direct")
LOAD_BUSY_MAX = 0.8


class Bench:
    """What all modes share."""

    def __init__(self, options, upstream, quota, proxy_cores, load_cores):
        self.options = options
        self.seconds = options.seconds
        self.upstream = upstream
        self.quota = quota
        self.proxy_cores = proxy_cores
        self.load_cores = load_cores
        self.measured = []

    def proxy(self, row, cores=None, limited=True, **settings):
        quota = self.quota if limited else None
        return sides.Proxy(row, self.upstream, cores or self.proxy_cores, quota, settings)

    def rows(self, rows=ROWS):
        """Those of `rows` that were asked for."""
        asked = self.options.rows
        return [row for row in rows if not asked or row in asked]

    @contextlib.contextmanager
    def load_on(self, cores):
        """Has load and upstream elsewhere for a while; where no core is left, they stay."""
        kept, self.load_cores = self.load_cores, set(cores) or self.load_cores
        self.upstream.move(self.load_cores)
        try:
            yield
        finally:
            self.load_cores = kept
            self.upstream.move(kept)

    def keep(self, one, number, name=None):
        """Notes a finished round and tells about it."""
        one["round"] = number
        one["row"] = name or one["row"]
        self.measured.append(one)
        cpu = f"{one['cpu_us']:.1f} us" if one.get("cpu_us") else "-"
        verdict = "; ".join(one["faults"]) or "counts"
        print(f"  round {number} {one['row']:<24} {one['rps']:>9,.0f} req/s  {cpu:>8}  {verdict}",
              flush=True)

    def interleaved(self, rows):
        """(number of the round, row), each round beginning with another row."""
        for number in range(self.options.rounds):
            shift = number % len(rows)
            for row in rows[shift:] + rows[:shift]:
                yield number, row

    def values(self, row, key):
        return report.values(self.measured, row, key)

    def ratios(self, row, base, key="cpu_us"):
        return report.ratios(self.measured, row, base, key)


def saturate(bench):
    """CPU per payment under saturation."""
    for number, row in bench.interleaved(bench.rows()):
        with bench.proxy(row) as proxy:
            bench.keep(rounds.saturated(proxy, bench), number)
    # On a machine where HAProxy is cheap a larger part of a payment's cost is the kernel's.
    cost = bench.values("haproxy", "cpu_us")
    off = 0.85 if cost and statistics.median(cost) < 11 else 0.80
    limits = (("p99 off", "haproxy", off), ("p99 off", "relay deferred", 1.15),
              ("p99 os", "haproxy", 0.88), ("p99 always", "haproxy", 1.00))
    return [report.results(bench.measured, "haproxy", "cpu_us"), report.busy(bench.measured),
            *(report.target(f"CPU of {row} / {base}", bench.ratios(row, base), limit)
              for row, base, limit in limits)]


def rate_to_hold(bench):
    """The rate that was asked for, or 70 % of what HAProxy manages without a quota; less where the
    load's own cores would be busier than LOAD_BUSY_MAX with no proxy at all, as latency would
    then be theirs."""
    if bench.options.rate:
        return bench.options.rate
    best = []
    for _ in range(1 if bench.options.quick else 3):
        with bench.proxy("haproxy", limited=False) as proxy:
            best.append(rounds.saturated(proxy, bench, min(bench.seconds, 5))["rps"])
    print(f"  HAProxy without a quota: at best {max(best):,.0f} req/s", flush=True)
    rate = int(max(best) * 0.7)
    while not bench.options.quick:
        with bench.proxy("direct", limited=False) as proxy:
            busy = rounds.at_rate(proxy, bench, rate)["load_busy"]
        print(f"  no proxy, {rate:,} req/s: the load is {busy:.0%} busy", flush=True)
        if busy <= LOAD_BUSY_MAX:
            break
        rate = int(rate * 0.8)
    return rate


def latency(bench):
    """Latency at a fixed rate, no quota."""
    rate = rate_to_hold(bench)
    rows = bench.rows(("p99 off", "haproxy") if bench.options.quick else ROWS)
    for number, row in bench.interleaved(rows):
        with bench.proxy(row, limited=False) as proxy:
            bench.keep(rounds.at_rate(proxy, bench, rate), number)
    return [f"{rate:,} payments a second on {sides.CONNECTIONS} connections, no quota",
            report.results(bench.measured, "haproxy", "p99_ms"), report.busy(bench.measured),
            report.target("p99 of p99 off / haproxy",
                          bench.ratios("p99 off", "haproxy", "p99_ms"), 0.8)]


def scaling(bench):
    """CPU per payment with one and with two workers; with more cores throughput too."""
    cores = sorted(bench.proxy_cores | bench.load_cores)
    # Where the load has the second core, the two workers share the first one: next to the load a
    # worker wakes for every single event, and that would be measured.
    pair = set(cores[:2] if len(cores) > 2 else cores[:1])
    layouts = {"1 worker": (1, set(cores[:1])), "2 workers": (2, pair)}
    with bench.load_on(cores[2:]):
        for number, row in bench.interleaved(list(layouts)):
            count, where = layouts[row]
            with bench.proxy("p99 off", where, CORES=str(count)) as proxy:
                bench.keep(rounds.saturated(proxy, bench), number, row)
    lines = [report.results(bench.measured, "1 worker", "cpu_us"), report.busy(bench.measured),
             report.target("CPU with 2 workers / 1", bench.ratios("2 workers", "1 worker"), 1.15)]
    return lines + many_cores(bench, cores)


def many_cores(bench, cores):
    """Throughput without a quota, where half of the cores are enough for the load."""
    most = min(6, len(cores) // 2)
    if most < 2:
        return [f"throughput with cores: not measured, {len(cores)} cores are too few"]
    counts = [count for count in (1, 2, 4, 6) if count <= most]
    name = "p99, {} workers, no quota".format
    with bench.load_on(cores[most:]):
        for number, count in bench.interleaved(counts):
            with bench.proxy("p99 off", set(cores[:count]), limited=False) as proxy:
                bench.keep(rounds.saturated(proxy, bench), number, name(count))
    return [report.target(f"throughput on {count} cores / linear",
                          [ratio / count for ratio in
                           bench.ratios(name(count), name(1), "rps")], 0.8, least=True)
            for count in counts[1:]]


def front(bench):
    """HAProxy as in haproxy.cfg before p99: over TCP and over a unix socket."""
    ways = ("front tcp", "front unix")
    for number, row in bench.interleaved(list(ways)):
        with bench.proxy(row) as proxy:
            bench.keep(rounds.saturated(proxy, bench), number, row)
    return ["CPU of both processes together",
            report.results(bench.measured, "front tcp", "cpu_us"), report.busy(bench.measured)]


def reach(bench):
    """Processors over TCP, over warm TLS connections and over a unix socket."""
    rows = [f"reach {way}" for way in bench.upstream.ways]
    if not rows:
        return [f"not measured: {bench.upstream.name} speaks plain TCP alone"]
    for number, row in bench.interleaved(rows):
        with bench.proxy(row) as proxy:
            bench.keep(rounds.saturated(proxy, bench), number)
    return [report.results(bench.measured, "reach tcp", "cpu_us"), report.busy(bench.measured),
            report.target("CPU over TLS / TCP", bench.ratios("reach tls", "reach tcp"), 1.35),
            report.target("CPU over a unix socket / TCP",
                          bench.ratios("reach unix", "reach tcp"), 0.90)]


def claims(bench):
    """What 500,000 live claims cost, and the memory with 2,048 connections."""
    count, clients = (20_000, 200) if bench.options.quick else (500_000, 2_048)
    names = {"no claims": 0, f"{count:,} claims": count}
    for number, row in bench.interleaved(list(names)):
        with bench.proxy("p99 off") as proxy:
            if names[row]:
                if bench.quota:
                    bench.quota.set(None)
                sides.fill(proxy.port, names[row], bench.load_cores)
                if bench.quota:
                    bench.quota.set(bench.options.quota)
            one = rounds.saturated(proxy, bench)
            open_ones = sides.open_idle(proxy.port, clients)
            one["rss_mib"] = proxy.process.rss_bytes() / 2**20
            for connection in open_ones:
                connection.close()
            bench.keep(one, number, row)
    full = list(names)[1]
    return [f"RSS is read with {clients:,} more connections open",
            report.results(bench.measured, "no claims", "cpu_us"), report.busy(bench.measured),
            report.target(f"CPU with {full} / without", bench.ratios(full, "no claims"), 1.05),
            report.target("RSS in MiB", bench.values(full, "rss_mib"), 96)]


def idle(bench):
    """What 10,000 idle connections cost beside 64 busy ones."""
    count = 500 if bench.options.quick else 10_000
    full = f"{count:,} idle beside"
    each = []
    for number, row in bench.interleaved(["busy alone", full]):
        with bench.proxy("p99 off") as proxy:
            open_ones = []
            if row == full:
                rounds.saturated(proxy, bench, 1)
                before = proxy.process.rss_bytes()
                open_ones = sides.open_idle(proxy.port, count)
                each.append((proxy.process.rss_bytes() - before) / count)
            bench.keep(rounds.saturated(proxy, bench), number, row)
            for connection in open_ones:
                connection.close()
    return [report.results(bench.measured, "busy alone", "cpu_us"), report.busy(bench.measured),
            report.target("CPU with idle ones / without", bench.ratios(full, "busy alone"), 1.10),
            report.target("bytes per idle connection", each, 6_144)]


def scrape(bench):
    """What reading /metrics every second does to p99.9."""
    rate = rate_to_hold(bench)
    names = {"not scraped": False, "scraped every second": True}
    for number, row in bench.interleaved(list(names)):
        with bench.proxy("p99 off", limited=False) as proxy:
            bench.keep(rounds.at_rate(proxy, bench, rate, names[row]), number, row)
    pair = ("scraped every second", "not scraped", "p999_ms")
    return [f"{rate:,} payments a second, no quota",
            report.results(bench.measured, "not scraped", "p999_ms"),
            report.busy(bench.measured),
            report.target("p99.9 scraped / not", bench.ratios(*pair), 1.1)]


def start(bench):
    """Milliseconds from exec to the first charged payment."""
    spans = {row: [] for row in bench.rows(("p99 off", "p99 always", "haproxy"))}
    for _ in range(bench.options.rounds * 3):
        for row, taken in spans.items():
            began = time.monotonic()
            with bench.proxy(row, limited=False):
                taken.append((time.monotonic() - began) * 1e3)
    lines = [[row, report.cell(taken, "{:.1f}")] for row, taken in spans.items()]
    return [report.table(["row", "ms to the first 200"], lines),
            report.target("ms to the first 200", spans.get("p99 off", []), 50)]


MODES = {"saturate": saturate, "latency": latency, "scaling": scaling, "front": front,
         "reach": reach, "claims": claims, "idle": idle, "scrape": scrape, "start": start}
