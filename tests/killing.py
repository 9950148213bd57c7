"""Runs the real command in forks of a process that has imported everything, and kills it at any moment.

`python -m tests.killing` is that process: it imports, starts no thread, and serves requests of one JSON object a line.
"""

from __future__ import annotations

import functools
import io
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Killer:
    """Asks the serving process for runs of the command."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, args, log, after=None, delay=0.0, at=None, number=signal.SIGKILL):
        """Runs `plm ARGS`; a signal arrives `delay` seconds `after` so many changes to the disk, or it dies at one."""
        request = {"args": list(map(str, args)), "log": str(log)}
        request |= {"after": after, "delay": delay, "at": at, "number": int(number)}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def until_it_ends(self, args, log, first, step, most):
        """Kills the run at the change number `first`, the next one `step` changes later, until one ends by itself.

        Returns what is known of that one, and how many were killed.
        """
        kills = 0
        while (ended := self.run(args, log, at=first + step * kills))["code"] == -signal.SIGKILL:
            kills += 1
            assert kills < most
        return ended, kills

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Changes:
    """Counts changes to the disk, over a run and its children, and dies with all of them at one, half done."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 8)
        self.at, self.root = None, 0

    def restart(self, at):
        self.at = at
        self.memory[:] = struct.pack("q", 0)

    @property
    def count(self):
        return struct.unpack("q", self.memory[:])[0]

    def happens(self):
        self.memory[:] = struct.pack("q", self.count + 1)
        return self.count == self.at

    def die(self):
        os.kill(self.root, signal.SIGKILL)
        time.sleep(60)  # a child dies with its parent

    def watch(self):
        import torch

        import plm.files

        for name in ("fsync", "rename", "replace", "unlink", "truncate", "mkdir", "rmdir"):
            setattr(os, name, self._before(getattr(os, name)))
        plm.files._write_all = self._torn_write(plm.files._write_all)
        torch.save = self._torn_save(torch.save)

    def _before(self, function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            if self.happens():
                self.die()
            return function(*args, **kwargs)

        return wrapped

    def _torn_write(self, function):
        def wrapped(descriptor, data):
            if self.happens():
                function(descriptor, data[: len(data) // 2])
                self.die()
            return function(descriptor, data)

        return wrapped

    def _torn_save(self, function):
        def wrapped(content, file):
            if self.happens():
                whole = io.BytesIO()
                function(content, whole)
                file.write(whole.getvalue()[: whole.tell() // 2])
                file.flush()
                self.die()
            return function(content, file)

        return wrapped


def serve():
    import plm.lightning_cli
    import plm.resolver
    import tests.sampling
    import tests.tiny  # noqa: F401
    from plm.cli import run
    from plm.code_digest import PACKAGE, _file_digest, _imports
    from plm.processes import die_with

    for file in PACKAGE.rglob("*.py"):  # kept, so that all runs are of one code even if somebody edits it meanwhile
        _file_digest(file), _imports(file)
    changes = Changes()
    changes.watch()

    def fork_child(args, environment):
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            die_with(parent)
            os._exit(run(list(args)))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    plm.resolver.run_child = fork_child
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert len([name for name in threads if not name.startswith("jemalloc")]) == 1, f"a fork may hang: {threads}"
    for line in sys.stdin:
        request = json.loads(line)
        changes.restart(request["at"])
        child = os.fork()
        if child == 0:
            descriptor = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1), os.dup2(descriptor, 2)
            changes.root = os.getpid()
            code = run(request["args"])
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        status = wait(child, changes, request)
        answer = {"code": os.waitstatus_to_exitcode(status), "changes": changes.count}
        print(json.dumps(answer), flush=True)


def wait(child, changes, request):
    """Waits for a child; sends it the signal when so much work is done, whatever the time."""
    due = None if request["after"] is None else float("inf")
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if due == float("inf") and changes.count >= request["after"]:
            due = time.monotonic() + request["delay"]
        if due is not None and time.monotonic() > due:
            os.kill(child, request["number"])
            due = None
        time.sleep(0.002)


if __name__ == "__main__":
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve()
