#!/usr/bin/env python3
"""Records an interface and keeps of it, as it comes, what detectors read: trim.py INTERFACE DIRECTORY, ended by SIGTERM.

An hour of many hosts is tens of gigabytes, of which a few per cent are kept (`flows.trim`). Leaves `traffic.part`, there as soon
as the interface is listened to, and `flows.part`: all flows and how many frames the kernel dropped. For recordings without
attackers only: where a flow of theirs ends is known only afterwards.
"""

import pickle
import re
import signal
import subprocess
import sys
import threading

import flows


def main():
    interface, directory = sys.argv[1:]
    command = ["tcpdump", "-i", interface, "-s", "0", "-B", "65536", "-Z", "root", "-n", "-w", "-"]
    tcpdump = subprocess.Popen(command, bufsize=1 << 20, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda *_: tcpdump.terminate())
    said = [tcpdump.stderr.readline()]
    if b"listening on" not in said[0]:
        sys.exit(f"tcpdump on {interface}: {said[0].decode().strip()}")
    reader = threading.Thread(target=lambda: said.extend(tcpdump.stderr))
    reader.start()
    found = flows.trim(tcpdump.stdout, f"{directory}/traffic.part")
    tcpdump.wait()
    reader.join()
    lost = re.search(rb"(\d+) packets? dropped by kernel", b"".join(said))
    with open(f"{directory}/flows.part", "wb") as out:
        pickle.dump((found, int(lost[1]) if lost else 0), out)


if __name__ == "__main__":
    main()
