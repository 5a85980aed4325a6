"""The routes that ask the model: /chat, /chat/stream, /summarize and /batch-process (section 2)."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from app import cache, door, limits, resilience
from app.auth import CREDENTIALS, ProviderRoute, caller_of
from app.errors import ModelError
from app.model import Completion, Model, Prompt
from app.schemas import (
    BatchRequest,
    BatchResponse,
    BatchResult,
    ChatRequest,
    ChatResponse,
    SummarizeRequest,
    SummarizeResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

ITEMS_AT_ONCE = 7
"""Completions of one batch in flight: twenty items take three rounds, and a batch is not all that the service does."""

SENTENCES = {"short": "one sentence", "medium": "three sentences", "long": "two paragraphs"}

router = APIRouter(route_class=ProviderRoute, dependencies=CREDENTIALS)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """While the service runs, hold the connections to the provider."""
    # TODO (lab 2): Open one HTTP client for all calls; `resilience` and `cache` put their layers around the model.
    app.state.http = None
    yield


async def model_of(request: Request) -> Model:
    """Return the model."""
    model: Model = request.app.state.model
    return model


async def answers_of(request: Request) -> cache.Answers:
    """Return what answers /chat."""
    answers: cache.Answers = request.app.state.answers
    return answers


ModelDep = Annotated[Model, Depends(model_of)]
AnswersDep = Annotated[cache.Answers, Depends(answers_of)]
Allowance = Annotated[dict[str, str], Depends(limits.one_request)]


# TODO (lab 2): Add POST /chat: what the model said, what it really cost, and which model it was.


# TODO (lab 2): Add POST /chat/stream: each token at once as a server-sent event; a client that goes stops it all.


# TODO (lab 2): Add POST /summarize: what the model is told depends on the length.


# TODO (lab 2): Add POST /batch-process: some items at a time, and one that fails does not fail the others.
