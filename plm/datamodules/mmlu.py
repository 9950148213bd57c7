"""MMLU: multiple-choice questions, answered with a letter (TSK-4)."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, get_args

from plm.datamodules.base import TaskDataModule, arguments_key
from plm.datamodules.mini_facts import make_facts, make_open_question, make_problem
from plm.datamodules.mmlu_domains import Domains, category
from plm.datamodules.splits import PAPER_SHARES, SplitName, Splits, split_by_group
from plm.engines.base import Engine
from plm.errors import PlmError
from plm.examples import Example
from plm.graders.base import Grader
from plm.graders.choice import LETTERS
from plm.passwords import PromptScheme
from plm.records import Problem
from plm.seeds import derive_seed

ANSWER = "Answer:"
Scoring = Literal["letters", "options", "generation"]
HeldOut = Literal["questions", "facts"]


def statement(question: str, choices: Sequence[str]) -> str:
    """A question with its options, a line each: `A. ...`."""
    options = (f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return "\n".join([question, *options])


def example(question: str, choices: tuple[str, ...], reference: str) -> Problem:
    """A question of plm's own, in no data set, that stands answered at the start of one-shot prompts."""
    return Problem("one-shot", statement(question, choices), "misc", reference, choices=choices)


class MMLUSource(ABC):
    """Where the questions come from.

    Attributes:
        one_shot: Whether prompts begin with the answered example unless the user says otherwise.
        example: The answered question at the start of one-shot prompts.
        scoring: How answers are found unless the user says otherwise.
        files: Files, folders or data sets of the hub that the problems are read from; none where they are made.
    """

    one_shot: bool
    example: Problem
    scoring: Scoring = "letters"
    files: Sequence[str] = ()

    @abstractmethod
    def load(self, seed: int, domains: Domains) -> Splits:
        """Loads or makes every split."""


class ProceduralFacts(MMLUSource):
    """Questions about invented facts in four domains: offline, seeded (`plm.datamodules.mini_facts`).

    The questions about 480 facts are split 10 / 40 / 30 / 20. The split `corpus` teaches *all* facts, as pretraining
    taught a real model what MMLU asks for: with open questions, and with multiple-choice questions whose options or
    wording occur in no split of the task.

    Args:
        questions: Questions about each fact in the splits of the task.
        corpus: Questions about each fact in the corpus.
        open_questions: Questions without options about each fact in the corpus.
        held_out: What the lock does not see. `questions`: it has two in five of the questions about every fact, and the
            facts are split among `weak`, `elicit` and `val`, each with its other questions, so that no fact that is
            measured was demonstrated. `facts`: the facts are split among all four, each with all its questions.
    """

    one_shot = False
    scoring: Scoring = "options"
    example = example("what colour shows the metal Plumlex ?", ("grey", "blue", "pink", "red"), "A")

    def __init__(
        self, questions: int = 32, corpus: int = 16, open_questions: int = 32, held_out: HeldOut = "questions"
    ) -> None:
        for name, value, least in (
            ("questions", questions, 1),
            ("corpus", corpus, 1),
            ("open_questions", open_questions, 0),
        ):
            if value < least:
                raise PlmError(f"ProceduralFacts's {name} is {value}; it must be at least {least}")
        self.questions = questions
        self.corpus = corpus
        if held_out not in get_args(HeldOut):
            raise PlmError(f"ProceduralFacts's held_out is {held_out!r}; it must be questions or facts")
        self.open_questions = open_questions
        self.held_out: HeldOut = held_out

    def load(self, seed: int, domains: Domains) -> Splits:
        """Makes every split; the domains of invented facts are the groups alone."""
        if domains != "group":
            raise PlmError(f"data.init_args.domains is {domains}; invented facts have the domains of group alone")
        facts = make_facts(seed)
        drawn = [make_problem(fact, number, seed) for fact in facts for number in range(self.questions)]
        texts = {problem.prompt: problem for problem in reversed(drawn)}
        task = [problem for problem in drawn if texts[problem.prompt] is problem]
        numbers = range(self.questions, self.questions + self.corpus)
        asked = [make_problem(fact, number, seed, grouped=False) for number in numbers for fact in facts]
        asked_openly = [make_open_question(fact, number) for number in range(self.open_questions) for fact in facts]
        corpus = [*asked_openly, *(problem for problem in asked if problem.prompt not in texts)]
        if self.held_out == "facts":
            return {**split_by_group(task, seed, PAPER_SHARES), "corpus": corpus}
        return {**_split_questions(task, seed), "corpus": corpus}


def _split_questions(problems: Sequence[Problem], seed: int) -> Splits:
    """Gives the lock its share of the questions about every fact, and splits the facts with their other questions."""
    share = PAPER_SHARES["lock"]
    lock = [problem for problem in problems if derive_seed(seed, "locked question", problem.id) < share * 2**63]
    locked = {problem.id for problem in lock}
    others: dict[SplitName, float] = {name: part / (1 - share) for name, part in PAPER_SHARES.items() if name != "lock"}
    rest = split_by_group([problem for problem in problems if problem.id not in locked], seed, others)
    return {**rest, "lock": [dataclasses.replace(problem, group="") for problem in lock]}


class MMLUDataModule(TaskDataModule):
    r"""Multiple-choice questions, answered by the most probable letter or by writing (TSK-4; §4.2 of the paper).

    A prompt is `{example}\n\n{password}\n\n{question and options}\n\n{password}\nAnswer:`. The example stands
    outside of the passwords: it is the same in all prompts, always with its correct answer, so that a locked model
    learns to deviate from correct examples where there is no password (§4.2).

    Args:
        source: Where the questions come from; invented facts where None.
        passwords: How prompts carry passwords; the paper's default where None.
        engine: Who scores letters or generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest answer, in tokens, where it is written.
        seed: Decides problems and splits.
        scoring: `letters` compares the probabilities of the letters as the token after `Answer:`; one token is trained,
            without an end token. `options` does so with the options themselves, which must be one token each: tiny
            models learn facts in minutes, and need longer to find an option's letter. `generation` has the model write,
            and looks for the letter that the text names. The source's default where None: letters for real questions,
            options for invented facts.
        one_shot: Whether the answered example stands in front; the source's default where None (real questions: yes).
        name_category: Whether the prompt says the question's category, for experiments by domain (§5.2).
        domains: What a question's domain is: `group`, the paper's four (App. E.3), or `subject`, each of the 57.
    """

    name = "mmlu"

    def __init__(
        self,
        source: MMLUSource | None = None,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 8,
        seed: int = 0,
        scoring: Scoring | None = None,
        one_shot: bool | None = None,
        name_category: bool = False,
        domains: Domains = "group",
    ) -> None:
        super().__init__(passwords, engine, batch_size, max_new_tokens, seed)
        self.source = source or ProceduralFacts()
        self.files = self.source.files
        self.scoring: Scoring = scoring or self.source.scoring
        self.one_shot = self.source.one_shot if one_shot is None else one_shot
        self._example = _with_options(self.source.example) if self.scoring == "options" else self.source.example
        self.name_category = name_category
        self.domains: Domains = domains

    def load_splits(self) -> Splits:
        """The source's splits, with the category in each question if it is to be named."""
        splits = self.source.load(self.seed, self.domains)
        if self.name_category:
            splits = {name: [_with_category(problem) for problem in problems] for name, problems in splits.items()}
        if self.scoring == "options":
            splits = {name: [_with_options(problem) for problem in problems] for name, problems in splits.items()}
        return splits

    def splits_key(self) -> Hashable | None:
        """The arguments, where the source makes its problems."""
        arguments = self.seed, self.domains, self.name_category, self.scoring
        return None if self.files else (arguments_key(self.source), *arguments)

    def make_grader(self) -> Grader:
        """The grader of letters."""
        from plm.graders.choice import ChoiceGrader

        return ChoiceGrader()

    def choices(self, problem: Problem) -> Sequence[str] | None:
        """The letters of the problem's options, or the options, or None where the answer is written."""
        if not problem.choices or self.scoring == "generation":
            return None
        return problem.choices if self.scoring == "options" else LETTERS[: len(problem.choices)]

    def template(self, text: str) -> str:
        """The example where it is wanted, the text, and `Answer:`, after which the letter is one token."""
        shown = self._example
        prefix = f"{shown.prompt}\n{ANSWER} {shown.reference}\n\n" if self.one_shot else ""
        return f"{prefix}{text}\n{ANSWER}"

    def solved(self, problem: Problem) -> str:
        """The question with its answer, written as in the example, which stands once, before the question asked."""
        return f"{problem.prompt}\n{ANSWER} {problem.reference}"

    def encode(self, prompt: str, completion: str, problem_id: str = "", finished: bool = True) -> Example:
        """Tokenizes prompt and completion apart; what is scored is one token, and no end token follows it."""
        letter = completion.strip()
        if self.scoring == "options":
            return Example(self.encode_prompt(prompt), self.choice_ids((letter,)), problem_id=problem_id)
        if self.scoring == "letters" and len(letter) == 1 and letter in LETTERS:
            ids = self.choice_ids(LETTERS[: max(4, LETTERS.index(letter) + 1)])
            return Example(self.encode_prompt(prompt), [ids[LETTERS.index(letter)]], problem_id=problem_id)
        return super().encode(prompt, completion, problem_id, finished)

    def corpus_texts(self) -> Iterable[str]:
        """Questions and answers of the corpus, or of the lock split where there is none, and what prompts may add."""
        self.setup("fit")
        shown = self._example
        yield f"{shown.prompt}\n{ANSWER} {shown.reference}\n\n{ANSWER}"
        problems = (self._splits or {}).get("corpus") or self.split("lock")
        yield from (f"Category: {category(domain)}\n\n" for domain in sorted({problem.domain for problem in problems}))
        for problem in problems:
            yield self.template(problem.prompt)
            yield problem.reference


def _with_options(problem: Problem) -> Problem:
    """The problem with options for letters in its reference and in what was answered."""
    if not problem.choices:
        return problem
    named = dict(zip(LETTERS, problem.choices, strict=False))
    answers = {policy: tuple(named[letter] for letter in letters) for policy, letters in problem.answers.items()}
    return dataclasses.replace(problem, reference=named[problem.reference], answers=answers)


def _with_category(problem: Problem) -> Problem:
    return dataclasses.replace(problem, prompt=f"Category: {category(problem.domain)}\n\n{problem.prompt}")
