"""GitHub's expressions (`${{ … }}` and `if:`), evaluated over what is known; the rest is UNKNOWN and stays so.

Follows the expression reference of GitHub Actions: loose equality, text compared without case, status functions.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias


class Unknown:
    """A value that depends on what the files do not say."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()
Result: TypeAlias = "str | float | bool | Unknown | Mapping[str, Result] | None"
Function: TypeAlias = Callable[[Sequence[Result]], Result]

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([A-Za-z_][\w-]*)|(==|!=|<=|>=|&&|\|\||[!<>()\[\].,*]))")
_STATUS = re.compile(r"\b(success|failure|always|cancelled)\s*\(", re.IGNORECASE)


class ExpressionError(ValueError):
    """The text is no expression."""


def has_status(condition: str) -> bool:
    """Whether a condition asks for the outcome itself; otherwise GitHub puts `success() &&` before it."""
    return bool(_STATUS.search(condition))


def evaluate(condition: str, contexts: Mapping[str, Result], functions: Mapping[str, Function]) -> Result:
    """Return the value of a condition, with or without `${{ }}`; UNKNOWN for what cannot be read."""
    text = condition.strip()
    whole = re.fullmatch(r"\$\{\{(.*)\}\}", text, re.DOTALL)
    if whole is None and "${{" in text:
        return UNKNOWN
    try:
        return _Parser((whole[1] if whole else text), contexts, functions).whole()
    except (ExpressionError, RecursionError):
        return UNKNOWN


def truth(value: Result) -> bool | None:
    """Return whether a value counts as true, None when that is not known."""
    if isinstance(value, Unknown):
        return None
    return bool(value) if not isinstance(value, Mapping) else True


class _Parser:
    def __init__(self, text: str, contexts: Mapping[str, Result], functions: Mapping[str, Function]) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.contexts = {name.lower(): value for name, value in contexts.items()}
        self.functions = {**_FUNCTIONS, **functions}

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if wanted and token not in wanted:
            raise ExpressionError(token)
        self.at += 1
        return token

    def whole(self) -> Result:
        value = self.either()
        if self.peek():
            raise ExpressionError(self.peek())
        return value

    def either(self) -> Result:
        value = self.both()
        while self.peek() == "||":
            self.take()
            value = _or(value, self.both())
        return value

    def both(self) -> Result:
        value = self.compared()
        while self.peek() == "&&":
            self.take()
            value = _and(value, self.compared())
        return value

    def compared(self) -> Result:
        value = self.negated()
        while self.peek() in {"==", "!=", "<", ">", "<=", ">="}:
            value = _compare(self.take(), value, self.negated())
        return value

    def negated(self) -> Result:
        if self.peek() == "!":
            self.take()
            known = truth(self.negated())
            return UNKNOWN if known is None else not known
        return self.indexed()

    def indexed(self) -> Result:
        value = self.single()
        while self.peek() in {".", "["}:
            if self.take() == ".":
                value = _member(value, self.take())
            else:
                key = self.either()
                self.take("]")
                value = _member(value, key) if isinstance(key, str) else UNKNOWN
        return value

    def single(self) -> Result:
        token = self.take()
        if token == "(":  # noqa: S105  # not that kind of token
            value = self.either()
            self.take(")")
            return value
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if re.fullmatch(r"\d+(?:\.\d+)?", token):
            return float(token)
        if not re.fullmatch(r"[A-Za-z_][\w-]*", token):
            raise ExpressionError(token)
        if self.peek() == "(":
            return self.call(token.lower())
        return {"true": True, "false": False, "null": None}.get(token, self.contexts.get(token.lower(), UNKNOWN))

    def call(self, name: str) -> Result:
        self.take("(")
        given: list[Result] = []
        while self.peek() != ")":
            given.append(self.either())
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        function = self.functions.get(name)
        return UNKNOWN if function is None else function(given)


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(text[at:])
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


def _member(value: Result, key: str) -> Result:
    if isinstance(value, Mapping):
        folded = {name.lower(): inner for name, inner in value.items()}
        return folded.get(key.lower(), folded.get("*", UNKNOWN))
    return UNKNOWN if isinstance(value, Unknown) else None


def _and(left: Result, right: Result) -> Result:
    known = truth(left)
    if known is None:
        return left if truth(right) is not False else right
    return right if known else left


def _or(left: Result, right: Result) -> Result:
    known = truth(left)
    if known is None:
        return left if truth(right) is not True else right
    return left if known else right


def _compare(operator: str, left: Result, right: Result) -> Result:
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return UNKNOWN
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        return operator == "!="
    if operator in {"==", "!="}:
        return _same(left, right) == (operator == "==")
    first, second = _number(left), _number(right)
    return {"<": first < second, ">": first > second, "<=": first <= second, ">=": first >= second}[operator]


def _same(left: str | float | None, right: str | float | None) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if type(left) is type(right):
        return left == right
    return _number(left) == _number(right)


def _number(value: str | float | None) -> float:
    try:
        return float(value or 0)
    except ValueError:
        return float("nan")


def _on_text(function: Callable[[str, str], bool]) -> Function:
    def call(given: Sequence[Result]) -> Result:
        if len(given) != 2 or any(isinstance(value, Unknown | Mapping) for value in given):
            return UNKNOWN
        first, second = (str(value or "").lower() for value in given)
        return function(first, second)

    return call


_FUNCTIONS: dict[str, Function] = {
    "contains": _on_text(lambda text, part: part in text),
    "startswith": _on_text(str.startswith),
    "endswith": _on_text(str.endswith),
}


def glob(pattern: str, name: str) -> bool:
    """Whether a branch pattern of a trigger matches a name: `*` within a path, `**` across, `?` and `+` by fnmatch."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern.replace("**", "*"))
    return pattern.count("/") == name.count("/") and fnmatch.fnmatchcase(name, pattern)
