"""Child processes that are forked from one that has imported everything, where starting them is not what is tested.

A `plm` command takes about five seconds of CPU time to import PyTorch, transformers and Lightning. The children here
run the same command line in a process of their own, with their own environment, folder and output; only the imports
were made before, once for a worker. Tests of `run_child` itself, of killing and of what a user types start real ones.
"""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence

SERVER = "import sys; from tests.warm import serve; serve(int(sys.argv[1]))"


class WarmChildren:
    """Stands in for `plm.processes.run_child`; the server starts with the first child."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket

    def run_child(self, args: Sequence[str], environment: Mapping[str, str]) -> int:
        """Runs the `plm` command as a fork of the server, and returns its exit code."""
        if self._server is None:
            self._socket, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-c", SERVER, str(theirs.fileno())]
                self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
        sys.stdout.flush(), sys.stderr.flush()
        request = {"args": list(args), "environment": dict(environment), "folder": os.getcwd()}
        self._socket.sendmsg(
            [json.dumps(request).encode() + b"\n"],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))],
        )
        answer = self._socket.makefile().readline()
        assert answer, "the server of warm children ended"
        return int(answer)

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            self._socket.close()
            self._server.wait(30)


def serve(number: int) -> None:
    """Imports what children need, and forks one for each request."""
    import plm.lightning_cli  # noqa: F401
    import tests.runs
    import tests.tiny  # noqa: F401
    from plm.cli import run
    from plm.processes import CHILD, become_child
    from plm.progress import begin_run

    threads = os.listdir("/proc/self/task")
    connection = socket.socket(fileno=number)
    while True:
        message, outputs, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        while message and not message.endswith(b"\n"):
            message += connection.recv(1 << 20)
        if not message:
            os._exit(0)  # to take all modules down would last seconds
        request = json.loads(message)
        server, child = os.getpid(), os.fork()
        if child == 0:
            code = 1
            try:
                connection.close()
                os.dup2(outputs[0], 1), os.dup2(outputs[1], 2)
                os.chdir(request["folder"])
                os.environ.clear()
                os.environ.update(request["environment"] | {CHILD: "1"})
                become_child(server)
                begin_run()
                code = run(request["args"])
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        for output in outputs:
            os.close(output)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert len(threads) == len(os.listdir("/proc/self/task")), "a fork of a process with threads may hang"
        connection.sendall(f"{code}\n".encode())
