"""A question to answer before the cell is run: predict, then run, then know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import traitlets

from grader.figures.controls import Value
from grader.figures.theme import Card, plain, script, style

LETTERS = "abcdefghij"


class Quiz(Card):
    """A question with choices; the answer reaches the kernel, and the right one leaves it only afterwards.

    `Quiz("How many pass?", ["5", "10"], answer=1, because="…")`. Without `answer` it is a prediction: it waits until
    a later cell calls `settle(index)` with what was measured. `because` is one text, or one for each choice.
    """

    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)
    verdict = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        question: str,
        choices: Sequence[object],
        answer: int | None = None,
        because: str | Sequence[str] = "",
        on_answer: Callable[[Quiz], object] | None = None,
    ) -> None:
        texts = [str(choice) for choice in choices]
        if not 2 <= len(texts) <= len(LETTERS) or (answer is not None and not 0 <= answer < len(texts)):
            raise ValueError(f"a quiz needs 2 to {len(LETTERS)} choices and an answer among them")
        if not isinstance(because, str) and len(because) != len(texts):
            raise ValueError("because is one text, or one for each choice")
        self._answer, self._because, self._on_answer = answer, because, on_answer
        self.tries: list[int] = []
        super().__init__(_esm=script("frame", "quiz"), _css=style(), question=question, choices=texts, verdict={})
        self.observe(self._judge, "chosen")

    @traitlets.validate("chosen")
    def _admit(self, proposal: Mapping[str, Any]) -> int:
        value = proposal["value"]
        return value if -1 <= value < len(self.choices) else -1

    def choose(self, index: int) -> str:
        """Answer as a reader would; returns the sentence that is shown."""
        if not 0 <= index < len(self.choices):
            raise IndexError(f"there is no choice {index}")
        self.chosen = index
        return plain(self.verdict["text"])

    def settle(self, index: int) -> str:
        """Tell what came out, after a prediction; returns the sentence that is shown."""
        self._answer = index
        if self.chosen >= 0:
            self.verdict = self.said(self.chosen)
        return plain(self.verdict["text"]) if self.verdict else f"It was: {self.choices[index]}."

    @property
    def right(self) -> bool | None:
        """Whether the first try was right; None before there is one, or before a prediction is settled."""
        return self.tries[0] == self._answer if self.tries and self._answer is not None else None

    def _judge(self, change: Mapping[str, Any]) -> None:
        if change["new"] < 0:
            return
        self.tries.append(change["new"])
        self.verdict = self.said(change["new"])
        if self._on_answer:
            self._on_answer(self)

    def said(self, index: int) -> dict[str, Any]:
        """Return what is said to a choice: `state` (right, wrong, noted) and the text."""
        if self._answer is None:
            return {"state": "noted", "text": f"Noted: **{self.choices[index]}**. Now run the next cell."}
        why = self._because if isinstance(self._because, str) else self._because[index]
        if index == self._answer:
            return {"state": "right", "text": f"**Right.** {why}".strip()}
        if isinstance(self._because, str):
            return {"state": "wrong", "text": f"**Not quite: {self.choices[self._answer]}.** {why}".strip()}
        return {"state": "wrong", "text": f"**Not quite.** {why}".strip()}

    def alternatives(self) -> dict[str, list[tuple[Value, dict[str, Any]]]]:
        """Return what is said to each choice, for pages without a kernel."""
        return {"chosen": [(index, self.said(index)) for index in range(len(self.choices))]}

    def words(self) -> str:
        """Return the question, the choices and, once answered, the verdict."""
        lines = [self.question, *(f"  {LETTERS[i]}) {choice}" for i, choice in enumerate(self.choices))]
        return "\n".join([*lines, plain(self.verdict["text"])] if self.verdict else lines)
