"""Crash-safe files: whole or absent, torn lines, leftovers of killed writers, locks, full and read-only folders."""

import errno
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plm.errors import PlmError
from plm.files import (
    append_jsonl,
    atomic_folder,
    exclusive_lock,
    read_jsonl,
    truncate_torn_line,
    write_bytes_atomic,
    write_text_atomic,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_when_ready(code: str, ready: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ready.exists()


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text_atomic(path, "größe\n")
    assert path.read_bytes() == "größe\n".encode()
    write_bytes_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text_atomic(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlmError, match=r"cannot write in .*: No space left on device") as caught:
        write_text_atomic(path, "new")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_text() == "old" and names(tmp_path) == ["file.txt"]


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (
        lambda: write_text_atomic(tmp_path / "file" / "x", "text"),
        lambda: append_jsonl(tmp_path / "file" / "x", [{}]),
        lambda: atomic_folder(tmp_path / "file" / "x").__enter__(),
        lambda: exclusive_lock(tmp_path / "file" / "x", "").__enter__(),
    ):
        with pytest.raises(PlmError, match=f"cannot write in {tmp_path / 'file'}"):
            write()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PlmError, match="Permission denied"):
        write_text_atomic(tmp_path / "file", "text")


def test_a_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert not (tmp_path / "model").exists()
        assert folder.parent == tmp_path
    assert (tmp_path / "model" / "sub" / "a").read_text() == "1"
    assert names(tmp_path) == ["model"]


def test_a_folder_whose_block_raises_does_not_appear(tmp_path):
    with pytest.raises(KeyError), atomic_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("1")
        raise KeyError("a")
    assert names(tmp_path) == []


def test_a_folder_replaces_the_old_one_only_when_it_is_whole(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / content).write_text(content)
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["new"]
    with pytest.raises(PlmError, match="No space left"), atomic_folder(tmp_path / "model"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["new"]


def test_errors_of_the_block_that_are_not_about_room_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "model"):
        (tmp_path / "missing").read_text()


def test_leftovers_of_a_killed_writer_are_removed_and_those_of_a_living_one_are_not(tmp_path):
    code = (
        "import time; from plm.files import atomic_folder\n"
        f"with atomic_folder({str(tmp_path / 'model')!r}) as folder:\n"
        "    (folder / 'half').write_text('x'); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".model.tmp-*/half")) and time.monotonic() < deadline:
        time.sleep(0.02)
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "first").write_text("1")
    assert len(list(tmp_path.glob(".model.tmp-*/half"))) == 1
    process.kill()
    process.wait()
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "second").write_text("2")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["second"]


def test_a_folder_moved_aside_by_a_killed_writer_comes_back(tmp_path):
    (tmp_path / ".model.old-00").mkdir()
    (tmp_path / ".model.old-00" / "a").write_text("1")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "model"):
        raise KeyError
    assert (tmp_path / "model" / "a").read_text() == "1" and names(tmp_path) == ["model"]


def test_rows_come_back(tmp_path):
    path = tmp_path / "run" / "results.jsonl"
    assert read_jsonl(path) == []
    append_jsonl(path, [{"a": 1}, {"b": "ü\n"}])
    append_jsonl(path, [{"c": [math.nan, math.inf, 0.5]}])
    assert read_jsonl(path) == [{"a": 1}, {"b": "ü\n"}, {"c": [None, None, 0.5]}]
    assert path.read_text().count("\n") == 3


@pytest.mark.parametrize("torn", ['{"b": ', '{"b": "' + "x" * 200_000, "12"])
def test_a_torn_last_line_is_ignored_and_cut_off(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\n' + torn)
    assert read_jsonl(path) == [{"a": 1}]
    assert truncate_torn_line(path) is True
    assert path.read_text() == '{"a": 1}\n'
    assert truncate_torn_line(path) is False


def test_a_torn_only_line_leaves_an_empty_file(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a')
    append_jsonl(path, [{"b": 2}])
    assert path.read_text() == '{"b": 2}\n'


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"a": 1}\n{"b": 2}')
    assert read_jsonl(path) == [{"a": 1}, {"b": 2}]
    append_jsonl(path, [{"c": 3}])
    assert read_jsonl(path) == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize("bad", ['{"b": ', "[1]", "", "\x00\x00"])
def test_a_torn_line_elsewhere_names_file_and_line(tmp_path, bad):
    path = tmp_path / "results.jsonl"
    path.write_text(f'{{"a": 1}}\n{bad}\n{{"c": 3}}\n')
    with pytest.raises(PlmError, match=r"results\.jsonl, line 2: not a JSON object"):
        read_jsonl(path)


def test_a_full_disk_leaves_no_part_of_a_row(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    append_jsonl(path, [{"a": 1}])
    write = os.write

    def half(descriptor, data):
        if len(data) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(PlmError, match="No space left"):
        append_jsonl(path, [{"b": 2}])
    assert path.read_text() == '{"a": 1}\n'


def test_a_lock_that_is_free_says_nothing(tmp_path, capsys):
    with exclusive_lock(tmp_path / "locks" / "a.lock", "waiting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_lock_waits_with_one_line_until_the_holder_is_gone(tmp_path, capfd):
    ready = tmp_path / "ready"
    code = (
        "import time; from pathlib import Path; from plm.files import exclusive_lock\n"
        f"with exclusive_lock({str(tmp_path / 'a.lock')!r}, ''):\n"
        f"    Path({str(ready)!r}).touch(); time.sleep(0.7)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while not ready.exists():
        time.sleep(0.02)
    with exclusive_lock(tmp_path / "a.lock", "another process makes this model; waiting"):
        assert process.wait(timeout=5) == 0
    assert capfd.readouterr().err == "another process makes this model; waiting\n"


def test_a_lock_ends_with_its_process(tmp_path, capfd):
    ready = tmp_path / "ready"
    code = (
        "import time; from pathlib import Path; from plm.files import exclusive_lock\n"
        f"with exclusive_lock({str(tmp_path / 'a.lock')!r}, ''):\n"
        f"    Path({str(ready)!r}).touch(); time.sleep(60)\n"
    )
    kill_when_ready(code, ready)
    with exclusive_lock(tmp_path / "a.lock", "waiting"):
        pass
    assert capfd.readouterr().err == ""
