#!/usr/bin/env python3
"""A shop as carelessly written as the ones web scanners look for; reachable in a recording only: shop.py PORT"""

import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LOCK = threading.Lock()


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(parse_qs(urlsplit(self.path).query))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        self.answer(parse_qs(body) | parse_qs(urlsplit(self.path).query))

    do_PUT = do_POST

    def answer(self, words):
        place = unquote(urlsplit(self.path).path)
        status, text = 200, "<a href='item?id=1'>one</a> <a href='search?q=tea'>tea</a> <form action='login' method=post>" \
                            "<input name=user><input name=password type=password></form>"
        if place == "/item":
            status, text = self.ask("SELECT name, price FROM item WHERE id = " + words.get("id", ["1"])[0])
        elif place == "/search":
            word = words.get("q", [""])[0]
            status, text = self.ask(f"SELECT name, price FROM item WHERE name LIKE '%{word}%'")
            text = f"<p>Found for {word}:</p>{text}"
        elif place == "/login":
            status, text = 401, "Login failed"
        elif place not in ("/", "/index.html"):
            status, text = 404, "nothing here"
        content = f"<html><body>{text}</body></html>".encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def ask(self, question):
        try:
            with LOCK:
                rows = BASE.execute(question).fetchmany(50)
            return 200, "".join(f"<li>{row}</li>" for row in rows)
        except sqlite3.Error as error:
            return 500, f"SQLite error: {error} near {question}"

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    BASE = sqlite3.connect(":memory:", check_same_thread=False)
    BASE.execute("CREATE TABLE item (id INTEGER, name TEXT, price REAL)")
    BASE.executemany("INSERT INTO item VALUES (?, ?, ?)", [(n, f"tea {n}", n * 1.5) for n in range(40)])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
