"""Looking at the production that runs: the tools of on-call, each a function of what stands after its name."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from grader.cli import Parser
from grader.incidents.scene import Place, Scene
from grader.provider import Bill, Call, Provider, ProviderAddress

SHOWN_LINES = 30
SHOWN_CALLS = 15
PROBES = ('"path": "/livez"', '"path": "/readyz"', '"path": "/metrics"')
"""In lines that say only that somebody looked."""

PATIENCE = 6.0
"""Seconds that a probe waits for an answer."""


def health(scene: Scene, words: Sequence[str]) -> int:
    """Ask every replica how it is."""
    Parser(prog="course incident health", description="Ask every replica for its probes.").parse_args(words)
    print(f"{'':<9}{'/livez':<18}{'/readyz':<18}/health")
    for place in scene.replicas:
        asked = {path: _asked(place.url + path) for path in ("/livez", "/readyz", "/health")}
        first, second, (status, seconds, body) = asked.values()
        checks = ""
        with contextlib.suppress(ValueError, AttributeError):
            checks = " ".join(f"{name} {how}" for name, how in json.loads(body)["checks"].items())
        cells = [f"{code} {1000 * took:.0f} ms" for code, took, _ in (first, second)]
        print(f"{place.name:<9}{cells[0]:<18}{cells[1]:<18}{status} {1000 * seconds:.0f} ms  {checks}")
    return 0


def _asked(url: str) -> tuple[str, float, str]:
    began = time.monotonic()
    try:
        with urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # of our own replicas
            status, body = str(answer.status), answer.read().decode(errors="replace")
    except HTTPError as refused:
        status, body = str(refused.code), ""
    except (OSError, HTTPException) as error:
        status, body = f"none ({type(error).__name__})", ""
    return status, time.monotonic() - began, body


def metrics(scene: Scene, words: Sequence[str]) -> int:
    """Show samples of the replicas' metrics side by side."""
    parser = Parser(prog="course incident metrics", description="Show the replicas' metrics side by side.")
    parser.add_argument("find", nargs="?", default="", help="a part of the name or of the labels")
    parser.add_argument("--buckets", action="store_true", help="show histogram buckets, too")
    options = parser.parse_args(words)
    read = [_samples(_asked(place.url + "/metrics")[2]) for place in scene.replicas]
    names = sorted({name for samples in read for name in samples if options.find in name})
    names = [name for name in names if options.buckets or "_bucket{" not in name]
    width = max(map(len, names), default=10)
    print(f"{'':<{width}}" + "".join(f"{place.name:>12}" for place in scene.replicas))
    for name in names:
        print(f"{name:<{width}}" + "".join(f"{samples.get(name, '–'):>12}" for samples in read))
    print(f"{len(names)} series; all of one replica: curl {scene.replicas[0].url}/metrics")
    return 0


def _samples(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: f"{float(value):g}" for name, _, value in (line.rpartition(" ") for line in lines)}


def logs(scene: Scene, words: Sequence[str]) -> int:
    """Show the last lines that contain something, of all processes or of one, in order of time."""
    parser = Parser(prog="course incident logs", description="Show the last log lines of replicas and worker.")
    parser.add_argument("find", nargs="?", default="", help="only lines that contain this: a request id, a status …")
    parser.add_argument("--of", metavar="NAME", choices=[place.name for place in scene.places], help="of one process")
    parser.add_argument("-n", type=int, default=SHOWN_LINES, help=f"how many lines (default: {SHOWN_LINES})")
    parser.add_argument("--probes", action="store_true", help="also the answers to probes")
    options = parser.parse_args(words)
    chosen = [place for place in scene.places if options.of in {None, place.name}]
    found = [(_time_of(line), place.name, line) for place in chosen for line in _lines(place) if options.find in line]
    found = [each for each in found if options.probes or not any(probe in each[2] for probe in PROBES)]
    found.sort(key=lambda each: each[0])
    for _, name, line in found[-options.n :]:
        print(f"{name:<7}{line}")
    print(f"{len(found)} lines of {', '.join(place.name for place in chosen)}", file=sys.stderr)
    return 0


def _lines(place: Place) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return Path(place.log).read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _time_of(line: str) -> str:
    try:
        return str(json.loads(line)["timestamp"])
    except (ValueError, KeyError, TypeError):
        return ""


def redis_command(scene: Scene, words: Sequence[str]) -> int:
    """Send Redis one command."""
    import redis  # noqa: PLC0415  # 0.2 s

    parser = Parser(prog="course incident redis", description="Send a command: redis INFO memory, redis SCAN 0 …")
    parser.add_argument("words", nargs="+", metavar="WORD", help="the command and what stands after it")
    command = parser.parse_args(words).words
    with contextlib.closing(redis.Redis.from_url(scene.redis, socket_timeout=PATIENCE)) as client:
        client.response_callbacks.clear()  # answers as Redis gives them
        try:
            _show(client.execute_command(*command))  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            print(f"(error) {error}")
            return 1
    return 0


def _show(answer: object, indent: str = "") -> None:
    """Write an answer of Redis as its own client does, more or less."""
    if isinstance(answer, list):
        for number, value in enumerate(answer, 1):
            if isinstance(value, list):
                _show(value, f"{indent}{number}) ")
            else:
                print(f"{indent}{number}) {_text(value)}")
        if not answer:
            print(f"{indent}(empty)")
    else:
        print(indent + _text(answer))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace").replace("\r\n", "\n")
    return "(nil)" if value is None else str(value)


def sql(scene: Scene, words: Sequence[str]) -> int:
    """Run one statement in the service's database."""
    import psycopg  # noqa: PLC0415  # 0.1 s

    parser = Parser(prog="course incident sql", description="Run a statement: sql 'SELECT status, count(*) …'")
    parser.add_argument("statement")
    statement = parser.parse_args(words).statement
    try:
        with psycopg.connect(scene.database, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            if cursor.description:
                print("  ".join(column.name for column in cursor.description))
                for row in cursor.fetchall():
                    print("  ".join(str(value) for value in row))
            else:
                print(f"{cursor.rowcount} rows")
    except psycopg.Error as error:
        print(f"(error) {error}")
        return 1
    return 0


def bill(scene: Scene, words: Sequence[str]) -> int:
    """Show what the model's provider counted."""
    parser = Parser(prog="course incident bill", description="Show the provider's bill and its latest calls.")
    parser.add_argument("find", nargs="?", help="only calls whose text contains this")
    parser.add_argument("-n", type=int, default=SHOWN_CALLS, help=f"how many calls (default: {SHOWN_CALLS})")
    options = parser.parse_args(words)
    address = ProviderAddress(scene.provider["port"], scene.provider["token"])
    provider = Provider(address, scene.provider["base_url"], scene.provider["key"])
    calls = provider.calls(options.find, kind=None)
    calls = [call for call in calls if call.kind != "models"]
    now = time.monotonic()
    print(f"{'s ago':>6} {'model':<10} {'status':>6} {'seconds':>7} {'prompt':>6} {'answer':>6}  text")
    for call in calls[-options.n :]:
        print(_call_line(call, now))
    total = Bill.of(calls)
    kinds = Counter(f"{call.model} {call.status or call.state}" for call in calls)
    print(f"{total.calls} calls, {total.total_tokens:,} tokens, ${total.price_usd:.4f}; " + _counted(kinds))
    return 0


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in counts.most_common(6))


def _call_line(call: Call, now: float) -> str:
    took = "…" if call.seconds is None else f"{call.seconds:.2f}"
    text = call.text if len(call.text) <= 50 else call.text[:49] + "…"
    status = call.status or call.state
    ago = now - call.arrived
    sizes = f"{call.prompt_tokens:>6} {call.completion_tokens:>6}"
    return f"{ago:6.0f} {call.model:<10} {status:>6} {took:>7} {sizes}  {text!r}"


def dump(scene: Scene, words: Sequence[str]) -> int:
    """Show where the threads of a process stand."""
    parser = Parser(prog="course incident dump", description="Show where each thread of a process stands (py-spy).")
    parser.add_argument("name", choices=[place.name for place in scene.places])
    place = scene.place(parser.parse_args(words).name)
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        parser.error("py-spy is not installed here: `make setup` installs it")
    command = [str(program), "dump", "--pid", str(place.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"py-spy may not look at process {place.pid}; where sudo is yours, sudo {' '.join(command)} may.")
        return 1
    print(done.stdout)
    return 0
