"""Recognizes programs that can share a translation unit and a process image with others, and rewrites them for it.

A program is plain if putting it into a namespace changes neither whether it compiles nor what it does, and if it can
neither fail nor act before its own `main` is called. The check is an allow list over tokens and over the few forms that
declarations outside functions may have. What it does not recognize is compiled alone, so it may be as strict as it
likes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from plm.graders.lexer import Token, is_broken, pair_brackets, read_tokens

MAX_CHARACTERS = 20_000
# Without any of these no function can be called `main`: the name itself, or what can put it together or bring it along
# (macros, other files, strings of assembler, lines joined by a backslash, characters by their numbers).
_MAY_HAVE_MAIN = re.compile(r"main|define|include|import|asm|\\\s*\n|\\[uUN]|\?\?/")

# Library names that plain programs may use. Others (processes, files, signals, raw memory ...) send a program away.
_LIBRARY = frozenset(
    """
    std cin cout cerr endl flush ws getline string wstring vector map set multimap multiset unordered_map
    unordered_set pair tuple array list deque queue stack priority_queue bitset istringstream ostringstream
    stringstream ios ios_base fixed setprecision setw setfill left right hex dec oct boolalpha noboolalpha showpos
    noshowpos scientific defaultfloat first second begin end rbegin rend cbegin cend size empty data front back
    push_back pop_back insert erase clear resize sort stable_sort reverse max min max_element min_element minmax
    minmax_element accumulate count count_if find find_if find_if_not lower_bound upper_bound equal_range
    binary_search unique swap next_permutation prev_permutation fill fill_n iota all_of any_of none_of for_each
    transform copy copy_if remove_if replace rotate partial_sum adjacent_difference inner_product nth_element
    partial_sort merge includes set_union set_intersection set_difference equal lexicographical_compare is_sorted
    distance advance next prev make_pair make_tuple tie get move forward greater less plus minus multiplies divides
    modulus negate function hash optional nullopt back_inserter inserter istream_iterator ostream_iterator
    istreambuf_iterator to_string stoi stol stoll stoul stoull stof stod atoi atol atoll atof isdigit isalpha
    isalnum isspace isupper islower ispunct isxdigit toupper tolower abs labs llabs fabs sqrt cbrt pow exp exp2 log
    log2 log10 floor ceil round lround llround trunc fmod hypot sin cos tan asin acos atan atan2 gcd lcm clamp isnan
    isinf numeric_limits INT_MAX INT_MIN UINT_MAX LONG_MAX LONG_MIN LLONG_MAX LLONG_MIN ULLONG_MAX CHAR_MAX CHAR_MIN
    DBL_MAX DBL_MIN M_PI M_E RAND_MAX NULL EOF size_t ptrdiff_t int8_t int16_t int32_t int64_t uint8_t uint16_t
    uint32_t uint64_t printf scanf puts putchar getchar stdin stdout strlen strcmp strchr memset __gcd assert exit
    abort true false unsigned exception runtime_error logic_error invalid_argument out_of_range overflow_error
    domain_error bad_alloc initializer_list unique_ptr shared_ptr make_unique make_shared istream ostream
    streamsize complex index time rank extent ratio y0 y1 j0 j1 yn jn div remainder signbit ref
    """.split()
)
_KEYWORDS = frozenset(
    """
    auto bool break case catch char class const constexpr const_cast continue decltype default delete do double
    dynamic_cast else enum explicit false float for if inline int long mutable namespace new nullptr private protected
    public return short signed sizeof static static_cast struct switch this throw true try typedef unsigned using void
    while and or not xor bitand bitor compl
    """.split()
)
_REFUSED_WORDS = frozenset(
    """
    asm extern template operator friend union thread_local alignas static_assert concept requires co_await co_return
    co_yield export import module reinterpret_cast typeid goto virtual volatile noexcept typename register consteval
    constinit char8_t wchar_t
    """.split()
)
# at least one of these, or none at all: with C headers alone, some functions (abs) have fewer overloads
_USUAL_HEADERS = frozenset("bits/stdc++.h iostream string sstream iomanip".split())
_HEADERS = _USUAL_HEADERS | frozenset(
    """
    vector map set unordered_map unordered_set array list deque queue stack bitset tuple utility algorithm numeric
    functional iterator limits climits cmath cstdlib cstdio cstring cctype cstdint cassert cfloat string_view optional
    stdexcept exception memory initializer_list istream ostream ios random chrono complex type_traits math.h stdio.h
    stdlib.h string.h ctype.h limits.h assert.h stdint.h
    """.split()
)
# what a batch includes: every one of them, but for C's own headers, whose names these have too
BATCH_HEADER = "".join(f"#include <{name}>\n" for name in sorted(_HEADERS) if not name.endswith(".h"))
# these put overloads of abs, pow ... into the global namespace; plain only where those of std are visible anyway
_OVERLOADING_HEADERS = frozenset(["math.h", "stdlib.h"])
_BASIC = frozenset("int long short char bool double float unsigned signed".split())
_CONTAINERS = frozenset("string vector map set multiset unordered_map unordered_set priority_queue pair".split())
_PURE = frozenset("+ - * true false".split())
# what no declaration begins with
_BEGINS_NOTHING = frozenset("+ - * / % & && | || ^ = == != < > <= >= << >> ? , . -> !".split())


@dataclass(frozen=True)
class Plain:
    """A program made ready for a batch.

    Args:
        text: The program with its includes blanked, `main` renamed to `plm_main` and made to return 0 at its end; the
            lines are those of the original.
    """

    text: str


def make_plain(program: str, names: frozenset[str], macros: frozenset[str]) -> Plain | Literal["alone", "broken"]:
    """Rewrites a program for a batch, if it is plain.

    Args:
        program: The C++ text.
        names: What the standard headers declare globally, in `std` or as macros.
        macros: Those of them that are macros.

    Returns:
        The rewritten program, `alone` if it must be compiled alone, or `broken` if no compiler can make an executable
        of it, because it has no `main`, a bracket or a quote without its partner, a character that C++ has not (as what
        fixedrdm writes), or no declaration where one must begin.
    """
    if not _MAY_HAVE_MAIN.search(program):
        return "broken"
    if len(program) > MAX_CHARACTERS:
        return "alone"
    tokens, end = read_tokens(program)
    if all(_is_known(token, macros) for token in tokens) and is_broken(program, tokens, end):
        return "broken"
    if end < len(program) or not _has_plain_words(tokens, names):
        return "alone"
    includes = [token for token in tokens if token.kind == "include"]
    tokens = tokens[len(includes) :]
    opened = [token.text for token in tokens[:4]] == ["using", "namespace", "std", ";"]
    if any(token.kind == "include" for token in tokens) or not _has_plain_headers(includes, opened):
        return "alone"
    paired = pair_brackets(tokens)
    assert paired is not None  # or it were broken
    outline = _Outline(tokens, paired[0])
    if not outline.read():
        return "broken" if outline.broken else "alone"
    if outline.declared & (names | {"__gcd"}) or outline.prototypes - outline.defined or outline.main_end is None:
        return "alone"
    return Plain(_rewrite(program, includes, outline))


def _is_known(token: Token, names: frozenset[str]) -> bool:
    """Whether a token is none of the names that are not a plain program's, and brings none along."""
    if token.kind == "include":
        return token.text in _HEADERS
    return token.kind != "word" or token.text not in names or token.text in _LIBRARY or token.text in _KEYWORDS


def _has_plain_words(tokens: list[Token], names: frozenset[str]) -> bool:
    for before, token in zip([None, *tokens], tokens, strict=False):
        text = token.text
        if token.kind == "word" and (
            text in _REFUSED_WORDS
            or ("__" in text and text not in _LIBRARY)
            or text.startswith("plm_")
            or not _is_known(token, names)
        ):
            return False
        if text == "::" and (before is None or (before.kind != "word" and before.text not in (">", ">>"))):
            return False  # a name of the global namespace, which is not this program's own in a batch
        if text == ")" and before is not None and before.text in ("*", "&&"):
            return False  # a cast to a pointer
    return [token.text for token in tokens if token.kind == "word"].count("main") == 1


def _has_plain_headers(includes: list[Token], opened: bool) -> bool:
    headers = {token.text for token in includes}
    if headers & _OVERLOADING_HEADERS and not opened:
        return False
    return headers <= _HEADERS and (not headers or bool(headers & _USUAL_HEADERS))


def _rewrite(program: str, includes: list[Token], outline: _Outline) -> str:
    assert outline.main_end is not None and outline.main_name is not None
    end, name = outline.main_end, outline.main_name
    text = program[: name.start] + "plm_main" + program[name.end : end.start] + "return 0;" + program[end.start :]
    for token in reversed(includes):  # all before main
        text = text[: token.start] + text[token.end :]
    return text


class _Outline:
    """Reads the declarations of a program that stand outside functions."""

    def __init__(self, tokens: list[Token], partners: dict[int, int]) -> None:
        self._tokens, self._partners = tokens, partners
        self.declared: set[str] = set()
        self.prototypes: set[str] = set()
        self.defined: set[str] = set()
        self.broken = False
        self.main_name: Token | None = None
        self.main_end: Token | None = None

    def read(self) -> bool:
        """Whether every declaration has a known form."""
        position = 0
        while position < len(self._tokens):
            after = self._read_one(position)
            if after is None:
                return False
            position = after
        return True

    def _read_one(self, start: int) -> int | None:
        first = self._text(start)
        if first == ";":
            return start + 1
        if first in _BEGINS_NOTHING or self._kind(start) in ("number", "string", "char"):
            self.broken = True
            return None
        if first in ("using", "typedef"):
            return self._read_alias(start)
        if first in ("struct", "class"):
            return self._read_struct(start)
        end = start
        while self._text(end) not in ("(", ";", "=", "{", "["):
            if end >= len(self._tokens):
                return None
            end += 1
        return self._read_function(start, end) if self._text(end) == "(" else self._read_variables(start)

    def _text(self, i: int) -> str:
        return self._tokens[i].text if i < len(self._tokens) else ""

    def _kind(self, i: int) -> str:
        return self._tokens[i].kind if i < len(self._tokens) else ""

    def _read_alias(self, start: int) -> int | None:
        end = start
        while self._text(end) not in (";", ""):
            end += 1
        words = [self._text(i) for i in range(start + 1, end)]
        if self._text(start) == "using" and words == ["namespace", "std"]:
            return end + 1
        if self._text(start) == "using" and words[1:2] == ["="]:
            name, type_ = words[0], words[2:]
        else:
            name, type_ = (words[-1], words[:-1]) if words and self._text(start) == "typedef" else ("", [])
        self.declared.add(name)
        known = _BASIC | _CONTAINERS | self.declared | {"<", ">", ">>", ",", "::", "std", "pair"}
        return end + 1 if name and type_ and set(type_) <= known else None

    def _read_struct(self, start: int) -> int | None:
        end = self._partners.get(start + 2)
        if end is None or self._text(start + 2) != "{" or self._kind(start + 1) != "word" or self._text(end + 1) != ";":
            return None
        if {self._text(i) for i in range(start + 3, end)} & {
            "static",
            "inline",
            "constexpr",
            "main",
            "namespace",
            "using",
        }:
            return None
        self.declared.add(self._text(start + 1))
        return end + 2

    def _read_function(self, start: int, bracket: int) -> int | None:
        name = self._tokens[bracket - 1]
        type_ = [self._tokens[i] for i in range(start, bracket - 1)]
        marks = {token.text for token in type_ if token.kind != "word"}
        close = self._partners[bracket]
        if name.kind != "word" or not type_ or not marks <= {"<", ">", ">>", ",", "::", "*", "&"}:
            return None
        if {token.text for token in type_} & {
            "constexpr",
            "using",
            "namespace",
            "return",
            "const_cast",
            "decltype",
            "auto",
        }:
            return None
        self.declared.add(name.text)
        if self._text(close + 1) == ";":
            self.prototypes.add(name.text)
            return close + 2 if self._text(bracket + 1) in (_BASIC | {")"}) and name.text != "main" else None
        end = self._partners.get(close + 1)
        if end is None or self._text(close + 1) != "{" or not self._has_plain_body(close + 2, end):
            return None
        self.defined.add(name.text)
        return end + 1 if name.text != "main" or self._take_main(type_, bracket, close, end) else None

    def _has_plain_body(self, start: int, end: int) -> bool:
        words = {self._text(i) for i in range(start, end) if self._kind(i) == "word"}
        if words & {"static", "constexpr", "inline", "main"}:
            return False
        return "namespace" not in words

    def _take_main(self, type_: list[Token], bracket: int, close: int, end: int) -> bool:
        arguments = [self._text(i) for i in range(bracket + 1, close)]
        if (
            [token.text for token in type_] != ["int"]
            or arguments not in ([], ["void"])
            or self._text(end - 1) not in "{};"
        ):
            return False
        self.main_name, self.main_end = self._tokens[bracket - 1], self._tokens[end]
        self.declared.discard("main")
        return True

    def _read_variables(self, start: int) -> int | None:
        """Reads variables that start as zero, empty or as a number, so that nothing of theirs can fail."""
        position, words = start, []
        while self._text(position) in (_BASIC | _CONTAINERS | {"const", "static", "std", "::", "<", ">", ">>", ","}):
            words.append(self._text(position))
            position += 1
        if not words:
            return None
        plain = set(words) <= _BASIC | {"const", "static"}
        while True:
            after = self._read_declarator(position, plain, "const" in words)
            if after is None or self._text(after) not in (",", ";"):
                return None
            if self._text(after) == ";":
                return after + 1
            position = after + 1

    def _read_declarator(self, position: int, plain: bool, constant: bool) -> int | None:
        """Reads a name and its value; arrays are refused, for an index out of range finds the neighbours' variables."""
        if self._kind(position) != "word":
            return None
        self.declared.add(self._text(position))
        position += 1
        if constant and self._text(position) != "=":
            return None
        if self._text(position) == "=" and plain:
            position += 1
            while self._kind(position) in ("number", "char") or self._text(position) in _PURE:
                position += 1
        return position
