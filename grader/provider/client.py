"""The grader's hand on the provider: one ``Provider`` for one namespace, over the control port."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self, overload

from grader.provider.address import ProviderAddress
from grader.provider.ledger import Bill, Call, Kind, State
from grader.provider.script import Action, Answer, Fault, Latency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType


class Provider:
    """The model provider as one user of it sees and scripts it.

    A service gets ``base_url`` and ``api_key``. What is scripted holds from the call of the method on, until the object
    it gives is left (``with``) or removed. ``containing`` is a part of the call's text, ``None`` any text; ``kind`` is
    ``chat``, ``embeddings``, ``models``, ``other`` or ``None`` for all; ``model`` a model's name or ``None``.
    """

    def __init__(self, address: ProviderAddress, base_url: str, api_key: str) -> None:
        self._address = address
        self.base_url = base_url
        self.api_key = api_key

    @classmethod
    def connect(cls, address: ProviderAddress, *, seed: int | None = None) -> Self:
        """Open a namespace: a fresh API key with a port of its own; a seed makes its answers foreseeable."""
        opened = address.ask("open", {"seed": seed})
        return cls(address, opened["base_url"], opened["namespace"])

    def sibling(self) -> Self:
        """Open another namespace of the same provider."""
        return type(self).connect(self._address)

    @property
    def page_url(self) -> str:
        """Where a browser shows this namespace's calls, its bill and its switches."""
        return self._address.page_url(self.api_key)

    def calls(
        self, containing: str | None = None, *, kind: Kind | None = "chat", model: str | None = None
    ) -> list[Call]:
        """Give the calls so far in order of arrival."""
        return self._calls(0, 0, None, 0.0, _about(containing, kind, model))

    def watch(self, containing: str | None = None, *, kind: Kind | None = "chat", model: str | None = None) -> Watch:
        """Watch the calls that arrive from now on."""
        return Watch(self, _about(containing, kind, model))

    def wait_for(
        self,
        count: int,
        containing: str | None = None,
        *,
        kind: Kind | None = "chat",
        model: str | None = None,
        state: State | None = None,
        timeout: float = 10.0,
    ) -> list[Call]:
        """Wait until so many calls match and are in a state (None: have arrived); give what is there at the latest."""
        return self._calls(count, 0, state, timeout, _about(containing, kind, model))

    def gate(
        self,
        containing: str | None = None,
        *,
        kind: Kind | None = "chat",
        model: str | None = None,
        after_tokens: int = 0,
    ) -> Gate:
        """Hold matching calls before their answer (streams: after so many tokens) until the gate is opened."""
        body = {**_about(containing, kind, model), "after_tokens": after_tokens}
        return Gate(self, self._ask("gate", body)["number"])

    def fault(
        self,
        fault: Fault,
        containing: str | None = None,
        *,
        kind: Kind | None = "chat",
        model: str | None = None,
        times: int | None = None,
    ) -> Scripted:
        """Answer matching calls wrongly, or only the next ``times`` of them."""
        return self._rule("fault", fault, _about(containing, kind, model), times)

    def latency(
        self,
        seconds: float,
        *,
        per_token: float = 0.0,
        containing: str | None = None,
        kind: Kind | None = "chat",
        model: str | None = None,
    ) -> Scripted:
        """Let seconds pass before an answer, and before each further token of a stream."""
        return self._rule("latency", Latency(seconds, per_token), _about(containing, kind, model), None)

    def answer(
        self,
        text: str,
        containing: str | None = None,
        *,
        kind: Kind | None = "chat",
        model: str | None = None,
        times: int | None = None,
    ) -> Scripted:
        """Answer matching calls with this text."""
        return self._rule("answer", Answer(text), _about(containing, kind, model), times)

    def embeddings(self, vectors: Mapping[str, Sequence[float]]) -> None:
        """Fix the vectors of these very texts."""
        self._ask("vectors", {"vectors": {text: list(vector) for text, vector in vectors.items()}})

    def warm(self) -> str:
        """From now on embed by meaning; returns the model's name when it is loaded, so that no call waits for it.

        Before, texts without a fixed vector are embedded by their letters alone.
        """
        model: str = self._ask("warm", {})["model"]
        return model

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Refuse connections to the namespace's port meanwhile; open ones are dropped."""
        self._ask("refuse", {"refuse": True})
        try:
            yield
        finally:
            self._ask("refuse", {"refuse": False})

    def bill(self) -> Bill:
        """Add up what all calls cost so far."""
        return Bill(**self._ask("bill", {}))

    def reset(self) -> None:
        """Take back everything that is scripted, and accept connections; the ledger stays."""
        self._ask("reset", {})

    def close(self) -> None:
        """End the namespace and its port."""
        self._ask("close", {})

    def _rule(self, name: str, action: Action, about: Mapping[str, Any], times: int | None) -> Scripted:
        body = {**about, "action": name, "settings": asdict(action), "times": times}
        return Scripted(self, self._ask("rule", body)["number"])

    def _calls(
        self, count: int, since: int, state: State | None, timeout: float, about: Mapping[str, Any]
    ) -> list[Call]:
        body = {**about, "count": count, "since": since, "state": state, "timeout": timeout}
        return [Call(**record) for record in self._ask("calls", body, timeout=timeout)["calls"]]

    def _ask(self, verb: str, body: Mapping[str, Any], *, timeout: float = 0.0) -> Any:  # noqa: ANN401
        return self._address.ask(verb, {"namespace": self.api_key, **body}, timeout=timeout)


class Scripted:
    """Something that was scripted; leaving it (``with``) or ``remove`` takes it back."""

    def __init__(self, provider: Provider, number: int) -> None:
        self._provider = provider
        self._number = number

    def remove(self) -> None:
        """Take it back; more than once is harmless."""
        self._provider._ask("remove", {"number": self._number})  # noqa: SLF001  # one class in two parts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Gate(Scripted):
    """A gate that holds calls until it is opened or left."""

    def open(self) -> None:
        """Let everything through, now and later."""
        self.remove()

    def wait_held(self, count: int, timeout: float = 10.0) -> int:
        """Wait until so many calls are held; give how many are."""
        body = {"number": self._number, "count": count, "timeout": timeout}
        held: int = self._provider._ask("held", body, timeout=timeout)["held"]  # noqa: SLF001
        return held

    def release(self, count: int) -> None:
        """Let so many calls through: those that wait longest, then those to come."""
        self._provider._ask("release", {"number": self._number, "count": count})  # noqa: SLF001


class Watch(Sequence[Call]):
    """The matching calls since the beginning of the watch, looked up anew at every access."""

    def __init__(self, provider: Provider, about: Mapping[str, Any]) -> None:
        self._provider = provider
        self._about = about
        self._since: int = provider._ask("last", {})["last"]  # noqa: SLF001

    def wait(self, count: int, timeout: float = 10.0, *, state: State | None = None) -> list[Call]:
        """Wait until there are so many (in a state, if given); give what is there at the latest."""
        return self._provider._calls(count, self._since, state, timeout, self._about)  # noqa: SLF001

    def __len__(self) -> int:
        return len(self.wait(0, 0.0))

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return self.wait(0, 0.0)[index]

    def __iter__(self) -> Iterator[Call]:
        return iter(self.wait(0, 0.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing ends: what was seen can still be looked at."""


def _about(containing: str | None, kind: Kind | None, model: str | None) -> dict[str, str | None]:
    return {"containing": containing, "kind": kind, "model": model}
