"""Stages that are made once: what they wrote stays while the hash of their inputs does; and a line that says how far one is."""

import hashlib
import json
import os
import shutil
import sys
import time

# Between two lines of progress where nobody watches, seconds.
EVERY = 10


def digest(*parts):
    """Hash of anything JSON can say; a part `file:PATH` stands for the file's content."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str) and part.startswith("file:"):
            with open(part[5:], "rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(json.dumps(part, sort_keys=True).encode())
        total.update(b"\0")
    return total.hexdigest()


def is_made(out, inputs):
    try:
        with open(f"{out}.stamp") as text:
            return text.read() == inputs and os.path.exists(out)
    except OSError:
        return False


def make(out, inputs, work):
    """Calls `work(part)`, which writes the file or directory `part`, unless `out` is there of the same inputs. True: made."""
    if is_made(out, inputs):
        return False
    part = f"{out}.{os.getpid()}.part"
    for old in (out, f"{out}.stamp", part):
        shutil.rmtree(old) if os.path.isdir(old) else os.path.lexists(old) and os.remove(old)
    os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
    work(part)
    os.rename(part, out)
    with open(f"{out}.stamp", "w") as text:
        text.write(inputs)
    return True


class Progress:
    """A bar on a terminal, else a line now and then and one at the end."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.begun, self.said = what, total, 0, time.monotonic(), 0.0
        self.bar = sys.stderr.isatty()

    def step(self, note="", count=1):
        self.done += count
        if not count:
            return
        now, last = time.monotonic(), self.done >= self.total
        if not last and now - self.said < (0.1 if self.bar else EVERY):
            return
        self.said = now
        took = now - self.begun
        left = took / max(self.done, 1) * (self.total - self.done)
        if self.bar:
            filled = 30 * self.done // self.total
            sys.stderr.write(f"\r{self.what:24.24s} [{'#' * filled:30s}] {self.done}/{self.total}, {left:.0f} s left {note:28.28s}"
                             + ("\n" if last else ""))
        else:
            sys.stderr.write(f"{self.what}: {self.done} of {self.total} in {took:.0f} s {note}\n")
        sys.stderr.flush()
