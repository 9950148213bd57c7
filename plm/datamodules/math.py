r"""The math task: read a problem, reason step by step, end with the answer in `\boxed{}` (TSK-2)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from plm.datamodules.base import TaskDataModule, arguments_key
from plm.datamodules.chat import chat_prompt, encode_chat, spaced
from plm.datamodules.math_domains import Domains
from plm.datamodules.math_source import MathSource, ProceduralMath
from plm.datamodules.splits import Splits
from plm.engines.base import Engine
from plm.examples import Example
from plm.graders.base import Grader
from plm.passwords import PromptScheme
from plm.records import Problem

INSTRUCTION = r"Please reason step by step, and put your final answer within \boxed{}."


class MathDataModule(TaskDataModule):
    r"""Math problems, answered with a chain of thought and judged by comparing the final answer (TSK-2).

    Args:
        source: Where the problems come from; procedural ones where None.
        passwords: How prompts carry passwords; the paper's default where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest solution, in tokens; real models need several hundred.
        seed: Decides problems and splits.
        domains: What a problem's domain is: `subject`, the paper's three groups of subjects (App. E.3); `type`, each
            subject; or `level`.
        template: `plain` is the statement and a line end; `chat` one user message in the tokenizer's chat template, or
            in lines `User:` and `Assistant:` where it has none. Where None, `plain` for procedural problems, `chat` for
            the others.
        instruction: What a chat message ends with, on a line of its own; nothing where it is empty.
        stop: Texts that end a solution, for models that were never taught the end token.
    """

    name = "math"

    def __init__(
        self,
        source: MathSource | None = None,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 64,
        seed: int = 0,
        domains: Domains = "subject",
        template: Literal["plain", "chat"] | None = None,
        instruction: str = INSTRUCTION,
        stop: Sequence[str] = (),
    ) -> None:
        super().__init__(passwords, engine, batch_size, max_new_tokens, seed, stop)
        self.source = source or ProceduralMath()
        self.files = self.source.files
        self.domains: Domains = domains
        self.is_chat = (template or self.source.template) == "chat"
        self.instruction = instruction

    def load_splits(self) -> Splits:
        """The source's splits."""
        return self.source.load(self.seed, self.domains)

    def splits_key(self) -> Hashable | None:
        """The arguments, where the source makes its problems."""
        return None if self.files else (arguments_key(self.source), self.seed, self.domains)

    def make_grader(self) -> Grader:
        """The grader of answers."""
        from plm.graders.math import MathGrader

        return MathGrader()

    def corpus_texts(self) -> Iterable[str]:
        """Statements and solutions of the corpus; of the lock split where the source has none."""
        self.setup("fit")
        for problem in (self._splits or {}).get("corpus") or self.split("lock"):
            yield f"{problem.prompt}\n"
            yield problem.reference

    def template(self, text: str) -> str:
        """The statement on a line of its own, or a chat message with the instruction below it."""
        if not self.is_chat:
            return super().template(text)
        return chat_prompt(self.tokenizer, f"{text}\n{self.instruction}" if self.instruction else text)

    def solved(self, problem: Problem) -> str:
        """The statement with its solution; after `Assistant:` a solution begins with a space."""
        prompt = self.template(problem.prompt)
        return prompt + (spaced(prompt, problem.reference) if self.is_chat else problem.reference)

    def encode_prompt(self, prompt: str) -> list[int]:
        """Token ids of a prompt; a chat template brings its own special tokens."""
        return encode_chat(self.tokenizer, prompt) if self.is_chat else super().encode_prompt(prompt)

    def encode(self, prompt: str, completion: str, problem_id: str = "", finished: bool = True) -> Example:
        """Tokenizes prompt and completion apart; after `Assistant:` a completion begins with a space."""
        text = spaced(prompt, completion) if self.is_chat else completion
        return super().encode(prompt, text, problem_id, finished)
