"""What is said of a run that failed, or is under way, from the end of its log."""

import pytest

from plm.studies.run_log import last_error, last_lines


@pytest.mark.parametrize(
    ("text", "lines", "error"),
    [
        ("", [], "nothing was printed"),
        ("\n  \n", [], "nothing was printed"),
        ("one\n  two  \n\n", ["one", "two"], "two"),
        ("plm: error: first\nplm: error: the disk is full\nExit\n", None, "the disk is full"),
        ("round 1\rround 2", ["round 1", "round 2"], "round 2"),  # a line that is drawn over
        ("x" * 9_000 + "\nlast", None, "last"),
        ("plm: error: long ago\n" + "x" * 5_000 + "\nlast\n", None, "last"),
    ],
)
def test_the_end_of_a_log(tmp_path, text, lines, error):
    log = tmp_path / "run.log"
    log.write_text(text, newline="")
    assert last_error(log) == error
    if lines is not None:
        assert last_lines(log) == lines


def test_a_log_that_is_cut_within_a_character(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes("é".encode() * 2_500 + b"\nend")  # 5,004 bytes: the part that is read begins with half a character
    assert last_lines(log)[-1] == "end"


def test_without_a_log(tmp_path):
    assert last_lines(tmp_path / "none.log") is None and last_error(tmp_path / "none.log") == "no log"
