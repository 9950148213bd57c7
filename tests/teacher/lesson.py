"""Ten small problems of our own in the columns of APPS and MBPP, and a teacher that is scripted for them."""

import json
import re

from tests.teacher.server import said

ADD = "a, b = map(int, input().split())\nprint(a + b)\n"
ADD_TESTS = {"inputs": ["1 2\n", "10 -4\n"], "outputs": ["3\n", "6\n"]}


def apps(number, question, tests=None, solution=ADD, difficulty="introductory"):
    return {
        "problem_id": number, "question": question, "solutions": json.dumps([solution] if solution else []),
        "input_output": json.dumps(ADD_TESTS if tests is None else tests), "difficulty": difficulty,
        "starter_code": "", "url": "",
    }  # fmt: skip


def mbpp(number, text, code, *tests):
    return {"task_id": number, "text": text, "code": code, "test_list": list(tests), "test_setup_code": ""}


BACKWARDS = {"fn_name": "backwards", "inputs": [["abc"], ["hi there"]], "outputs": ["cba", "ereht ih"]}
TWICE = "def twice(x):\n    return 2 * x\n"
APPS = [
    apps(1, "SUM: add two numbers."),
    apps(2, "BACKWARDS: a text from its end.", BACKWARDS, "def backwards(text):\n    return text[::-1]\n"),
    apps(3, "LIAR: add two numbers.", solution="a, b = map(int, input().split())\nprint(a - b)\n"),
    apps(4, "HARD: add two numbers."),
    apps(5, "OLD: add two numbers.", solution="print 3\n"),
    apps(6, "OLYMPIC: add two numbers.", difficulty="competition"),
    apps(7, "UNTESTED: add two numbers.", tests={}),
]
MBPP = [
    mbpp(8, "TWICE: two times a number.", TWICE, "assert twice(3) == 6", "assert twice(-1) == -2"),
    mbpp(9, "FIXED: two times a number.", TWICE, "assert twice(3) == 6", "assert twice(5) == 10"),
    mbpp(10, "MUMBLE: two times a number.", TWICE, "assert twice(3) == 6"),
]
KEPT = ["apps-apps-1", "apps-apps-2", "apps-apps-5", "mbpp-8", "mbpp-9"]

START = "#include <bits/stdc++.h>\nusing namespace std;\nint main() {\n"
CPP = {
    "SUM": "long a, b; cin >> a >> b; cout << a + b << endl;",
    "OLD": "long a, b; cin >> a >> b; cout << a + b;",
    "HARD": "long a, b; cin >> a >> b; cout << a * b;",
    "BACKWARDS": "string s; getline(cin, s); reverse(s.begin(), s.end()); cout << s << endl;",
    "TWICE": "long x; cin >> x; cout << 2 * x << endl;",
    "FIXED": "long x; cin >> x; cout << x + x << endl;",
}
GLUE = {"BACKWARDS": "print(backwards(input()))", "TWICE": "print(twice(int(input())))"}
TESTS = {
    "BACKWARDS": [("abc", "cba"), ("hi there", "ereht ih")],
    "TWICE": [("3", "6"), ("-1", "-2")],
    "FIXED": [("3", "6"), ("5", "10")],
    "WRONG": [("3", "6"), ("5", "25")],
}


def program(name, note=""):
    return f"{note}{START}{CPP[name]}\n}}\n"


def translation(name, tests="", glue=""):
    parts = [f"<statement>\n{name}: as a program.\n</statement>"]
    pairs = TESTS.get(tests, [])
    parts += [f"<test>\n<input>\n{a}\n</input>\n<output>\n{b}\n</output>\n</test>" for a, b in pairs]
    return "\n".join([*parts, *([f"<python>\n{glue}\n</python>"] if glue else [])])


def teach(path, body):
    """The teacher: every name gets its reply."""
    talk = body["messages"]
    name = re.search(r"\b[A-Z]{3,}(?=:)", talk[0]["content"])[0]
    if talk[0]["content"].startswith("Solve"):
        return said(*solutions(name, body["temperature"], body.get("n", 1)))
    if name == "MUMBLE":
        return said("I would rather not.")
    if name == "FIXED":
        return said(translation(name, "WRONG" if len(talk) == 1 else "FIXED", GLUE["TWICE"]))
    return said(translation(name, name, GLUE.get(name, "")))


def solutions(name, temperature, n):
    if temperature == 0:
        return [f"Here it is:\n```cpp\n{program(name)}```\n"]
    texts = [program(name), program(name, "// shorter\n"), program(name), "No idea."]
    return [texts[i % 4] for i in range(n)]
