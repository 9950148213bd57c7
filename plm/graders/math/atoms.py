"""The tightest-binding part of the grammar: numbers, variables, brackets, functions, powers, matrices."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from plm.graders.math.lexer import Token, UnreadableError
from plm.graders.math.tree import Based, Const, Group, Matrix, Node, Num, Op, Seq, Sym, Text
from plm.graders.math.words import BIG_OPERATORS, BLACKBOARD, CONSTANTS, FUNCTIONS, GREEK, INVERSES

_MAX_DEPTH = 90
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "\\{": ("\\}",), "{": ("}",)}
_IGNORED = frozenset(
    "vec hat bar overline underline overrightarrow tilde mathring dot angle triangle boxed fbox".split()
)
_FUNCTION_LETTERS = frozenset("fghFGH")
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array cases aligned align".split())
_ROUNDING = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}


class AtomReader(ABC):
    """Reads atoms and powers; `plm.graders.math.parser.Parser` adds what binds more loosely.

    Args:
        tokens: What to read; the last one is `end`.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self.at = 0
        self._depth = 0
        self._bars = 0
        self._braces = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[min(self.at, len(self._tokens) - 1)]

    def peek(self, ahead: int = 1) -> Token:
        """A token further ahead."""
        return self._tokens[min(self.at + ahead, len(self._tokens) - 1)]

    def next(self) -> Token:
        """Takes the next token."""
        self.at += 1
        return self._tokens[min(self.at - 1, len(self._tokens) - 1)]

    def expect(self, value: str) -> None:
        """Takes a token that must say `value`, or be of that kind if it is `end`."""
        token = self.next()
        if (token.kind if value == "end" else token.value) != value:
            raise UnreadableError(f"expected {value}")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Bounds the nesting, and with it the stack."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadableError("nested too deep")
        yield
        self._depth -= 1

    @abstractmethod
    def sequence(self) -> Node:
        """Answers joined by commas or words."""

    @abstractmethod
    def sum(self) -> Node:
        """An expression."""

    @abstractmethod
    def relation(self) -> Node:
        """An expression or a chain of relations."""

    def starts_atom(self, token: Token) -> bool:
        """Whether a token can begin an atom."""
        kind, value, _ = token
        if kind in ("num", "repeating", "scientific", "sym", "begin", "text"):
            return True
        if kind == "cmd":
            return value in FUNCTIONS or value in GREEK or value in CONSTANTS or value in _IGNORED or value in _OTHER
        return kind == "op" and value in ("(", "[", "{", "\\{", "|")

    def starts_factor(self, left: Node) -> bool:
        """Whether the next token is multiplied with what stands before it, without a sign between."""
        kind, value, _ = self.token
        if value == "|" and kind == "op" and (self._bars or self._braces):
            return False
        if kind == "num" and isinstance(left, Num):
            raise UnreadableError("a number behind a number")
        return kind != "text" and self.starts_atom(self.token)

    def power(self) -> Node:
        """An atom with what stands behind and above it."""
        with self.deeper():
            base = self._postfix(self.atom())
            while self.token.kind == "op" and self.token.value in ("^", "**"):
                self.next()
                base = self._postfix(self._raise(base))
        return base

    def _raise(self, base: Node) -> Node:
        token = self.token
        if token.value in ("circ", "prime") or (token.value == "{" and self.peek().value in ("circ", "prime")):
            mark = self.argument() if token.value == "{" else Const(self.next().value)
            return Op("deg", (base,)) if mark == Const("circ") else _prime(base)
        if token.value == "{" and self.peek().kind in ("text", "sym") and isinstance(base, Num):
            exponent = self.argument()
            return base if isinstance(exponent, Text) else _power(base, exponent)  # 5^{\text{th}}
        if token.value in ("-", "+"):
            sign = self.next().value
            exponent = self.power()
            return _power(base, Op("neg", (exponent,)) if sign == "-" else exponent)
        return _power(base, self.argument(whole_number=True, chained=True))

    def _postfix(self, node: Node) -> Node:
        while self.token.kind == "op":
            if self.token.value == "!":
                if self.peek().value == "=":
                    break
                node = Op("factorial", (node,))
            elif self.token.value == "%":
                node = Op("pct", (node,))
            elif self.token.value == "'":
                node = _prime(node)
            elif self.token.value == "_":
                self.next()
                node = self._subscript(node)
                continue
            else:
                break
            self.next()
        return node

    def _subscript(self, node: Node) -> Node:
        start = self.at
        index = self.argument(whole_number=True)
        label = "".join(token.value for token in self._tokens[start : self.at]).strip("{}")
        match node:
            case Num(value, decimals):
                written = self._tokens[start - 2].value if decimals else str(value)
                return Based(written, label)
            case Sym(name):
                is_label = label.isdigit() or (label.isalpha() and not (len(label) == 1 and label in "ijkmnprst"))
                return Sym(f"{name}_{label}") if is_label else Op(f"apply:{name}_", (index,))
        raise UnreadableError("a subscript on something else than a letter or a number")

    def atom(self) -> Node:
        """The smallest thing that has a value."""
        token = self.next()
        match token.kind:
            case "num" | "repeating" | "scientific":
                return self.number(token)
            case "sym":
                return self._letter(token.value)
            case "text":
                return Text(_words(token.value))
            case "begin":
                return self._matrix(token.value)
            case "cmd":
                return self._command(token.value)
            case "op" if token.value in _CLOSERS:
                return self._group(token.value)
            case "op" if token.value == "|":
                self._bars += 1
                inner = self.sum()
                self._bars -= 1
                self.expect("|")
                return Op("abs", (inner,))
        raise UnreadableError(f"unexpected {token.value or 'end'}")

    def number(self, token: Token) -> Num:
        """The number that a token writes."""
        if token.kind == "repeating":
            return _repeating(token.value)
        if token.kind == "scientific":
            mantissa, exponent = re.split("[eE]", token.value)
            return Num(
                Fraction(mantissa) * Fraction(10) ** int(exponent),
                max(0, len(mantissa.partition(".")[2]) - int(exponent)),
            )
        whole, point, decimals = token.value.partition(".")
        return Num(Fraction(int(whole + decimals), 10 ** len(decimals)), len(decimals) if point else None)

    def _letter(self, letter: str) -> Node:
        if letter in ("e", "i"):
            return Const(letter)
        if letter in _FUNCTION_LETTERS:
            while self.token.value == "'":
                letter += self.next().value
        if self.token.value == "(" and (letter[0] in _FUNCTION_LETTERS or self._is_defined()):
            self.next()
            return Op(f"apply:{letter}", (self._group("("),))
        return Sym(letter)

    def _is_defined(self) -> bool:
        """Whether `(x) =` follows, so that the letter before it is a function and no factor."""
        ahead = [self.peek(i) for i in (1, 2, 3)]
        return ahead[0].kind in ("sym", "num") and ahead[1].value == ")" and ahead[2].value == "="

    def _group(self, open: str) -> Node:
        with self.deeper():
            bars, self._bars = self._bars, 0
            self._braces += open == "\\{"
            if self.token.value in _CLOSERS[open]:
                close = self.next().value
                if open == "{":
                    raise UnreadableError("nothing in braces")
                node: Node = Const("empty") if open == "\\{" else Group(open, (), close)
            else:
                node = self._group_content(open)
            self._braces -= open == "\\{"
            self._bars = bars
        return node

    def _group_content(self, open: str) -> Node:
        inner = self.sequence()
        if open == "\\{" and self.token.value in ("|", "mid", ":"):
            self.next()
            inner, open = self.sequence(), "{|"
        close = self.next().value
        if close not in _CLOSERS[open.replace("{|", "\\{")]:
            raise UnreadableError("a bracket that never closes")
        items = inner.items if isinstance(inner, Seq) else (inner,)
        if open in ("{|", "\\{"):
            return Group(open.strip("\\"), items, close.strip("\\"))
        if len(items) != 2 and close != _CLOSERS[open][0]:
            raise UnreadableError("brackets that do not match")
        return inner if len(items) == 1 else Group(open, items, close)

    def argument(self, *, whole_number: bool = False, chained: bool = False) -> Node:
        r"""What a command takes: a group in braces, or one token; a number gives one digit unless `whole_number`."""
        token = self.token
        if token.value == "{" and token.kind == "op":
            self.next()
            inner = self._group("{")
            return inner
        if token.kind == "num" and not whole_number and len(token.value) > 1 and "." not in token.value:
            self._tokens[self.at] = Token("num", token.value[1:])
            return Num(Fraction(int(token.value[0])))
        return self.power() if chained else self.atom()

    def _command(self, name: str) -> Node:
        if name in FUNCTIONS:
            return self._function(FUNCTIONS[name])
        if name in BIG_OPERATORS:
            return self._big(name)
        if name in CONSTANTS:
            return Const(CONSTANTS[name])
        if name in GREEK:
            return Sym(name)
        if name.startswith("mathbb "):
            return Const(BLACKBOARD.get(name[7:], name))
        if name in _ROUNDING:
            close, function = _ROUNDING[name]
            inner = self.sum()
            self.expect(close)
            return Op(function, (inner,))
        if name in _IGNORED:
            return self.argument()
        match name:
            case "frac":
                return Op("div", (self.argument(), self.argument()))
            case "binom":
                return Op("binom", (self.argument(), self.argument()))
            case "sqrt":
                return self._root()
            case "langle":
                inner = self.sequence()
                self.expect("rangle")
                return Group("(", inner.items if isinstance(inner, Seq) else (inner,), ")")
            case "circ" | "prime" | "dots" | "ldots" | "cdots":
                return Const(name)
        raise UnreadableError(f"the command {name}")

    def _root(self) -> Node:
        degree: Node = Num(Fraction(2))
        if self.token.value == "[":
            self.next()
            degree = self.sum()
            self.expect("]")
        return Op("root", (self.argument(whole_number=True), degree))

    def _function(self, name: str) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        while self.token.value in ("_", "^"):
            if self.next().value == "_":
                base = self.argument(whole_number=True)
            else:
                exponent = self._exponent_of_function()
        if exponent == Op("neg", (Num(Fraction(1)),)) and name in INVERSES:
            name, exponent = INVERSES[name], None
        args = self._function_argument()
        node: Node = Op("log", (*args, base)) if name == "log" and base is not None else Op(name, args)
        return node if exponent is None else Op("pow", (node, exponent))

    def _exponent_of_function(self) -> Node:
        if self.token.value == "-":
            self.next()
            return Op("neg", (self.argument(whole_number=True),))
        return self.argument(whole_number=True)

    def _function_argument(self) -> tuple[Node, ...]:
        if self.token.value == "(" and self.token.kind == "op":
            self.next()
            inner = self._group("(")
            return inner.items if isinstance(inner, Group) and inner.open == "(" else (inner,)
        node = self.power()
        while self.starts_factor(node) and self.token.value not in FUNCTIONS and self.token.value not in ("(", "["):
            node = Op("mul", (node, self.power()))
        return (node,)

    def _big(self, name: str) -> Node:
        """A sum, product, integral or limit: known by its parts only, never computed."""
        parts: list[Node] = []
        while self.token.value in ("_", "^"):
            self.next()
            if self.token.value != "{":
                parts.append(self.atom())
                continue
            self.next()
            parts.append(self.relation())
            self.expect("}")
        return Op(f"big:{name}", (*parts, self.sum()))

    def _matrix(self, environment: str) -> Node:
        if environment.rstrip("*") not in _MATRICES:
            raise UnreadableError(f"the environment {environment}")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        with self.deeper():
            while self.token.kind != "close":
                if self.token.kind == "end":
                    raise UnreadableError("an environment that never ends")
                if self.token.value in ("&", "\\\\", "hline"):
                    if self.next().value == "\\\\" and row:
                        rows.append(tuple(row))
                        row = []
                    continue
                row.append(self.sequence())
        self.next()
        return Matrix((*rows, tuple(row)) if row else tuple(rows))


_OTHER = frozenset(("frac", "sqrt", "binom", "langle", *_ROUNDING, *BIG_OPERATORS, "dots", "ldots", "cdots")) | {
    f"mathbb {letter}" for letter in BLACKBOARD
}


def _power(base: Node, exponent: Node) -> Node:
    return Op("pow", (base, exponent))


def _prime(node: Node) -> Node:
    if not isinstance(node, Sym):
        raise UnreadableError("a prime on something else than a letter")
    return Sym(f"{node.name}'")


def _words(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _repeating(text: str) -> Num:
    r"""`0.1\overline{6}` is 1/6."""
    head, _, tail = text.partition("\\")
    whole, _, fixed = head.partition(".")
    digits = "".join(c for c in tail if c.isdigit())
    scale = 10 ** len(fixed)
    return Num(
        Fraction(int(whole or 0))
        + Fraction(int(fixed or 0), scale)
        + Fraction(int(digits), scale * (10 ** len(digits) - 1))
    )
