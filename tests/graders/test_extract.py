import json

import pytest

from plm.graders.extract import extract_code, looks_like_program

MAIN = "int main() {}\n"


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        (MAIN, MAIN),
        (f"Sure.\n```cpp\n{MAIN}```\nDone.", MAIN),
        (f"```C++\n{MAIN}```", MAIN),
        (f"```\n{MAIN}```", MAIN),
        (f"```bash\nls\n```\n```cc\n{MAIN}```\n```cpp\nint other;\n```", MAIN),
        (f"a\n```cpp\n{MAIN}", MAIN),
        (f"~~~c\n{MAIN}~~~\n", MAIN),
        (f"````cpp\n{MAIN}```\n````\n", f"{MAIN}```\n"),
        (f"```cpp title=x\r\n{MAIN}```\r\n", MAIN),
        ("```python\nprint()\n```\n", "```python\nprint()\n```\n"),
        ("```python\nprint()", "```python\nprint()"),
        ("", ""),
        (f"{MAIN}```", MAIN),
        (f"{MAIN}```\nIts body {{}} is empty.\n", MAIN),
        (f"{MAIN}```\nIt prints:\n```\n1\n```\n", MAIN),
        (f"Not int main; but\n```\n{MAIN}", MAIN),
        (f"{MAIN}```cpp\nint other;\n```", "int other;\n"),
    ],
)
def test_finds_the_program(completion, code):
    assert extract_code(completion) == code


@pytest.mark.parametrize(
    ("text", "yes"), [(MAIN, True), ("#include <a>", True), ("I cannot; sorry.", False), ("", False)]
)
def test_looks_like_program(text, yes):
    assert looks_like_program(text) is yes


def test_hostile_fences_take_linear_time():
    assert extract_code("```x\n" * 20_000) is not None
    assert extract_code("`" * 200_000) is not None
    for line in ("```" + "a" * 200_000 + "`", "```" + " " * 200_000 + "`", " " * 200_000 + "x"):
        assert extract_code(line) == line


def test_cases_of_other_projects(data_folder):
    rows = [json.loads(line) for line in (data_folder / "grader" / "code_extraction.jsonl").read_text().splitlines()]
    compared = 0
    for row in rows:
        if "asserts removed" in str(row["options"]) or row["language"] == "scala" or "v2" in row["source_test"]:
            continue  # they cut the code itself, too
        assert extract_code(row["completion"], {row["language"]}).strip() == row["expected_code"].strip()
        compared += 1
    assert compared >= 4
