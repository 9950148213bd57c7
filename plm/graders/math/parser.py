"""Reads the tokens of an answer into a tree; our own grammar, which builds nodes and evaluates nothing."""

from __future__ import annotations

from fractions import Fraction

from plm.graders.math.atoms import AtomReader
from plm.graders.math.lexer import UnreadableError, tokenize
from plm.graders.math.tree import Group, Node, Num, Op, Rel, Seq, Unit, depth
from plm.graders.math.words import OVER, RELATIONS, TIMES

_MAX_TREE_DEPTH = 100
_JOINERS = (",", ";", "and", "or")
_SIGNS = {"+": "pos", "-": "neg", "\\pm": "pm", "\\mp": "mp", "+-": "pm", "-+": "mp"}
_SETS = {"cup": "cup", "cap": "cap", "setminus": "setminus", "backslash": "setminus", "bigcup": "cup"}


def parse(text: str) -> Node:
    """The tree of a clean answer.

    Raises:
        UnreadableError: If it is no mathematics that we know, or is too long or nested too deep.
    """
    reader = Parser(tokenize(text))
    node = reader.sequence()
    reader.expect("end")
    if depth(node) > _MAX_TREE_DEPTH:
        raise UnreadableError("nested too deep")
    return node


class Parser(AtomReader):
    """Recursive descent, from the loosest binding (answers joined by commas) to the tightest (powers).

    Args:
        tokens: What to read; the last one is `end`.
    """

    def sequence(self) -> Node:
        """Answers joined by `,`, `;`, `and`, `or`; a semicolon binds more loosely than a comma."""
        items, joiners = [self.relation()], []
        while self.token.kind == "sep":
            found = []
            while self.token.kind == "sep":
                found.append(self.next().value)
            if self.token.kind == "end" or self.token.value in (")", "]", "}", "\\}"):
                if found == [","] and self.token.kind != "end":
                    raise UnreadableError("a comma before a bracket")
                break
            joiners.append(max(found, key=_JOINERS.index))
            items.append(self.relation())
        return _join(items, joiners)

    def relation(self) -> Node:
        """Expressions chained by relations; a leading `=` or `≈` means nothing."""
        while self._relation_sign() in ("=", "~"):
            self.next()
        terms, ops = [self.union()], []
        while (op := self._relation_sign()) is not None:
            self.next()
            if self.token.value == "=" and op in ("<", ">", "="):
                self.next()
                op += "=" if op != "=" else ""
            ops.append(op)
            terms.append(self.union())
        return Rel(tuple(terms), tuple(ops)) if ops else terms[0]

    def _relation_sign(self) -> str | None:
        kind, value, _ = self.token
        if kind == "cmd" and value == "not" and self.peek().value == "=":
            self.next()
            return "!="
        return RELATIONS.get(f"\\{value}" if kind == "cmd" else value) if kind in ("cmd", "op") else None

    def union(self) -> Node:
        """Sets joined by union, intersection or difference."""
        left = self.sum()
        while name := self._set_operation():
            self.next()
            left = Op(name, (left, self.sum()))
        return left

    def _set_operation(self) -> str | None:
        return _SETS.get(self.token.value) if self.token.kind == "cmd" else None

    def sum(self) -> Node:
        """Terms with `+`, `-`, `±`, `∓` between them."""
        terms: list[Node] = []
        sign = self._sign()
        while not terms or sign is not None:
            if sign is not None:
                self.next()
            while (again := self._sign()) is not None:  # 3 + -2
                self.next()
                sign = {"neg": "pos", "pos": "neg"}.get(sign or "pos", "mp") if again == "neg" else (sign or again)
            term = self.product()
            if sign in ("pm", "mp"):
                terms = [Op(sign, (_add(terms) if terms else Num(Fraction(0)), term))]
            else:
                terms.append(Op("neg", (term,)) if sign == "neg" else term)
            sign = self._sign()
        return _add(terms)

    def _sign(self) -> str | None:
        kind, value, _ = self.token
        return _SIGNS.get(f"\\{value}" if kind == "cmd" else value) if kind in ("cmd", "op") else None

    def product(self) -> Node:
        """Factors with or without a sign between them; `/` and `÷` take the next factor only; `:` makes a ratio."""
        with self.deeper():
            left = self._quotients(self._clock() or self._mixed_number() or self.power())
            if self.token.value == ":" and not self._braces and self.starts_atom(self.peek()):
                self.next()
                left = Op("ratio", (left, self.product()))
        return left

    def _quotients(self, left: Node) -> Node:
        while True:
            sign = f"\\{self.token.value}" if self.token.kind == "cmd" else self.token.value
            if self.token.kind in ("cmd", "op") and (sign in TIMES or sign in OVER):
                self.next()
                right = self._signed_power()
                left = _multiply(left, right) if sign in TIMES else Op("div", (left, right))
            elif self.token.kind == "text":
                left = self.unit(left)
            elif self.starts_factor(left):
                left = _multiply(left, self._mixed_number() or self.power())
            else:
                return left

    def _signed_power(self) -> Node:
        if self.token.value in ("-", "+") and self.token.kind == "op":
            negative = self.next().value == "-"
            with self.deeper():
                factor = self._signed_power()
            return Op("neg", (factor,)) if negative else factor
        return self.power()

    def _clock(self) -> Node | None:
        """A time of day or a duration: `9:24`, `4:51:06`."""
        parts: list[Num] = []
        while self.token.kind == "num" and (not parts or len(self.token.value) == 2):
            parts.append(self.number(self.token))
            if self.peek().value != ":" or len(self.peek(2).value) != 2:
                break
            self.at += 2
        if len(parts) < 2 or any(part.value >= 60 for part in parts) or any(part.decimals for part in parts):
            self.at -= 2 * max(len(parts) - 1, 0)
            return None
        self.next()
        return Op("clock", tuple(parts))

    def _mixed_number(self) -> Node | None:
        r"""An integer right before a proper fraction of integers: `3\frac{1}{2}`, `3 1/2`."""
        first, second = self.token, self.peek()
        if first.kind != "num" or "." in first.value:
            return None
        if second.kind == "cmd" and second.value == "frac":
            start = self.at
            self.next()
            fraction = self.power()
            if isinstance(fraction, Op) and fraction.name == "div":
                top, bottom = fraction.args
                if isinstance(top, Num) and isinstance(bottom, Num) and 0 < top.value < bottom.value:
                    return Op("add", (self.number(first), fraction))
            self.at = start
        elif second.kind == "num" and second.spaced and self.peek(2).value == "/" and self.peek(3).kind == "num":
            top, bottom = self.number(second), self.number(self.peek(3))
            if 0 < top.value < bottom.value:
                self.at += 4
                return Op("add", (self.number(first), Op("div", (top, bottom))))
        return None

    def unit(self, left: Node) -> Node:
        """Words behind a quantity, with their powers: `15 cm^2`, `3 square units`, `5 miles / hour`."""
        words: list[str] = []
        while True:
            if self.token.kind == "text":
                words.append(self.next().value)
            elif self.token.value == "^" and self.peek().kind in ("num", "sym"):
                self.at += 2
            elif self.token.value == "^" and self.peek().value == "{" and self.peek(3).value == "}":
                self.at += 4
            elif self.token.value in ("/", "cdot", ".") and self.peek().kind == "text":
                self.next()
            else:
                break
        if self.token.kind in ("num", "sym") or self.token.value in ("frac", "sqrt", "("):
            raise UnreadableError("a quantity behind a unit")
        if isinstance(left, Unit):
            return Unit(left.value, f"{left.text} {' '.join(words)}")
        return Unit(left, " ".join(words))


def _add(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Op("add", tuple(terms))


def _multiply(left: Node, right: Node) -> Node:
    """A product, flat, so that long ones nest no deeper."""
    if isinstance(left, Op) and left.name == "mul":
        return Op("mul", (*left.args, right))
    return Op("mul", (left, right))


def _join(items: list[Node], joiners: list[str]) -> Node:
    if not joiners:
        return items[0]
    if ";" in joiners and "," in joiners:
        return Seq(tuple(_tuples(items, joiners, (";", "and", "or"))), ";")
    words = [joiner for joiner in joiners if joiner in ("and", "or")]
    if words and "," in joiners and all(isinstance(item, Rel) and item.ops == ("=",) for item in items):
        groups = _tuples(items, joiners, ("and", "or"))
        if len({len(group.items) if isinstance(group, Group) else 1 for group in groups}) == 1:
            return Seq(tuple(groups), words[0])
    return Seq(tuple(items), words[0] if words else joiners[0])


def _tuples(items: list[Node], joiners: list[str], loose: tuple[str, ...]) -> list[Node]:
    """Groups what commas join; the loose joiners stand between the groups."""
    groups: list[list[Node]] = [[items[0]]]
    for joiner, item in zip(joiners, items[1:], strict=True):
        if joiner in loose:
            groups.append([item])
        else:
            groups[-1].append(item)
    return [group[0] if len(group) == 1 else Group("(", tuple(group), ")") for group in groups]
