#!/usr/bin/env python3
"""Makes a link long: relay.py LEFT RIGHT DELAY_MS JITTER_MS LOSS SEED, frames between two interfaces of this namespace.

Each way late by half of the delay, never out of order, a share lost: kernels without netem are common.
"""

import heapq
import random
import select
import socket
import sys
import time

QUEUE = 5000  # frames on their way; a full queue drops, as a router's does
SOL_PACKET, ADD_MEMBERSHIP, ALL_FRAMES = 263, 1, 3


def promiscuous(name):
    """`struct packet_mreq`: this interface, every frame."""
    return socket.if_nametoindex(name).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(10)


def relay(left, right, delay_ms, jitter_ms, loss, seed):
    rng = random.Random(seed)
    ends = []
    for name in (left, right):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
        end.bind((name, ALL_FRAMES))
        end.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, promiscuous(name))
        end.setblocking(False)
        ends.append(end)
    waiting, count, last = [], 0, [0.0, 0.0]
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        for end in select.select(ends, [], [], timeout)[0]:
            way = ends.index(end)
            for _ in range(64):
                try:
                    frame, address = end.recvfrom(2048)
                except OSError:
                    break  # nothing there, or the link was down for a moment
                if address[2] == socket.PACKET_OUTGOING or rng.random() < loss:
                    continue
                last[way] = due = max(time.monotonic() + (delay_ms + rng.random() * jitter_ms) / 2000, last[way])
                if len(waiting) < QUEUE:
                    count += 1
                    heapq.heappush(waiting, (due, count, 1 - way, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, way, frame = heapq.heappop(waiting)
            try:
                ends[way].send(frame)
            except OSError:
                pass


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6]), int(sys.argv[6]))
