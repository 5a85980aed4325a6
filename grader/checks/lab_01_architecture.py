"""Production architecture: the prototype meets the readiness table."""

from __future__ import annotations

import socket

from grader import Api, Bench, Lab, Provider, check, demand, expect
from grader.exchange import Pending
from grader.patience import Stopwatch
from grader.provider import Gate

lab = Lab(minutes=30)

STOP_LIMIT = 10.0


@check(
    points=1,
    hints=[
        "Open app/main.py: which function answers GET / ?",
        'A path operation: @app.get("/") on a function that returns a dictionary.',
        'The dictionary needs the key "message"; the text is yours.',
    ],
)
def check_root_greets(api: Api) -> None:
    """GET / answers 200 with a JSON object that has a message."""
    expect(api.anonymous.get("/")).status(200).field(
        "message", lambda text: isinstance(text, str) and text.strip(), what="a text"
    )


@check(
    points=1,
    hints=[
        "Load balancers and people ask the same question first: are you there?",
        'GET /health answers {"status": "healthy"}; more fields are welcome.',
    ],
)
def check_health_says_healthy(api: Api) -> None:
    """GET /health answers 200 with status healthy."""
    expect(api.anonymous.get("/health")).status(200).field("status", "healthy")


@check(
    points=1,
    hints=[
        "FastAPI writes the documentation from your code, unless it is told not to.",
        "Look at the arguments of FastAPI(…): title, version, docs_url, openapi_url.",
    ],
)
def check_documentation_is_served(api: Api) -> None:
    """/docs shows the documentation, and /openapi.json describes the API with a title and a version."""
    expect(api.anonymous.get("/docs")).status(200).header("Content-Type", lambda kind: "text/html" in kind, what="HTML")
    described = api.anonymous.get("/openapi.json")
    for name in ("title", "version"):
        expect(described).status(200).field(
            f"info.{name}", lambda text: isinstance(text, str) and text.strip(), what="a text"
        )
    expect(described).field("paths", lambda paths: "/" in paths, what="paths that include /")


@check(
    guard=True,
    hints=["uvicorn stops well on SIGTERM by itself: look for code that catches signals or blocks the end."],
)
def check_stops_when_asked(services: Bench) -> None:
    """After SIGTERM the service has ended within 10 s, with exit code 0, 143 or by the signal."""
    api = services.start()
    expect(api.anonymous.get("/")).answered()
    watch = Stopwatch()
    api.service.terminate()
    code = api.service.process.wait(3 * STOP_LIMIT)
    watch.stop()
    demand(code is not None, f"The service still runs {watch.elapsed:.0f} s after SIGTERM; orchestrators kill it then.")
    watch.verify(STOP_LIMIT, "The end after SIGTERM")
    demand(code in {0, 143, -15}, f"After SIGTERM the service ended with exit code {code}, as if it had crashed.")
    with socket.socket() as probe:
        demand(probe.connect_ex(api.address) != 0, "The port is still open after the service has ended.")


@check(
    guard=True,
    hints=[
        "uvicorn waits for answers that are under way before it ends the application; what could cut them short?",
        "A handler of your own for SIGTERM must not cancel requests that need at most 3 s more.",
    ],
    needs=(check_stops_when_asked,),
)
def check_finishes_what_it_began(services: Bench, provider: Provider) -> None:
    """A request that is under way at SIGTERM and needs at most 3 s more gets its answer."""
    api = services.start(LLM_TIMEOUT_S="20")
    caller = api.new_caller()
    if caller.chat().status in {404, 405}:
        return  # before lab 2 no request takes long enough to be under way
    with provider.gate() as gate:
        pending = caller.begin_chat(timeout=40)
        demand(_reached(gate, pending), "POST /chat never reached the provider.", [pending.exchange()])
        api.service.terminate()
        refused = _stops_accepting(api)
        gate.open()
    expect(pending.result()).status(200, because="the request was under way when SIGTERM came")
    demand(refused, "After SIGTERM the service went on to accept new connections.")


@check(
    guard=True,
    hints=[
        "uvicorn waits for ever for the last answer unless it is told how long; what can you do about SIGTERM?",
        "When SIGTERM comes, give what is under way some seconds, then cancel it, so that all has ended after 10 s.",
    ],
    needs=(check_stops_when_asked,),
    timeout=90,
    waits=7,
)
def check_ends_though_a_request_hangs(services: Bench, provider: Provider) -> None:
    """The service has ended within 10 s of SIGTERM even while the provider keeps a request waiting."""
    api = services.start(LLM_TIMEOUT_S="60")
    caller = api.new_caller()
    if caller.chat().status in {404, 405}:
        return
    with provider.gate() as gate:
        pending = caller.begin_chat(timeout=80)
        demand(_reached(gate, pending), "POST /chat never reached the provider.", [pending.exchange()])
        watch = Stopwatch()
        api.service.terminate()
        code = api.service.process.wait(4 * STOP_LIMIT)
        watch.stop()
        pending.close()
    demand(code is not None, f"The service still waits for a hanging request {watch.elapsed:.0f} s after SIGTERM.")
    watch.verify(STOP_LIMIT, "The end after SIGTERM, with a request that hangs,")


def _reached(gate: Gate, pending: Pending) -> bool:
    """Whether a request comes to the provider, or is answered without it."""
    while not gate.wait_held(1, timeout=0.5):
        if pending.answered():
            return False
    return True


def _stops_accepting(api: Api) -> bool:
    """Whether new connections are refused soon after SIGTERM (the request under way is still held)."""
    watch = Stopwatch()
    while watch.elapsed - watch.starved < 3.0:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(api.address) != 0:
                return True
        api.service.process.wait(0.05)
        watch.stop()
    return False
