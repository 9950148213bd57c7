"""Trains the same model on the same rows with plm and with TRL, side by side: tokens per second and peak memory.

    python benchmarks/training.py                       every case, as docs/speed.md shows them (`plm bench training`)
    python benchmarks/training.py --only neox sft 512+128 --pairs 5
    python benchmarks/training.py --json FILE           every step's seconds as JSON too

From Python: `measure(case, pairs)` returns one `Comparison`, `CASES` are the cases of the documentation, `report` makes
the table as Markdown. A figure is a median over interleaved pairs: plm, TRL, plm, TRL, … in one process, each after one
step that is not counted. Peak memory is measured in a process of its own for each trainer: the highest resident size
while it trains, less what the process held before the model was made; so weights, gradients and optimizer are part.

What is compared: complete optimizer steps of `plm.modules` under Lightning and of TRL's trainers under accelerate, in
float32, with `torch.optim.AdamW(fused=True)`. TRL gets its best settings for time: no logging, no saving, no gradient
clipping, no gradient checkpointing, and for DPO reference log-probabilities computed once (`precompute_ref_log_probs`,
which also saves it the second model). plm computes the norm of the gradient, as it always does. For DPO both times hold
the reference pass, once for every pair, as in a round of iterated DPO. Tokens are those of prompts and completions, the
prompt of a pair counted twice, whether it is computed once or twice.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost most of a shared machine's time
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import contextlib
import copy
import gc
import json
import logging
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from training_sides import SHAPES, Case, Taken, make_model, plm_steps, trl_steps

Side = Literal["plm", "trl"]
VERSIONS = ("torch", "transformers", "lightning", "trl", "accelerate")


CASES = (
    Case("neox", "sft", 512, 128, faster=2.5, leaner=0.6),
    Case("neox", "dpo", 512, 128, faster=3.0, leaner=0.6),
    Case("neox", "sft", 128, 512, faster=1.1),
    Case("neox", "dpo", 128, 512, faster=1.5),
    Case("llama", "sft", 512, 128),
    Case("llama", "dpo", 512, 128),
)


@dataclass
class Comparison:
    """What one case gave.

    Attributes:
        taken: For each side, an optimizer step of each pair.
        peak: For each side, memory at its highest in MiB, without what the process held before there was a model.
        load: Of the machine, processes that want to run, when the case began.
    """

    case: Case
    taken: dict[Side, list[Taken]] = field(default_factory=lambda: {"plm": [], "trl": []})
    peak: dict[Side, float] = field(default_factory=dict)
    load: float = 0.0

    def faster(self, clock: Literal["wall", "processor"]) -> float:
        """Median over the pairs of plm's tokens/s over TRL's."""
        pairs = zip(self.taken["plm"], self.taken["trl"], strict=True)
        return statistics.median(getattr(b, clock) / getattr(a, clock) for a, b in pairs)

    def tokens_per_second(self, side: Side) -> float:
        """Median over the pairs."""
        return self.case.tokens / statistics.median(each.wall for each in self.taken[side])


SIDES: dict[Side, Callable[[Case, torch.nn.Module, int, Path], list[Taken]]] = {"plm": plm_steps, "trl": trl_steps}


def run_side(side: Side, case: Case, model: torch.nn.Module, steps: int = 2) -> list[Taken]:
    """The steps after the first one; what the trainers say goes to standard error."""
    _quieten()
    gc.collect()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        return SIDES[side](case, model, steps, Path(folder))


def measure(case: Case, pairs: int = 5, *, memory: bool = True) -> Comparison:
    """Times interleaved pairs, and measures the peak memory of each side."""
    found = Comparison(case, load=os.getloadavg()[0])
    model = make_model(SHAPES[case.model])
    for index in range(pairs):
        for side in SIDES:
            found.taken[side] += run_side(side, case, copy.deepcopy(model))
        a, b = (found.taken[side][-1].wall for side in SIDES)
        print(f"{case.name}: pair {index + 1} of {pairs}, plm {a:.2f} s, TRL {b:.2f} s a step", file=sys.stderr)
    if memory:
        found.peak = {side: peak_memory(side, case) for side in SIDES}
    return found


def peak_memory(side: Side, case: Case) -> float:
    """MiB that a fresh process needs for weights, gradients, optimizer and activations of two steps."""
    command = [sys.executable, __file__, "--peak", side, case.model, case.method, f"{case.prompt}+{case.completion}"]
    done = subprocess.run([*command, "--rows", str(case.rows)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def _own_peak(side: Side, case: Case) -> float:
    """As `peak_memory`, of this process: all libraries are imported and used before the count begins."""
    run_side(side, Case("tiny", case.method, 8, 8, rows=2), make_model(SHAPES["tiny"]))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size is counted from here on
    before = _status("VmRSS")
    run_side(side, case, make_model(SHAPES[case.model]))
    return _status("VmHWM") - before


def _status(name: str) -> float:
    """A size of this process in MiB, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _quieten() -> None:
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "transformers", "trl", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from datasets import disable_progress_bars

    disable_progress_bars()


HEAD = (
    "| | tokens a step | plm tokens/s | TRL tokens/s | faster | in processor time | bar | plm MiB | TRL MiB | share "
    "| bar | load |\n|" + "---|" * 12
)


def report(found: Sequence[Comparison]) -> str:
    """The table as Markdown, after versions and machine."""
    return "\n".join([machine(), "", HEAD, *map(line, found)])


def line(each: Comparison) -> str:
    """A case's line of the table."""
    case = each.case
    cells = [case.name, str(case.tokens), *(f"{each.tokens_per_second(side):,.0f}" for side in SIDES)]
    cells += [f"{each.faster('wall'):.2f}×", f"{each.faster('processor'):.2f}×"]
    cells += [f"≥ {case.faster}×" if case.faster else ""]
    share = each.peak["plm"] / each.peak["trl"] if each.peak else 0.0
    cells += [*(f"{each.peak[side]:,.0f}" for side in SIDES), f"{share:.2f}"] if each.peak else ["", "", ""]
    cells += [f"≤ {case.leaner}" if case.leaner else "", f"{each.load:.1f}"]
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Versions, the machine and the models."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONS)
    shapes = "; ".join(f"`{name}`: {SHAPES[name].words}" for name in ("neox", "llama"))
    where = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, float32"
    return f"{where}; {versions}. {shapes}."


def _case(words: Sequence[str], rows: int | None) -> Case:
    """The case that three words name: of `CASES`, or one without bars."""
    model, method, lengths = words
    prompt, completion = map(int, lengths.split("+"))
    for case in CASES:
        if (case.model, case.method, case.prompt, case.completion) == (model, method, prompt, completion):
            if rows in (None, case.rows):
                return case
    return Case(model, "dpo" if method == "dpo" else "sft", prompt, completion, rows or 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of all cases, or of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=3, metavar=("MODEL", "METHOD", "PROMPT+COMPLETION"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=None, help="rows in a step; with --only")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak:
        side: Side = "plm" if given.peak[0] == "plm" else "trl"
        print(_own_peak(side, _case(given.peak[1:], given.rows)))
        return
    cases = [_case(given.only, given.rows)] if given.only else list(CASES)
    print(machine(), HEAD, sep="\n\n", flush=True)
    found = []
    for case in cases:
        found.append(measure(case, given.pairs, memory=not given.no_memory))
        print(line(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
