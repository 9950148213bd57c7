"""Small problems with correct programs, as `plm prepare code` makes them, and a teacher that breaks them by script."""

import json
import re

from tests.teacher.server import said

START = "#include <bits/stdc++.h>\nusing namespace std;\nint main() {\n"


def cpp(body):
    return f"{START}{body}\n}}\n"


SUM, TWICE = "long a, b; cin >> a >> b; cout << a + b << endl;", "long x; cin >> x; cout << 2 * x << endl;"
BODIES = {
    "SUM": SUM,
    "TWICE": TWICE,
    "CRASH": SUM,
    "LATE": SUM,
    "TAME": TWICE,
    "SYNTAX": SUM,
    "MUTE": SUM,
    "LIAR": TWICE,
}
TESTS = {SUM: [("1 2\n", "3\n"), ("10 -4\n", "6\n")], TWICE: [("3\n", "6\n"), ("-1\n", "-2\n")]}
# what the teacher makes of each: its bodies at the first and at the second attempt
BREAKS = {
    "SUM": ["long a, b; cin >> a >> b; cout << a - b << endl; // a sign"],
    "TWICE": ["long x; cin >> x; cout << 3 * x << endl;"],
    "CRASH": ["long a, b; cin >> a >> b; if (b < 0) abort(); cout << a + b << endl;"],
    "LATE": ["long a, b; cin >> a >> b; cout << b + a << endl;", "long a, b; cin >> a >> b; cout << a << endl;"],
    "TAME": ["long x; cin >> x; cout << x + x << endl;"],
    "SYNTAX": ["long a, b; cin >> a >> b cout << a;"],
}
KEPT = {"SUM": "wrong", "TWICE": "wrong", "CRASH": "crash", "LATE": "wrong"}


def problems():
    """Rows of `CodeFiles`; the program of LIAR, which should be correct, is not, and EMPTY has none."""
    for name, body in BODIES.items():
        tests = [{"input": given, "output": wanted} for given, wanted in TESTS[body]]
        reference = cpp("cout << 0;" if name == "LIAR" else body)
        yield {"id": name.lower(), "prompt": f"{name}: as a program.", "tests": tests, "reference": reference}
    yield {"id": "empty", "prompt": "EMPTY: nothing.", "tests": [{"input": "", "output": "1\n"}], "reference": ""}


def write_problems(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in problems()))
    return path


def critique(name):
    return f"In {name} the last line does not compute what is asked for."


def reply(name, attempt=0):
    bodies = BREAKS[name]
    body = bodies[min(attempt, len(bodies) - 1)]
    return f"<program>\n{cpp(body)}</program>\n<critique>\n{critique(name)}\n</critique>"


def teach(path, body):
    """The teacher: every name gets its reply."""
    talk = body["messages"]
    name = re.findall(r"\b([A-Z]{3,}): as a program", talk[0]["content"])[-1]
    return said("I would rather not." if name == "MUTE" else reply(name, (len(talk) - 1) // 2))
