"""Numbers to tables: medians with the least and the most, ratios within the same run."""

import statistics

COLUMNS = (
    ("req/s", "rps", "{:,.0f}"),
    ("CPU us/req", "cpu_us", "{:.1f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("p99.9 ms", "p999_ms", "{:.2f}"),
    ("RSS MiB", "rss_mib", "{:.1f}"),
)
BUSY = (
    ("proxy, cores", "proxy_cores", "{:.2f}"),
    ("throttled", "throttled", "{:.0%}"),
    ("load core busy", "load_busy", "{:.0%}"),
    ("stolen", "stolen", "{:.1%}"),
    ("wrk or load us/req", "load_us", "{:.1f}"),
    ("upstream us/req", "upstream_us", "{:.1f}"),
    ("generator lag ms", "lag_ms", "{:.2f}"),
    ("hedges", "hedges", "{:.0f}"),
    ("lookups", "lookups", "{:.0f}"),
    ("repeated ids", "repeats", "{:.0f}"),
)


def in_order(rounds):
    """The names of the rows, as they first appear."""
    return list(dict.fromkeys(one["row"] for one in rounds))


def values(rounds, row, key):
    """That number of every round of the row that counts."""
    return [one[key] for one in rounds
            if one["row"] == row and not one["faults"] and one.get(key) is not None]


def cell(numbers, form):
    """`median (least-most)`; a dash where there is nothing."""
    if not numbers:
        return "-"
    middle = form.format(statistics.median(numbers))
    if len(numbers) == 1 or min(numbers) == max(numbers):
        return middle
    return f"{middle} ({form.format(min(numbers))}-{form.format(max(numbers))})"


def ratios(rounds, row, base, key):
    """row/base in each round number in which both count."""
    def by_round(name):
        return {one["round"]: one[key] for one in rounds
                if one["row"] == name and not one["faults"] and one.get(key)}

    mine, its = by_round(row), by_round(base)
    return [mine[number] / its[number] for number in mine if number in its]


def table(head, lines):
    """Lines of cells as a Markdown table that reads well as plain text too."""
    lines = [head, *lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    def text(line):
        first = line[0].ljust(widths[0])
        return " | ".join([first, *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])

    rule = "-|-".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [text(head), rule, *map(text, lines[1:])])


def results(rounds, base, key, columns=COLUMNS):
    """The main table: every column, and `key` in relation to the row `base`."""
    rows = in_order(rounds)
    has_ratio = base in rows
    head = ["row", *(name for name, _, _ in columns)]
    if has_ratio:
        label = {"cpu_us": "CPU", "p99_ms": "p99", "p999_ms": "p99.9"}.get(key, key)
        head.append(f"{label} x {base}")
    lines = []
    for row in rows:
        line = [row, *(cell(values(rounds, row, field), form) for _, field, form in columns)]
        if has_ratio:
            line.append(cell(ratios(rounds, row, base, key), "{:.2f}"))
        lines.append(line)
    return table(head, lines)


def busy(rounds):
    """How busy both sides were, and what p99 did beside charging."""
    used = [column for column in BUSY
            if any(one.get(column[1]) is not None for one in rounds)]
    head = ["row", *(name for name, _, _ in used), "rounds that count"]
    lines = []
    for row in in_order(rounds):
        mine = [one for one in rounds if one["row"] == row]
        good = sum(not one["faults"] for one in mine)
        cells = (cell(values(rounds, row, field), form) for _, field, form in used)
        lines.append([row, *cells, f"{good} of {len(mine)}"])
    return table(head, lines)


def target(name, numbers, limit, least=False):
    """One line of the target table: measured, wanted, met or by how much not."""
    if not numbers:
        return f"- {name}: not measured"
    measured = statistics.median(numbers)
    is_met = measured >= limit if least else measured <= limit
    sign = ">=" if least else "<="
    verdict = "met" if is_met else f"MISSED by {abs(measured / limit - 1):.0%}"
    return f"- {name}: {measured:.3g}, target {sign} {limit:g}: {verdict}"


def text(parts):
    """The parts of a report, a blank line between them, the targets as one list."""
    lists = [part for part in parts if part.startswith("- ")]
    others = [part for part in parts if not part.startswith("- ")]
    return "\n\n".join([*others, "\n".join(lists)] if lists else others)


def not_the_bottleneck(rounds):
    """Rows that seldom reached their quota: there the load was the limit, or something else."""
    rows = in_order(rounds)
    shares = {row: values(rounds, row, "throttled") for row in rows}
    return [f"NOTE: {row} reached its quota in only {statistics.median(numbers):.0%} of all "
            "periods, so it was not the bottleneck"
            for row, numbers in shares.items() if numbers and statistics.median(numbers) < 0.8]
