"""The provider as a notebook sees it: what was asked of the model, what it cost, and switches that break it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx

from grader.formats.element import Child, element
from grader.notebook import cards
from grader.provider.ledger import Bill, Call
from grader.provider.script import Fault, Latency

if TYPE_CHECKING:
    from grader.provider import Provider

FAULTS: dict[str, Callable[[], Fault]] = {
    "429": lambda: Fault.status(429, retry_after=5),
    "500": lambda: Fault.status(500),
    "503": lambda: Fault.status(503),
    "401": lambda: Fault.status(401),
    "hang": Fault.hang,
    "cut": lambda: Fault.cut(after_tokens=3),
    "malformed": Fault.malformed,
    "empty": Fault.empty,
    "html": Fault.html,
}
"""What `provider.fault` knows, besides `refuse` and `slow`."""

SLOW = Latency(3.0, per_token=0.3)


class Calls(cards.Card, list[Call]):
    """Calls in order of arrival; each has `text`, `model`, `status`, `total_tokens`, `price_usd` and more."""

    label = "calls"
    __repr__ = cards.Card.__repr__

    def words(self) -> str:
        """Return how many, and the last few."""
        lines = [f"  {call.kind} {call.model} {call.status or call.state}: {call.text[:60]!r}" for call in self[-5:]]
        return "\n".join([_counted(len(self)), *lines])

    def body(self) -> Iterable[Child]:
        """Give a table of the last calls."""
        columns = ("kind", "model", "asked", "status", "tokens", "price, $")
        rows = [(c.kind, c.model, c.text[:70], str(c.status or c.state), c.total_tokens, _price(c)) for c in self[-12:]]
        yield element("p", element("strong", _counted(len(self))), class_="cw-head")
        if rows:
            yield cards.grid(columns, rows)


class BillCard(cards.Card):
    """A bill: `calls`, `total_tokens`, `price_usd`; the difference of two is the bill of what lies between."""

    label = "bill"

    def __init__(self, bill: Bill, page: str = "") -> None:
        self._bill, self._page = bill, page

    calls = property(lambda self: self._bill.calls)
    prompt_tokens = property(lambda self: self._bill.prompt_tokens)
    completion_tokens = property(lambda self: self._bill.completion_tokens)
    total_tokens = property(lambda self: self._bill.total_tokens)
    price_usd = property(lambda self: self._bill.price_usd)

    def __sub__(self, earlier: BillCard) -> BillCard:
        a, b = self._bill, earlier._bill
        names = ("calls", "prompt_tokens", "completion_tokens", "price_usd")
        return BillCard(Bill(*(getattr(a, name) - getattr(b, name) for name in names)))

    def words(self) -> str:
        """Return calls, tokens and price."""
        return f"{_counted(self.calls)}, {self.total_tokens:,} tokens, ${self.price_usd:.4f}"

    def body(self) -> Iterable[Child]:
        """Give the bill as a small table."""
        yield element("p", element("strong", "What the model has cost"), class_="cw-head")
        columns = ("calls", "tokens in", "tokens out", "price, $")
        price = f"{self.price_usd:.4f}"
        yield cards.grid(columns, [(self.calls, self.prompt_tokens, self.completion_tokens, price)])
        if self._page:
            link = element("a", "The live page", href=self._page, target="_blank")
            yield element("p", link, " shows every call as it comes, with switches to break the model.")


class Model:
    """The model provider of this notebook's services."""

    def __init__(self, provider: Callable[[], Provider]) -> None:
        self._provider = provider

    @property
    def url(self) -> str:
        """What services get as OPENAI_BASE_URL."""
        return self._provider().base_url

    @property
    def page(self) -> str:
        """Where a browser shows calls, bill and switches."""
        return self._provider().page_url

    def calls(self, containing: str | None = None, *, kind: Any = None) -> Calls:  # noqa: ANN401 - a Literal
        """Give the calls so far, of one kind ("chat", "embeddings", "models") or all but lists of models."""
        calls = self._provider().calls(containing, kind=kind)
        return Calls(call for call in calls if kind or call.kind != "models")

    def bill(self) -> BillCard:
        """Add up what all calls cost so far."""
        return BillCard(self._provider().bill(), self.page)

    def fault(
        self, name: str, times: int | None = None, *, containing: str | None = None, model: str | None = None
    ) -> AbstractContextManager[object]:
        """Break the model inside `with`: "429", "500", "hang", "slow", "cut", "malformed", "refuse", … .

        `times` breaks only the next so many calls, `model` only one model's (`lab-large`, `lab-small`).
        """
        provider = self._provider()
        if name == "refuse":
            return provider.refused()
        if name == "slow":
            return provider.latency(SLOW.seconds, per_token=SLOW.per_token, containing=containing, model=model)
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; there are {', '.join([*FAULTS, 'slow', 'refuse'])}")
        return provider.fault(FAULTS[name](), containing, kind=None, model=model, times=times)

    def latency(self, seconds: float, *, per_token: float = 0.0) -> AbstractContextManager[object]:
        """Let seconds pass before each answer (and before each token of a stream) inside `with`."""
        return self._provider().latency(seconds, per_token=per_token)

    def answer(self, text: str, containing: str | None = None) -> AbstractContextManager[object]:
        """Have the model say this inside `with`."""
        return self._provider().answer(text, containing)

    def embed(self, text: str | Sequence[str]) -> Any:  # noqa: ANN401 - one vector or a list of them
        """Return the vector of a text as a list of floats, or one for each of several texts. It costs a call."""
        provider = self._provider()
        provider.warm()
        response = httpx.post(
            f"{provider.base_url}/embeddings",
            json={"model": "lab-embed", "input": text if isinstance(text, str) else list(text)},
            headers={"Authorization": f"Bearer {provider.api_key}"},
            trust_env=False,
            timeout=60,
        ).raise_for_status()
        vectors = [each["embedding"] for each in response.json()["data"]]
        return vectors[0] if isinstance(text, str) else vectors

    def __repr__(self) -> str:
        return "<provider>"


def _counted(calls: int) -> str:
    return f"{calls} call{'' if calls == 1 else 's'}"


def _price(call: Call) -> str:
    return f"{call.price_usd:.6f}"
