"""A disk that is full, read-only or shared, and files that were damaged: one clear line, and nothing is lost."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.runs import EVALUATION, PROBE, config, fit, lock, numbers, only_run, plm, sft, source, weights, write

SAVED = {"class_path": "plm.callbacks.CheckpointCallback", "init_args": {"every_n_steps": 1}}


def errors(text: str) -> list[str]:
    assert "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("plm: error: ")]


def command(path: Path, runs: Path) -> list[str]:
    return [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(runs)]


def mounted(script: str, *args: object) -> subprocess.CompletedProcess:
    """Runs a shell script with mounts of its own."""
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=1200,  # of a very busy machine
    )


def can_mount() -> bool:
    return shutil.which("unshare") is not None and mounted("mount -t tmpfs -o size=1m none /mnt").returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="this machine allows no mounts of one's own")


ROOMS = (8, 40, 120, 200)  # KiB
FULL = config(lock(base=source(dropout=0.2)), callbacks=[EVALUATION, PROBE, SAVED])
EACH = """
import os, sys
import plm.lightning_cli, tests.tiny
from plm.cli import main

path, *disks = sys.argv[1:]
for disk in disks:
    child = os.fork()
    if child == 0:
        log = os.open(f"{disk}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1), os.dup2(log, 2)
        main(["fit", "--config", path, "--runs", disk])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, flush=True)
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The run on disks that it fills, and what they hold in the end; the imports are made once for all of them."""
    folder = tmp_path_factory.mktemp("full")
    script = """
        path="$1" python="$2" each="$3"
        shift 3
        for disk; do mkdir "$disk"; mount -t tmpfs -o size="${disk##*-}"k none "$disk"; done
        "$python" -c "$each" "$path" "$@"
        for disk; do mkdir "$disk.kept"; cp -r "$disk"/. "$disk.kept"; done
    """
    disks = [folder / f"disk-{room}" for room in ROOMS]
    done = mounted(script, write(folder / "full.yaml", FULL), sys.executable, EACH, *disks)
    assert done.returncode == 0, done.stderr
    return dict(zip(ROOMS, zip(disks, done.stdout.split(), strict=True), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole") / "full.yaml", FULL)


@needs_mounts
@pytest.mark.parametrize("room", ROOMS)
def test_a_full_disk_is_one_line_and_room_lets_the_run_go_on(tmp_path, filled, whole, room):
    """In the disk's first blocks the manifest has no room, later the rounds, checkpoints, curves or the model."""
    disk, code = filled[room]
    said = Path(f"{disk}.log").read_text()
    assert code == "1", said
    (line,) = errors(said)
    assert "No space left on device" in line and str(disk) in line
    path = write(tmp_path / "full.yaml", FULL)
    shutil.copytree(f"{disk}.kept", tmp_path / "runs")
    assert plm("fit", path) == 0
    assert numbers(only_run(path)) == numbers(whole)
    assert all(torch.equal(weights(whole)[name], tensor) for name, tensor in weights(only_run(path)).items())


@needs_mounts
def test_a_read_only_runs_folder_is_one_line(tmp_path):
    path, runs = write(tmp_path / "read.yaml", config(sft(), callbacks=[])), tmp_path / "runs"
    runs.mkdir()
    script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; exec "$@"'
    done = mounted(script, runs, *command(path, runs))
    assert done.returncode == 1 and len(errors(done.stderr)) == 1
    assert str(runs) in done.stderr and "Read-only" in done.stderr


@needs_mounts
def test_a_finished_base_in_a_read_only_cache_is_used(tmp_path):
    base = write(tmp_path / "base.yaml", config(sft(phase="base"), callbacks=[], rounds=1))
    path, runs = write(tmp_path / "child.yaml", config(lock(base=str(base)), rounds=1)), tmp_path / "runs"
    assert plm("fit", base) == 0
    script = (
        'mkdir -p "$1/child"; mount --bind "$1/base" "$1/base"; mount -o remount,ro,bind "$1/base"; shift; exec "$@"'
    )
    done = mounted(script, runs, *command(path, runs))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
def test_two_users_share_a_cache(tmp_path):
    """The second user cannot change the first one's files, and need not."""
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    base = write(tmp_path / "base.yaml", config(sft(phase="base"), callbacks=[], rounds=1))
    assert plm("fit", base) == 0
    runs = tmp_path / "runs"
    (runs / "child").mkdir()
    (runs / "child").chmod(0o777)
    path = write(tmp_path / "child.yaml", config(lock(base=str(base)), rounds=1))
    environment = {**os.environ, "HOME": str(runs / "child"), "HF_HOME": str(runs / "child")}
    try:
        subprocess.run([sys.executable, "-c", "import plm"], user=65534, capture_output=True, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the other user cannot start this Python")
    done = subprocess.run(
        command(path, runs), user=65534, group=65534, extra_groups=[], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert only_run(path).read_manifest()["parent"] == only_run(base).id


def test_a_damaged_checkpoint_is_said_and_passed_over(tmp_path, capsys):
    """Damaged last: the one before. Both damaged: from the beginning. The numbers are the same."""
    content = config(lock(base=source(dropout=0.2)), rounds=3, callbacks=[EVALUATION, SAVED])
    path = write(tmp_path / "run.yaml", content)
    assert plm("fit", path) == 0
    run = only_run(path)
    before = numbers(run), weights(run)
    for names in (["last.ckpt"], ["last.ckpt", "previous.ckpt"]):
        _fit_until_checkpoints(path, run)
        for name in names:
            file = run.path / "checkpoints" / name
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 255
            file.write_bytes(data)
        capsys.readouterr()
        assert plm("fit", path) == 0
        said = capsys.readouterr().err
        assert all(f"{name} is damaged" in said for name in names) and said.count("is damaged") == len(names)
        assert numbers(run) == before[0]
        assert all(torch.equal(weights(run)[name], tensor) for name, tensor in before[1].items())


def _fit_until_checkpoints(path, run):
    """Begins the run again and stops it in its second round, when two checkpoints are there."""
    shutil.rmtree(run.path)
    with pytest.MonkeyPatch.context() as patch:
        from plm.callbacks import EvaluationCallback

        evaluate = EvaluationCallback._evaluate

        def stop(self, trainer, module):
            if trainer.current_epoch == 1:
                raise RuntimeError("the machine went away")
            evaluate(self, trainer, module)

        patch.setattr(EvaluationCallback, "_evaluate", stop)
        with pytest.raises(RuntimeError, match="went away"):
            plm("fit", path)
    assert sorted(file.name for file in run.checkpoint_path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize("damage", ["changed", "deleted"])
def test_a_damaged_cached_model_is_said_and_made_again(tmp_path, capfd, warm_children, damage):
    base = write(tmp_path / "base.yaml", config(sft(base=source(dropout=0.2), phase="base"), callbacks=[EVALUATION]))
    assert plm("fit", base) == 0
    run = only_run(base)
    before = {name: tensor.clone() for name, tensor in weights(run).items()}  # else they are the file's own bytes
    results, digest = numbers(run), run.read_manifest()["model_digest"]
    file = run.model_path / "model.safetensors"
    if damage == "changed":
        data = bytearray(file.read_bytes())
        data[-1] ^= 255
        file.write_bytes(data)
    else:
        file.unlink()
    capfd.readouterr()
    child = fit(tmp_path / "child.yaml", config(lock(base=str(base)), rounds=1, callbacks=[]))
    assert "is damaged" in capfd.readouterr().err and child.finished
    assert run.finished and run.read_manifest()["model_digest"] == digest and numbers(run) == results
    assert all(torch.equal(weights(run)[name], tensor) for name, tensor in before.items())


def test_results_that_lost_lines_are_refused(tmp_path, capsys):
    path = write(tmp_path / "lost.yaml", config(sft(), callbacks=[EVALUATION]))
    assert plm("fit", path) == 0
    run = only_run(path)
    run.update_manifest(status="fitting")
    checkpoint = torch.load(run.checkpoint_path, weights_only=False)
    lines = run.results_path.read_text().splitlines(keepends=True)
    run.results_path.write_text("".join(lines[:-1]))
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"] |= {"ready": 1, "started": 1, "processed": 1}
    torch.save(checkpoint, run.checkpoint_path)
    assert plm("fit", path) == 1
    (line,) = errors(capsys.readouterr().err)
    assert "has lost lines" in line and str(run.results_path) in line


def test_two_equal_commands_at_once_fit_their_base_once(tmp_path):
    base = write(tmp_path / "base.yaml", config(sft(phase="base"), rounds=3))
    path = write(tmp_path / "child.yaml", config(lock(base=str(base)), rounds=2))
    started = []
    for _ in range(2):
        arguments = command(path, tmp_path / "runs")
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        time.sleep(0.05)
    outputs = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert len(only_run(base).read_results()) == 3 * 3 and len(only_run(path).read_results()) == 2 * 3
    said = "".join(err for _, err in outputs)
    assert said.count("base · round 1 of 3") == said.count("child · round 1 of 2") == 1
