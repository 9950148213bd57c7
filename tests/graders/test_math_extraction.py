r"""Where the final answer of a text is."""

import pytest

from plm.graders.math import extract_answer, reference_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So $x=\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"First \boxed{1}. Then we see that it is \boxed{2}.", "2"),
        (r"\boxed{\text{a set } \{1, 2\}}", r"\text{a set } \{1, 2\}"),
        (r"our answer is $\boxed 2$.", "2"),
        (r"so $\boxed\frac{3}{4}$.", r"\frac{3}{4}"),
        (r"\fbox{7}", "7"),
        (r"\beginboxed{8\sqrt{6}}", r"8\sqrt{6}"),
        (r"\\boxed{840}.,but", "840"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3}: \boxed{\phantom{2}}", "3"),
        (r"\boxed{12 + ", "12 +"),
    ],
)
def test_the_last_box(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\(\boxed{1}\) and \(\boxed{-2}\).", "1, -2"),
        (r"$y_1 = \boxed{2x}$ and $y_2 = \boxed{3x}$", "2x, 3x"),
        (r"\boxed{1}\boxed{2}", "1, 2"),
        (r"\boxed{1}, \boxed{2} or \boxed{3}", "1, 2, 3"),
        (r"\boxed{1} no no no no no \boxed{2}", "2"),
        (r"$=\boxed{\frac{25}{13}} = \boxed{1\frac{12}{13}}$", r"1\frac{12}{13}"),
        (r"\boxed{5}. Another solution shows with some work and a long detour the same: \boxed{6}", "6"),
    ],
)
def test_boxes_that_belong_together_are_one_answer(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"$\boxed{200}$ and more. Final Answer: The final answer is $10,455$. I hope it is correct.", "$10,455$"),
        (r"The final answer is $5$. Let me box it: $\boxed{6}$", "6"),
        (r"\boxed{80}. Rounding before arriving at the final answer is a common mistake.", "80"),
        ("The answer is 42 because geometry proves it", "42"),
        ("so when we 9/3 we get 8 so the answer is 0", "0"),
        ("Therefore the answer is -3", "-3"),
        ("Answer: x = 7\n", "x = 7"),
        ("The answer is: **189**. Nice, 3 steps.", "189"),
        ("Thus, the answer is:\n\\[ \\frac{207}{64} \\]", "\\[ \\frac{207}{64} \\]"),
        ("La respuesta es 12.", "12"),
        ("She has 40 + 2.\n#### 42", "42"),
        ("The correct option is B", "B"),
        ("答案是 12。", "12"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("The answers are $1$ and $2$.", "$1$ and $2$"),
    ],
)
def test_what_follows_the_answer_is(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\frac{10}{9}", r"\frac{10}{9}"),
        ("28 percent", "28 percent"),
        ("(1, 2)", "(1, 2)"),
        ("Monday", "Monday"),
        (r"Therefore $x \gt 5$ is the solution.", r"x \gt 5"),
        (r"The matrix is \[ \begin{pmatrix}1\\2\end{pmatrix} \].", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("There are 12 ways to choose $n$.", "12"),
        (r"We have $2x = 6$. So she has 3 apples.", "3"),
        ("the number is not 10 which is 1,000.99€", "1,000.99"),
        ("the probability is then 2/3. <|im_start|>user", "2/3"),
        ("It costs $7.78 for her.", "7.78"),
        ("the temperature fell to -3 degrees in the night", "-3"),
        ("we know that 5-3 = 2 is what it is", "2"),
        ("因此，体重是192公斤。", "192"),
    ],
)
def test_without_a_box_or_a_marker(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["", "  \n ", "We cannot know that from what was given.", "The code is AZYUK2A here, so it is."]
)
def test_no_answer(text):
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "exec('print(1)') or 0",
        "(lambda x: open(x))('f') or 0",
        "[f for f in list(range(3))] or 0",
        "a.__class__ or 0",
        "getattr(object, name)(1) or 0",
    ],
)
def test_the_number_in_a_program_is_no_answer(text):
    """A number at the end of a sentence is an answer; one at the end of a program is not."""
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"We get $x = \boxed{5}$ apples.", "5"),
        (r"\text{All real numbers}", r"\text{All real numbers}"),
        ("x = 5", "x = 5"),
        ("The answer is 33", "33"),
        ("1, 2 and 3", "1, 2 and 3"),
        (r"2 \text{ if the answer is even}", r"2 \text{ if the answer is even}"),
    ],
)
def test_references_are_solutions_or_answers(reference, answer):
    assert reference_answer(reference) == answer
