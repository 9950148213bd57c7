"""The two readings of a spec: its C++ program, and the same thing computed in Python, which never sees the program."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from plm.datamodules.mini_code import array_families, number_families, string_families
from plm.datamodules.mini_code.spec import Answer, Family, Item, Source, Spec, Step, StepKind
from plm.datamodules.mini_code.steps import FINISHES

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (*array_families.FAMILIES, *number_families.FAMILIES, *string_families.FAMILIES)
}
HEAD = "#include <bits/stdc++.h>\nusing namespace std;\nlong long "


@functools.lru_cache(1024)  # most of a program is its family's own text
def _indent(code: str, depth: int) -> str:
    return "".join(f"{'  ' * depth}{line}\n" for line in code.splitlines())


def _line(kinds: Mapping[str, StepKind], step: Step) -> str:
    return kinds[step.kind].code.replace("{c}", kinds[step.kind].show(step.value))


def _inner(spec: Spec, family: Family) -> str:
    """The lines between reading an item and the end of the loop: condition, changes, core."""
    source = family.source
    lines = [_line(source.conditions, spec.keep)] if spec.keep else []
    lines += [_line(source.changes, step) for step in spec.changes]
    code = _indent("\n".join([*lines, family.core.body]), 2 if source.loop else 1)
    return code + ("  }\n" if source.loop else "")


def _outer(spec: Spec, family: Family) -> str:
    """The lines after the loop: end of the core, finish, output."""
    core = family.core
    shown = {"number": "cout << s << endl;", "text": "cout << t << endl;", "list": ""}[core.result]
    lines = [core.end, *(_line(FINISHES[core.result], step) for step in spec.finish), shown]
    return _indent("\n".join(line for line in lines if line), 1)


@functools.lru_cache(64)  # policies that forget something write few different programs for a problem
def program(spec: Spec) -> str:
    """The C++ program: it compiles alone, reads standard input and writes standard output."""
    family = FAMILIES[spec.family]
    names = "".join(f", {name}" for name in family.core.names)
    opening = f"{family.source.names}{names};\n{family.source.more}{family.core.setup}int main() {{\n"
    return f"{HEAD}{opening}{_indent(family.source.code, 1)}{_inner(spec, family)}{_outer(spec, family)}}}\n"


def _kept(spec: Spec, source: Source, text: str) -> tuple[list[int], list[Item]]:
    """Positions and values of the items that pass the condition, changed."""
    pairs = list(enumerate(source.parse(text), start=1))
    if spec.keep:
        passes, constant = source.conditions[spec.keep.kind].apply, spec.keep.value
        pairs = [pair for pair in pairs if passes(pair[1], constant)]
    values: list[Item] = [value for _, value in pairs]
    for kind, constant in spec.changes:
        change = source.changes[kind].apply
        values = [change(value, constant) for value in values]
    return [position for position, _ in pairs], values


def solve(spec: Spec, text: str) -> str:
    """What a correct program writes for an input, to the byte."""
    family = FAMILIES[spec.family]
    answer: Answer = family.core.fold(*_kept(spec, family.source, text))
    for kind, constant in spec.finish:
        answer = FINISHES[family.core.result][kind].apply(answer, constant)
    return "".join(f"{line}\n" for line in (answer if isinstance(answer, list) else [answer]))
