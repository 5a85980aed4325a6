"""Answers although the model fails: deadlines, retries, a breaker, a second model, an earlier answer (section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cache import Answers
from app.model import ChatModel, Completion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import openai
    from fastapi import Request

    from app.cache import Answer
    from app.model import Model, Prompt
    from app.settings import Settings

ATTEMPTS = 2
"""How often one request asks one model: two models, so at most four completions."""
LONGEST_PAUSE_S = 0.2
SHORTEST_CALL_S = 0.1


# TODO (lab 7): Ask again soon, once, at a random moment, and only if the time that the model has allows it.


# TODO (lab 7): Let a second model answer where the first cannot, and say so.


def resilient(settings: Settings, http: openai.DefaultAsyncHttpxClient) -> Model:
    """Return the model that the routes ask."""
    # TODO (lab 7): Put a breaker around each of two models, and the fallback around both.
    return ChatModel(settings.llm_model, settings, http)


async def begun(request: Request, tokens: AsyncGenerator[str | Completion]) -> AsyncGenerator[str | Completion]:
    """Return a stream that has a first token. Raises ModelError where none comes, so that a status can say so."""
    # TODO (lab 7): Wait for the first token; if the client leaves before it comes, stop the model.
    return tokens


# TODO (lab 7): Watch the client, and put the first token back in front of the others.


def forgiving(answers: Answers) -> Answers:
    """Return what answers /chat when no model does."""
    # TODO (lab 7): Fall back on an earlier answer to the same question.
    return answers


# TODO (lab 7): Prefer an old answer to none.
