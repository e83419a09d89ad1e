#!/usr/bin/env python3
"""Of ci/evaluate-day.sh: what the evaluation of made days comes to, and a picture of them.

day.py measured COST COMMAND...     runs a command; its seconds and largest memory go to COST
day.py summary DAYS OUT             OUT/day-evaluation.json and DAYS/labels.json to OUT/day.json and OUT/day.svg
"""

import json
import resource
import subprocess
import sys
import time
from collections import Counter

HOUR = 3600e9
SEVERITIES = {1: "high", 2: "medium", 3: "low", 4: "info"}


def measured(cost, command):
    begin = time.monotonic()
    status = subprocess.run(command).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(cost, "w") as out:
        json.dump({"seconds": round(time.monotonic() - begin, 1), "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
                   "memory_mib": used.ru_maxrss // 1024}, out)
    return status


def summary(days, out):
    with open(f"{days}/labels.json") as text:
        labels = json.load(text)
    with open(f"{out}/day-evaluation.json") as text:
        capture = json.load(text)["captures"][0]
    with open(f"{out}/day-cost.json") as text:
        cost = json.load(text)
    made, start = labels["generator"], labels["start_ns"]
    settings = made["settings"]
    first = settings["ramp_from"] * 24
    hours = made["honest_flows_by_hour"]

    def at(ns):
        return round((ns - start) / HOUR - first, 2)
    growth = [alert for alert in capture["alerts"] if alert["by"].startswith("growth/")]
    told = [alert for alert in growth if alert["verdict"] == "confirmed"]
    rows = {row["id"]: row for row in capture["episodes"]}
    quiet = []
    for episode in labels["episodes"]:
        hour = (episode["start_ns"] - start) / HOUR % 24
        if episode["counts_as"] == "attack" and abs(hour - 3.5) < 0.001 and episode["start_ns"] >= start + first * HOUR:
            found = rows[episode["id"]].get("found")
            quiet.append({"family": episode["family"], "tool": episode["tool"], "at_h": at(episode["first_ns"]),
                          "found_after_s": found and round(found["after_s"], 1), "by": found and found["by"]})
    false = [alert for alert in capture["alerts"] if alert["verdict"] == "false"]
    of_day = [alert for alert in false if at(alert["time_ns"]) >= 0]
    host_days = capture["host_days"]
    figures = {
        "made": {**settings, "honest_flows": made and sum(hours), "flows_of_the_day": sum(hours[int(first):]), "packets": made["packets"],
                 "swing_by_day": made["swing_by_day"], "host_days": round(host_days, 1)},
        "ramp": {"found": bool(told), "after_h": at(told[0]["time_ns"]) if told else None,
                 "says": told[0].get("summary", "") if told else "", "of_hosts": len(growth) - len(told)},
        "quiet_hour": quiet,
        "episodes": {"all": len(capture["episodes"]), "found": sum(1 for row in capture["episodes"] if row.get("found"))},
        "false_alerts": {
            "all": len(false), "a_host_day": round(len(false) / max(host_days, 1e-9), 3), "of_the_day": len(of_day),
            "by_severity": dict(Counter(SEVERITIES[alert["severity"]] for alert in false)),
            "by_kind": dict(Counter(alert["by"] for alert in false).most_common())},
        "evaluation": cost,
    }
    with open(f"{out}/day.json", "w") as text:
        json.dump(figures, text, indent=1)
        text.write("\n")
    with open(f"{out}/day.svg", "w") as text:
        text.write(picture(hours, first, capture["alerts"], start, told))
    print(json.dumps(figures, indent=1))


def picture(hours, first, alerts, start, told):
    """Honest flows an hour, and alerts below: what was found, and what was false."""
    width, height, left, top = 960, 330, 70, 30
    step, most = (width - left - 20) / len(hours), max(hours) * 1.08
    floor = top + 180
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-30 0 {width + 30} {height}" font-family="sans-serif" font-size="11">',
             f'<rect x="-30" width="{width + 30}" height="{height}" fill="#fff"/>']
    grows = left + first * step
    parts.append(f'<rect x="{grows:.1f}" y="{top}" width="{width - 20 - grows:.1f}" height="{height - top - 40}" fill="#f2f5fa"/>')
    parts.append(f'<text x="{grows + 4:.1f}" y="{top + 12}" fill="#345">grows by 2 % an hour</text>')
    for flows in (most / 1.08 / 2, most / 1.08):
        y = floor - flows / most * 180
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 20}" y2="{y:.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{flows / 1000:.0f} k</text>')
    points = " ".join(f"{left + (at + 0.5) * step:.1f},{floor - flows / most * 180:.1f}" for at, flows in enumerate(hours))
    parts.append(f'<polyline points="{points}" fill="none" stroke="#2b6cb0" stroke-width="1.6"/>')
    usual = " ".join(f"{left + (at + 0.5) * step:.1f},{floor - hours[at - 24] / most * 180:.1f}"
                     for at in range(int(first), len(hours)) if at >= 24)
    parts.append(f'<polyline points="{usual}" fill="none" stroke="#888" stroke-dasharray="3 3"/>')
    rows = [("attacks found", "#2f855a", "hit", floor + 28), ("false alerts", "#c53030", "false", floor + 52)]
    for name, colour, verdict, y in rows:
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{name}</text>')
        counts = Counter(int((alert["time_ns"] - start) / HOUR) for alert in alerts if alert["verdict"] == verdict)
        for hour, count in sorted(counts.items()):
            radius = 2 + min(6, count ** 0.5)
            parts.append(f'<circle cx="{left + (hour + 0.5) * step:.1f}" cy="{y}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.7">'
                         f"<title>{name}, hour {hour}: {count}</title></circle>")
    for alert in told[:1]:
        x = left + (alert["time_ns"] - start) / HOUR * step
        parts.append(f'<line x1="{x:.1f}" y1="{top + 16}" x2="{x:.1f}" y2="{floor}" stroke="#b7791f" stroke-width="1.5"/>'
                     f'<text x="{x - 4:.1f}" y="{top + 26}" text-anchor="end" fill="#b7791f">growth told</text>')
    x = left + (first + 3.5) * step
    parts.append(f'<line x1="{x:.1f}" y1="{top + 60}" x2="{x:.1f}" y2="{floor}" stroke="#2f855a"/>'
                 f'<text x="{x + 4:.1f}" y="{top + 70}" fill="#2f855a">scan, 03:30</text>')
    for day in range(len(hours) // 24 + 1):
        x = left + day * 24 * step
        parts.append(f'<line x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 66}" stroke="#ccc"/>')
        if day < len(hours) // 24:
            parts.append(f'<text x="{x + 12 * step:.1f}" y="{height - 22}" text-anchor="middle">day {day + 1}</text>')
    parts.append(f'<text x="{left}" y="16">Honest flows an hour (dashed: the day before), and alerts: dots grow with their number</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    if len(sys.argv) > 3 and sys.argv[1] == "measured":
        return measured(sys.argv[2], sys.argv[3:])
    if len(sys.argv) == 4 and sys.argv[1] == "summary":
        return summary(sys.argv[2], sys.argv[3])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
