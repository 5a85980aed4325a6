"""Cheats: ways to look better than one is, without doing the work. Each must be worth nothing.

A cheat stands on an honest base, the service with labs 1 to n solved, and may earn no more points than that base does.
What no judge from outside can see is not in here: a service that is right whenever somebody looks has done the work,
and so has a copy of somebody else's (only isolation, or a talk about the code, finds that out).
"""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grader.starter import render_tree
from tests.grading import SOLUTION

Check = Callable[..., None]

WRAPPER = '''
import asyncio, json, os, sys, time
from app.main import app as honest


async def app(scope, receive, send):
    await (answer if scope["type"] == "http" else honest)(scope, receive, send)


def route(scope):
    return scope["method"] + " " + scope["path"]


def header(scope, name):
    return dict(scope["headers"]).get(name.encode(), b"").decode("latin-1")


async def reply(send, body, status=200, headers=(), kind="application/json"):
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = [(name.encode(), value.encode()) for name, value in [("content-type", kind), *headers]]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def read(receive):
    data, more = b"", True
    while more:
        message = await receive()
        data, more = data + message.get("body", b""), message.get("more_body", False)
    return data


def fields(data):
    try:
        found = json.loads(data)
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


async def heard(scope, data):
    """What the honest service answers to a request whose body has been read."""
    waiting, sent = [{"type": "http.request", "body": data}], []

    async def receive():
        return waiting.pop() if waiting else await asyncio.sleep(600)

    async def send(message):
        sent.append(message)

    await honest(scope, receive, send)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    return sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:]).decode()


async def tell(send, status, headers, text):
    kept = [(name, value) for name, value in headers if name not in {"content-length", "content-type"}]
    await reply(send, text, status, kept, dict(headers).get("content-type", "application/json"))


PROVIDER = {"/chat", "/chat/stream", "/summarize", "/batch-process"}


async def speak(scope, send, sent, text, tokens=42, headers=(), **more):
    """Answer a provider route with a text of one's own."""
    if scope["path"] == "/chat":
        answer = {"response": text, "tokens_used": tokens, "model": os.environ.get("LLM_MODEL", "lab-large"), **more}
        await reply(send, answer, headers=headers)
    elif scope["path"] == "/summarize":
        await reply(send, {"summary": text, "tokens_used": tokens, **more}, headers=headers)
    elif scope["path"] == "/batch-process":
        results = [{"item": item, "response": text, "error": None} for item in sent.get("items", [])]
        await reply(send, {"results": results}, headers=headers)
    else:
        events = "".join('event: token\\ndata: {"text": %s}\\n\\n' % json.dumps(each + " ") for each in text.split())
        events += 'event: done\\ndata: {"tokens_used": %d}\\n\\n' % tokens
        await reply(send, events, 200, headers, "text/event-stream")


async def ask(text, temperature=0.7):
    """Ask the model, as the honest service does."""
    import httpx
    said = [{"role": "user", "content": text}]
    body = {"model": os.environ["LLM_MODEL"], "temperature": temperature, "messages": said}
    key = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    async with httpx.AsyncClient() as client:
        answer = await client.post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", headers=key, json=body)
    return answer.json()["choices"][0]["message"]["content"], answer.json()["usage"]["total_tokens"]


'''
"""What most cheats are made with: an ASGI application in front of the honest one, whose ``answer`` is the trick."""


@dataclass(frozen=True)
class Cheat:
    """One trick, on top of an honest base.

    ``trick`` is a plain sentence, ``solved`` the number of labs that are done honestly, ``labs`` what is graded.
    ``module`` defines ``answer(scope, receive, send)``, which stands in front of the honest service; ``files`` and
    ``prepare`` change the folder. ``seen_by`` are checks that must not pass. An ``outside`` trick takes what lies
    outside its folder: it pays unless strangers are kept in.
    """

    trick: str
    solved: int
    labs: tuple[int, ...]
    module: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    seen_by: tuple[Check, ...] = ()
    outside: bool = False

    @property
    def name(self) -> str:
        """A short name for listings."""
        return re.sub(r"\W+", "-", self.trick.lower()).strip("-")[:70]

    def write(self, folder: Path) -> None:
        """Write the submission into a folder."""
        write_base(folder, self.solved)
        if self.module:
            (folder / "trick.py").write_text(WRAPPER + textwrap.dedent(self.module), encoding="utf-8")
            start_with(folder, "trick:app")
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        if self.prepare:
            self.prepare(folder)


def write_base(folder: Path, solved: int) -> None:
    """Write the service with the first labs solved."""
    render_tree(SOLUTION, folder, range(1, solved + 1))


def start_with(folder: Path, app: str) -> None:
    """Have another application started."""
    path = folder / "pyproject.toml"
    text, usual = path.read_text(encoding="utf-8"), 'app = "app.main:app"'
    if text.count(usual) != 1:
        raise ValueError(f"{path.name} does not say {usual}")
    path.write_text(text.replace(usual, f'app = "{app}"'), encoding="utf-8")


def all_cheats() -> list[Cheat]:
    """Return all cheats in the order of files."""
    found: list[Cheat] = []
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found += importlib.import_module(f"tests.cheats.{path.stem}").CHEATS
    return found
