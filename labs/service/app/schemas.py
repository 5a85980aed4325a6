"""What requests and answers look like. Pydantic checks them before any other code of ours runs (section 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

LONGEST_MESSAGE = 4000
"""In Unicode code points, as `len` counts them."""

Message = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_MESSAGE)]
Length = Literal["short", "medium", "long"]


def check_message(item: str) -> str:
    """Return a message as it was sent, if what is left without the blanks around it has the right length."""
    if not 1 <= len(item.strip()) <= LONGEST_MESSAGE:
        raise ValueError(f"a message has 1 to {LONGEST_MESSAGE} characters")
    return item


Item = Annotated[str, StringConstraints(min_length=1), AfterValidator(check_message)]


class Body(BaseModel):
    """A request."""

    # TODO (lab 2): Coerce nothing, let no unknown field through (OWASP API3:2023), quote nothing in errors.


class ChatRequest(Body):
    """A message to the assistant."""

    # TODO (lab 2): Bound both: a message that is not blank nor too long, a finite temperature from 0 to 2.
    message: str
    temperature: float = 0.7


class ChatResponse(BaseModel):
    """The assistant's answer: what the model said, what it cost, which model it was."""

    response: str
    tokens_used: int
    model: str
    # TODO (lab 5): Say whether the answer is an earlier one.
    # TODO (lab 7): Say whether the answer is less than what the caller asked for.


class SummarizeRequest(Body):
    """A text to shorten."""

    # TODO (lab 2): Ask for 10 to 10,000 characters that are not all blank, and for one of three lengths.
    text: str
    length: str = "medium"


class SummarizeResponse(BaseModel):
    """A summary and what it cost."""

    summary: str
    tokens_used: int
    # TODO (lab 7): Say whether the fallback model wrote it.


class BatchRequest(Body):
    """Messages to answer side by side."""

    # TODO (lab 2): Take at most 20 items, each of them a message; a longer list is a bill without a limit.
    items: list[str]


class BatchResult(BaseModel):
    """One item of a batch, as it was sent: either its answer or why there is none."""

    item: str
    response: str | None = None
    error: str | None = None


class BatchResponse(BaseModel):
    """One result for each item, in the order of the request."""

    results: list[BatchResult]
