"""One round: load on a proxy, what it cost, and whether it counts."""

import threading
import time

import machine
import sides

# wrk stops in the middle: up to one payment per connection was charged and not counted as an
# answer. The generator of the fixed rate waits for all.
UNCOUNTED = sides.CONNECTIONS


def labelled(metrics, name, *labels):
    """The sum of p99's counters of that name that carry these labels."""
    return sum(number for key, number in metrics.items()
               if key.partition("{")[0] == name and all(label in key for label in labels))


class Watch:
    """What both sides used between its start and its end."""

    def __init__(self, proxy, upstream, load_cores):
        self.proxy = proxy
        self.upstream = upstream
        self.load_cores = load_cores
        self.before = self._look()

    def _look(self):
        process = self.proxy.process
        quota = self.proxy.quota
        return {
            "time": time.monotonic(),
            "proxy": process.cpu_seconds() if process else 0.0,
            "upstream": self.upstream.process.cpu_seconds(),
            "load": machine.core_ticks(self.load_cores),
            "all": machine.core_ticks(range(4096)),
            "periods": quota.periods() if quota else (0, 0),
        }

    def end(self, answers):
        before, after = self.before, self._look()
        seconds = after["time"] - before["time"]
        proxy = after["proxy"] - before["proxy"]
        load = [b - a for a, b in zip(before["load"], after["load"])]
        everything = [b - a for a, b in zip(before["all"], after["all"])]
        periods = [b - a for a, b in zip(before["periods"], after["periods"])]
        process = self.proxy.process
        return {
            "cpu_us": proxy / answers * 1e6 if process and answers else None,
            "rss_mib": process.rss_bytes() / 2**20 if process else None,
            "proxy_cores": proxy / seconds if process else None,
            "throttled": periods[1] / periods[0] if periods[0] else None,
            "load_busy": load[0] / max(load[2], 1),
            "stolen": everything[1] / max(everything[2], 1),
            "upstream_us": (after["upstream"] - before["upstream"]) / max(answers, 1) * 1e6,
        }


def faults_of(result, seen, changes, uncounted):
    """Why this round does not count; empty when it does."""
    faults = []
    answers = result["answers"]
    bad = result.get("bad_statuses", 0)
    others = {status: count for status, count in result.get("statuses", {}).items()
              if status != "200"}
    if bad or others:
        faults.append(f"answers other than 200: {others or bad}")
    if result["broken"]:
        faults.append(f"{result['broken']} broken or late answers")
    if not answers:
        faults.append("no answer at all")
    if not answers <= seen["distinct"] <= answers + uncounted:
        faults.append(f"{answers} answers but {seen['distinct']} distinct ids upstream")
    if seen["unreadable"]:
        faults.append(f"the upstream could not read {seen['unreadable']} requests")
    if changes:
        label = 'route="payments"'
        total = labelled(changes, "p99_requests_total", label)
        charged = labelled(changes, "p99_requests_total", label, 'status="200"')
        if total != charged or not answers <= charged <= answers + uncounted:
            faults.append(f"p99 counts {charged:.0f} of {total:.0f} answers as 200")
    return faults


def measure(proxy, upstream, load_cores, load, uncounted=UNCOUNTED):
    """One measured round on a warm proxy. `load()` sends and returns its result."""
    # What the warm-up left in flight must not be counted here.
    time.sleep(0.3)
    upstream.reset()
    before = proxy.metrics()
    watch = Watch(proxy, upstream, load_cores)
    result = load()
    answers = result["answers"]
    used = watch.end(answers)
    time.sleep(0.3)
    after = proxy.metrics()
    seen = upstream.seen()
    changes = {name: number - before.get(name, 0) for name, number in after.items()}
    return {
        "row": proxy.row,
        "rps": answers / result["seconds"],
        **{f"{name}_ms": result[f"{name}_us"] / 1e3 for name in ("p50", "p99", "p999", "max")},
        **used,
        "load_us": result["load_cpu"] / max(answers, 1) * 1e6,
        "lag_ms": result["lag_us"] / 1e3 if "lag_us" in result else None,
        "hedges": labelled(changes, "p99_hedges_total", 'event="fired"'),
        "lookups": seen["lookups"],
        "repeats": seen["posts"] - seen["distinct"],
        "faults": faults_of(result, seen, changes, uncounted),
    }


def saturated(proxy, bench, seconds=None):
    """As many payments as the proxy takes."""
    if not bench.options.quick:
        sides.wrk(proxy.port, 1, bench.load_cores)
    seconds = seconds or bench.seconds
    load = lambda: sides.wrk(proxy.port, seconds, bench.load_cores)
    return measure(proxy, bench.upstream, bench.load_cores, load)


def at_rate(proxy, bench, rate, scraped=False):
    """Payments at a fixed rate, optionally with /metrics read every second meanwhile."""
    if not bench.options.quick:
        sides.open_loop(proxy.port, rate, 1, bench.load_cores)

    def load():
        if not scraped:
            return sides.open_loop(proxy.port, rate, bench.seconds, bench.load_cores)
        over = threading.Event()
        scraper = threading.Thread(target=_scrape, args=(proxy, over))
        scraper.start()
        try:
            return sides.open_loop(proxy.port, rate, bench.seconds, bench.load_cores)
        finally:
            over.set()
            scraper.join()

    return measure(proxy, bench.upstream, bench.load_cores, load, uncounted=0)


def _scrape(proxy, over):
    while not over.wait(1.0):
        proxy.metrics()
