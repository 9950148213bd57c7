# ruff: noqa: E501 (programs read better on one line)
"""Batched verdicts are those of compiling alone, whatever the neighbours are."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from plm.graders.code import CodeGrader
from plm.graders.cpp import MAX_BATCH, Compiler
from plm.graders.plain import Plain, make_plain
from plm.graders.runner import Limits, Session
from plm.graders.sandbox import find_isolation
from plm.graders.toolchain import load_toolchain

HEADS = [
    "#include <iostream>\nusing namespace std;\n",
    "#include <bits/stdc++.h>\nusing namespace std;\n",
    "#include <iostream>\n#include <vector>\n#include <algorithm>\nusing namespace std;\n",
    "using namespace std;\n",
]
BODIES = [
    "int main() { int n; cin >> n; long long s = 0; for (int i = 0, x; i < n; i++) { cin >> x; if (x % K == 0) s += x; } cout << s << endl; }",
    "int twice(int x) { return x * K; }\nint main() { int n; cin >> n; vector<int> a(n); for (auto& x : a) cin >> x; for (int x : a) cout << twice(x) << ' '; }",
    "struct P { int x, y; int sum() const { return x + y + K; } };\nint main() { int n; cin >> n; P p{n, K}; cout << p.sum(); return 0; }",
    "const int M = 1e9 + 7;\nmap<int, int> seen;\nlong long total, other = 5;\nint main() { int n; cin >> n; while (n--) { int x; cin >> x; seen[x % 7 + 7]++; total = (total * K + x) % M; } cout << total << seen[K % 14]; }",
    "typedef long long ll;\nll power(ll b, int e) { ll r = 1; while (e--) r = r * b % 1009; return r; }\nint main() { int n; cin >> n; cout << power(n, K); }",
    "int main() { string s, t; while (cin >> s) t = s + t; sort(t.begin(), t.end()); cout << t << K; }",
    "int f(int n);\nint main() { int n; cin >> n; cout << f(n) + K; }\nint f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }",
    "map<int, int> m;\nint main() { int n; cin >> n; while (n--) { int x; cin >> x; m[x]++; } for (auto& [k, v] : m) cout << k << ':' << v * K << '\\n'; }",
    "int main() { int n; cin >> n; auto g = [&](int x) { return x > K ? x - K : K - x; }; cout << g(n) << \" }{ \" << '}'; /* } */ }",
]
# each must be handled like a program of its own; the comment says what it would do to a batch
HOSTILE = [
    "int gcd(int a, int b) { return b ? gcd(b, a % b) : a; }\nint main() { cout << gcd(12, 18); }",  # hides std::gcd
    "int count;\nint main() { count = 3; cout << count; }",  # ambiguous, but not in a namespace
    "}\nnamespace q {\nint main() { cout << 1; }",  # closes its namespace
    "int main() { cout << 1; } }",
    "struct A { A() { exit(0); } } a;\nint main() { cout << 1; }",  # ends every program
    "struct A { A() { for (;;); } } a;\nint main() { cout << 1; }",
    "struct A { A() { cout << 5; } } a;\nint main() { cout << 1; }",  # prints for every program
    "int zero;\nint x = 1 / zero;\nint main() { cout << 1; }",
    "int f() { cout << 7; return 1; }\nint x = f();\nint main() { cout << x; }",
    "#define int long\nsigned main() { int x = 1; cout << sizeof x; }",
    "#define main other\nint main() { cout << 1; }",
    "#undef cout\n#define cout cerr\nint main() { cout << 1; }",
    "#pragma GCC poison vector\nint main() { cout << 1; }",
    "#if 0\nint main() { cout << 1; }",
    "#line 1 \"plm_p0\"\nint main() { undeclared; }",
    "#error plm_p0:1:1: error: nothing\nint main() {}",
    'extern "C" int puts(const char*) { return 0; }\nint main() { printf("%d\\n", 1); }',
    'extern "C" void exit(int) { for (;;); }\nint main() { cout << 1; }',
    "void* operator new(size_t n) { return nullptr; }\nint main() { cout << 1; }",
    "asm(\".globl plm_programs\");\nint main() { cout << 1; }",
    "int main() { asm(\".section .text; ret\"); cout << 1; }",
    "extern int (*const plm_programs[])();\nint main() { cout << plm_programs[0](); }",
    "namespace plm_p1 { int plm_main(); }\nint main() { cout << plm_p1::plm_main(); }",
    "int main() { cout << ::plm_p0::plm_main(); }",
    "int main() { auto s = R\"x(} } })x\"; cout << s; }",
    "int main() { cout << 1; // comment \\\n}\n}",
    "int main() <% cout << 1; %>",
    "int main() ??< cout << 1; ??>",
    "[[noreturn]] int f() { exit(0); }\nint main() { cout << 1; f(); }",
    "int main() { if (1) }",
    "int main() { cout << 1; end: }",
    "int main() { cout << 1; return }",
    "int main() { int x = 1",
    "int main() { string s = \"abc; cout << s; }",
    "struct A { int x; }\nint main() { cout << 1; }",
    "int f()\nint main() { cout << 1; }",
    "template <int N> struct T { T<N + 1> t; };\nint main() { T<0> t; cout << 1; }",
    "int f(int);\nint main() { cout << f(1); }",  # fails at link time
    "struct A { void f(); };\nint main() { A a; a.f(); cout << 1; }",
    "struct A { int x; };\nint main() { set<A> s; s.insert(A{1}); cout << 1; }",  # the error is in a header
    "struct A { int x; };\nint main() { vector<A> v(3); sort(v.begin(), v.end()); cout << 1; }",
    "auto main() -> int { cout << 1; }",
    "void main() { cout << 1; }",
    "int main(int argc, char** argv) { cout << argc; }",
    "int main() { cout << 1; main(); }",
    "int main() { cout << 1; return 1; }",
    "int main() { cout << 1; abort(); }",
    "int main() { static int a[1 << 28]; cout << a[5]; }",
    "int a[1 << 29];\nint main() { cout << a[5]; }",
    "int a[10];\nint main() { int s = 0; for (int i = -2000; i < 2000; i++) s += a[i]; cout << s; }",
    "int main() { int x; cout << x; }",
    "int main() { constexpr auto f = [] { int i = 0; while (true) i++; return i; }(); cout << f; }",
    "class string { };\nint main() { cout << 1; }",
    "int max(int a, int b) { return a; }\nint main() { cout << max(1, 2); }",
    "int y1 = 3;\nint main() { cout << y1; }",
    "int abs(int x) { return 5; }\nint main() { cout << abs(-1); }",
    "int main() { cout << abs(-2.5) << pow(2, 3) << INT_MAX; }",
    "static int hidden = 3;\nint main() { hidden++; cout << hidden; }",
    "inline int f() { return K; }\nint main() { cout << f(); }",
    "union U { int i; float f; };\nint main() { U u; u.i = 1; cout << u.i; }",
    "int main() { cout << __LINE__ << __FILE__; }",
    "int main() { ofstream f(\"x\"); f << 1; cout << 1; }",
    "int main() { thread t([] {}); t.join(); cout << 1; }",
    "friend int main() { cout << 1; }",
    "int main() { return 0; } int main() { return 1; }",
    "\x00int main() { cout << 1; }",
    "int main() { cout << \"\u00e9\"; /* \u00e9 */ }",
    "int \u00e9 = 1; int main() { cout << \u00e9; }",
    "int main() { cout << 1; /* no end }",
    "struct P { int x, y; P() {} };\nint main() { cout << P().y; P* p = new P; cout << p->x; }",
    "string f(int x) { if (x > 9) return \"a\"; }\nint main() { cout << f(3); }",
    "__attribute__((section(\".interp\"))) const char x[4] = {1, 2, 3, 4};\nint main() { cout << 1; }",  # not executable
]  # fmt: skip
# with heads of their own: what the headers that a program names, and no others, make of it
HEADERS = [
    "#include <iostream>\n#include <math.h>\nint main() { std::cout << abs(-2.5) << sizeof(sqrt(2.0f)) << isnan(0.5f); }",
    "#include <iostream>\n#include <stdlib.h>\nint main() { std::cout << abs(-2.5); }",
    "#include <iostream>\n#include <math.h>\nusing namespace std;\nint main() { cout << abs(-2.5) << pow(2, 3); }",
    "#include <iostream>\n#include <cmath>\nint main() { std::cout << abs(-2.5) << sqrt(2.0f); }",
    "#include <iostream>\nusing namespace std;\n// bits/stdc++.h\nint main() { vector<int> v{3, 1}; sort(v.begin(), v.end()); cout << v[0]; }",
    "#include <iostream>\nint main() { std::vector<int> v{3, 1}; std::cout << v[0]; }\n// #include <bits/stdc++.h>\n",
    "int main() { printf(\"%d\", 3); }",
    "#include <bits/stdc++.h>\n#include <bits/stdc++.h>\nint main() { std::cout << 1; }",
]  # fmt: skip
INPUT = "5\n3 14 15 92 6\n"


def mutate(program, rng):
    """Deletes, doubles or replaces a piece, as a weak model would."""
    start = rng.randrange(len(program))
    end = min(len(program), start + rng.choice([1, 1, 1, 2, 5, 12]))
    new = rng.choice(
        ["", "", program[start:end] * 2, rng.choice([";", "}", "{", ")", "int ", "x", "0", "<", "&", "::", '"'])]
    )
    return program[:start] + new + program[end:]


def make_programs(count, seed=0):
    rng = random.Random(seed)
    for i in range(count):
        program = rng.choice(HEADS) + rng.choice(BODIES).replace("K", str(rng.randrange(1, 20))) + "\n"
        for _ in range(rng.choice([0, 1, 1, 2]) if i % 3 else 0):
            program = mutate(program, rng)
        yield program


@pytest.fixture
def compiler(tmp_path):
    tools = load_toolchain()
    return Compiler(tools, find_isolation(tools.launcher, unsafe=False), tmp_path)


def run(compiler, compiled):
    """How the program ends and what it writes, with room for a slow machine."""
    if compiled is None:
        return "compile", b""
    with Session(compiler.toolchain, compiler.isolation, compiled, Limits(cpu_seconds=1.0)) as session:
        outcome = session.run(compiled.index, INPUT.encode())
    return outcome.reason, b"" if outcome.reason == "timeout" else outcome.output


def find_differences(compiler, programs):
    """Compiles what is plain both ways; what is not plain has only one way."""
    tools = compiler.toolchain
    made = {i: make_plain(program, tools.names, tools.macros) for i, program in enumerate(programs)}
    plain = {i: one for i, one in made.items() if isinstance(one, Plain)}
    verdicts = {i: ("compile", b"") for i, one in made.items() if one == "broken"}
    keys = list(plain)
    for start in range(0, len(keys), MAX_BATCH):
        compiled, _ = compiler.compile_batch({key: plain[key] for key in keys[start : start + MAX_BATCH]})
        verdicts |= {key: run(compiler, one) for key, one in compiled.items()}

    def compare(key):
        alone = run(compiler, compiler.compile_alone(programs[key]))
        return None if alone == verdicts[key] else (programs[key], alone, verdicts[key])

    with ThreadPoolExecutor(2) as pool:
        return [one for one in pool.map(compare, verdicts) if one is not None], verdicts


def test_headers_mean_what_they_mean_alone(compiler):
    different, _ = find_differences(compiler, HEADERS)
    assert different == []
    assert run(compiler, compiler.compile_alone(HEADERS[0])) == ("exit", b"2.540")
    for program in (HEADERS[4], HEADERS[-1]):
        assert run(compiler, compiler.compile_alone(program)) == ("exit", b"1")


def test_a_failed_compilation_leaves_nothing(compiler):
    assert compiler.compile_alone("int main() { undeclared; }") is None
    assert list(compiler.folder.iterdir()) == []


def test_comments_without_an_end_take_no_time():
    start = time.monotonic()
    assert make_plain("main " + "/* " * 6000, frozenset(), frozenset()) == "alone"
    assert time.monotonic() - start < 0.5


def test_without_main_nothing_is_compiled_and_nothing_else_is_taken_for_that(compiler):
    spelled = [
        "int ma\\\nin() {}",
        'int f() asm("ma" "in");\nint f() { return 0; }',
        "#define JOIN(a, b) a##b\nint JOIN(ma, in)() {}",
    ]
    assert all(make_plain(program, frozenset(), frozenset()) != "broken" for program in spelled)
    assert [run(compiler, compiler.compile_alone(program)) for program in spelled] == [("exit", b"")] * 3
    rng = random.Random(0)
    pieces = [
        "{",
        "}",
        "(",
        ")",
        ";",
        "int f() { return 0; }",
        "cout",
        "é",
        "\\ x",
        "\x00",
        "#if 0\n",
        '"',
        "<%",
        "struct A {};",
        "\n",
    ]
    garbage = ["".join(rng.choices(pieces, k=30)) for _ in range(10)] + ["int f() {}", 'extern "C" void _start() {}']
    assert {make_plain(program, frozenset(), frozenset()) for program in garbage} == {"broken"}
    assert [compiler.compile_alone(program) for program in garbage] == [None] * len(garbage)


def test_what_the_embedded_task_calls_shares_a_translation_unit(compiler):
    names = (compiler.toolchain.names, compiler.toolchain.macros)
    head = "#include <bits/stdc++.h>\nusing namespace std;\n"
    bodies = ['string w; cin >> w; cout << (strchr("aeiou", w[0]) != 0);', "cout << __gcd(12LL, 18LL);"]
    programs = [f"{head}int main() {{ {body} }}" for body in bodies]
    assert all(isinstance(make_plain(program, *names), Plain) for program in programs)
    own = f"{head}int __gcd(int a, int b) {{ return 7; }}\nint main() {{ cout << __gcd(12, 18); }}"
    assert make_plain(own, *names) == "alone"
    assert make_plain(f"{head}int main() {{ cout << __lg(8); }}", *names) == "alone"


def test_what_is_broken_at_its_beginning_is_not_compiled_whatever_follows(compiler):
    names = (compiler.toolchain.names, compiler.toolchain.macros)
    fine = [
        'int main() { auto s = R"(")"; return s[1] != 0; } ',
        "int main() { return 0; } // it's\n",
        "#define QUOTE '\nint main() {}",
        'int main() { return sizeof LR"(\n)" == 0; }',
        "int main() { /* ` @ \x01 # */ return 0; }\n /* */ #include <cmath>\n",
        "int \ufffd = 0; int main() { return \ufffd; }",
        "int a$b = 0; ; int main() { return a$b; }",
        "int main() { /* \n */\n#include <cmath>\nreturn 0; }",
        "int x\\u00e9 = 0; int main() { return x\\u00e9; }",
        "#include <pthread.h>\nint main() { pthread_cleanup_push(0, 0); return 0; while (0); }",
    ]
    assert all(make_plain(program, *names) != "broken" for program in fine)
    assert compiler.compile_alone("int main() { return 1'0; }") and make_plain("int main() { return 1'0; }", *names)
    # a directive begins a line, a declaration begins with a name, a number ends before a quote
    for program in [
        "int main() { int x; x #include <cmath>\n; }",
        "1;\nint main() {}",
        "int y;\n+ 1, k;\nint main() {}",
        "int main() { int n = 5 % 10') ; }",
        "int main() { int n = 5\\f; }",
    ]:
        assert make_plain(program, *names) == "broken"
        assert compiler.compile_alone(program) is None
    # a function of the headers stands for no bracket, a macro may
    assert make_plain("int main() { read(; }", *names) == "broken"
    assert make_plain("int main() { va_arg(; }", *names) == "alone"
    rng = random.Random(1)
    pieces = [
        "main",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        "int ",
        "'",
        '"',
        "é",
        "\ufffd",
        "\x01",
        "\\",
        "`",
        "#if 0\n",
        " #include <cmath>\n",
        "cout",
        "<<",
        "x",
        "\n",
        " ",
        "R",
        "1",
    ]
    garbage = ["main" + "".join(rng.choices(pieces, k=rng.randrange(4, 60))) for _ in range(200)]
    broken = [program for program in garbage if make_plain(program, *names) == "broken"]
    assert len(broken) > 60
    assert [program for program in broken[:25] if compiler.compile_alone(program)] == []


def test_names_in_other_letters_share_a_translation_unit(compiler):
    names = (compiler.toolchain.names, compiler.toolchain.macros)
    bodies = ["int \ufffd = 7, \u00e9t\u00e9 = 1; cout << \ufffd + \u00e9t\u00e9;", "int a$ = 3; cout << a$;"]
    bodies += [
        "cout << x\ufffd5;",
        "cout << 10\ufffd;",
        "int \u2192 = 1; cout << \u2192;",
        "int x\uffff = 1; cout << x\uffff;",
    ]
    programs = [f"{HEADS[0]}int main() {{ {body} }}" for body in bodies]
    assert all(isinstance(make_plain(program, *names), Plain) for program in programs)
    different, verdicts = find_differences(compiler, programs)
    assert different == []
    assert [verdicts[i] for i in range(2)] == [("exit", b"8"), ("exit", b"3")]
    assert [verdicts[i][0] for i in range(2, 6)] == ["compile"] * 4


def test_nobody_is_suspected_before_the_guilty_are_gone(compiler):
    tools = compiler.toolchain
    good = [f"{HEADS[1]}long long n;\nint main() {{ cout << {i}; }}" for i in range(4)]
    guilty = f"{HEADS[1]}long long x, s;\nint main() {{ cin >> x - s; n = 1; }}"  # an error in a header, and the n of the others
    programs = {i: make_plain(one, tools.names, tools.macros) for i, one in enumerate([*good, guilty])}
    compiled, alone = compiler.compile_batch(programs)
    assert alone == []
    assert [run(compiler, compiled[i]) for i in range(4)] == [("exit", str(i).encode()) for i in range(4)]
    assert compiled[4] is None


def test_what_no_header_can_mend_is_compiled_once(compiler, monkeypatch):
    sources = []
    compile_ = Compiler._compile

    def count(self, folder, words, *rest):
        sources.append(words)
        return compile_(self, folder, words, *rest)

    monkeypatch.setattr(Compiler, "_compile", count)
    assert compiler.compile_alone("int main() { return ` 0; }") is None
    assert len(sources) == 1
    assert compiler.compile_alone("int main() { vector<int> v; return 0; }") is None  # std:: is missing, too
    assert len(sources) == 3


def make_hostile():
    return [HEADS[0] + program.replace("K", "3") + "\n" for program in HOSTILE]


def test_hostile_programs_are_judged_as_if_alone(compiler):
    different, verdicts = find_differences(compiler, make_hostile())
    assert different == []
    assert len(verdicts) < len(HOSTILE) / 2  # most must not enter a batch at all


def test_hostile_programs_do_not_change_their_neighbours(problem):
    hostile = make_hostile()[::3]
    good = [HEADS[0] + f"int main() {{ int n; cin >> n; cout << n * {i}; }}\n" for i in range(len(hostile))]
    mixed = [program for pair in zip(good, hostile, strict=True) for program in pair]
    problems = [problem((INPUT, str(5 * (i // 2)))) for i in range(len(mixed))]
    grades = CodeGrader().grade(problems, mixed)
    assert [grade.reason for grade in grades[::2]] == ["correct"] * len(good)


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_programs_are_judged_as_if_alone(compiler, count):
    different, verdicts = find_differences(compiler, list(make_programs(count, seed=count)))
    assert different == []
    assert len(verdicts) > count / 2
    assert {reason for reason, _ in verdicts.values()} >= {"exit", "compile"}


def test_every_template_is_plain():
    names = (load_toolchain().names, load_toolchain().macros)
    for head in HEADS:
        for body in BODIES:
            assert isinstance(make_plain(head + body.replace("K", "3"), *names), Plain), body


def test_lines_and_strings_survive():
    tools = load_toolchain()
    made = make_plain('#include <iostream>\nint main() {\n  std::cout << "main }";\n}\n', tools.names, tools.macros)
    assert isinstance(made, Plain)
    assert made.text == '\nint plm_main() {\n  std::cout << "main }";\nreturn 0;}\n'
