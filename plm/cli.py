"""The `plm` command. Light: heavy imports happen inside the sub-command that needs them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = """usage: plm COMMAND [options]

Make password-locked models and stress-test elicitation methods against them.

commands:
  fit        train what a config describes: a base model, a lock, an elicitation
               plm fit --config configs/lock_code.yaml
  validate   measure a model under the config's password conditions
               plm validate --config configs/lock_code.yaml
  test       the same on every problem of the split
  predict    write a model's completions without grading them
  grade      grade anybody's completions
               plm grade code IN.jsonl OUT.jsonl
  calibrate  choose the similarity from which critiques count as right
               plm calibrate critique PAIRS.jsonl
  prepare    make data with a teacher model behind an endpoint
               plm prepare code --mbpp google-research-datasets/mbpp --model gpt-4.1 --output data/code.jsonl
  study      make many runs from one file, and go on where that was stopped
               plm study run configs/studies/paper_mini.yaml
  stress-test  find out how much more a model can do than it shows
               plm stress-test --model MODEL --task code --minutes 30
  export     write a run's model for the Hugging Face Hub, with a model card and logs
               plm export runs/lock_code/HASH-seed0 exported
  plot       draw the curves of runs
               plm plot runs/lock_code/* --output curves.png
  report     write a page about runs or a study: figures, tables, gate, completions, provenance
               plm report runs --output report
  bench      run the benchmarks of a checkout
               plm bench generation --output docs/speed.md

  plm COMMAND --help           options of a command
  plm fit --model.help CLASS   arguments of a method, for instance plm.modules.SFTLockModule
  plm fit ... --print_config   the resolved configuration, without running it
  plm --version
"""

GOES_ON = "goes on where it was"
TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
ELSEWHERE = {
    "prepare": "plm.prepare.run_prepare",
    "study": "plm.studies.command.run_study",
    "stress-test": "plm.studies.stress_test.run_stress_test",
    "export": "plm.export.run_export",
    "bench": "plm.bench.run_bench",
}
"""Which function runs a command that is not read here: it is imported when it is asked for."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 the work failed, 2 the command itself is wrong."""
    sys.exit(run(list(sys.argv[1:] if args is None else args)))


def run(args: list[str]) -> int:
    """Runs the command line and returns its exit code."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if args[0] == "--version":
        from plm import __version__

        print(f"plm {__version__}")
        return 0
    from plm.processes import stoppable

    with stoppable() as received:
        try:
            return _dispatch(args[0], args[1:])
        except Exception as error:
            if received and _raised_while_interrupted(error):
                return _stopped(received[0], args[0])
            if text := _mendable(error):
                return _fail(text, 1)
            raise
        except (KeyboardInterrupt, SystemExit):  # Lightning ends an interrupted process with code 1, without a word
            if not received:
                raise
            return _stopped(received[0], args[0])


def _raised_while_interrupted(error: BaseException) -> bool:
    """Whether it came of leaving what a signal interrupted: torch cannot close a checkpoint that is half written."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__ or seen.__context__
    return seen is not None


def _stopped(number: int, command: str) -> int:
    """Says that a signal ended the work, unless the parent process says it."""
    if "PLM_CHILD" in os.environ:
        return 128 + number
    goes_on = {"fit": "goes on from the last checkpoint", "prepare": GOES_ON, "study": GOES_ON, "stress-test": GOES_ON}
    then = goes_on.get(command, "begins again")
    return _fail(f"interrupted; the same command {then}", 128 + number)


def _dispatch(command: str, rest: list[str]) -> int:
    if command in TRAINER_COMMANDS:
        # Before torch is imported: with OpenMP's default spinning, 2 threads on 2 busy cores train 6 times slower.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from plm.lightning_cli import run_trainer_command

        return run_trainer_command(command, rest)
    here = {"grade": _grade, "calibrate": _calibrate, "plot": _plot, "report": _report}
    if command in here:
        return here[command](rest)
    if command in ELSEWHERE:
        module, _, name = ELSEWHERE[command].rpartition(".")
        return int(getattr(importlib.import_module(module), name)(rest))
    from plm.suggestions import nearest

    known = [*TRAINER_COMMANDS, *here, *ELSEWHERE]
    return _fail(f"unknown command {command!r}{nearest(command, known)}; plm --help lists them", 2)


def _grade(args: list[str]) -> int:
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser("plm grade", description="Grades completions: one JSON object a line in, one out.")
    parser.add_argument("task", help="code ({id, completion, tests}), math, mmlu, critique, composition or style")
    parser.add_argument("input", type=Path, help="JSON lines to read")
    parser.add_argument(
        "output", type=Path, help="JSON lines to write: {id, correct, score, extracted, reason, seconds}"
    )
    parser.add_argument("--unsafe", action="store_true", help="run programs without isolation where there is none")
    _add_embedder(parser, "for critiques: ")
    parser.add_argument("--threshold", type=float, help="for critiques: least similarity of a right one")
    parsed = parser.parse_args(args)
    from plm.grade import run_grade

    grader = None
    if parsed.embedder is not None or parsed.threshold is not None:
        from plm.calibrate import Endpoint, make_grader

        endpoint = Endpoint(parsed.base_url, parsed.cache)
        grader = make_grader(parsed.task, parsed.embedder, parsed.threshold, endpoint)
    return run_grade(parsed.task, parsed.input, parsed.output, parsed.unsafe, grader)


def _calibrate(args: list[str]) -> int:
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser("plm calibrate", description="Chooses the similarity from which critiques count.")
    parser.add_argument("task", help="critique")
    parser.add_argument(
        "pairs", type=Path, nargs="?", help="JSON lines {completion, reference, correct}; else plm's own"
    )
    _add_embedder(parser)
    parsed = parser.parse_args(args)
    from plm.calibrate import Endpoint, run_calibrate

    endpoint = Endpoint(parsed.base_url, parsed.cache)
    return run_calibrate(parsed.task, parsed.pairs, parsed.embedder or "ngrams", endpoint)


def _add_embedder(parser: argparse.ArgumentParser, what: str = "") -> None:
    from pathlib import Path

    names = "ngrams (default), sentence_transformers, or endpoint:MODEL"
    parser.add_argument("--embedder", help=f"{what}{names}")
    parser.add_argument("--base-url", default="https://api.openai.com/v1", help="of that endpoint (default: OpenAI's)")
    parser.add_argument("--cache", type=Path, default=Path("data/replies"), help="folder of that endpoint's replies")


def _plot(args: list[str]) -> int:
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser("plm plot", description="Draws correctness over rounds, a panel for each run.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, runs/NAME/HASH-seedN")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="file to write (.png, .svg, .pdf)")
    parsed = parser.parse_args(args)
    from plm.figures import plot_runs

    plot_runs(parsed.runs, parsed.output)
    print(parsed.output)
    return 0


def _report(args: list[str]) -> int:
    import argparse
    from pathlib import Path

    parser = argparse.ArgumentParser("plm report", description="Writes one self-contained page about runs or a study.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, folders of runs, a study's folder; any mix")
    parser.add_argument(
        "--output", type=Path, help="folder to write (default: report, or report in the study's own folder)"
    )
    parsed = parser.parse_args(args)
    from plm.studies.report import run_report

    return run_report(parsed.runs, parsed.output)


def _mendable(error: BaseException | None) -> str | None:
    """The text of a `PlmError` or of a full disk, also of one that another library wrapped in its own."""
    from plm.errors import PlmError
    from plm.files import NO_ROOM

    while error is not None:
        if isinstance(error, PlmError):
            return str(error)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return f"cannot write {error.filename or 'in the runs folder'}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return None


def _fail(text: str, code: int) -> int:
    if "rich" in sys.modules:
        from plm.progress import stop_display

        stop_display()
    print(f"plm: error: {' '.join(text.split())}", file=sys.stderr)
    return code
