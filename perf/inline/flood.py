"""flood.py HOST PORT: requests for one page as fast as one thread of each of four connections can, until it is killed."""

import http.client
import sys
import threading


def ask():
    while True:
        try:
            connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=2)
            while True:
                connection.request("GET", "/small")
                connection.getresponse().read()
        except OSError:
            pass


for _ in range(3):
    threading.Thread(target=ask, daemon=True).start()
ask()
