"""The experiments; each can be run alone and gives a dictionary. None asserts: what they print is a measurement."""

import bisect
import os
import random
import shutil
import signal
import statistics
import sys
import time

from attacks import attacks, benign, returned
from bed import DIRECTIONS, Bed, Flows, Probe, Shrike, sh, until
from books import Books, gap, percentile, spread, within

MARGIN = 50_000_000  # ns before a fault and after the worker is back that belong to its window
LATE_MS = 3.0  # a sender that was itself held up for longer, by the machine, cannot tell of a pair's gap
FALSE = ("hang", "crash")  # causes that mean a fault


class Context:
    """What all experiments are given."""

    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)

    def bed(self):
        return Bed()

    def probe(self, bed, rate, **further):
        return Probe(self.options.probe, bed, rate, **further)

    def step(self, name, place, count):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{name} {place}/{count}   " + ("\n" if place == count else ""))
            sys.stderr.flush()


class Session:
    """A bed with a running pair; closed whatever happens."""

    def __init__(self, context, fail="open", flows=False, limit_ms=None):
        self.bed = context.bed()
        self.shrike = self.flows = None
        try:
            self.shrike = Shrike(self.bed, context.options.shrike, fail, limit_ms or context.options.heartbeat_ms)
            self.shrike.start()
            self.limit_ms = self.shrike.pair()["beat_limit_ns"] / 1e6
            if flows:
                self.flows = Flows(self.bed)
            # Frames of the flows run: their first books are opened before them.
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.flows:
            self.flows.close()
        if self.shrike:
            self.shrike.close()
        self.bed.close()


def bypassed(shrike):
    """Frames bypassed for each cause so far, both ways."""
    ways = shrike.directions().values()
    return {cause: sum(way["bypassed"][cause] for way in ways) for cause in next(iter(ways))["bypassed"]}


def fresh(shrike):
    """The same, after the pair's books were read anew: that is done four times a second."""
    time.sleep(0.3)
    return bypassed(shrike)


def back(shrike):
    """Waits until frames go through the worker again, both ways; gives when that was seen."""
    first = shrike.sent()
    until("frames through the worker", lambda: shrike.inspects(first))
    return time.monotonic_ns()


def summed(found):
    """What the receivers say of all frames of a probe."""
    total = {"tried": 0, "arrived": 0, "lost": 0, "doubled": 0, "reordered": 0, "not_read": 0, "sender_latest_ms": 0.0}
    for frames in found.values():
        order = frames.order()
        total["tried"] += frames.tried
        total["arrived"] += len(frames.number)
        total["lost"] += order["lost"]
        total["doubled"] += order["doubled"]
        total["reordered"] += len(order["late"])
        total["not_read"] += frames.overflow
        total["sender_latest_ms"] = max(total["sender_latest_ms"], frames.latest_ms)
    return total


def kills(context):
    """kill -9 at random moments, each with a quiet stretch as long before it."""
    count, rate = context.options.kills, context.options.rate
    rows, false_frames, episodes = [], 0, 0
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        session.flows = Flows(bed)
        probe = context.probe(bed, rate)
        back(shrike)
        calm = fresh(shrike)
        length = 1_500_000_000
        for place in range(count):
            # Long enough for a control as long as the window, at a random moment.
            time.sleep(0.1 + length / 1e9 + context.rng.random() * 0.4)
            now = bypassed(shrike)
            false_now = sum(now[cause] - calm[cause] for cause in FALSE)
            false_frames += false_now
            episodes += false_now > 0
            killed, gone = shrike.kill()
            shrike.start()
            answered = time.monotonic_ns()
            seen = back(shrike)
            length = seen - killed + 2 * MARGIN
            rows.append({"killed": killed, "gone": gone, "answered": answered, "seen": seen, "false": false_now})
            calm = fresh(shrike)
            context.step("kills", place + 1, count)
        survived = session.flows.end()
        found = probe.end()
        session.flows.close()
        equation = books.close()
        limit = session.limit_ms
    gaps, control, punctual, details = [], [], [], []
    for row in rows:
        begin, end = row["killed"] - MARGIN, row["seen"] + MARGIN
        for way, frames in found.items():
            longest, at, own = gap(frames, begin, end)
            quiet, _, _ = gap(frames, begin - (end - begin), begin)
            gaps.append(longest)
            control.append(quiet)
            punctual += [longest] if own < LATE_MS else []
            details.append({"way": way, "gap_ms": round(longest, 3), "senders_ms": round(own, 3), "began_after_kill_ms": round((at - row["killed"]) / 1e6, 3),
                            "control_ms": round(quiet, 3), "gone_after_ms": round((row["gone"] - row["killed"]) / 1e6, 3)})
    around = [[(at - row["killed"]) / 1e6 for at in
               found[way].arrived[slice(*_places(found[way].arrived, row["killed"] - 20_000_000, row["killed"] + 60_000_000))]]
              for row in rows[:40] for way in DIRECTIONS[:1]]
    frames = summed(found)
    return {
        "kills": len(rows), "frames_per_s": rate, "heartbeat_limit_ms": limit, "gap_ms": spread(gaps), "control_gap_ms": spread(control),
        "gap_ms_sender_punctual": spread(punctual), "windows_sender_late": len(gaps) - len(punctual),
        "false_bypasses": false_frames, "false_bypass_episodes": episodes, "flows": survived, "frames": frames,
        "lost_per_kill": round(frames["lost"] / max(1, len(rows)), 2),
        "process_gone_ms": spread([(row["gone"] - row["killed"]) / 1e6 for row in rows]),
        "inspected_again_ms": spread([(row["seen"] - row["killed"]) / 1e6 for row in rows], 0),
        "equation": equation, "each": details, "_gaps": gaps, "_control": control, "_around": around,
    }


def _places(values, begin, end):
    return bisect.bisect_left(values, begin), bisect.bisect_right(values, end)


def deaths(context):
    """kill -9 at higher rates: what the books say against what the end hosts say, a death at a time."""
    result = {}
    for name, rate in (("10000", 10_000), ("full", 0)):
        rows = []
        with Session(context) as session:
            bed, shrike = session.bed, session.shrike
            for place in range(context.options.deaths):
                books = Books(bed, shrike)
                probe = context.probe(bed, rate)
                time.sleep(0.3 + context.rng.random() * 0.3)
                shrike.kill()
                time.sleep(0.05)
                shrike.start()
                back(shrike)
                probe.end()
                rows.append(books.close())
                context.step(f"deaths at {name}/s", place + 1, context.options.deaths)
        off = [row[way]["arrived_beyond_forwarded"] for row in rows for way in DIRECTIONS]
        result[name] = {
            "deaths": len(rows), "directions_that_deviate": sum(value != 0 for value in off), "of": len(off),
            "arrived_beyond_forwarded": {"min": min(off), "median": statistics.median(off), "max": max(off), "sum": sum(off)},
            "lost_in_hands": sum(row[way]["terms"]["lost_in_hands"] for row in rows for way in DIRECTIONS),
            "lost_at_death": sum(row[way]["terms"]["lost_at_death"] for row in rows for way in DIRECTIONS),
            "unnamed": [row[way]["unnamed"] for row in rows for way in DIRECTIONS],
            "not_seen": sum(abs(row[way]["not_seen"]) for row in rows for way in DIRECTIONS),
            "each": [{way: {"beyond": row[way]["arrived_beyond_forwarded"], "in_hands": row[way]["terms"]["lost_in_hands"],
                            "at_death": row[way]["terms"]["lost_at_death"]} for way in DIRECTIONS} for row in rows],
        }
    return result


def closed(context):
    """kill -9 of a pair that fails closed: nothing may arrive from the process's end until there is another one."""
    count, leaked, silent = context.options.closed, 0, []
    with Session(context, fail="closed") as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        session.flows = Flows(bed)
        probe = context.probe(bed, context.options.rate)
        back(shrike)
        rows = []
        for place in range(count):
            time.sleep(0.3 + context.rng.random())
            _, gone = shrike.kill()
            before = bed.ends()
            time.sleep(0.3)
            after = bed.ends()
            shrike.start()
            rows.append((gone, shrike.started_ns))
            # By the end hosts' NICs, whatever kind of frame.
            leaked += sum(after[way]["arrived"] - before[way]["arrived"] for way in DIRECTIONS)
            back(shrike)
            context.step("closed", place + 1, count)
        survived = session.flows.end()
        found = probe.end()
        session.flows.close()
        equation = books.close()
    for gone, started in rows:
        for frames in found.values():
            leaked += within(frames.arrived, gone, started)
            silent.append(gap(frames, gone - MARGIN, started + 5_000_000_000)[0])
    # What the program passed on without a worker, at any time, between the deaths too.
    passed = sum(value for way in equation.values() for name, value in way["terms"].items() if name.startswith("bypassed_"))
    return {"kills": count, "leaked_closed": leaked + passed, "arrived_while_dead": leaked, "bypassed": passed,
            "silent_ms": spread(silent, 1), "flows": survived, "frames": summed(found), "equation": equation,
            "withheld": sum(value for way in equation.values() for name, value in way["terms"].items() if name.startswith("withheld_"))}


def hang(context):
    """SIGSTOP: how long until frames flow again, and whether inspection comes back by itself."""
    count, rate = context.options.hangs, context.options.rate
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        session.flows = Flows(bed)
        probe = context.probe(bed, rate)
        back(shrike)
        rows = []
        for place in range(count):
            time.sleep(0.4 + context.rng.random() * 0.4)
            stopped = time.monotonic_ns()
            shrike.process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            going = time.monotonic_ns()
            shrike.process.send_signal(signal.SIGCONT)
            rows.append((stopped, going, back(shrike)))
            context.step("hang", place + 1, count)
        survived = session.flows.end()
        found = probe.end()
        session.flows.close()
        equation = books.close()
    gaps, punctual, late_waits, per = [], [], [], []
    for way, frames in found.items():
        late = frames.order()["late"]
        for stopped, going, _ in rows:
            longest, _, own = gap(frames, stopped - 10_000_000, going)
            gaps.append(longest)
            punctual += [longest] if own < LATE_MS else []
        for place in late:
            late_waits.append((frames.arrived[place] - frames.sent[place]) / 1e6)
        per.append(sum(any(abs(frames.arrived[place] - going) < 100_000_000 for _, going, _ in rows) for place in late))
    return {"hangs": count, "hang_ms": spread(gaps), "hang_ms_sender_punctual": spread(punctual), "inspected_again_ms": spread([(seen - going) / 1e6 for _, going, seen in rows], 1),
            "reordered_at_going_on": sum(per), "late_by_ms": spread(late_waits, 1), "flows": survived, "frames": summed(found),
            "equation": equation, "_gaps": gaps}


def planned(context):
    """Restarts and upgrades with frames running: SIGTERM, and a new start. Reloads of the configuration."""
    count, result = context.options.planned, {}
    other = context.options.upgrade
    copied = None
    if not other:
        copied = other = f"{os.path.dirname(os.path.abspath(context.options.out))}/shrike-copied-{os.getpid()}"
        shutil.copy(context.options.shrike, other)
    try:
        for kind in ("restart", "upgrade"):
            for name, rate in (("10000", 10_000), ("full", 0)):
                result[f"{kind}_{name}"] = _planned(context, kind, name, rate, count, other)
    finally:
        if copied:
            os.unlink(copied)
    result["reload_10000"] = _reloads(context, 2 * count)
    paced = [result[f"{kind}_10000"] for kind in ("restart", "upgrade", "reload")]
    full = [result[f"{kind}_full"] for kind in ("restart", "upgrade")]
    result["planned_lost"] = sum(one["frames"]["lost"] for one in paced) + sum(one["lost_by_switch"] for one in full)
    result["reordered_paced"] = sum(one["frames"]["reordered"] for one in paced)
    result["reordered_full"] = sum(one["frames"]["reordered"] for one in full)
    return result


def _reloads(context, count):
    """Each kind of setting that holds at once, there and back."""
    playbook = '[[playbook]]\nname = "guesses"\nprotocol = "block_ip"\n'
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        session.flows = Flows(bed)
        probe = context.probe(bed, 10_000)
        back(shrike)
        rows, taken, waiting = [], set(), set()
        for place in range(count):
            time.sleep(0.2 + context.rng.random() * 0.3)
            policy = "closed" if place % 2 == 0 else "open"
            shrike.write(f'fail = "open"\nfail_on = {{ store = "{policy}" }}\nheartbeat_ms = {20 + place % 2}\n',
                         f"[respond]\nttl_seconds = {600 + place}\nallow = [\"198.51.100.{place}\"]\n"
                         f"{playbook if place % 2 == 0 else ''}[detect.scan]\nports = {30 + place}.0\n")
            begin = time.monotonic_ns()
            told = shrike.reload()
            rows.append((begin, time.monotonic_ns()))
            taken.update(told["taken"])
            waiting.update(told["waiting"])
            context.step("reload at 10000/s", place + 1, count)
        survived = session.flows.end()
        found = probe.end()
        session.flows.close()
        equation = books.close()
    return {"count": count, "taken": sorted(taken), "waiting": sorted(waiting), "frames": summed(found),
            "longest_gap_ms": spread([gap(frames, begin, end + MARGIN)[0] for frames in found.values() for begin, end in rows]),
            "answered_ms": spread([(end - begin) / 1e6 for begin, end in rows], 1), "flows": survived, "equation": equation}


def _planned(context, kind, name, rate, count, other):
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        if rate:
            session.flows = Flows(bed)
        probe = context.probe(bed, rate)
        back(shrike)
        rows = []
        for place in range(count):
            time.sleep(0.2 + context.rng.random() * 0.3)
            begin, ended = shrike.kill(signal.SIGTERM)
            code = shrike.process.returncode
            shrike.start(other if kind == "upgrade" and place % 2 == 0 else None)
            rows.append((begin, ended, back(shrike), code))
            context.step(f"{kind} at {name}/s", place + 1, count)
        survived = None
        if session.flows:
            survived = session.flows.end()
        found = probe.end()
        if session.flows:
            session.flows.close()
        equation = books.close()
    late = {"at_the_end": 0, "at_the_start": 0, "elsewhere": 0}
    for frames in found.values():
        for place in frames.order()["late"]:
            at = frames.arrived[place]
            near = [("at_the_end" if at < ended + MARGIN else "at_the_start") for begin, ended, seen, _ in rows
                    if begin <= at <= seen + MARGIN]
            late[near[0] if near else "elsewhere"] += 1
    switch = ("abandoned", "lost_at_death", "lost_in_hands", "refused")
    return {"count": count, "ended_with": sorted({code for *_, code in rows}), "frames": summed(found), "reordered_when": late,
            "lost_by_switch": sum(way["terms"][term] for way in equation.values() for term in switch),
            "longest_gap_ms": spread([gap(frames, begin, seen + MARGIN)[0] for frames in found.values() for begin, _, seen, _ in rows]),
            "stopping_ms": spread([(ended - begin) / 1e6 for begin, ended, _, _ in rows], 0), "flows": survived, "equation": equation}


def latency(context):
    """The way of a frame through the worker, through the kernel's bypass, and over a cable without a pair; in turn."""
    rounds, rate, seconds = context.options.rounds, context.options.latency_rate, context.options.latency_seconds
    medians = {way: [] for way in ("worker", "bypass", "cable")}
    tails, all_us = {way: [] for way in medians}, {way: [] for way in medians}
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        for place in range(rounds):
            order = list(medians)
            context.rng.shuffle(order)
            for way in order:
                shrike.bypass("on" if way == "bypass" else "off")
                probe = context.probe(bed, rate, ends=("c1", "s1") if way == "cable" else ("c0", "s0"))
                time.sleep(seconds)
                us = [(at - sent) / 1e3 for frames in probe.end().values() for at, sent in zip(frames.arrived, frames.sent)]
                medians[way].append(percentile(us, 50))
                tails[way].append(percentile(us, 99))
                all_us[way].extend(us)
            context.step("latency", place + 1, rounds)
        shrike.bypass("off")
    def added(over):
        differ = lambda of: round(statistics.median(one - other for one, other in zip(of["worker"], of[over])), 2)
        return {"p50": differ(medians), "p99": differ(tails)}
    return {"rounds": rounds, "frames_per_s": rate, "added_latency_us": added("cable"), "added_over_bypass_us": added("bypass"),
            "us": {way: spread(values, 1) for way, values in all_us.items()},
            "paired_medians_us": {way: [round(value, 1) for value in values] for way, values in medians.items()},
            "_us": all_us}


def overload(context):
    """More than the worker can take: what goes by the policy of an overload, and whether a socket ever refuses one."""
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        probe = context.probe(bed, 0, bytes_=context.options.overload_bytes)
        time.sleep(context.options.overload_seconds)
        found = probe.end()
        seconds = probe.seconds
        equation = books.close()
    total = lambda name: sum(way["terms"][name] for way in equation.values())
    causes = {name: total(name) for name in next(iter(equation.values()))["terms"] if name.startswith("bypassed_")}
    return {"frames": summed(found), "seconds": round(seconds, 2), "seen_per_s": round(total("received") / seconds),
            "arrived_per_s": round(sum(len(frames.number) for frames in found.values()) / seconds),
            "by_worker_per_s": round(total("forwarded_by_worker") / seconds), "bypassed": causes, "refused": total("refused"),
            "tx_refused": total("tx_refused"), "peer_refused": total("peer_refused"),
            "sender_dropped": sum(way["end_hosts"]["sender_dropped"] for way in equation.values()), "equation": equation}


def flap(context):
    """Each port's link down and up while frames run."""
    rows = []
    with Session(context) as session:
        bed, shrike = session.bed, session.shrike
        books = Books(bed, shrike)
        probe = context.probe(bed, context.options.rate)
        back(shrike)
        for place in range(context.options.flaps):
            port = ("a0", "b0")[place % 2]
            time.sleep(0.4)
            down = time.monotonic_ns()
            sh(f"ip -n {bed.appliance} link set {port} down")
            time.sleep(0.3)
            sh(f"ip -n {bed.appliance} link set {port} up")
            up = time.monotonic_ns()
            try:
                seen = back(shrike)
            except TimeoutError:
                rows.append({"port": port, "inspected_again_ms": None})
                break
            rows.append({"port": port, "down": down, "up": up, "inspected_again_ms": round((seen - up) / 1e6, 1)})
            context.step("flap", place + 1, context.options.flaps)
        found = probe.end()
        equation = books.close()
    for row in rows:
        if "up" in row:
            row["flows_again_ms"] = {
                way: next((round((at - row["up"]) / 1e6, 2) for at in frames.arrived[_places(frames.arrived, row["up"], 0)[0]:]), None)
                for way, frames in found.items()}
            del row["up"], row["down"]
    return {"flaps": rows, "frames": summed(found), "equation": equation,
            "note": "a link that goes down frees what lies in veth's ring and counts it nowhere, so the end hosts' counts differ by that"}


EXPERIMENTS = {"kills": kills, "deaths": deaths, "closed": closed, "hang": hang, "planned": planned, "latency": latency,
               "overload": overload, "flap": flap, "attacks": attacks, "returned": returned, "benign": benign}
