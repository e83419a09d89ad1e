"""client.py HOST PORT keep|new SECONDS: a request every 5 ms, on one connection or each on its own; prints what each took, ms, as JSON."""

import http.client
import json
import sys
import time

host, port, how, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
times, connection, end = [], None, time.monotonic() + seconds
while time.monotonic() < end:
    begin = time.monotonic()
    try:
        connection = connection or http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", "/small")
        connection.getresponse().read()
    except OSError:
        connection = None
    times.append((time.monotonic() - begin) * 1e3)
    if how == "new" and connection:
        connection.close()
        connection = None
    time.sleep(max(0.0, 0.005 - (time.monotonic() - begin)))
print(json.dumps(times))
