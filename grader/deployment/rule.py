"""What a rule is: a name, a sentence of the contract, and what to say to whom breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from grader.deployment.tree import Tree


@dataclass(frozen=True)
class Spot:
    """A place where a rule is broken; `advice` when the rule cannot be sure, and so takes no points."""

    file: str
    line: int | None
    what: str
    advice: bool = False


Judge: TypeAlias = "Callable[[Tree], Iterable[Spot]]"


@dataclass(frozen=True)
class Rule:
    """One thing that deployment files must (or, as advice, should) do. Its promise is the judge's docstring."""

    name: str
    kind: str
    promise: str
    why: str
    mend: str
    advice: bool
    judge: Judge


@dataclass(frozen=True)
class Finding:
    """A broken rule, as the learner reads it: where, what, why it matters, how to mend it."""

    rule: str
    kind: str
    file: str
    line: int | None
    what: str
    why: str
    mend: str
    advice: bool = False

    @property
    def place(self) -> str:
        """The file, with the line where one is known."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    @property
    def sentence(self) -> str:
        """The whole finding in one line."""
        return f"{self.place}: {self.what} {self.why} {self.mend} ({self.rule})"


RULES: dict[str, Rule] = {}


def rule(name: str, kind: str, *, why: str, mend: str, advice: bool = False) -> Callable[[Judge], Judge]:
    """Enter the decorated function, which yields a `Spot` for each place that is wrong, into `RULES`."""

    def enter(judge: Judge) -> Judge:
        if name in RULES:
            raise ValueError(f"two rules are named {name}")
        RULES[name] = Rule(name, kind, (judge.__doc__ or "").split("\n", 1)[0], why, mend, advice, judge)
        return judge

    return enter


def judge(entry: Rule, tree: Tree) -> list[Finding]:
    """Judge the files of `tree` by one rule; findings in the order of files and lines.

    Where a file cannot be read, the rule that says so is the only one of its kind to speak.
    """
    if entry.kind in tree.read().problems and not entry.name.endswith("-unreadable"):
        return []
    spots = sorted(dict.fromkeys(entry.judge(tree)), key=lambda spot: (spot.file, spot.line or 0))
    return [_finding(entry, spot) for spot in spots]


def _finding(entry: Rule, spot: Spot) -> Finding:
    advice = entry.advice or spot.advice
    return Finding(entry.name, entry.kind, spot.file, spot.line, spot.what, entry.why, entry.mend, advice)
