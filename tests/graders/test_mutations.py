# ruff: noqa: E501 (programs read better on one line)
"""Batched verdicts are those of compiling alone for programs as models write them: real ones, mutated token by token."""

import random
import re

import pytest

from plm.datamodules.mini_code import build_problems
from plm.graders.cpp import Compiler
from plm.graders.sandbox import find_isolation
from plm.graders.toolchain import load_toolchain
from tests.graders.test_batching import find_differences, run

HEAD = "#include <iostream>\n#include <vector>\nusing namespace std;\n"
PROGRAMS = [
    'int main() { int n; scanf("%d", &n); int s = 0, x; while (scanf("%d", &x) == 1) s += x; printf("%d %.3f\\n", s, s / 3.0); return 0; }',
    "int main() { ios::sync_with_stdio(false); cin.tie(nullptr); int n; cin >> n; vector<long long> v(n); for (auto& x : v) cin >> x; cout << *max_element(v.begin(), v.end()) << '\\n'; }",
    "struct Node { int v; Node* l; Node* r; Node(int x) : v(x), l(nullptr), r(nullptr) {} };\nNode* add(Node* t, int x) { if (!t) return new Node(x); if (x < t->v) t->l = add(t->l, x); else t->r = add(t->r, x); return t; }\nint main() { int n, x; cin >> n; Node* t = nullptr; while (n-- && cin >> x) t = add(t, x); while (t->l) t = t->l; cout << t->v; }",
    "bool isPrime(int n) { if (n < 2) return false; for (int i = 2; i * i <= n; i++) if (n % i == 0) return false; return true; }\nint main() { int n, x, c = 0; cin >> n; for (int i = 0; i < n; i++) { cin >> x; c += isPrime(x); } cout << c << endl; return 0; }",
    "map<string, vector<int>> idx;\nset<int> seen;\nint total = 0, best = -1;\nvoid note(const string& k, int v) { idx[k].push_back(v); seen.insert(v); total += v; best = max(best, v); }\nint main() { int n, x; cin >> n; while (cin >> x) note(to_string(x % 10), x); for (const auto& p : idx) cout << p.first << ':' << p.second.size() << ' '; cout << total << ' ' << best << ' ' << seen.size(); }",
    "class Stack { private: vector<int> d; public: void push(int x) { d.push_back(x); } int pop() { int x = d.back(); d.pop_back(); return x; } bool empty() const { return d.empty(); } };\nint main() { int n, x; cin >> n; Stack s; while (n--) { cin >> x; s.push(x); } while (!s.empty()) cout << s.pop() << \"\\n\"; }",
    "int main() { int n; cin >> n; string bits; while (n > 0) { bits = char('0' + n % 2) + bits; n /= 2; } for (char c : bits) putchar(c); cout << sqrt(2.0) << ' ' << abs(-2.5) << hex << 255 << endl; }",
    "int main() { int n; cin >> n; try { vector<int> v; v.at(n) = 1; } catch (const out_of_range& e) { cout << \"range\"; } if (n == 5) throw runtime_error(\"x\"); }",
]  # fmt: skip
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\w+|\s+|//[^\n]*|<<|>>|::|->|&&|\|\||[-+*/%=!<>]=|\+\+|--|.', re.DOTALL)
SNIPPETS = """; } { ) ( < > & :: " ' /* */ // \\ # ``` return int long\u00a0long string static const auto std:: main struct template
operator using namespace exit(1); abort(); assert(false); for(;;); while(true)cout<<1; cin.tie(0); else break; default: case\u00a03: 0 1e18
'a' L"x" R"( ?? % / [ ] [-1] , ? sizeof this goto friend virtual try{ catch(...){} __func__ NULL y1 count size left max abs(-2.5)
int\u00a0q[5];cout<<q[3]; freopen("a.txt","r",stdin); struct\u00a0Q{int\u00a0a;}; int\u00a0helper(){return\u00a01;}""".split()
TYPES = ["int", "long long", "double", "char", "bool", "string", "auto", "void", "size_t", "vector<int>"]
NAMES = [
    "count",
    "max",
    "y1",
    "prime",
    "size",
    "left",
    "hash",
    "next",
    "time",
    "index",
    "gcd",
    "swap",
    "abs",
    "end",
    "ans",
]


def mutate(program, rng):
    """One slip of a model: a token, a name, a type, a line, the end, the head."""
    tokens = TOKEN.findall(program)
    at = rng.randrange(len(tokens))
    kind = rng.randrange(9)
    if kind == 0:
        del tokens[at : at + rng.choice([1, 1, 2, 4])]
    elif kind == 1:
        tokens[at:at] = tokens[at : at + rng.choice([1, 2, 5])]
    elif kind in (2, 3):
        tokens.insert(at, f" {rng.choice(SNIPPETS)} ".replace("\u00a0", " "))
        del tokens[at + 1 : at + kind - 1]
    elif kind == 4:
        tokens = [rng.choice(TYPES) if token in TYPES and rng.random() < 0.3 else token for token in tokens]
    elif kind == 5:
        old, new = (rng.choice([*filter(str.isidentifier, tokens)]), rng.choice(NAMES))
        tokens = [new if token == old else token for token in tokens]
    elif kind == 6:
        return program[: rng.randrange(len(program))] + rng.choice(["", "}", "\n```\n"])
    elif kind == 7:
        tokens = [token for token in tokens if token not in "{}();" or rng.random() < 0.95]
    else:
        old, new = rng.choice(
            [("using namespace std;", ""), ("#include", "// #include"), ("int main()", "void main()"), ("std::", ""),
             ("return 0;", ""), ("#include", "#include <math.h>\n#include"), ("\n", "\r\n"), ("cout", "std::cout")]
        )  # fmt: skip
        return program.replace(old, new)
    return "".join(tokens)


def make_programs(count, seed):
    rng = random.Random(seed)
    sources = [problem.reference for problem in build_problems(40, seed)] + [HEAD + text for text in PROGRAMS] * 5
    for _ in range(count):
        program = rng.choice(sources)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            program = mutate(program, rng) or "x"
        yield program


@pytest.mark.parametrize("count", [80, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_programs_are_judged_as_if_alone(tmp_path, count):
    tools = load_toolchain()
    compiler = Compiler(tools, find_isolation(tools.launcher, unsafe=False), tmp_path)
    different, verdicts = find_differences(compiler, list(make_programs(count, seed=count)))
    # what reads out of range finds addresses, which are random: it differs from itself
    steady = [one for one in different if len({run(compiler, compiler.compile_alone(one[0])) for _ in range(5)}) == 1]
    assert steady == []
    assert len(verdicts) > count / 4
