"""Runs a recording in kernel namespaces of its own, so that nothing of it gets out and nothing of it stays.

The recorder and all it starts live in a network namespace that has no interface but its own loopback, a mount
namespace whose /etc, /var, /root, /home and /tmp are throw-away layers over the machine's, and a process namespace that
ends, with every process in it, when its first process does: at the end, after an error, or by a kill of the recorder.
Recordings at the same time cannot see each other. Needs root.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_NAMES, NEW_IPC, NEW_PIDS, NEW_NETWORK = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
LAYERED = ["/etc", "/var", "/root", "/home", "/tmp"]
WORK, OUT, SOURCE = "/run/lab", "/run/out", "/run/src"


class LabError(Exception):
    """What went wrong and its remedy; shown without a trace."""


def enter_network(name):
    """Moves the calling thread, and what it starts, into a namespace made by `ip netns add`."""
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if LIBC.setns(descriptor, NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), f"enter network namespace {name}")
    finally:
        os.close(descriptor)


def isolated(out, work):
    """Calls `work()` in the namespaces, with the directory `out` at OUT. The exit status."""
    if os.geteuid() != 0:
        raise LabError("a recording needs root (namespaces, raw sockets): run it with sudo")
    os.makedirs(out, exist_ok=True)
    if LIBC.unshare(NEW_PIDS) != 0:
        raise LabError(f"unshare: {os.strerror(ctypes.get_errno())}: run where CAP_SYS_ADMIN is allowed")
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        LIBC.prctl(DIE_WITH_PARENT, signal.SIGKILL)
        os._exit(_first_process(out, work, parent))

    def end(number, _frame):
        os.kill(child, signal.SIGKILL)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _first_process(out, work, parent):
    """Process 1 of the namespace: sets it up, runs `work` in a child, buries the orphans."""
    try:
        if LIBC.unshare(NEW_MOUNTS | NEW_NAMES | NEW_IPC | NEW_NETWORK) != 0:
            raise LabError(f"unshare: {os.strerror(ctypes.get_errno())}: run where CAP_SYS_ADMIN is allowed")
        socket.sethostname("lab")
        _private_files(out)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            work()
            status = 0
        except LabError as error:
            print(f"error: {error}", file=sys.stderr)
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    while True:
        child, status = os.wait()
        if child == worker:
            return max(0, min(255, os.waitstatus_to_exitcode(status))) if not os.WIFSIGNALED(status) else 137


def _mount(*words):
    outcome = subprocess.run(["mount", *words], capture_output=True, text=True)
    if outcome.returncode:
        raise LabError(f"mount {' '.join(words)}: {outcome.stderr.strip()}: the kernel needs tmpfs and overlay")


def _private_files(out):
    out, here = os.path.abspath(out), os.path.dirname(os.path.abspath(__file__))
    _mount("--make-rprivate", "/")
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "sysfs", "sysfs", "/sys")
    # What must stay in reach is carried over before the layers hide it.
    staging = "/run"
    keep = [os.open(path, os.O_PATH) for path in (out, here)]
    _mount("-t", "tmpfs", "-o", "size=3g,mode=755", "tmpfs", staging)
    for path, descriptor in zip((OUT, SOURCE), keep):
        os.makedirs(path)
        _mount("--bind", f"/proc/{os.getpid()}/fd/{descriptor}", path)
    for directory in ("netns", "lock", "sshd", "user", "layers"):
        os.makedirs(f"/run/{directory}")
    os.makedirs(f"{WORK}/tmp")
    os.chmod(f"{WORK}/tmp", 0o1777)
    for number, path in enumerate(LAYERED):
        upper, scratch = f"/run/layers/{number}u", f"/run/layers/{number}w"
        os.makedirs(upper)
        os.makedirs(scratch)
        lower = os.stat(path)
        os.chmod(upper, lower.st_mode & 0o7777)
        _mount("-t", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={scratch}", "overlay", path)
    if os.path.islink("/var/run") is False and os.path.isdir("/var/run"):
        _mount("--bind", "/run", "/var/run")
    os.makedirs("/run/vsftpd/empty", exist_ok=True)
    # Programs are the packages', whatever else the machine has; what they keep at home, they keep in the layer.
    os.environ |= {"TMPDIR": f"{WORK}/tmp", "HOME": "/root", "LC_ALL": "C.UTF-8",
                   "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"}
