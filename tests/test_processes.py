"""plm.processes: a stop signal reaches the program wherever it is."""

import os
import signal
import sys
import time

import pytest

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
