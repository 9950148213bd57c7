"""From an evaluation to what people and programs read: results.jsonl, completions, TensorBoard, the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard import SummaryWriter

from plm.evaluation import Evaluation
from plm.progress import say
from plm.records import Graded
from plm.runs import RunFolder

if TYPE_CHECKING:
    from plm.modules.base import PolicyModule

EXAMPLES_SHOWN = 4


def report(
    trainer: Trainer,
    module: PolicyModule,
    evaluation: Evaluation,
    *,
    split: str,
    condition: str,
    label: str,
    phase: str | None = None,
    temperature: float = 0.0,
    domain: str = "all",
    extra: dict[str, Any] | None = None,
) -> None:
    """Writes one evaluation everywhere.

    Args:
        trainer: The run's trainer.
        module: What was evaluated.
        evaluation: The result.
        split: Which problems.
        condition: The password condition.
        label: The curve's name in TensorBoard and on the terminal.
        phase: The phase to write, the module's own where None.
        temperature: Of sampling.
        domain: Which domain, `all` for the whole split; of a part, numbers alone are kept.
        extra: More columns.
    """
    if not trainer.is_global_zero:
        return
    folder, metrics = RunFolder.of(trainer), evaluation.metrics
    row = {
        "run": folder.path.name,
        "name": folder.name,
        "seed": module.task.run_seed,
        "epoch": trainer.current_epoch + int(trainer.global_step > 0 and trainer.state.fn == "fit"),
        "step": trainer.global_step,
        "phase": phase or module.phase,
        "method": module.method if phase in (None, "probe") else "policy",
        "task": module.task.name,
        "split": split,
        "password": condition,
        "domain": domain,
        "temperature": temperature,
        **{key: value if key in ("correct", "stderr", "score") else int(value) for key, value in metrics.items()},
        **module.task.budget.as_row(),
        "evaluation_seconds": round(evaluation.seconds, 3),
        **(extra or {}),
    }
    if domain != "all":
        folder.append_result(row)
        _curve(str(folder.path / "tensorboard" / label)).add_scalar(
            f"correct/{split}/{domain}", row["correct"], row["step"]
        )
        return
    name = f"{row['phase']}-epoch{row['epoch']:04d}-step{row['step']:07d}-{split}-{label}"
    folder.write_completions(name, evaluation.completions)
    folder.append_result(row)
    _to_tensorboard(folder.path / "tensorboard" / label, split, row, evaluation.completions)
    say(
        f"  {split:<8} {label:<12} {metrics['correct']:.3f} ± {metrics['stderr']:.3f} correct of {int(metrics['n'])}"
        f"{_failures(metrics)}"
    )


def _failures(metrics: dict[str, float]) -> str:
    named = (
        ("parse_failures", "unreadable"),
        ("compile_failures", "not compiling"),
        ("timeouts", "too slow"),
        ("too_long", "prompts too long"),
    )
    parts = [f"{int(metrics[key])} {text}" for key, text in named if metrics[key]]
    return f"   ({', '.join(parts)})" if parts else ""


def _to_tensorboard(folder: Path, split: str, row: dict[str, Any], graded: Sequence[Graded]) -> None:
    """One writer a curve, all with the same tag: TensorBoard then draws the curves into one chart."""
    writer, step = _curve(str(folder)), row["step"]
    writer.add_scalar(f"correct/{split}", row["correct"], step)
    for name, tag in (("parse_failures", "parse"), ("compile_failures", "compile"), ("timeouts", "timeout")):
        writer.add_scalar(f"failures/{tag} ({split})", row[name] / max(row["n"], 1), step)
    writer.add_text(f"completions/{split}", _markdown(graded), step)
    writer.flush()


_curves: dict[str, SummaryWriter] = {}


def _curve(folder: str, purge_step: int | None = None) -> SummaryWriter:
    if folder not in _curves:
        _curves[folder] = SummaryWriter(folder, purge_step=purge_step)
    return _curves[folder]


def resume_curves(trainer: Trainer) -> None:
    """Strikes from TensorBoard what an earlier process drew after the checkpoint: it is drawn again."""
    step = trainer.global_step
    for folder in (RunFolder.of(trainer).path / "tensorboard").glob("*/"):
        _curve(str(folder), purge_step=step + 1)  # evaluations at the checkpoint's step came before it
    start = Event(step=step, session_log=SessionLog(status=SessionLog.START))
    for writer in _writers(trainer):
        writer._get_file_writer().add_event(start)  # type: ignore[no-untyped-call]


def flush_curves(trainer: Trainer) -> None:
    """Brings to disk what was drawn so far, so that a checkpoint never knows more than the curves show."""
    for writer in [*_curves.values(), *_writers(trainer)]:
        writer.flush()


def close_curves() -> None:
    """Closes what `report` opened."""
    while _curves:
        _curves.popitem()[1].close()


def _writers(trainer: Trainer) -> list[SummaryWriter]:
    """The TensorBoard writers of the run's loggers."""
    experiments = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return [experiment for experiment in experiments if isinstance(experiment, SummaryWriter)]


def _markdown(graded: Sequence[Graded]) -> str:
    right = [row for row in graded if row.grade.correct][: EXAMPLES_SHOWN // 2]
    wrong = [row for row in graded if not row.grade.correct][: EXAMPLES_SHOWN // 2]
    blocks = [
        f"**{row.problem.id}: {row.grade.reason}**\n\n{_code(row.prompt)}\n\n{_code(row.completion)}"
        for row in right + wrong
    ]
    return "\n\n---\n\n".join(blocks)


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
