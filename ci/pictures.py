#!/usr/bin/env python3
"""Pictures for the README: a page as a browser shows it, a terminal as it stands after a recording. Standard library only.

    pictures.py page URL OUT.png [--width N] [--height N] [--scheme dark|light] [--until EXPRESSION] [--after EXPRESSION]
    pictures.py terminal RECORDING OUT.png [--rows N] [--columns N]

RECORDING is what `script` wrote. The browser resolves no name and so asks nobody but 127.0.0.1.
"""
import argparse
import base64
import html
import json
import os
import pathlib
import re
import subprocess
import tempfile

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe", "about:blank",
]


class Browser:
    """Chromium over its debugging pipe: file descriptors 3 (orders) and 4 (answers)."""

    def __init__(self, profile):
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()

        def pipes():
            # Through numbers out of the way, in case one of the pipes is 3 or 4 itself.
            for end, high, low in ((orders, 103, 3), (answers, 104, 4)):
                os.dup2(end, high)
            for high, low in ((103, 3), (104, 4)):
                os.dup2(high, low)
                os.close(high)

        self.child = subprocess.Popen(
            ["chromium", f"--user-data-dir={profile}", *FLAGS],
            preexec_fn=pipes, pass_fds=(3, 4, orders, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(orders)
        os.close(answers)
        self.session, self.last, self.rest = None, 0, b""
        target = self.call("Target.createTarget", url="about:blank")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self.call("Page.enable")

    def call(self, method, **parameters):
        self.last += 1
        order = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                more = os.read(self.answers, 1 << 16)
                if not more:
                    raise SystemExit("pictures.py: the browser is gone")
                self.rest += more
            message, self.rest = self.rest.split(b"\0", 1)
            message = json.loads(message)
            if message.get("id") == self.last:
                if "error" in message:
                    raise SystemExit(f"pictures.py: {method}: {message['error']}")
                return message["result"]

    def until(self, expression):
        wait = (
            "new Promise((done, fail) => { let turns = 0; const look = () => { let good = false; try { good = "
            + expression
            + "; } catch {} if (good) done(true); else if (++turns > 900) fail(new Error('never')); else setTimeout(look, 100); }; look(); })"
        )
        answer = self.call("Runtime.evaluate", expression=wait, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"pictures.py: never true: {expression}")

    def picture(self, url, out, width, height, scheme, until, after=None, full=False):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")
        if until:
            self.until(until)
        if after:
            self.call("Runtime.evaluate", expression=after, awaitPromise=True)
        # Two frames: what was just set is on the screen then.
        self.call("Runtime.evaluate", awaitPromise=True,
                  expression="new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        pathlib.Path(out).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.child.kill()
        self.child.wait()


class Terminal:
    """As much of a terminal as our own programs use: text, colour, line up, erase below, erase line."""

    def __init__(self, columns):
        self.lines, self.row, self.column, self.style = [[]], 0, 0, ()
        self.columns, self.wraps = columns, True

    def feed(self, text):
        for part in re.finditer(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[^\[]|\x1b\][^\x07]*\x07|([\r\n\b])|([^\x1b\r\n\b]+)", text):
            numbers, order, control, plain = part.groups()
            if plain:
                for character in plain:
                    if self.column >= self.columns:
                        if not self.wraps:
                            continue
                        self.down()
                        self.column = 0
                    line = self.lines[self.row]
                    line.extend([(" ", ())] * (self.column - len(line)))
                    line[self.column:self.column + 1] = [(character, self.style)]
                    self.column += 1
            elif control == "\n":
                self.down()
            elif control == "\r":
                self.column = 0
            elif order:
                if numbers == "?7":
                    self.wraps = order == "h"
                else:
                    self.order(order, [int(number) for number in numbers.split(";") if number.isdigit()])

    def down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def order(self, order, numbers):
        count = numbers[0] if numbers else 1
        if order == "m":
            self.style = tuple(numbers) if numbers and numbers != [0] else ()
        elif order in "FA":
            self.row = max(0, self.row - count)
            self.column = 0 if order == "F" else self.column
        elif order == "J":
            del self.lines[self.row + 1:]
            del self.lines[self.row][self.column:]
        elif order == "K":
            del self.lines[self.row][self.column:]
        elif order == "G":
            self.column = count - 1

    def page(self, rows):
        lines = self.lines[:-1] if not self.lines[-1] else self.lines
        shown = []
        for line in lines[-rows:]:
            text, style = "", None
            for character, new in line:
                if new != style:
                    text += ("</span>" if style is not None else "") + f'<span class="{" ".join(f"c{n}" for n in new)}">'
                    style = new
                text += html.escape(character)
            shown.append(text + ("</span>" if style is not None else ""))
        return TERMINAL % "\n".join(shown)


TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #0a0e14; color: #d5dde8; display: inline-block; }
pre { margin: 0; padding: 16px 20px; font: 13px/1.45 "DejaVu Sans Mono", monospace; display: inline-block; }
.c1 { font-weight: 700; } .c2 { color: #7d8ca0; } .c31 { color: #fb7185; } .c32 { color: #34d399; } .c33 { color: #fbbf24; }
.c34, .c36 { color: #38bdf8; } .c35 { color: #c4b5fd; }
</style><pre>%s</pre>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["page", "terminal"])
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--columns", type=int, default=110)
    parser.add_argument("--scheme", choices=["dark", "light"], default="dark")
    parser.add_argument("--until")
    parser.add_argument("--after")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder + "/profile")
        try:
            if options.kind == "page":
                browser.picture(options.source, options.out, options.width, options.height, options.scheme, options.until,
                                options.after, options.full)
                return
            text = pathlib.Path(options.source).read_bytes().decode(errors="replace")
            text = re.sub(r"^Script started.*\n|\s*Script done.*\n?$", "", text)
            # The last panel is not erased: the closing words stand below it.
            before, erase, after = text.rpartition("\x1b[J")
            text = re.sub(r"\x1b\[\d+F$", "", before) + after if erase else text
            terminal = Terminal(options.columns)
            terminal.feed(text)
            page = pathlib.Path(folder, "terminal.html")
            page.write_text(terminal.page(options.rows))
            browser.call("Page.navigate", url=page.as_uri())
            browser.until("document.readyState === 'complete'")
            size = browser.call("Runtime.evaluate", returnByValue=True,
                                expression="(({ width, height }) => [Math.ceil(width), Math.ceil(height)])(document.querySelector('pre').getBoundingClientRect())")
            width, height = size["result"]["value"]
            browser.picture(page.as_uri(), options.out, width, height, "dark", None)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
