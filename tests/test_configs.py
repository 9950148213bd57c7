"""Every YAML in configs/ is found and built: parsed by the real parser, objects constructed, references resolvable.

An overlay holds only what it changes. It names what it is laid over in its header, as `# Overlay of configs/a.yaml: …`,
and is built on top of it.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "configs" / "studies"  # grids of runs, not configs: tests/studies/test_shipped_studies.py
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent != STUDIES)
REQUIREMENT = re.compile(r"\b[A-Z]{3}-\d+\b")  # as the sources' claims are numbered
REQUIREMENTS = set(REQUIREMENT.findall((ROOT / "docs" / "papers.md").read_text()))
SHARE = re.compile(r"(?<![\w.])(?:0\.\d+|1\.0+)(?!\w)")
TIME = re.compile(r"\b(?:\d+ s|half a minute|a minute|\d+ minutes?|\d* ?seconds)\b|time not measured")
OVERLAY = re.compile(r"# Overlay of (configs/[\w/]+\.yaml(?: and configs/[\w/]+\.yaml)*): ")


def bases(path: Path) -> list[str]:
    """The configs that an overlay names in its header; none for a config of its own."""
    found = OVERLAY.match(path.read_text())
    return found[1].split(" and ") if found else []


def test_they_are_found():
    assert {"base_code.yaml", "lock_code.yaml"} <= {path.name for path in CONFIGS}


def parameters():
    """Each config, and each overlay on each of its bases."""
    for path in CONFIGS:
        for base in bases(path) or [None]:
            name = str(path.relative_to(ROOT))
            yield pytest.param(path, base, id=f"{base}+{name}" if base else name)


@pytest.mark.parametrize(("path", "base"), list(parameters()))
def test_a_config_is_built(path, base, monkeypatch, tmp_path):
    from plm.lightning_cli import PlmCLI

    monkeypatch.chdir(ROOT)
    built = {}

    class Built(Exception):
        pass

    def stop(cli, *args):
        built.update(model=cli.model, data=cli.datamodule, trainer=cli.trainer)
        raise Built

    monkeypatch.setattr(PlmCLI, "after_instantiate_classes", stop)
    for folder in ("plm.runs.RunFolder", "plm.policies.samples.SamplesFolder"):  # as if all it needs were there
        monkeypatch.setattr(f"{folder}.finished", property(lambda _: True))
        monkeypatch.setattr(f"{folder}.intact", property(lambda _: True))
    configs = [word for each in (base, str(path)) if each for word in ("--config", each)]
    with pytest.raises(Built):
        PlmCLI(["fit", *configs, "--trainer.accelerator=cpu", "--runs", str(tmp_path)])
    assert built["trainer"].max_epochs >= 1


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_config_says_what_it_is_and_what_to_expect(path):
    """A measured share and how long it takes, or that it was not measured; what it reproduces is in docs/papers.md."""
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# ") and first.endswith(".") and second.endswith(".")
    assert set(REQUIREMENT.findall(first)) <= REQUIREMENTS
    label, _, expected = second.partition(": ")
    assert label == "# Expected" and "%" not in expected  # shares are in [0, 1]
    if "not measured" not in expected.replace("time not measured", ""):
        assert SHARE.search(expected) and TIME.search(expected)


@pytest.mark.parametrize(
    ("expected", "is_share", "is_time"),
    [
        ("0.91 of unseen chains; about 2 minutes", True, True),
        ("1.00 without any text; half a minute", True, True),
        ("5 seconds", False, True),
        ("lr 1.5e-6, 11 of 12, v0.3", False, False),
        ("0.2; 65 s on one core", True, True),
        ("0.2; 3 steps", True, False),
    ],
)
def test_what_counts_as_a_share_and_as_a_time(expected, is_share, is_time):
    assert (bool(SHARE.search(expected)), bool(TIME.search(expected))) == (is_share, is_time)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "paper").rglob("*.yaml")), ids=lambda path: path.name)
def test_what_belongs_to_the_papers_scale_is_an_overlay(path):
    assert bases(path) and all((ROOT / base).is_file() for base in bases(path))


def test_only_values_that_differ_from_the_defaults():
    """`--print_config` of a file without a line gives the same: then the line says nothing."""
    content = yaml.safe_load((ROOT / "configs" / "lock_code.yaml").read_text())
    assert "seed_everything" not in content and "init_args" not in content["data"]


def test_the_cli_is_the_installed_command():
    done = subprocess.run([Path(sys.executable).parent / "plm", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("plm ")
