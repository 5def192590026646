"""Judges a load run: joins what k6 sent with what the processors charged.

Pure: it opens nothing and knows no clock. p99's own counters are not consulted; its summary is one
of the things that are judged. Used by run-k6. Standard library only.
"""

import collections
import dataclasses
import decimal

PROCESSORS = ("default", "fallback")
FEES = {"default": decimal.Decimal("0.05"), "fallback": decimal.Decimal("0.15")}

# What p99 promises after each answer (README, HTTP API). A timeout, a cut connection and what
# HAProxy says of a broken instance promise nothing, nor does a 5xx that says "unknown".
ACKNOWLEDGED = {200, 202}
NOT_CHARGED = {400, 401, 413, 415, 421, 422, 429, 502, 503}


def cents(amount):
    """A JSON number's text, or a Decimal, as integer cents."""
    value = decimal.Decimal(amount) * 100
    if value != value.to_integral_value():
        raise ValueError(f"{amount} is no whole number of cents")
    return int(value)


@dataclasses.dataclass
class Sent:
    """One request as k6 recorded it."""

    identity: str
    cents: int
    status: int
    origin: str

    @property
    def is_from_haproxy(self):
        return self.origin == "haproxy"

    @property
    def promises_no_charge(self):
        """Whether this request, had it been the only one with its id, charged nothing."""
        # HAProxy says its own 503 before anything was sent; its 502 and 504 say nothing.
        return self.status in NOT_CHARGED and self.origin != "unsure" and (
            not self.is_from_haproxy or self.status == 503)


def read_records(lines):
    """The requests in k6's console output; other lines are skipped."""
    for line in lines:
        if line.startswith("P "):
            _, identity, amount, status, origin = line.split()
            # Two spellings of one UUID are one payment.
            yield Sent(identity.lower(), int(amount), int(status), origin)


def totals(summary):
    """(count, cents) by processor of a p99 summary."""
    return {name: (summary[name]["totalRequests"], cents(summary[name]["totalAmount"]))
            for name in PROCESSORS}


def is_consistent(before, ours, after):
    """Whether p99's totals could have been true at one moment between two looks at a processor."""
    if before[0] <= ours[0] <= after[0]:
        return before[1] <= ours[1] <= after[1] and (before[0] != after[0] or before == ours)
    return False


class Verdict:
    """What a run showed. `faults` must be empty."""

    def __init__(self, sent, charged, windows, final, at_end, result):
        self.sent = list(sent)
        self.windows, self.final, self.at_end, self.result = windows, final, at_end, result
        self.statuses = collections.Counter(
            (request.status, request.is_from_haproxy) for request in self.sent)
        self.charged = {name: {row["correlationId"].lower(): row for row in rows}
                        for name, rows in charged.items()}
        by_id = collections.defaultdict(list)
        for request in self.sent:
            by_id[request.identity].append(request)
        default, fallback = (set(self.charged[name]) for name in PROCESSORS)
        anywhere = default | fallback
        acknowledged = {identity for identity, requests in by_id.items()
                        if any(request.status in ACKNOWLEDGED for request in requests)}
        self.double = default & fallback
        self.uncharged = acknowledged - anywhere
        self.twice_acknowledged = {
            identity for identity, requests in by_id.items()
            if sum(request.status in ACKNOWLEDGED for request in requests) > 1}
        self.refused_but_charged = {
            identity for identity in anywhere & set(by_id)
            if all(request.promises_no_charge for request in by_id[identity])}
        self.strangers = anywhere - set(by_id)
        self.wrong_amount = {
            identity for rows in self.charged.values() for identity, row in rows.items()
            if identity in by_id
            and cents(row["amount"]) not in {request.cents for request in by_id[identity]}}
        self.repeated = sum(row["attempts"] > 1 for rows in self.charged.values()
                            for row in rows.values())
        self.acknowledged = len(acknowledged)
        self.identities = len(by_id)

    @property
    def processor_totals(self):
        return {name: (len(rows), sum(cents(row["amount"]) for row in rows.values()))
                for name, rows in self.charged.items()}

    @property
    def lag(self):
        """Acknowledged payments that the summary did not show at the very end."""
        return self.acknowledged - sum(count for count, _ in self.at_end.values())

    @property
    def inconsistencies(self):
        return sum(window == "differs" for window in self.windows)

    @property
    def net(self):
        """The official score of the summary at the end, in money."""
        amounts = {name: decimal.Decimal(amount) / 100 for name, (_, amount) in self.at_end.items()}
        profit = sum(amount * (1 - FEES[name]) for name, amount in amounts.items())
        bonus = max(decimal.Decimal(0), (11 - decimal.Decimal(str(self.result["p99_ms"])))
                    * decimal.Decimal("0.02"))
        penalty = decimal.Decimal("0.35") if self.inconsistencies else 0
        return (profit * (1 + bonus) - profit * penalty).quantize(decimal.Decimal("0.01"))

    @property
    def faults(self):
        found = []

        def expect_none(what, identities):
            if identities:
                found.append(f"{len(identities)} {what}: {', '.join(sorted(identities)[:5])}")

        expect_none("ids charged by both processors", self.double)
        expect_none("acknowledged ids never charged", self.uncharged)
        expect_none("ids acknowledged more than once", self.twice_acknowledged)
        expect_none("ids charged although every answer said that they are not",
                    self.refused_but_charged)
        expect_none("ids charged with an amount that was not sent", self.wrong_amount)
        expect_none("ids charged that this run never sent", self.strangers)
        if self.inconsistencies:
            found.append(f"{self.inconsistencies} summaries differed during the run")
        if self.final != self.processor_totals:
            found.append(f"the last summary {self.final} is not what was charged "
                         f"{self.processor_totals}")
        if sum(count for count, _ in self.final.values()) > self.identities:
            found.append("the summary has more payments than were asked for")
        if not self.sent:
            found.append("k6 recorded no request")
        return found

    def table(self):
        money = lambda amount: f"{amount // 100}.{amount % 100:02d}"
        rows = [("requests", len(self.sent)), ("ids", self.identities)]
        for (status, is_from_haproxy), count in sorted(self.statuses.items()):
            name = "no answer" if status == 0 else f"answered {status}"
            rows.append((name + (" by HAProxy" if is_from_haproxy else ""), count))
        rows += [("p50 / p99 / max",
                  " / ".join(f"{self.result[key]:.2f}" for key in ("p50_ms", "p99_ms", "max_ms"))
                  + " ms")]
        rows += [(f"charged by {name}", f"{count} ({money(amount)})")
                 for name, (count, amount) in self.processor_totals.items()]
        rows += [("ids that met more than one attempt", self.repeated),
                 ("charged twice", len(self.double)),
                 ("acknowledged, not charged", len(self.uncharged)),
                 ("refused, yet charged", len(self.refused_but_charged)),
                 ("acknowledged twice", len(self.twice_acknowledged)),
                 ("summaries compared", f"{len(self.windows)}, "
                  f"{self.inconsistencies} differed, "
                  f"{sum(window == 'unavailable' for window in self.windows)} unavailable"),
                 ("lag at the end", self.lag), ("net score", self.net)]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
