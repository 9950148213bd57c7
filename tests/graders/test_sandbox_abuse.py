# ruff: noqa: E501 (programs read better on one line)
"""Attacks on the grader, each under its number in the list of attacks that the sandbox was made for, by both isolations.

Left out: s65 and s67 attack a grader of mathematics. Those described for another language are written in C++.
"""

import time
from pathlib import Path

import pytest

ALL = "#include <bits/stdc++.h>\n#include <unistd.h>\n#include <sys/wait.h>\n#include <sys/syscall.h>\n#include <sys/socket.h>\n#include <netinet/in.h>\n#include <arpa/inet.h>\n#include <signal.h>\n#include <fcntl.h>\n#include <sys/stat.h>\n#include <sys/reboot.h>\n#include <sys/klog.h>\n#include <sys/mman.h>\n#include <sys/ptrace.h>\n#include <sys/resource.h>\n#include <sched.h>\n#include <dirent.h>\nusing namespace std;\n"
FORKS = "for (int i = 0; i < 10; i++) if (fork() == 0) { setsid(); for (;;); }"
HELLO = (("", "hello"),)

# number, body of main, tests, verdict
RUN = [
    ("s01", "if (fork() == 0) { setsid(); for (;;); } for (;;);", HELLO, "timeout"),
    ("s02", f'{FORKS} puts("hello");', HELLO, "correct"),  # there are no forks, so nothing is left running
    ("s03", f'{FORKS} sleep(3); puts("bye");', HELLO, "timeout"),
    ("s04", 'int n = 0; for (int i = 0; i < 10; i++) if (fork() > 0) n++; printf("%d", n);', HELLO, "wrong"),
    ("s05", "for (volatile unsigned i = 0;; i = i * 3 + 1);", HELLO, "timeout"),
    ("s06", 'puts("hello"); fflush(stdout); sleep(100);', HELLO, "timeout"),
    ("s08", "kill(getppid(), SIGSTOP); kill(1, SIGSTOP); kill(-1, SIGKILL); for (;;);", HELLO, "timeout"),
    ("s09", 'fprintf(stderr, "timelimit exceeded: hard wall time\\n"); return 0;', HELLO, "wrong"),
    ("s10", 'for (;;) puts("hello");', HELLO, "output"),
    ("s12", "puts(\"hello\"); for (int i = 0; i < 5 << 20; i++) putchar(' ');", HELLO, "output"),
    ("s14", 'fputs("\\xff\\xfe\\x80hello", stdout);', HELLO, "wrong"),
    ("s15", 'fwrite("hel\\0lo", 1, 6, stdout);', HELLO, "wrong"),
    ("s17", 'fputs("good bye", stdout);', HELLO, "wrong"),
    ("s18", 'fputs("hello\\r\\nyou\\n\\r", stdout);', (("", "hello\nyou\n"),), "correct"),
    ("s19", 'fputs(" hello \\t  you\\n\\n", stdout);', (("", "hello you\n"),), "correct"),
    ("s20", 'puts("hello"); return 3;', HELLO, "crash"),
    ("s21", 'puts("hello"); fflush(stdout); *(volatile int*)nullptr = 1;', HELLO, "crash"),
    ("s22", 'puts("hello"); fflush(stdout); volatile int zero = 0; return 7 / zero;', HELLO, "crash"),
    ("s23", "for (;;) { char* p = new char[1 << 24]; memset(p, 1, 1 << 24); }", HELLO, "memory"),
    (
        "s26",
        'for (string f : {"/io", "..", "../..", "/build", "/tools", "/home", "/root", "/tmp", "/etc/passwd", "/proc/1/environ"}) if (auto* d = opendir(f.c_str())) { while (auto* e = readdir(d)) { string n = f + \'/\' + e->d_name; ifstream in(n); string w; while (in >> w) cout << w << \' \'; } }',
        (("secretinput", "hello"),),
        "wrong",
    ),
    ("s30", 'mkdir("x", 0755); puts("hello");', HELLO, "file"),
    (
        "s30b",
        'int a = chroot("/io"), b = 0; for (int i = 0; i < 9; i++) b |= chdir(".."); b |= chroot("."); puts(a == -1 && b == -1 ? "hello" : "escaped");',
        HELLO,
        "correct",
    ),
    ("s31", 'int a = reboot(RB_AUTOBOOT); puts(a == -1 ? "hello" : "?");', HELLO, "correct"),
    (
        "s32",
        'int a = 0; for (int i = 0; i < 1000; i++) a = max(a, klogctl(3, nullptr, 0)); puts(socket(AF_UNIX, SOCK_DGRAM, 0) == -1 ? "hello" : "?");',
        HELLO,
        "correct",
    ),
    ("s41", "_exit(0);", HELLO, "wrong"),
    ("s42", 'int s = socket(AF_INET, SOCK_STREAM, 0); puts(s == -1 ? "hello" : "connected");', HELLO, "correct"),
    (
        "s43",
        'int s = socket(AF_INET, SOCK_STREAM, 0); sockaddr_in a{}; a.sin_family = AF_INET; a.sin_port = htons(80); inet_pton(AF_INET, "1.1.1.1", &a.sin_addr); puts(connect(s, (sockaddr*)&a, sizeof a) ? "hello" : "connected");',
        HELLO,
        "correct",
    ),
    ("s44", 'puts("hello"); fflush(stdout); assert(1 + 1 == 3);', HELLO, "crash"),
    ("s45", "int x; cin >> x; cout << x + 1;", (("41", "42"),), "correct"),
    (
        "s46",
        "string s; while (getline(cin, s)) cout << s << '\\n';",
        (("0123456789abcde\n" * 190_000, "0123456789abcde\n" * 190_000),),
        "correct",
    ),
    ("s47", 'puts("hello");', (("x" * 3_000_000, "hello"),), "correct"),
    ("s49", 'string s; getline(cin, s); if (!getline(cin, s)) throw 1; puts("hello");', (("one", "hello"),), "crash"),
    (
        "s50",
        "for (int i = 0; i < 20 << 20; i += 1 << 16) cerr << string(1 << 16, 'x'); puts(\"hello\");",
        HELLO,
        "correct",
    ),
    ("s51", 'puts("h\u00e9llo \u4f60");', (("", "h\u00e9llo \u4f60"),), "correct"),
    ("s53", "static int runs = 0; cout << ++runs;", (("a", "1"), ("b", "1")), "correct"),
    ("s54", 'vector<char> v(8ull << 30); puts("hello");', HELLO, "memory"),
    ("s56", 'ofstream f("x.txt"); f << 1; f.close(); remove("x.txt"); puts("hello");', HELLO, "file"),
    ("s58", 'string s; cout << (cin >> s ? "?" : "hello");', HELLO, "correct"),
    (
        "s59",
        'string s; cin >> s; if (s == "b") for (;;); puts("hello");',
        (("a", "hello"), ("b", "hello"), ("c", "hello")),
        "timeout",
    ),
    ("s62", 'puts("hello"); fflush(stdout); fclose(stdout); return 7;', HELLO, "crash"),
]
# number, whole program, verdict where `hello` is expected
WHOLE = [
    ("s25", "int big[300000000] = {1};\nint main() { puts(\"hello\"); }", ("compile", "crash")),
    ("s40", "struct A { A() { exit(0); } } a;\nint main() { puts(\"hello\"); }", ("wrong",)),
    ("s28", "int main() { ifstream in(\"/io/x\"); if (in) puts(\"hello\"); ofstream out(\"/io/x\"); out << 1; puts(\"hello\"); }", ("file",)),
    ("s34", "#if __INCLUDE_LEVEL__ < 26\n#include __FILE__\n#include __FILE__\n#endif\nint main() {}", ("compile",)),
    ("s35", "template <class T> struct A { A<A<T>*> a; typename T::x b; };\nA<int> a; int main() { " + "undeclared(1)(2)[3]; " * 2000 + "}", ("compile",)),
    ("s36", "#include \"/dev/zero\"\nint main() {}", ("compile",)),
    ("s38", "\x7fELF\x02\x01\x01\x00\x00{\x03\x00>\x00\x01" * 50, ("compile",)),
]  # fmt: skip
# the ways around what the list names
MORE = [
    ("threads", "try { thread t([] { for (;;); }); t.detach(); puts(\"thread\"); } catch (...) { puts(\"hello\"); }", "correct"),
    ("exec", "execl(\"/bin/sh\", \"sh\", \"-c\", \"echo hello\", nullptr); execl(\"/program\", \"p\", nullptr); puts(\"hello\");", "correct"),
    ("system", "cout << (system(\"exit 0\") != 0 ? \"hello\" : \"ran\");", "correct"),
    ("ptrace", "puts(ptrace(PTRACE_ATTACH, getppid(), 0, 0) == -1 && ptrace(PTRACE_ATTACH, 1, 0, 0) == -1 ? \"hello\" : \"?\");", "correct"),
    ("memory of the driver", "puts(syscall(SYS_process_vm_readv, getppid(), 0, 0, 0, 0, 0) == -1 ? \"hello\" : \"?\");", "correct"),
    ("kill others", "puts(kill(getppid(), 0) == -1 && kill(1, 0) == -1 && kill(-1, 0) == -1 && kill(0, 0) == -1 ? \"hello\" : \"?\");", "correct"),
    ("limits", "rlimit r{RLIM_INFINITY, RLIM_INFINITY}; int a = setrlimit(RLIMIT_CPU, &r); signal(SIGXCPU, SIG_IGN); puts(a ? \"hello\" : \"?\"); fflush(stdout); for (;;);", "timeout"),
    ("ignored signals", "signal(SIGXFSZ, SIG_IGN); for (int i = 0; i < 6 << 20; i++) putchar('x');", "output"),
    ("descriptors", "int open = 0; for (int i = 3; i < 256; i++) open += fcntl(i, F_GETFL) != -1; char c; puts(open == 0 && write(3, \"x\", 1) == -1 && read(100, &c, 1) == -1 ? \"hello\" : \"?\");", "correct"),
    ("shared memory", "puts(syscall(SYS_memfd_create, \"x\", 0) == -1 && syscall(SYS_shmget, 1, 4096, 01600) == -1 ? \"hello\" : \"?\");", "correct"),
    ("namespaces", "puts(unshare(CLONE_NEWUSER) == -1 ? \"hello\" : \"?\");", "correct"),
    ("failed write", "open(\"/nowhere/x\", O_WRONLY | O_CREAT, 0600); puts(\"hello\");", "file"),
    ("old output file", "freopen(\"out.txt\", \"w\", stdout); puts(\"hello\");", "file"),
    ("rename", "rename(\"/io/stdin\", \"/io/x\"); puts(\"hello\");", "file"),
    ("read devices", "freopen(\"/dev/stdin\", \"r\", stdin); ifstream null(\"/dev/null\"); puts(null && getchar() == EOF ? \"hello\" : \"?\");", "correct"),
    ("own binary", "ifstream a(\"/program\"), b(\"/driver\"), c(\"/proc/self/exe\"); puts(a || c ? \"?\" : \"hello\");", "correct"),
    ("32-bit calls", "int r; asm volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20)); puts(\"hello\");", "file"),
    ("deep recursion", "function<int(int)> f = [&](int x) { return f(x + 1) + 1; }; cout << f(0);", "crash"),
    ("caught bad_alloc", "try { vector<char> v(8ull << 30); } catch (bad_alloc&) { puts(\"hello\"); }", "correct"),
]  # fmt: skip


PROGRAMS = {
    **{name: (f"{ALL}int main() {{ {body} }}\n", tests) for name, body, tests, _ in RUN},
    **{name: (program if name in ("s34", "s36", "s38") else ALL + program, HELLO) for name, program, _ in WHOLE},
    **{name: (f"{ALL}int main() {{ {body} }}\n", HELLO) for name, body, _ in MORE},
}


def grade(grader, problem, program, tests=HELLO):
    verdict = grader.grade([problem(*tests)], [program])[0]
    assert verdict.correct == (verdict.reason == "correct")
    return verdict.reason


@pytest.fixture(scope="module")
def reasons(grader, problem):
    """All attacks at once, as they would come: they cannot disturb each other, and the work is bounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plm.graders.cpp._ALONE_SECONDS", 4)
        start = time.monotonic()
        grades = grader.grade(
            [problem(*tests) for _, tests in PROGRAMS.values()], [text for text, _ in PROGRAMS.values()]
        )
    assert time.monotonic() - start < 200
    return dict(zip(PROGRAMS, (grade.reason for grade in grades), strict=True))


@pytest.mark.parametrize(("number", "verdict"), [(row[0], row[3]) for row in RUN])
def test_run(reasons, number, verdict):
    assert reasons[number] == verdict


@pytest.mark.parametrize(("number", "verdicts"), [(row[0], row[2]) for row in WHOLE])
def test_whole_program(reasons, number, verdicts):
    assert reasons[number] in verdicts


@pytest.mark.parametrize(("name", "verdict"), [(row[0], row[2]) for row in MORE])
def test_more(reasons, name, verdict):
    assert reasons[name] == verdict


def test_files_of_the_host_are_not_readable(grader, problem, tmp_path):
    (tmp_path / "secret").write_text("hello")
    places = [tmp_path / "secret", "/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/1/cmdline"]
    program = f"{ALL}int main() {{ int n = 0; for (string f : {{ {', '.join(chr(34) + str(p) + chr(34) for p in places)} }}) n += bool(ifstream(f)); cout << n; }}"
    assert grade(grader, problem, program, (("", "0"),)) == "correct"


def test_the_compiler_cannot_read_files_of_the_host(grader, problem, tmp_path):
    (tmp_path / "secret.h").write_text('#define SECRET "hello"\n')
    included = f'#include "{tmp_path}/secret.h"\nint main() {{ puts(SECRET); }}'
    asked = (
        f'int main() {{\n#if __has_include("{tmp_path}/secret.h")\nputs("there");\n#else\nputs("hello");\n#endif\n}}'
    )
    assembled = (
        f'asm(".section .rodata\\nsecret: .incbin \\"{tmp_path}/secret.h\\"\\n.text");\nint main() {{ puts("hello"); }}'
    )
    assert [grade(grader, problem, ALL + text) for text in (included, asked, assembled)] == [
        "compile",
        "correct",
        "compile",
    ]


def test_nothing_is_left_behind(grader, problem, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    programs = [f"{ALL}int main() {{ {FORKS} for (;;); }}", f"{ALL}int main() {{ cout << 1; }}", "int main() {"]
    mounts = open("/proc/self/mounts").read()
    grader.grade([problem(("", f"unseen {time.time()}"))] * 3, programs)
    assert list(tmp_path.iterdir()) == []
    assert open("/proc/self/mounts").read() == mounts
    tasks = Path("/proc/self/task").glob("*/children")
    children = [Path("/proc", pid, "cmdline").read_text() for task in tasks for pid in task.read_text().split()]
    assert not [line for line in children if "driver" in line or "bwrap" in line or "launcher" in line]
