"""plm.processes: a stop signal reaches the program wherever it is."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from plm.cli import run
from plm.processes import stoppable


class Dying:
    """Gets a signal while it is finalized, where Python drops whatever is raised."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)  # the handler runs here


def test_a_signal_that_arrives_in_a_finalizer_is_not_lost(capsys):
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), stoppable() as received:
        Dying()
        for _ in range(500):
            time.sleep(0.01)
    assert received == [signal.SIGTERM]
    assert sys.unraisablehook is hook and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert "Traceback" not in capsys.readouterr().err


def test_what_fails_because_a_signal_came_is_an_interruption(tmp_path, monkeypatch, capsys):
    """torch.save raises an error of its own when a signal ends it in the middle of a file."""

    class File:
        written = 0

        def write(self, data):
            self.written += 1
            if self.written == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return len(data)

        def flush(self):
            pass

    monkeypatch.setattr("plm.cli._dispatch", lambda command, rest: torch.save(torch.zeros(2**20), File()))
    assert run(["fit"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "plm: error: interrupted; the same command goes on from the last checkpoint\n"


def test_what_fails_before_any_signal_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("plm.cli._dispatch", lambda command, rest: torch.save(torch.zeros(2), None))
    with pytest.raises(AttributeError):
        run(["fit"])


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_what_is_freed_is_kept_unless_the_user_decided_otherwise(given, kept):
    program = (
        "import resource, numpy as np; from plm.processes import keep_freed_memory; keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(8 << 20); before = faults()\n"
        "for _ in range(10): np.ones(8 << 20)\n"
        "print(faults() - before)"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")} | given
    asked = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert (int(asked.stdout) < 10) is kept, asked.stdout  # numpy asks for huge pages: else 32 or 16,384 each time


@pytest.mark.parametrize(("gpu", "kept"), [(False, 1), (True, 0)])
def test_runs_on_a_cpu_keep_what_they_free(monkeypatch, gpu, kept):
    calls = []
    monkeypatch.setattr("plm.lightning_cli.keep_freed_memory", lambda: calls.append(1))
    monkeypatch.setattr("plm.lightning_cli.PlmCLI", lambda args: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert run(["fit", "--config", "any.yaml"]) == 0 and len(calls) == kept
