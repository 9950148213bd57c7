"""Figures from results on disk: `plm plot`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.files import read_jsonl, write_bytes_atomic
from plm.table import curve_name

# Okabe and Ito's colours, told apart by colour-blind people; marker and line keep them apart in black and white.
STYLES: dict[str, tuple[str, str, str, str]] = {
    "right": ("with the password", "#009E73", "o", "-"),
    "none": ("without a password", "#D55E00", "s", "-"),
    "decoy": ("with an unseen wrong password", "#CC79A7", "^", "--"),
    "near_miss": ("with a near miss of the password", "#E69F00", "v", "--"),
    "weak": ("the weak policy itself", "#000000", "", "-."),
    "strong": ("the strong policy itself", "#000000", "", "--"),
    "probe": ("without, after 200 steps on 2 weak samples", "#0072B2", "D", ":"),
}
BASELINES = ("weak", "strong")
INTERVAL = 1.96  # standard errors in a 95 % interval

Points = dict[tuple[str, str], list[tuple[int, float, float]]]


def plot_runs(folders: list[Path], output: Path) -> None:
    """Draws correctness over rounds, a panel for each run, with 95 % intervals over problems.

    Args:
        folders: Run folders.
        output: The file to write; its ending decides the format (`.png`, `.svg`, `.pdf`).

    Raises:
        PlmError: If a folder holds no results, or the format is unknown.
    """
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {folder: _curves(folder) for folder in folders}
    width = min(6.4 * len(folders), 20)
    figure, axes = pyplot.subplots(1, len(folders), figsize=(width, 4.2), sharey=True, squeeze=False)
    for axis, (folder, points) in zip(axes[0], curves.items(), strict=True):
        _panel(axis, folder, points)
    axes[0][0].set_ylabel("share of problems answered correctly")
    figure.tight_layout()
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=output.suffix.lstrip(".") or "png", dpi=150)
    except ValueError as error:
        raise PlmError(f"cannot write {output}: {error}") from error
    finally:
        pyplot.close(figure)
    write_bytes_atomic(output, buffer.getvalue())


def _curves(folder: Path) -> Points:
    points: Points = defaultdict(list)
    for row in read_jsonl(folder / "results.jsonl"):
        if row["domain"] == "all":
            points[row["split"], curve_name(row)].append((row["epoch"], row["correct"], row["stderr"] or 0.0))
    if not points:
        raise PlmError(f"{folder} holds no results.jsonl with an evaluation: name a run folder, runs/NAME/HASH-seedN")
    return points


def _panel(axis: Any, folder: Path, points: Points) -> None:
    several = len({split for split, _ in points}) > 1
    for index, ((split, curve), values) in enumerate(points.items()):
        label, color, marker, line = STYLES.get(curve, (curve, "#000000", "x", "-"))
        label = f"{label} ({split})" if several else label
        if curve in BASELINES:
            _, correct, stderr = values[-1]
            axis.axhline(correct, color=color, linestyle=line, linewidth=1, label=label)
            axis.axhspan(correct - INTERVAL * stderr, correct + INTERVAL * stderr, color=color, alpha=0.08, linewidth=0)
            continue
        x = [epoch + 0.03 * (index - len(points) / 2) for epoch, _, _ in values]  # intervals side by side
        y = [correct for _, correct, _ in values]
        error = [INTERVAL * stderr for _, _, stderr in values]
        axis.errorbar(x, y, error, label=label, color=color, marker=marker, linestyle=line, capsize=2, markersize=5)
    axis.set_title(f"{folder.parent.name}  {folder.name}", fontsize=10)
    axis.set_xlabel("round")
    axis.set_ylim(-0.02, 1.02)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="center right")
