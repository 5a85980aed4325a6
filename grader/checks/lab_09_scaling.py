"""Scaling."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from grader import Api, Bench, Exchange, Fault, Inconclusive, Lab, Provider, burst, check, demand, expect
from grader.allowance import surely
from grader.chart import Chart
from grader.exchange import closing
from grader.lifetimes import lifetimes
from grader.load import complaints, peak, rig, room_for
from grader.messages import new_message, nonce
from grader.patience import Stopwatch, eventually
from grader.proxy import SERVED_BY
from grader.refusals import BadSetting, challenged, refuses_settings
from grader.replicas import Turns, balanced, connected, share_answers, share_limits, trio
from grader.supervisor import Process
from grader.tasks import ROUTE, accepted, completed, hand_in, look, settled, story
from grader.verdict import Verdict, growth

lab = Lab(minutes=90, users=1, worker=True)

KEPT_S = 600
"""Seconds for which tasks and idempotency keys are known at least."""


PILING_UP = 0.6
"""Seconds for which the database lets everybody wait, so that each process opens as many connections as it would."""


# -- tasks -------------------------------------------------------------------------------------------------------------


@check(
    points=3,
    hints=[
        "An answer takes seconds; the request need not wait for it: 202, an id, and a place to look.",
        "Hand the work to Celery: task.delay() blocks, so in an async route call it in a thread.",
        "The worker writes the result where every replica can read it: the database, or Redis.",
    ],
    timeout=150,
)
def check_tasks_are_done(api: Api, provider: Provider, worker: Process) -> None:
    """POST /chat-async answers 202 and where to look; the status is processing, then complete with the answer."""
    caller, message = api.new_caller(), new_message()
    with provider.gate(message):
        task = accepted(hand_in(caller, message))
        expect(look(caller, task)).status(200).field("status", "processing").field("result", None)
    completed(settled(caller, task, worker=worker), provider.calls(message))


@check(
    points=2,
    hints=["The same model as for /chat: what was wrong there is wrong here.", "One schema for both routes."],
)
def check_requests_are_validated(api: Api, provider: Provider) -> None:
    """Bodies and callers that /chat refuses are refused here too, and nothing of it is handed to a worker."""
    caller, tag = api.new_caller(), nonce()
    bodies: list[dict[str, object]] = [
        {"message": "  "},
        {"message": tag * 401},
        {"message": tag, "temperature": 2.1},
        {"message": tag, "temperature": "1"},
        {"message": tag, "more": 1},
        {},
    ]
    for body in bodies:
        expect(caller.post(ROUTE, json=body)).status(422)
    challenged(hand_in(api.anonymous, tag))
    expect(hand_in(api.new_caller("guest"), tag)).status(403)
    good = hand_in(caller, f"{tag} {new_message()}")
    accepted(good)
    calls = provider.wait_for(2, tag, timeout=0.5)
    demand(len(calls) <= 1, f"Refused requests reached the provider: {len(calls)} calls for one task.", [good])


@check(
    points=3,
    hints=[
        "Celery says PENDING of ids that it has never heard of: keep a record of your own tasks.",
        "The record has an owner; to everybody else there is no such task.",
    ],
    needs=(check_tasks_are_done,),
)
def check_tasks_are_private(api: Api) -> None:
    """An unknown task is 404, and so is another caller's; without credentials 401."""
    caller, user = api.new_caller(), api.new_user()
    task = accepted(hand_in(caller, new_message()))
    expect(look(caller, task)).status(200)
    for unknown in (uuid.uuid4().hex, str(uuid.uuid4()), task[:-1] + ("0" if task[-1] != "0" else "1")):
        expect(look(caller, unknown)).status(404)
    token = api.bearer(api.mint(user.username))
    for stranger in (api.new_caller(), api.new_caller("admin"), token):
        expect(look(stranger, task)).status(404, because="the task is another caller's")
    challenged(look(api.anonymous, task))
    theirs = accepted(hand_in(token, new_message()))
    expect(look(token, theirs)).status(200)
    expect(look(caller, theirs)).status(404, because="the task is another caller's")


@check(
    points=2,
    hints=["What does the status say when the task's function raised?", "failed, and nothing of the exception."],
    needs=(check_tasks_are_done,),
    timeout=150,
)
def check_failures_are_told(api: Api, provider: Provider, worker: Process) -> None:
    """When all models fail the task is failed within 2 T + 10 s, and shows nothing of the provider's error."""
    caller, canary = api.new_caller(), nonce(14)
    with provider.fault(Fault.status(500, message=canary), canary):
        task = accepted(hand_in(caller, f"{canary} {new_message()}"))
        failed = settled(caller, task, 2 * api.settings.timeout + 10, worker)
    expect(failed).field("status", "failed").field("result", None).lacks(canary, "the provider's error text")


@check(
    points=3,
    hints=[
        "A client that saw no answer sends again. How do you know that it is the same request?",
        "Keep caller, key, a hash of the validated body, and the task, in one step that only one request can win.",
        "SET NX in Redis, or a unique constraint in the database.",
    ],
    needs=(check_tasks_are_done,),
    timeout=150,
)
def check_repetitions_add_nothing(api: Api, services: Bench, provider: Provider) -> None:
    """The same Idempotency-Key and body give the same task, also at the same instant and on two replicas."""
    other = services.another(api)
    caller, message, key = api.new_caller(), new_message(), nonce()
    requests = [
        each.prepare("POST", ROUTE, json=body, headers={"Idempotency-Key": key})
        for each in (caller, caller.at(other.address))
        for body in ({"message": message}, {"message": f" {message}\n", "temperature": 0.7})
        for _ in range(3)
    ]
    answers = burst(requests)
    tasks = {accepted(answer) for answer in answers}
    demand(len(tasks) == 1, f"One key and one body led to {len(tasks)} tasks.", answers[:2])
    again = hand_in(caller, message, key)
    demand({accepted(again)} == tasks, f"{again} with another task for the same key and body.", [again])
    settled(caller, tasks.pop())
    calls = provider.calls(message)
    demand(len(calls) <= 4, f"One task led to {len(calls)} completions; at most 4 are allowed.", answers[:1])


@check(
    points=2,
    hints=["A key belongs to a caller and to a body.", "A wrong key is the client's mistake, like a wrong body."],
    needs=(check_repetitions_add_nothing,),
)
def check_keys_are_bound(api: Api) -> None:
    """A used key with another body is 422, another caller's key is another key, and bad keys are 400 or 422."""
    caller, message, key = api.new_caller(), new_message(), nonce(128)
    task = accepted(hand_in(caller, message, key))
    for exchange in (hand_in(caller, new_message(), key), hand_in(caller, message, key, temperature=0.1)):
        expect(exchange).status(422, because="the key was used for another body")
    stranger = api.new_caller()
    theirs = hand_in(stranger, message, key)
    demand(accepted(theirs) != task, f"{theirs} with another caller's task.", [theirs])
    for bad in ("", "two words", nonce(129)):
        expect(hand_in(caller, message, bad)).status(400, 422, because=f"the key is {bad[:12]!r}")
    keyed = caller.post(ROUTE, json={"message": message}, headers={"Idempotency-Key": b"caf\xe9"})
    expect(keyed).status(400, 422, because="the key is not ASCII")


@check(
    points=2,
    hints=[
        "How long will a client come back for its answer?",
        "result_expires, or the EX of your record: 600 s and more.",
    ],
    needs=(check_repetitions_add_nothing,),
    timeout=150,
)
def check_tasks_are_kept(api: Api, provider: Provider, worker: Process) -> None:
    """Ten minutes later the result is still there, and a repetition still finds its task."""
    caller, message, key = api.new_caller(), new_message(), nonce()
    task = accepted(hand_in(caller, message, key))
    before = completed(settled(caller, task, worker=worker), provider.calls(message))
    short = {name: left for name, left in lifetimes(api.redis).items() if left < KEPT_S - 15}
    if short:
        api.redis.delete(*short)  # as time would have done
    said = f"after ten minutes: {len(short)} Redis keys would have expired by then" if short else "after ten minutes"
    after = look(caller, task)
    expect(after).status(200, because=said).field("result", before.json["result"], what=f"the same result {said}")
    again = hand_in(caller, message, key)
    demand(accepted(again) == task, f"{again} with a new task for a known key {said}.", [again])


# -- replicas ----------------------------------------------------------------------------------------------------------


@check(
    guard=True,  # holds as soon as lab 7 does
    hints=["Three replicas, three memories: what do you keep in variables?", "Redis counts for all of them."],
    ahead=(trio,),
)
def check_replicas_share_limits(services: Bench) -> None:
    """Three replicas count as one: requests, buckets and failed logins, in turn and at once."""
    replicas = services.shared(trio)
    surely(lambda: share_limits(replicas[0], Turns(replicas)))


@check(
    points=3,
    hints=[
        "A balancer sends the next request elsewhere: everything that outlives a request lives outside the process."
    ],
    ahead=(trio,),
    needs=(check_tasks_are_done,),
)
def check_replicas_share_answers(services: Bench, provider: Provider) -> None:
    """Three replicas answer as one: cached answers and tasks are known to all, a key names one task on all."""
    replicas = services.shared(trio)
    surely(lambda: share_answers(replicas[0], provider, Turns(replicas)))


@check(
    points=2,
    hints=["What changes behind a proxy? The address of the client, and that nobody knows which replica answers."],
    ahead=(trio,),
    needs=(check_replicas_share_limits, check_replicas_share_answers),
)
def check_balanced_replicas_act_as_one(services: Bench, provider: Provider) -> None:
    """Behind a real load balancer (Caddy, round robin) three replicas still act as one."""
    replicas = services.shared(trio)
    with balanced(services, replicas) as to:
        served = [to(replicas[0].anonymous).get("/livez") for _ in range(6)]
        by = {expect(each).status(200).exchange.headers.get(SERVED_BY) for each in served}
        if len(by) < len(replicas):
            raise Inconclusive(f"Only {len(by)} of three replicas got requests from the load balancer.")
        surely(lambda: share_limits(replicas[0], to))
        surely(lambda: share_answers(replicas[0], provider, to))


# -- the database ------------------------------------------------------------------------------------------------------


@check(
    points=3,
    hints=[
        "Pools add up: (size + overflow) x replicas, and PostgreSQL has a hundred connections.",
        "One engine a process, made once: pool_size=DB_POOL_SIZE, max_overflow=DB_MAX_OVERFLOW.",
    ],
    ahead=(trio,),
)
def check_connections_are_bounded(services: Bench) -> None:
    """Under a burst PostgreSQL has at most DB_POOL_SIZE + DB_MAX_OVERFLOW + 1 connections from each process."""
    replicas = services.shared(trio)
    token = replicas[0].bearer(replicas[0].mint(replicas[0].settings.users[0].username))
    to, database, counts, most = Turns(replicas), connected(replicas[0]), [0], 2 * len(replicas)
    with (
        database.held() as release,
        closing([to(token).begin("GET", "/protected", timeout=30) for _ in range(90)]) as pendings,
    ):
        watch = Stopwatch()
        while max(counts) <= most and watch.stop() - watch.starved < PILING_UP and watch.elapsed < 3 * PILING_UP:
            counts.append(database.connections())
        release()
        while not all(pending.answered(within=0.001) for pending in pendings):
            counts.append(database.connections())
        answers = [pending.result() for pending in pendings]
    counts.append(database.connections())
    for answer in answers:
        expect(answer).status(200)
    said = f"Three processes with a pool of 1 + 0 held {max(counts)} connections; at most {most} are allowed."
    demand(max(counts) <= most, said, answers[-1:])


@check(
    guard=True,  # holds as soon as lab 7 does
    hints=[
        "For how long does a request hold its connection? Look at what it awaits meanwhile.",
        "Give the connection back before the model is called: a session for the look-up, not for the request.",
    ],
    ahead=(trio,),
)
def check_the_pool_is_free_while_models_think(services: Bench, provider: Provider) -> None:
    """With a pool of one connection and five hanging /chat by users with tokens, /protected still answers."""
    api, tag = services.shared(trio)[0], nonce()
    token = api.bearer(api.mint(api.settings.users[0].username))
    expect(token.get("/protected")).status(200)
    with provider.gate(tag) as gate, closing([token.begin_chat(f"{tag} {n}", timeout=30) for n in range(5)]):
        gate.wait_held(5, timeout=2.0)
        held = gate.wait_held(1)
        demand(held, "No /chat of a user with a token reached the provider.")
        expect(token.get("/protected", timeout=8)).status(200, because="no request needs the connection now")


@check(
    guard=True,  # holds as soon as lab 7 does
    hints=[
        "A pool keeps connections that the server has long forgotten.",
        "pool_pre_ping asks before use; what fails then is 503, and not a traceback.",
    ],
    ahead=(trio,),
    exclusive=True,
)
def check_a_database_restart_is_survived(services: Bench) -> None:
    """While PostgreSQL restarts there are only 503s, and within 5 s after it all is well on every replica."""
    replicas = services.shared(trio)
    api, to = replicas[0], Turns(replicas)
    token = api.bearer(api.mint(api.settings.users[0].username))
    for _ in replicas:
        expect(to(token).get("/protected")).status(200)
    with api.without_database():
        for _ in range(6):
            expect(to(token).get("/protected")).status(503, because="the database is away")
    meanwhile: list[Exchange] = []

    def well() -> None:
        meanwhile.extend(to(token).get("/protected") for _ in replicas)
        for exchange in meanwhile[-3:]:
            expect(exchange).status(200)

    eventually(5.0, "The database is back", well)
    for exchange in meanwhile:
        expect(exchange).status(200, 503)


@check(
    points=1,
    hints=["A task that nobody will ever do is not accepted: 503, and soon."],
    needs=(check_tasks_are_done,),
    exclusive=True,
)
def check_without_a_queue_nothing_is_accepted(services: Bench) -> None:
    """Without Redis /chat-async is 503; with it back tasks are accepted again."""
    api = services.start()
    caller = api.new_caller()
    accepted(hand_in(caller, new_message()))
    with services.stack.redis.stopped():
        for _ in range(2):
            expect(hand_in(caller, new_message())).status(503, because="the queue is away")
    eventually(5.0, "Redis is back", lambda: expect(hand_in(caller, new_message())).status(202))


@check(points=1, hints=["Each variable has a type and a range; pydantic-settings checks both."])
def check_scaling_settings_fail_fast(services: Bench) -> None:
    """A queue or a pool whose size is no number, or out of range, ends the process and is named."""
    odd = nonce(20)
    settings = [
        BadSetting("QUEUE_MAX", "0", "0"),
        BadSetting("DB_POOL_SIZE", odd, "no number", odd),
        BadSetting("DB_MAX_OVERFLOW", "-1", "-1"),
    ]
    refuses_settings(services, settings)


# -- the worker --------------------------------------------------------------------------------------------------------


@check(
    points=3,
    hints=[
        "Where does the work happen, and what survives if that process ends?",
        "Celery: a broker outside, a worker.",
    ],
    needs=(check_tasks_are_done,),
    ahead=(story,),
    timeout=180,
    waits=15,
)
def check_a_worker_does_the_work(services: Bench) -> None:
    """Without a worker no task is begun; a web process that is replaced loses none; a worker does them all."""
    told = services.shared(story)
    demand(told.early_calls == 0, "A task reached the provider while no worker ran.", [told.first])
    expect(told.second_done).field("status", "complete", what="complete, after the web process was replaced")


@check(
    points=3,
    hints=[
        "A queue without bound is a promise that nobody keeps: refuse what will not be done soon.",
        "Count what is unfinished before you accept; at QUEUE_MAX answer 503 with Retry-After.",
        "Failed tasks are finished, too.",
    ],
    needs=(check_tasks_are_done,),
    ahead=(story,),
    timeout=180,
)
def check_the_queue_is_bounded(services: Bench) -> None:
    """With QUEUE_MAX unfinished tasks the next is 503 with Retry-After, a known key is answered; then there is room."""
    told = services.shared(story)
    accepted(told.second)
    expect(told.full).status(503, because="QUEUE_MAX=2, and two tasks are unfinished")
    expect(told.full).header("Retry-After", str.isdecimal, what="whole seconds")
    known = accepted(told.known)
    demand(known == accepted(told.first), f"{told.known} with another task for a known key.", [told.known])
    accepted(told.freed)


@check(
    points=3,
    hints=[
        "When does Celery take a message off the queue: before the task, or after?",
        "acks_late, reject_on_worker_lost, and a visibility_timeout a little longer than a task can take.",
        "What is done twice must end the same: the first result that was written stays.",
    ],
    needs=(check_a_worker_does_the_work,),
    ahead=(story,),
    timeout=180,
)
def check_killed_workers_lose_nothing(services: Bench) -> None:
    """When a worker is killed in mid-call another one does the task within 60 s, and its result never changes."""
    told = services.shared(story)
    if not told.held:
        raise Inconclusive("No worker called the provider in time, so that none could be killed in the act.")
    completed(told.first_done, [call for call in told.calls if call.text.endswith("first")])
    now = look(told.caller, accepted(told.first))
    expect(now).field("result", told.first_done.json["result"], what="the result that was shown before")


@check(
    points=2,
    hints=["What bounds the time of a task when the model never answers?", "The deadline of /chat, and a time_limit."],
    needs=(check_failures_are_told, check_a_worker_does_the_work),
    ahead=(story,),
    timeout=180,
)
def check_hanging_tasks_fail(services: Bench) -> None:
    """When all models hang the task is failed within 2 T + 10 s."""
    told = services.shared(story)
    demand(told.failed is not None, "The task was not accepted.", [told.hanging])
    for exchange in [told.failed] if told.failed else []:
        expect(exchange).field("status", "failed").field("result", None)


# -- load --------------------------------------------------------------------------------------------------------------


@check(
    points=4,
    hints=[
        "What does one request wait for besides the model? Measure one with py-spy, then a hundred.",
        "A blocking call stops all requests at once: time.sleep, requests, a synchronous Redis or database driver.",
        "One client for all calls; making a ChatOpenAI, an engine or a pool for each request costs milliseconds.",
    ],
    load=True,
    timeout=240,
)
def check_latency_under_load(services: Bench, note: Callable[[str], None], chart: Callable[[Chart], None]) -> None:
    """At half the rate that the reference manages, p95 is below 200 ms beyond the provider's own time."""
    both = services.shared(rig)
    verdict = both.race()
    for line in both.findings():
        note(line)
    chart(both.picture())
    if verdict is Verdict.OPEN:
        raise Inconclusive(f"No clear verdict. {both.findings()[0]}")
    demand(
        verdict is Verdict.GOOD, f"Too slow, or too much not served. {both.findings()[0]} At most 200 ms are allowed."
    )


@check(
    points=2,
    hints=[
        "Something is opened for each request and not closed: a client, a connection, a file, a task.",
        "async with, or one object in the lifespan that all requests share.",
    ],
    load=True,
    timeout=240,
)
def check_nothing_leaks(services: Bench, note: Callable[[str], None]) -> None:
    """Under steady traffic neither files, nor connections to Redis, nor memory grow with each request."""
    both = services.shared(rig)
    readings = both.readings()
    files = growth([(count, usage.files) for count, usage, _ in readings])
    connections = growth([(count, redis) for count, _, redis in readings])
    memory = growth([(count, usage.memory / 1024) for count, usage, _ in readings])
    note(f"With each request: {files:.2f} files, {connections:.2f} Redis connections, {memory:.1f} KB of memory more.")
    demand(files < 0.3, f"With each request {files:.2f} files or sockets more are open.")
    demand(connections < 0.3, f"With each request {connections:.2f} connections to Redis more are open.")
    demand(memory < 64, f"With each request the service holds {memory:.0f} KB more, and never less.")


@check(
    points=3,
    hints=[
        "A thousand clients wait; each needs a connection, a task and little else. What has a limit of fifty?",
        "Pools that raise when they are empty (redis-py does) become errors; let them wait: BlockingConnectionPool.",
        "What cannot be served soon is refused with 503 and Retry-After.",
    ],
    load=True,
    timeout=240,
)
def check_a_thousand_connections(services: Bench, note: Callable[[str], None]) -> None:
    """A thousand connections at once: none refused, reset, or without an answer for 15 s; at most 1 % get a 503."""
    both = services.shared(rig)
    if not room_for(both.connections):
        raise Inconclusive("The system does not let a process have a thousand connections; raise `ulimit -n` to 4096.")
    both.need_rate()
    for attempt in range(2):
        results = both.crowd(both.subject)
        slowest = max(result.seconds for result in results)
        note(f"{peak(results)} connections at once; the slowest answer took {slowest:.1f} s.")
        wrong = complaints(results)
        if not wrong:
            return
        if not attempt and complaints(both.crowd(both.reference)):
            raise Inconclusive(f"Of a thousand, {wrong}; but the reference fared no better now.")
    demand(False, f"Of a thousand connections, {wrong}, twice, while the reference served all.")
