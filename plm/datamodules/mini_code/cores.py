"""Cores on integers: the question, the C++ and, written independently of it, the answer in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from plm.datamodules.mini_code.spec import Core

Ints = Sequence[int]


def runs(positions: Ints) -> Iterator[int]:
    """Lengths of the runs of consecutive positions."""
    length = 0
    for here, after in pairwise([*positions, -1]):
        length += 1
        if after != here + 1:
            yield length
            length = 0


def best_stretch(values: Ints) -> int:
    """Largest sum of a contiguous stretch; the empty stretch has 0."""
    sums = [0, *accumulate(values)]
    return max(late - early for early, late in zip(accumulate(sums, min), sums, strict=True))


def gaps(values: Ints) -> list[int]:
    """Distances between neighbours."""
    return [abs(b - a) for a, b in pairwise(values)]


TOTAL = Core("sum", (("find the sum", "find the sum of {items}"),), "s += x;", lambda _, v: sum(v))
COUNT = Core("count", (("count them", "count {items}"),), "s++;", lambda _, v: len(v), by_value=False)
MAXIMUM = Core(
    "maximum",
    (("find the maximum (zero if none)", "find the maximum (zero if none) of {items}"),),
    "if (!k++ || x > s) s = x;",
    lambda _, v: max(v, default=0),
    names="k",
)
MINIMUM = Core(
    "minimum",
    (("find the minimum (zero if none)", "find the minimum (zero if none) of {items}"),),
    "if (!k++ || x < s) s = x;",
    lambda _, v: min(v, default=0),
    names="k",
)
LISTING = Core(
    "list",
    (("print them one per line", "print one per line {items}"),),
    "cout << x << endl;",
    lambda _, v: list(v),
    "list",
)
FIRST = Core(
    "first",
    (("find the first one (zero if none)", "find the first (zero if none) of {items}"),),
    "if (!k++) s = x;",
    lambda _, v: next(iter(v), 0),
    names="k",
)
LAST = Core(
    "last",
    (("find the last one (zero if none)", "find the last (zero if none) of {items}"),),
    "s = x;",
    lambda _, v: next(reversed(v), 0),
)
SPREAD = Core(
    "spread",
    (("find maximum minus minimum (zero if none)", "find maximum minus minimum (zero if none) of {items}"),),
    "t.insert(x);",
    lambda _, v: max(v, default=0) - min(v, default=0),
    setup="set<long long> t;\n",
    end="if (t.size()) s = *t.rbegin() - *t.begin();",
    by_value=False,
)
DISTINCT = Core(
    "distinct",
    (("count the distinct ones", "count the distinct values of {items}"),),
    "t.insert(x);",
    lambda _, v: len(set(v)),
    setup="set<long long> t;\n",
    end="s = t.size();",
    by_value=False,
)
FIRST_POSITION = Core(
    "firstpos",
    (("find the position of the first (zero if none)", "find the position of the first (zero if none) of {items}"),),
    "if (!s) s = i;",
    lambda p, _: next(iter(p), 0),
    by_value=False,
    needs_keep=True,
)
LAST_POSITION = Core(
    "lastpos",
    (("find the position of the last (zero if none)", "find the position of the last (zero if none) of {items}"),),
    "s = i;",
    lambda p, _: next(reversed(p), 0),
    by_value=False,
    needs_keep=True,
)
LONGEST_RUN = Core(
    "run",
    (("find the length of the longest run", "find the length of the longest run of {items}"),),
    "k = i == p + 1 ? k + 1 : 1;\np = i;\ns = max(s, k);",
    lambda p, _: max(runs(p), default=0),
    names="kp",
    by_value=False,
    needs_keep=True,
)
RISES = Core(
    "rises",
    (("count those above the one before", "count those of {items} above the one before"),),
    "if (k++ && x > p) s++;\np = x;",
    lambda _, v: sum(b > a for a, b in pairwise(v)),
    names="kp",
    by_value=False,
)
ALTERNATING = Core(
    "alternating",
    (("find the alternating sum", "find the alternating sum of {items}"),),
    "s += k++ % 2 ? -x : x;",
    lambda _, v: sum(v[::2]) - sum(v[1::2]),
    names="k",
)
WEIGHTED = Core(
    "weighted",
    (("find the sum weighted by position", "find the sum, weighted by position, of {items}"),),
    "s += i * x;",
    lambda p, v: sum(a * b for a, b in zip(p, v, strict=True)),
)
BEST_STRETCH = Core(
    "stretch",
    (("find the best contiguous sum (at least zero)", "find the best contiguous sum (at least zero) of {items}"),),
    "k = max(k + x, 0LL);\ns = max(s, k);",
    lambda _, v: best_stretch(v),
    names="k",
)
BEST_PREFIX = Core(
    "prefix",
    (("find the best prefix sum (at least zero)", "find the best prefix sum (at least zero) of {items}"),),
    "k += x;\ns = max(s, k);",
    lambda _, v: max(0, *accumulate(v)) if v else 0,
    names="k",
)
LARGEST_GAP = Core(
    "gap",
    (("find the largest gap between neighbours", "find the largest gap between neighbours of {items}"),),
    "if (k++) s = max(s, abs(x - p));\np = x;",
    lambda _, v: max(gaps(v), default=0),
    names="kp",
    by_value=False,
)
MAGNITUDE = Core(
    "absolute",
    (("find the sum of absolute values", "find the sum of absolute values of {items}"),),
    "s += abs(x);",
    lambda _, v: sum(map(abs, v)),
)
RUNNING = Core(
    "running",
    (("print the running sums", "print the running sums of {items}"),),
    "s += x;\ncout << s << endl;",
    lambda _, v: list(accumulate(v)),
    "list",
)
BACKWARDS = Core(
    "backwards",
    (("print them backwards", "print backwards {items}"),),
    "v.insert(v.begin(), x);",
    lambda _, v: list(v[::-1]),
    "list",
    setup="vector<long long> v;\n",
    end="for (auto y : v) cout << y << endl;",
)
ASCENDING = Core(
    "ascending",
    (("print them in ascending order", "print in ascending order {items}"),),
    "v.push_back(x);",
    lambda _, v: sorted(v),
    "list",
    setup="vector<long long> v;\n",
    end="sort(v.begin(), v.end());\nfor (auto y : v) cout << y << endl;",
)
DESCENDING = Core(
    "descending",
    (("print them in descending order", "print in descending order {items}"),),
    "v.push_back(x);",
    lambda _, v: sorted(v, reverse=True),
    "list",
    setup="vector<long long> v;\n",
    end="sort(v.rbegin(), v.rend());\nfor (auto y : v) cout << y << endl;",
)
ITSELF = Core("value", (("find it", "find {items}"),), "s = x;", lambda _, v: v[0])
