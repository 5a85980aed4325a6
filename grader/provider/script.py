"""What the provider is told to do: faults, latencies, answers and gates, each for the calls that it matches."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from grader.provider.ledger import Call, Match

Misdeed = Literal["status", "hang", "disconnect", "raw", "malformed", "empty", "no_usage", "cut", "error_event", "drip"]


@dataclass(frozen=True)
class Fault:
    """One way to do wrong; make it with the class methods, each named for what the client meets."""

    misdeed: Misdeed
    code: int = 200
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "application/json"
    after_tokens: int = 0
    seconds: float = 0.0
    clean: bool = False

    @classmethod
    def status(cls, code: int, *, message: str = "", retry_after: float | None = None) -> Fault:
        """Answer with an error of OpenAI's form; ``retry_after`` in seconds."""
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        return cls("status", code, message or _MESSAGES.get(code, "Something went wrong."), headers)

    @classmethod
    def hang(cls, *, after_tokens: int = 0) -> Fault:
        """Never answer; a stream goes silent after so many tokens."""
        return cls("hang", after_tokens=after_tokens)

    @classmethod
    def disconnect(cls) -> Fault:
        """Close the connection without a byte of an answer."""
        return cls("disconnect")

    @classmethod
    def raw(cls, body: str, *, code: int = 200, content_type: str = "application/json") -> Fault:
        """Answer with exactly this body, whatever was asked for."""
        return cls("raw", code, body=body, content_type=content_type)

    @classmethod
    def malformed(cls) -> Fault:
        """Answer 200 with JSON that ends too early, in a stream as its first chunk."""
        return cls("malformed", body='{"id": "chatcmpl-0", "object": "chat.completion", "choices": [{"index": 0, "mess')

    @classmethod
    def html(cls, code: int = 200) -> Fault:
        """Answer with a web page, as a proxy in between would."""
        return cls.raw("<html><body><h1>Bad gateway</h1></body></html>", code=code, content_type="text/html")

    @classmethod
    def empty(cls) -> Fault:
        """Answer well, but with no content."""
        return cls("empty")

    @classmethod
    def no_usage(cls) -> Fault:
        """Answer well, but without the usage."""
        return cls("no_usage")

    @classmethod
    def cut(cls, *, after_tokens: int = 2, clean: bool = False) -> Fault:
        """Close the connection in mid-answer; ``clean`` ends a stream as if it were whole, only the end is missing."""
        return cls("cut", after_tokens=after_tokens, clean=clean)

    @classmethod
    def error_event(cls, *, after_tokens: int = 2, message: str = "The server had an error.") -> Fault:
        """Send an error as a chunk of the stream; other calls get status 500."""
        return cls("error_event", 500, message, after_tokens=after_tokens)

    @classmethod
    def drip(cls, seconds: float = 0.2) -> Fault:
        """Begin the answer, then send a blank now and then for ever: no read time-out ends that."""
        return cls("drip", seconds=seconds)


_MESSAGES = {
    400: "The request could not be understood.",
    401: "Incorrect API key provided.",
    403: "The project has no access to this model.",
    404: "The model does not exist.",
    408: "The request took too long.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "Gateway time-out.",
}


@dataclass(frozen=True)
class Latency:
    """Seconds before the first byte of the answer, and before each further token of a stream."""

    seconds: float
    per_token: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A text that the provider is to say."""

    text: str


Action = Fault | Latency | Answer
A = TypeVar("A", Fault, Latency, Answer)


@dataclass
class Rule:
    """An action for the calls that match, for the next ``times`` of them or always."""

    match: Match
    action: Action
    times: int | None = None


class Hold:
    """A gate: matching calls wait at it until it is opened, or until one of ``release``'s passes is for them."""

    def __init__(self, match: Match, after_tokens: int = 0) -> None:
        self.match = match
        self.after_tokens = after_tokens
        self._passes = 0
        self._held: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """How many calls wait."""
        return len(self._held)

    def stops(self, call: Call, tokens: int) -> bool:
        """Whether the call must wait at this point of its answer; uses up a pass if there is one."""
        if not self.match(call) or (call.stream and tokens != self.after_tokens):
            return False
        if self._passes:
            self._passes -= 1
            return False
        return True

    async def wait(self) -> None:
        """Wait for the opening or a pass."""
        future = asyncio.get_running_loop().create_future()
        self._held.append(future)
        try:
            await future
        finally:
            if future in self._held:
                self._held.remove(future)

    def release(self, count: int) -> None:
        """Let so many calls through: those that wait longest, then those to come."""
        while self._held and count:
            future = self._held.popleft()
            if not future.done():  # else its client went away in this very turn of the loop
                future.set_result(None)
                count -= 1
        self._passes += count

    def open(self) -> None:
        """Let all waiting calls through."""
        self.release(self.held)


class Script:
    """All that is to happen in one namespace; of several rules for a call the latest rules."""

    def __init__(self) -> None:
        self.rules: dict[int, Rule] = {}
        self.gates: dict[int, Hold] = {}
        self._numbers = itertools.count(1)

    def add(self, rule: Rule) -> int:
        """Put a rule in force and give its number."""
        number = next(self._numbers)
        self.rules[number] = rule
        return number

    def add_gate(self, gate: Hold) -> int:
        """Put a gate up and give its number."""
        number = next(self._numbers)
        self.gates[number] = gate
        return number

    def remove(self, number: int) -> None:
        """Take back a rule or open and take away a gate; unknown numbers are nothing."""
        self.rules.pop(number, None)
        gate = self.gates.pop(number, None)
        if gate is not None:
            gate.open()

    def clear(self) -> None:
        """Take back everything."""
        for number in (*self.rules, *self.gates):
            self.remove(number)

    def pick(self, kind: type[A], call: Call) -> A | None:
        """Give the action of a kind that applies to a call, using it up once."""
        for number, rule in reversed(self.rules.items()):
            if isinstance(rule.action, kind) and rule.match(call):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        del self.rules[number]
                return rule.action
        return None

    def gates_for(self, call: Call, tokens: int) -> Iterator[Hold]:
        """Give the gates at which a call must wait at this point of its answer."""
        for gate in tuple(self.gates.values()):
            if gate.stops(call, tokens):
                yield gate
