"""benchmarks/gpu: the driver's promises, every check on tiny shapes, and on a GPU where there is one."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from plm.examples import collate
from plm.network import PolicyNetwork

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "gpu"))
from measuring import SHAPES, Setting, make_model  # noqa: E402
from parts import losses, make_rows  # noqa: E402
from steps import Work  # noqa: E402
from testing import marked_files  # noqa: E402

SPEC = importlib.util.spec_from_file_location("gpu_run", ROOT / "benchmarks" / "gpu" / "run.py")
gpu = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gpu)

CHECKS = {check.name: check for check in gpu.CHECKS}
PACKING = CHECKS["packing"]


def rows_of(check, device):
    """The rows of a check on tiny shapes; every one of them was measured."""
    rows = gpu.run_check(check, device, True, None, time.monotonic() + 600)
    assert rows and not any("failed" in row["measured"] or "stopped" in row["measured"] for row in rows), rows
    return rows


def test_a_check_on_a_cpu():
    rows = rows_of(PACKING, "cpu")
    assert [row["met"] for row in rows] == [True] * 6 and all(row["check"] == "packing" for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHECKS if name != "packing"])
def test_every_check_on_a_cpu(name):
    assert all(row["met"] is not False for row in rows_of(CHECKS[name], "cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CHECKS)
def test_every_check_on_a_gpu(name):
    assert all(row["met"] is not False for row in rows_of(CHECKS[name], "cuda"))


def test_one_command_writes_a_table_and_its_figures(tmp_path, capsys):
    gpu.main(["--device", "cpu", "--tiny", "--only", "no-such-check", "--output", str(tmp_path)])
    assert "0 of 0 bars met" in capsys.readouterr().out
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert figures["device"] == "cpu" and figures["tiny"] and figures["versions"]["torch"] == torch.__version__
    assert "measures nothing" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(capfd):
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "torch sees no CUDA device; --device cpu --tiny tries the script out" in capfd.readouterr().err


def test_a_check_that_needs_more_memory_or_time_than_there_is_is_a_line():
    check = CHECKS["SFT 7b"]
    [row] = gpu.run_check(check, "cuda", False, 20.0, time.monotonic() + 600)
    assert (row["check"], row["measured"], row["met"]) == ("SFT 7b", "needs 68 GiB; 20 are free", None)
    [row] = gpu.run_check(check, "cuda", False, 80.0, time.monotonic() + 1)
    assert row["measured"] == "left out: the minutes are over"


def test_a_check_that_fails_is_a_line(tmp_path):
    missing = gpu.Check("gone", "parts", "no_such_function")
    [row] = gpu.run_check(missing, "cpu", True, None, time.monotonic() + 600)
    assert row["measured"] == "failed: AttributeError: module 'parts' has no attribute 'no_such_function'"


def test_a_check_that_hangs_is_stopped_with_all_that_it_started(tmp_path):
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    assert gpu.run_bounded([sys.executable, "-c", code], 5, tmp_path / "errors") == "late"
    assert time.monotonic() - start < 30
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 10
    while running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not running(pid)


def running(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_losses_that_must_not_wait_have_gradients(layout):
    """On a CPU nothing waits; on a GPU each of them is a line of the check "no synchronisation"."""
    network = PolicyNetwork(make_model(SHAPES["tiny"], Setting("cpu", True, Path()), torch.float32))
    rows = make_rows(4, SHAPES["tiny"].vocabulary, 32, group=True)
    for name, loss in losses(len(rows), SHAPES["tiny"].vocabulary, "cpu").items():
        network.zero_grad()
        value = loss(network, collate(rows, 0, layout=layout))
        value.backward()
        assert value.isfinite() and all(weight.grad.norm() > 0 for weight in network.parameters()), name


def test_the_tests_with_the_mark_are_found():
    assert {file.name for file in marked_files()} >= {"test_attention.py", "test_no_waiting.py"}
    assert Path(__file__) not in marked_files()


def test_what_a_step_needs_by_hand():
    """Two layers, 4 wide, MLP 8: a block has 4 · 16 + 3 · 32 = 160 weights in products."""
    shape = SHAPES["tiny"]._replace(width=4, heads=1, kv_heads=1, mlp=8, vocabulary=10)
    assert shape.parameters() == 320 and shape.parameters(head=True) == 360
    sft, dpo = (Work(shape, method, tiny=True) for method in ("sft", "dpo"))
    assert sft.tokens == dpo.tokens == 4 * 32
    head, attention = 6 * 40 * 64, 12 * 2 * 4 * (4 * 32**2 / 2)
    assert sft.flops() == 6 * 320 * 128 + attention + head
    shared = 12 * 2 * 4 * (2 * 16**2 / 2 + 4 * (32**2 - 16**2) / 2)  # each prompt reads itself once
    assert dpo.flops() == 6 * 320 * 96 + shared + head
    assert abs(SHAPES["7b"].parameters(head=True) + 32000 * 4096 - 6.74e9) < 0.01e9
