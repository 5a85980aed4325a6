"""Mends of the incidents: right ones, which differ, and wrong ones that look plausible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grader.incidents import catalogue
from grader.incidents.incident import Edit


@dataclass(frozen=True)
class Mend:
    """What somebody did to the broken production."""

    incident: str
    what: str
    right: bool
    edits: tuple[Edit, ...]

    def apply(self, folder: Path) -> None:
        """Do it."""
        for edit in self.edits:
            edit.apply(folder)


def undone(name: str) -> tuple[Edit, ...]:
    """Take the fault back: the plainest right mend of each incident."""
    return tuple(Edit(edit.file, edit.new, edit.old) for edit in reversed(catalogue.named(name).edits))


def right(incident: str, what: str, *edits: tuple[str, str, str]) -> Mend:
    return Mend(incident, what, True, tuple(Edit(*edit) for edit in edits))


def wrong(incident: str, what: str, *edits: tuple[str, str, str]) -> Mend:
    return Mend(incident, what, False, tuple(Edit(*edit) for edit in edits))


PLAN = "production.toml"
AUTH = "service/app/auth.py"
CACHE = "service/app/cache.py"
LIMITS = "service/app/limits.py"
MODEL = "service/app/model.py"
RESILIENCE = "service/app/resilience.py"
TELEMETRY = "service/app/telemetry.py"
WORKER = "service/app/worker.py"

INVOKE = "self._llm.invoke(conversation(prompt), temperature=prompt.temperature)"
IN_A_THREAD = "await asyncio.to_thread(self._llm.invoke, conversation(prompt), temperature=prompt.temperature)"
ASK = "        return await self._find_or_ask(key, caller, prompt)\n"
A_LOCK = "        async with self._flights.setdefault(key, asyncio.Lock()):\n    " + ASK
HISTORY = "        self._history.setdefault(caller, []).append((prompt, completion))\n"
LOADS = "        at, text, tokens, model = json.loads(stored)\n"
CARRY_ON = "        try:\n    " + LOADS + "        except {}:\n            return None\n"
BEGUN = """\
                async with request.app.state.store.engine.begin() as transaction:
                    await transaction.exec_driver_sql("SELECT 1")  # fail early without the database
"""
WHO = "                    request.state.caller = await authorized(request, Role.USER)\n"
HANDLE = "                    return await handle(request)\n"
BY_HOST = '    caller = request.client.host if request.client else ""\n'
RAW = 'handler = self.scope["path"]'
SO_FAR = "    so_far.append(HumanMessage(prompt.text))\n    return [SystemMessage(prompt.system), *so_far]"
IN_TURN = "names = settings.llm_fallback_model, settings.llm_model"
KEPT = ", kept.dump())"
COMPLETE = "        return await self.model.complete(prompt)"
DATED = "int(time.mktime(time.gmtime()))"

MENDS = [
    *(Mend(incident.name, "takes the fault back", True, undone(incident.name)) for incident in catalogue.INCIDENTS),
    right("stalled", "calls in a thread", (MODEL, INVOKE, IN_A_THREAD)),
    wrong("stalled", "gives up sooner", (PLAN, "LLM_TIMEOUT_S = 4", "LLM_TIMEOUT_S = 1")),
    right(
        "aftershock",
        "lets the client retry, once",
        (RESILIENCE, "ATTEMPTS = 2", "ATTEMPTS = 1"),
        (MODEL, "max_retries=4", "max_retries=1"),
    ),
    wrong("aftershock", "tries once around the client", (RESILIENCE, "ATTEMPTS = 2", "ATTEMPTS = 1")),
    right("one-in-three", "asks /health", (PLAN, 'health = "/livez"', 'health = "/health"')),
    wrong("one-in-three", "asks more often", (PLAN, "interval_s = 0.25", "interval_s = 0.05")),
    right("costly-morning", "locks by key", (CACHE, ASK, A_LOCK)),
    wrong("costly-morning", "keeps answers longer", (PLAN, "CACHE_TTL_S = 15", "CACHE_TTL_S = 86400")),
    right("odd-one-out", "rolls c back", (PLAN, 'service = "canary" # 2.9', 'service = "service"')),
    wrong(
        "odd-one-out",
        "makes both models the same",
        (PLAN, "[settings]", '[settings]\nLLM_FALLBACK_MODEL = "lab-large"\n#'),
    ),
    right(
        "rush-hour",
        "looks before the model is asked",
        (AUTH, BEGUN + WHO + HANDLE, BEGUN + WHO + HANDLE[4:]),
    ),
    wrong("rush-hour", "makes the pool larger", (PLAN, "DB_POOL_SIZE = 3", "DB_POOL_SIZE = 20")),
    right(
        "half-hearted",
        "compares models",
        (CACHE, "if completion.text:", "if completion.model == self._settings.llm_model:"),
    ),
    wrong("half-hearted", "keeps answers for a minute", (PLAN, "CACHE_TTL_S = 3600", "CACHE_TTL_S = 60")),
    right("crowded", "names the caller in its place", (LIMITS, BY_HOST, "    caller = request.state.caller.id\n")),
    wrong("crowded", "raises the limit", (PLAN, "RATE_LIMIT_REQUESTS = 120", "RATE_LIMIT_REQUESTS = 5000")),
    wrong(
        "crowded",
        "believes X-Forwarded-For",
        (LIMITS, BY_HOST, '    caller = request.headers.get("x-forwarded-for", "")\n'),
    ),
    wrong(
        "crowded", "counts keys, not users", (LIMITS, BY_HOST, '    caller = request.headers.get("x-api-key", "")\n')
    ),
    right(
        "heavy-metrics",
        "knows a list of paths",
        (TELEMETRY, RAW, 'handler = self.scope["path"] if self.scope["path"] in PROVIDER_ROUTES else "other"'),
    ),
    wrong("heavy-metrics", "leaves digits out", (TELEMETRY, RAW, 'handler = self.scope["path"].rstrip("0123456789")')),
    right("one-question", "takes any damage for a miss", (CACHE, LOADS, CARRY_ON.format("(ValueError, TypeError)"))),
    wrong("one-question", "expects one kind of damage", (CACHE, LOADS, CARRY_ON.format("json.JSONDecodeError"))),
    right(
        "expensive-talk",
        "sends the question alone",
        (MODEL, SO_FAR, "    return [SystemMessage(prompt.system), HumanMessage(prompt.text)]"),
    ),
    wrong("expensive-talk", "keeps fifty questions", (MODEL, "*so_far]", "*so_far[-50:]]")),
    wrong("expensive-talk", "keeps two questions of anybody", (MODEL, "*so_far]", "*so_far[-2:]]")),
    right("sunday-oom", "keeps one", (CACHE, HISTORY, "        self._history = {caller: [(prompt, completion)]}\n")),
    wrong(
        "sunday-oom",
        "keeps ten for each caller",
        (CACHE, HISTORY, HISTORY + "        del self._history[caller][:-10]\n"),
    ),
    right("out-of-time", "counts nanoseconds", (AUTH, DATED, "time.time_ns() // 10**9")),
    wrong("out-of-time", "gives c UTC", (PLAN, 'TZ = "JST-9"', 'TZ = "UTC0"')),
    wrong(
        "out-of-time",
        "forgives half a day",
        (AUTH, "CLOCKS_DIFFER_BY_S = 5", "CLOCKS_DIFFER_BY_S = 43200"),
    ),
    right(
        "busy-nights",
        "writes any failure down",
        (
            WORKER,
            COMPLETE,
            "        try:\n    " + COMPLETE + "\n        except Exception:\n            return None",
        ),
    ),
    wrong("busy-nights", "lets more tasks wait", (PLAN, "QUEUE_MAX = 20", "QUEUE_MAX = 500")),
    right("forgetful", "gives a day", (CACHE, KEPT, ", kept.dump(), ex=86400)")),
    wrong("forgetful", "buys memory", (PLAN, 'maxmemory = "16mb"', 'maxmemory = "256mb"')),
    wrong(
        "forgetful",
        "gives a day, and evicts anything",
        (CACHE, KEPT, ", kept.dump(), ex=86400)"),
        (PLAN, '"volatile-lru"', '"allkeys-lru"'),
    ),
    wrong(
        "forgetful",
        "gives a day, and evicts nothing",
        (CACHE, KEPT, ", kept.dump(), ex=86400)"),
        (PLAN, '"volatile-lru"', '"noeviction"'),
    ),
]
