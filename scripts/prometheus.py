"""A real Prometheus for drills: the shipped rules with their minutes made shorter, its own port and
folder, and a watch on what fires.

Used by drill-alerts. Seconds in the rules stay as they are; only what is minutes or hours there is
divided. Standard library only.
"""

import json
import re
import shutil
import time

import stack

RULES = stack.ROOT / "monitoring/p99.rules.yml"
UNITS = {"m": 60, "h": 3600}
# Minutes that are written as seconds, because the metric is in seconds.
IN_SECONDS = ("p99_payments_pending_oldest_age_seconds > 300",
              "p99_audit_last_success_timestamp_seconds > 120")


def binary(name="prometheus"):
    """The installed program, or None."""
    return shutil.which(name)


def scaled_rules(factor, least):
    """The rules' text: ranges of at least `least` seconds, so that a rate has two samples."""
    text = RULES.read_text()
    for expression in IN_SECONDS:
        head, seconds = expression.rsplit(" ", 1)
        if expression not in text:
            raise SystemExit(f"{RULES.name} has no {expression!r} any more")
        text = text.replace(expression, f"{head} {int(seconds) // factor}")
    seconds = lambda match: int(match[1]) * UNITS[match[2]] / factor
    text = re.sub(r"\[(\d+)([mh])\]", lambda match: f"[{max(least, round(seconds(match)))}s]", text)
    return re.sub(r"for: (\d+)([mh])\b", lambda match: f"for: {max(1, round(seconds(match)))}s", text)


def alert_names():
    """Every alert of the rules, in their order."""
    return re.findall(r"- alert: (\w+)", RULES.read_text())


class Prometheus(stack.Process):
    """One Prometheus that scrapes `targets` (job to addresses)."""

    def __init__(self, folder, targets, factor, scrape):
        self.port = stack.free_port()
        self.url = f"http://{stack.HOST}:{self.port}"
        (folder / "rules.yml").write_text(scaled_rules(factor, 3 * scrape))
        jobs = [{"job_name": job, "static_configs": [{"targets": addresses}]}
                for job, addresses in targets.items()]
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": f"{scrape}s", "scrape_timeout": f"{scrape}s",
                       "evaluation_interval": f"{scrape}s"},
            "rule_files": ["rules.yml"], "scrape_configs": jobs}))
        super().__init__("prometheus", [
            binary(), f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}", "--log.level=error",
            f"--web.listen-address={stack.HOST}:{self.port}"], folder)

    def start(self):
        super().start()
        return self.await_ready(self.url, "/-/ready")

    def firing(self):
        """The names of the alerts that fire now."""
        alerts = stack.Client(self.url).json("GET", "/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def await_scrapes(self):
        """Waits until every target was scraped: the first time is seconds after the start."""
        deadline = time.monotonic() + 30
        while self.value("min(up)") != 1.0:
            if time.monotonic() > deadline:
                raise RuntimeError("a target cannot be scraped")
            time.sleep(0.2)

    def value(self, expression):
        """The first value of an instant query, or None."""
        query = expression.replace("%", "%25").replace("+", "%2B").replace(" ", "%20")
        query = query.replace("{", "%7B").replace("}", "%7D").replace('"', "%22")
        result = stack.Client(self.url).json("GET", f"/api/v1/query?query={query}")
        found = result["data"]["result"]
        return float(found[0]["value"][1]) if found else None


class Watch:
    """When each expected alert fired, whether it went on firing, and when it was silent again."""

    def __init__(self, prometheus, names):
        self._prometheus = prometheus
        self.names = names
        self.fired, self.silent, self.faults = {}, {}, []

    def is_quiet(self):
        """Notes what fires before there is a cause."""
        early = self._prometheus.firing() & set(self.names)
        self.faults += [f"{name} fires without its cause" for name in sorted(early)]

    def until_fired(self, seconds, steady):
        """Waits for all, then sees them fire for `steady` seconds without a gap."""
        begun = time.monotonic()
        while len(self.fired) < len(self.names) and time.monotonic() - begun < seconds:
            for name in self._prometheus.firing() & set(self.names):
                self.fired.setdefault(name, time.monotonic() - begun)
            time.sleep(0.5)
        self.faults += [f"{name} does not fire within {seconds:.0f} s"
                        for name in self.names if name not in self.fired]
        return self._see_steady(steady)

    def _see_steady(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            gone = set(self.fired) - self._prometheus.firing()
            self.faults += [f"{name} flaps" for name in sorted(gone)]
            if gone:
                return
            time.sleep(0.5)

    def until_silent(self, seconds):
        begun = time.monotonic()
        while len(self.silent) < len(self.fired) and time.monotonic() - begun < seconds:
            firing = self._prometheus.firing()
            for name in self.fired:
                if name in firing:
                    self.silent.pop(name, None)
                else:
                    self.silent.setdefault(name, time.monotonic() - begun)
            time.sleep(0.5)
        self.faults += [f"{name} still fires after {seconds:.0f} s"
                        for name in self.fired if name not in self.silent]
