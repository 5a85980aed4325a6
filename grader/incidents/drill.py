"""Drill: a production with a fault under traffic, in the foreground, until Ctrl-C, `stop` or its time is over."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from grader import workspace
from grader.incidents import scene
from grader.incidents.plan import Plan
from grader.incidents.production import Production, running
from grader.incidents.prometheus import watch
from grader.incidents.scene import Place, Scene
from grader.incidents.traffic import begin
from grader.submission import Submission
from grader.supervisor import Supervisor
from grader.workshop import start_workshop

if TYPE_CHECKING:
    from grader.incidents.case import Case
    from grader.provider import ProviderAddress

MODEL_SECONDS = 0.4
PAGE_WAS_SENT_AGO = timedelta(minutes=7)


def run(case: Case, minutes: float) -> None:
    """Run a case until its time is over; ends everything, however it ends.

    Raises ``RunningError``, ``BadPlanError``, ``BadSubmissionError``, ``StartFailedError``, ``PartMissingError``.
    """
    case.lay_out()
    plan = Plan.read(case.folder)
    with contextlib.ExitStack() as ending:
        ending.enter_context(scene.held())
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="incident-", ignore_cleanup_errors=True)))
        helper = ending.enter_context(Supervisor(scratch=folder))
        workshop = ending.enter_context(start_workshop(folder, seed=time.time_ns()))
        bench = ending.enter_context(workshop.bench(Submission.at(case.folder / plan.worker), "production"))
        production = ending.enter_context(running(bench, case.folder, plan))
        ending.callback(_keep_logs, case.folder / "logs")
        _go_wrong(production, case)
        places = _places(production, plan)
        pages = {"model": production.provider.page_url} | watch(helper, folder, [place.url for place in places[:-1]])
        seen = _seen(production, case, places, pages, workshop.provider.address)
        scene.publish(seen)
        _link_logs(case.folder / "logs", places)
        begin(production, helper, folder, minutes=minutes, habits=case.incident.habits)
        case.note("started")
        ending.callback(case.note, "stopped")
        print(page(case, seen), flush=True)
        _wait(minutes)


def _go_wrong(production: Production, case: Case) -> None:
    """Start what waits to be asked for, and let the world do its part."""
    production.provider.latency(MODEL_SECONDS)
    if case.incident.disturb:
        case.incident.disturb(production)
    _ = production.worker, production.balancer
    if case.incident.live:
        case.incident.live(production)


def _places(production: Production, plan: Plan) -> list[Place]:
    """Where the replicas and, last, the worker are."""
    places = [
        Place(replica.name, api.url, api.service.process.pid, str(api.service.log_path))
        for replica, api in zip(plan.replicas, production.replicas, strict=True)
    ]
    return [*places, Place("worker", "", production.worker.pid, str(production.worker.log))]


def _seen(
    production: Production, case: Case, places: list[Place], pages: dict[str, str], control: ProviderAddress
) -> Scene:
    """Describe it for other terminals, with a caller and a user of the learner's own."""
    api, model = production.first, production.provider
    user = api.new_user()
    return Scene(
        incident=case.incident.name,
        pid=os.getpid(),
        began=time.time(),
        url=production.balancer.url,
        replicas=tuple(places[:-1]),
        worker=places[-1],
        redis=api.settings.env["REDIS_URL"],
        database=api.database.url,
        provider={"port": control.port, "token": control.token, "base_url": model.base_url, "key": model.api_key},
        keys={role: api.new_caller(role).headers["X-API-Key"] for role in ("user", "admin")},
        user={"username": user.username, "password": user.password},
        pages=pages,
    )


def _link_logs(logs: Path, places: list[Place]) -> None:
    """Let the learner follow the logs where the case is; old ones give way."""
    for old in logs.glob("*.log"):
        old.unlink()
    for place in places:
        (logs / f"{place.name}.log").symlink_to(place.log)


def _keep_logs(logs: Path) -> None:
    """Turn the links into files, for the postmortem."""
    for link in logs.glob("*.log"):
        if link.is_symlink():
            target = link.resolve()
            link.unlink()
            if target.is_file():
                shutil.copy(target, link)


def _wait(minutes: float) -> None:
    """Wait until the time is over; Ctrl-C ends it before."""
    until = time.monotonic() + 60 * minutes
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < until:
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))
        print(f"{minutes:g} minutes are over: production ends.", flush=True)
        return
    print("\nProduction ends.", flush=True)


def page(case: Case, seen: Scene) -> str:
    """The page as on call gets it, and how to look around."""
    now = datetime.fromtimestamp(seen.began).astimezone()
    text = case.incident.story.page.strip().format(began=f"{now - PAGE_WAS_SENT_AGO:%H:%M}", now=f"{now:%H:%M}")
    lines = [
        f"── {case.incident.story.title} ──",
        "",
        text,
        "",
        f"Production   {seen.url}   " + "  ".join(f"{place.name} {place.url}" for place in seen.replicas),
        f"Callers      X-API-Key: {seen.keys['user']}   login {seen.user['username']} {seen.user['password']}",
        f"Your copy    {workspace.short(case.folder)}/   service/ and production.toml, to read and to mend; logs/",
        *(f"{name.capitalize():<12} {url}" for name, url in seen.pages.items()),
        "",
        "In another terminal: course incident health | metrics | logs | bill | redis … | sql … | dump a",
        "                     course incident causes, then found CAUSE; hint; prove; postmortem",
        "Ctrl-C here, or course incident stop, ends production. Your copy stays.",
    ]
    return "\n".join(lines)
