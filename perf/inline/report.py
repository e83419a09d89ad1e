"""Tables, plots (SVG, written by hand: nothing to install) and the summary."""

import json
import math
import os

from bed import DIRECTIONS
from books import LOSSES

COLOURS = ("#c0392b", "#2471a3", "#7d6608", "#117a65", "#7d3c98", "#1b2631", "#ca6f1e", "#7f8c8d")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 430, 70, 60, 50, 20


def _ticks(low, high, log):
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        factors = (1,) if last - first > 3 else (1, 2, 5)
        return [tick for power in range(first, last + 1) for factor in factors if low <= (tick := factor * 10.0 ** power) <= high]
    step = 10 ** math.floor(math.log10((high - low) / 4 or 1))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 8)
    return [round(step * number, 9) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def chart(path, title, x_name, y_name, series, x_log=False, y_log=False, marks=(), dots=0):
    """Lines of named points, or dots of that radius; `marks`: vertical lines with their names."""
    series = {name: [(x, y) for x, y in points if (x > 0 or not x_log) and (y > 0 or not y_log)] for name, points in series.items()}
    xs = [x for points in series.values() for x, _ in points] + [x for x, _ in marks]
    ys = [y for points in series.values() for _, y in points]
    if not xs or not ys:
        return
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys) if y_log else min(0, *ys), max(ys)
    high_x, high_y = high_x if high_x > low_x else low_x + 1, high_y if high_y > low_y else low_y + 1

    def place(value, low, high, log):
        if log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return (value - low) / ((high - low) or 1)
    x_at = lambda x: LEFT + place(x, low_x, high_x, x_log) * (WIDTH - LEFT - RIGHT)
    y_at = lambda y: HEIGHT - BOTTOM - place(y, low_y, high_y, y_log) * (HEIGHT - BOTTOM - TOP)
    text = lambda x, y, words, more="": f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
             'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
             text(WIDTH / 2, 20, title, 'text-anchor="middle" font-size="15"'),
             text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, 'text-anchor="middle"'),
             text(16, (TOP + HEIGHT - BOTTOM) / 2, y_name,
                  f'text-anchor="middle" transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})"')]
    for tick in _ticks(low_x, high_x, x_log):
        parts.append(f'<path d="M{x_at(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(text(x_at(tick), HEIGHT - BOTTOM + 17, f"{tick:g}", 'text-anchor="middle"'))
    for tick in _ticks(low_y, high_y, y_log):
        parts.append(f'<path d="M{LEFT} {y_at(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y_at(tick) + 4, f"{tick:g}", 'text-anchor="end"'))
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="black" fill="none"/>')
    for x, words in marks:
        parts.append(f'<path d="M{x_at(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#555" stroke-dasharray="5 4"/>')
        side, end = (-4, "end") if x_at(x) > WIDTH / 2 else (4, "start")
        parts.append(text(x_at(x) + side, TOP + 12, words, f'fill="#555" text-anchor="{end}"'))
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        if dots:
            parts.extend(f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="{dots}" fill="{colour}"/>' for x, y in points)
        elif points:
            way = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
            parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if not dots or len(series) > 1:
            x, y = LEFT + 10 + number % 4 * 165, 24 + number // 4 * 13
            parts.append(f'<rect x="{x}" y="{y}" width="14" height="8" fill="{colour}"/>' + text(x + 19, y + 8, name))
    with open(path, "w") as out:
        out.write("\n".join(parts) + "\n</svg>\n")


def share(values):
    """The share of values at or below each, as points of at most a few hundred."""
    ordered = sorted(values)
    step = max(1, len(ordered) // 400)
    points = [(value, (place + 1) / len(ordered)) for place, value in enumerate(ordered)]
    return points[::step] + points[-1:]


def beyond(values):
    """The share of values above each: shows the tail."""
    ordered = sorted(values)
    step = max(1, len(ordered) // 400)
    points = [(value, (len(ordered) - place) / len(ordered)) for place, value in enumerate(ordered)]
    return sorted(set(points[::step] + points[-200:]))


def histogram(values, bins_a_decade=40):
    """The share of values in bins of equal ratio."""
    counts = {}
    for value in values:
        if value > 0:
            counts[math.floor(math.log10(value) * bins_a_decade)] = counts.get(math.floor(math.log10(value) * bins_a_decade), 0) + 1
    low, high = (min(counts), max(counts)) if counts else (0, -1)
    return [(10 ** ((place + 0.5) / bins_a_decade), counts.get(place, 0) / len(values)) for place in range(low, high + 1)]


def plot(folder, name, found):
    path = lambda what: f"{folder}/{what}.svg"
    if name == "kills":
        limit = found["heartbeat_limit_ms"]
        chart(path("kill-gaps"), f"Longest gap round {found['kills']} kills, both directions", "gap, ms", "share of windows at most so long",
              {"kill -9": share(found["_gaps"]), "no fault, same length": share(found["_control"])}, x_log=True,
              marks=[(limit, f"heartbeat limit {limit:g} ms")])
        chart(path("kill-arrivals"), "Arrivals at the server round each kill, one row a kill", "ms after kill -9", "kill",
              {"frame": [(x, row + 1) for row, times in enumerate(found["_around"]) for x in times]}, dots=1.2, marks=[(0, "kill")])
    elif name == "hang":
        chart(path("hang-gaps"), f"SIGSTOP: time until frames flow again, {found['hangs']} times, both directions", "ms", "share at most so long",
              {"SIGSTOP": share(found["_gaps"])}, x_log=True, marks=[(100, "must be below 100 ms")])
    elif name == "latency":
        us = found["_us"]
        names = {"worker": "through the worker", "bypass": "kernel bypass", "cable": "cable, no pair"}
        chart(path("latency-histogram"), "A frame's way from end to end", "us", "share in bin", {names[way]: histogram(us[way]) for way in us},
              x_log=True)
        chart(path("latency-tail"), "A frame's way from end to end: the tail", "us", "share of frames above",
              {names[way]: beyond(us[way]) for way in us}, x_log=True, y_log=True)
    elif name == "attacks":
        chart(path("attacks"), "From the latest packet of evidence and proof to the kernel", "ms", "share of trials at most so long",
              {kind: share(values) for kind, values in found["_each"].items() if values}, x_log=True, marks=[(20, "goal: p99 20 ms")])
    elif name == "deaths":
        series = {f"{rate} frames/s": list(enumerate((row[way]["beyond"] for row in one["each"] for way in DIRECTIONS), 1))
                  for rate, one in found.items() if rate != "machine"}
        chart(path("deaths"), "Arrived beyond what the books say was forwarded, a death and direction at a time", "death and direction",
              "frames", series, dots=4)


def _equation(equation):
    rows = [f"    {'direction':<10} {'ends sent':>10} {'received':>10} {'forwarded':>10} {'arrived':>10} {'unnamed':>8} {'deviates':>8}"
            "  lost, withheld and bypassed"]
    for way, one in equation.items():
        terms, nic = one["terms"], one["end_hosts"]
        named = [f"{name} {value}" for name, value in terms.items()
                 if value and (name in LOSSES or name.startswith(("withheld", "bypassed", "dropped")))]
        rows.append(f"    {way:<10} {nic['sent']:>10} {terms['received']:>10} {terms['forwarded']:>10} {nic['arrived']:>10} "
                    f"{one['unnamed']:>8} {one['arrived_beyond_forwarded']:>8}  {', '.join(named) or '-'}")
    return rows


def table(name, found):
    """An experiment as text."""
    machine = found["machine"]
    rows = [f"== {name} ({machine['seconds']} s, load {machine['load_before']} before and {machine['load_after']} after, "
            f"{machine['cores']} cores)"]

    def show(value, name, depth):
        if name == "equation":
            rows.extend(_equation(value))
        elif name not in ("each", "machine", "paired_medians_us", "unnamed") and isinstance(value, dict) and any(
                isinstance(one, (dict, list)) for one in value.values()):
            rows.append(f"{'  ' * depth}{name}")
            for key, one in value.items():
                show(one, key, depth + 1)
        elif name not in ("each", "machine"):
            words = "  ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else value
            rows.append(f"{'  ' * depth}{name:<24} {words}")
    for key, value in found.items():
        show(value, key, 1)
    return "\n".join(rows) + "\n"


def _sum(equations):
    total = {}
    for equation in equations:
        for way, one in equation.items():
            row = total.setdefault(way, {})
            for name, value in {**one["terms"], "unnamed": one["unnamed"], "not_seen": one["not_seen"],
                                "arrived_beyond_forwarded": one["arrived_beyond_forwarded"]}.items():
                row[name] = row.get(name, 0) + value
    return total


def finish(folder):
    """Writes tables.txt and summary.json from all experiments there are in the folder, also of earlier runs."""
    order = ("kills", "deaths", "closed", "hang", "planned", "latency", "overload", "flap", "attacks", "returned", "benign")
    found = {}
    for name in order:
        if os.path.exists(f"{folder}/{name}.json"):
            with open(f"{folder}/{name}.json") as text:
                found[name] = json.load(text)
    with open(f"{folder}/tables.txt", "w") as out:
        out.write("\n".join(table(name, one) for name, one in found.items()))
    get = lambda name, key: found.get(name, {}).get(key)
    planned = found.get("planned", {})
    equations = {name: one["equation"] for name, one in found.items() if "equation" in one}
    equations.update({f"planned_{key}": one["equation"] for key, one in planned.items() if isinstance(one, dict) and "equation" in one})
    # A flap frees what lies in veth's ring and counts it nowhere.
    judged = {name: one for name, one in equations.items() if name != "flap"}
    closes = {name: all(way["closed"] for way in one.values()) for name, one in judged.items()}
    if "deaths" in found:
        closes["deaths"] = all(not one["directions_that_deviate"] and not any(one["unnamed"]) and not one["not_seen"]
                               for name, one in found["deaths"].items() if name != "machine")
    summary = {
        "kills": get("kills", "kills"), "frames_per_s": get("kills", "frames_per_s"), "gap_ms": get("kills", "gap_ms"),
        "control_gap_ms": get("kills", "control_gap_ms"), "heartbeat_limit_ms": get("kills", "heartbeat_limit_ms"),
        "false_bypasses": get("kills", "false_bypasses"), "leaked_closed": get("closed", "leaked_closed"), "hang_ms": get("hang", "hang_ms"),
        "planned_lost": planned.get("planned_lost"), "reordered": planned.get("reordered_paced"), "block_applied_ms": get("attacks", "block_applied_ms"),
        "added_latency_us": get("latency", "added_latency_us"), "terms": _sum(judged.values()),
        "equation_closed": all(closes.values()) if closes else None,
        "limit_applied_ms": get("attacks", "limit_applied_ms"), "attacks_missed": get("attacks", "missed"),
        "sent_after_block_returned_and_arrived": get("returned", "sent_after_return_and_arrived"),
        "benign_p99_ratio": {attack: {kind: one["median_ratio"] for kind, one in kinds.items()}
                             for attack, kinds in get("benign", "by_attack").items()} if "benign" in found else None,
        # What the issue does not ask for.
        "equation_closed_by_experiment": closes, "reordered_full_rate": planned.get("reordered_full"),
        "reordered_at_going_on": get("hang", "reordered_at_going_on"), "added_over_bypass_us": get("latency", "added_over_bypass_us"),
        "flows_survived": {name: one["flows"]["all_survived"] for name, one in found.items() if one.get("flows")},
        "load": {name: [one["machine"]["load_before"], one["machine"]["load_after"]] for name, one in found.items()},
    }
    with open(f"{folder}/summary.json", "w") as out:
        json.dump(summary, out, indent=1)
        out.write("\n")
