from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import spool, supervisor, tree
from grader.supervisor import Limits, Process, Supervisor, SupervisorError
from tests.endings import COMET, CROWD, DAEMON, environments_and_arguments, numbers_after, outliving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and waits with pidfd")

PATH = {"PATH": os.environ["PATH"]}
SOON = 10.0


@pytest.fixture(scope="module")
def bare() -> Iterator[Supervisor]:
    with Supervisor() as opened:
        yield opened


def python(given: Supervisor, folder: Path, program: str, limits: Limits | None = None) -> Process:
    argv = [sys.executable, "-c", textwrap.dedent(program)]
    return given.spawn(argv, env=PATH, cwd=folder, log=folder / "log", limits=limits)


def shell(given: Supervisor, folder: Path, script: str) -> Process:
    return given.spawn(["/bin/sh", "-c", script], env=PATH, cwd=folder, log=folder / "log")


def start_daemon(given: Supervisor, folder: Path) -> tuple[Process, int]:
    process = python(given, folder, DAEMON + "\n")
    assert process.wait_for_output("daemon ", SOON)
    return process, numbers_after("daemon", process.log.read_text())[0]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", -15), ("kill -KILL $$", -9)],
)
def test_exit_codes_are_those_of_the_process(bare: Supervisor, tmp_path: Path, script: str, code: int) -> None:
    process = shell(bare, tmp_path, script)
    assert process.wait(SOON) == code
    assert process.poll() == code


def test_poll_and_wait_tell_that_a_process_still_runs(bare: Supervisor, tmp_path: Path) -> None:
    process = shell(bare, tmp_path, "exec sleep 300")
    assert process.poll() is None
    assert process.wait(0.01) is None
    assert process.stop() == -signal.SIGTERM


def test_a_missing_program_or_folder_is_named(bare: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/program"):
        bare.spawn(["/no/such/program"], env=PATH, cwd=tmp_path, log=tmp_path / "log")
    with pytest.raises(FileNotFoundError, match="/no/such/folder"):
        bare.spawn(["/bin/true"], env=PATH, cwd=Path("/no/such/folder"), log=tmp_path / "log")


def test_a_process_starts_clean(bare: Supervisor, tmp_path: Path) -> None:
    seen = """
        import json, os, signal, sys
        print(json.dumps({
            "env": dict(os.environ), "cwd": os.getcwd(), "input": sys.stdin.read(), "umask": os.umask(0),
            "leads": os.getsid(0) == os.getpgid(0) == os.getpid(), "fds": len(os.listdir("/dev/fd")),
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            "hangup": signal.getsignal(signal.SIGHUP) == signal.SIG_DFL,
            "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }))
    """
    assert python(bare, tmp_path, seen).wait(SOON) == 0
    said = json.loads((tmp_path / "log").read_text())
    assert said.pop("env") | {"LC_CTYPE": "C.UTF-8"} == PATH | {"LC_CTYPE": "C.UTF-8"}
    expected = {"cwd": str(tmp_path), "input": "", "umask": 0o022, "leads": True, "fds": 4}
    assert said == expected | {"interrupt": True, "hangup": True, "blocked": 0}


def test_descriptors_keep_their_numbers(bare: Supervisor, tmp_path: Path) -> None:
    numbers = []
    with socket.socket() as first, socket.socket() as second:
        for given, wanted in ((first, 3), (second, 90)):  # one that the keeper itself might hold, one far away
            given.bind(("127.0.0.1", 0))
            numbers.append(os.dup2(given.fileno(), wanted + 400, inheritable=False))
        expected = [given.getsockname()[1] for given in (first, second)]
        program = f"""
            import socket
            print([socket.socket(fileno=fd).getsockname()[1] for fd in {numbers}])
        """
        argv = [sys.executable, "-c", textwrap.dedent(program)]
        process = bare.spawn(argv, env=PATH, cwd=tmp_path, log=tmp_path / "log", fds=numbers)
        assert process.wait(SOON) == 0
        for number in numbers:
            os.close(number)
    assert json.loads((tmp_path / "log").read_text()) == expected


def test_output_and_errors_come_in_order_and_are_appended(bare: Supervisor, tmp_path: Path) -> None:
    for _ in range(2):
        assert shell(bare, tmp_path, "echo one; echo two >&2; echo three").wait(SOON) == 0
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree\n" * 2


def test_waiting_for_output_looks_at_this_process_only(bare: Supervisor, tmp_path: Path) -> None:
    assert shell(bare, tmp_path, "echo ready").wait(SOON) == 0
    second = shell(bare, tmp_path, "echo other")
    assert not second.wait_for_output("ready", SOON)
    assert second.poll() == 0


def test_waiting_for_output_ends_when_it_comes(bare: Supervisor, tmp_path: Path) -> None:
    program = """
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        print("rea", end="", flush=True)
        signal.sigwait([signal.SIGUSR1])
        print("dy", flush=True)
        signal.pause()
    """
    process = python(bare, tmp_path, program)
    assert process.wait_for_output("rea", SOON)
    assert not process.wait_for_output("ready", 0.01)
    process.signal(signal.SIGUSR1)
    assert process.wait_for_output("ready", SOON)
    process.stop(0)


def test_a_flood_neither_fills_the_disk_nor_blocks(bare: Supervisor, tmp_path: Path) -> None:
    flood = """
        import os
        for _ in range(100):
            os.write(1, (b"x" * 1023 + b"\\n") * 1024)
        os.write(1, b"the last line\\n")
    """
    assert python(bare, tmp_path, flood).wait(60) == 0
    kept = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert spool.GENERATION < kept <= 2 * spool.GENERATION
    assert spool.tail(tmp_path / "log", 100).endswith("the last line\n")
    assert len(spool.tail(tmp_path / "log", 1 << 20)) == 1 << 20


def test_freezing_and_thawing(bare: Supervisor, tmp_path: Path) -> None:
    process = shell(bare, tmp_path, "echo up; exec sleep 300")
    assert process.wait_for_output("up", SOON)

    def state() -> str:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    process.signal(signal.SIGSTOP)
    assert state() == "T"
    process.signal_group(signal.SIGCONT)
    assert state() != "T"
    process.signal(signal.SIGSTOP)
    assert process.stop() == -signal.SIGTERM


def test_stop_kills_what_ignores_it_and_all_it_left(bare: Supervisor, tmp_path: Path) -> None:
    process, daemon = start_daemon(bare, tmp_path)
    assert process.wait(SOON) == 0
    assert outliving([daemon], 0) == [daemon]
    assert process.stop(0.1) == 0
    assert outliving([daemon], 0) == []
    stubborn = shell(bare, tmp_path, "trap '' TERM; echo deaf; while :; do sleep 1; done")
    assert stubborn.wait_for_output("deaf", SOON)
    assert stubborn.stop(0.1) == -signal.SIGKILL


@pytest.mark.parametrize("program", [[CROWD], [COMET], [COMET, "new sessions"]])
def test_processes_that_multiply_are_ended(tmp_path: Path, program: list[str]) -> None:
    with Supervisor() as own:
        process = own.spawn([sys.executable, "-c", *program], env=PATH, cwd=tmp_path, log=tmp_path / "log")
        assert process.wait_for_output("up", SOON)
        keeper = own.descendants()[0]
        assert any(own.descendants()[1:] for _ in range(1000))  # a look may fall between two lives
        process.stop(0)
        assert set(own.descendants()) <= {keeper}


def test_threads_wait_side_by_side(bare: Supervisor, tmp_path: Path) -> None:
    process = python(bare, tmp_path, "import sys, time; print('one', flush=True); time.sleep(0.2); sys.exit(3)")
    found: list[object] = []
    waits = [
        lambda: found.append(process.wait(SOON)),
        lambda: found.append(process.wait_for_output("one", SOON)),
        lambda: found.append(process.wait(SOON)),
    ]
    threads = [threading.Thread(target=wait) for wait in waits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert found == [True, 3, 3]


def test_many_threads_start_processes(bare: Supervisor, tmp_path: Path) -> None:
    codes: list[int | None] = []

    def start(number: int) -> None:
        log = tmp_path / f"{number}.log"
        process = bare.spawn(["/bin/sh", "-c", f"exit {number}"], env=PATH, cwd=tmp_path, log=log)
        codes.append(process.wait(SOON))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert sorted(code for code in codes if code is not None) == list(range(8))


def test_closing_ends_everything_and_removes_the_scratch(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "file").touch()
    with Supervisor(scratch=scratch) as opened:
        _, daemon = start_daemon(opened, tmp_path)
        process = shell(opened, tmp_path, "exec sleep 300")
        everything = [opened.pid, daemon, process.pid, *opened.descendants()]
        assert set(outliving(everything, 0)) == set(everything)
    assert outliving(everything, 0) == []
    assert not scratch.exists()
    opened.close()
    assert process.poll() == -signal.SIGKILL
    with pytest.raises(SupervisorError):
        shell(opened, tmp_path, "exit 0")


def test_a_child_that_kills_its_keeper_gains_nothing(bare: Supervisor, tmp_path: Path) -> None:
    process, daemon = start_daemon(bare, tmp_path)
    other = shell(bare, tmp_path, "exec sleep 300")
    keeper = next(pid for pid in bare.descendants() if daemon in tree.descendants(pid))
    os.kill(keeper, signal.SIGKILL)
    assert outliving([keeper, daemon], SOON) == []
    assert process.stop() == 0  # it had ended before
    for _ in range(5):  # before its keeper has told that it runs, or after
        killer = shell(bare, tmp_path, "kill -9 $PPID; sleep 300")
        assert killer.wait(SOON) == -signal.SIGKILL
    assert other.poll() is None
    assert other.stop() == -signal.SIGTERM


def test_a_keeper_that_was_stopped_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor() as own:
        process, daemon = start_daemon(own, tmp_path)
        stubborn = shell(own, tmp_path, "exec sleep 300")
        everything = [daemon, stubborn.pid, *own.descendants()]
        for keeper in set(own.descendants()) - {daemon, stubborn.pid, process.pid}:
            os.kill(keeper, signal.SIGSTOP)
        monkeypatch.setattr("grader.process.ANSWER_LIMIT", 0.2)
        process.stop()
        assert stubborn.stop() == -signal.SIGKILL
        assert outliving(everything, SOON) == []


def test_a_helper_that_was_killed_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with Supervisor() as opened:
        process, daemon = start_daemon(opened, tmp_path)
        everything = [daemon, *opened.descendants()]
        os.kill(opened.pid, signal.SIGKILL)
        assert outliving(everything, SOON) == []
        assert process.poll() is not None
        with pytest.raises(SupervisorError):
            shell(opened, tmp_path, "exit 0")


def test_a_helper_that_was_stopped_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_END_LIMIT", 0.2)
    with Supervisor() as opened:
        shell(opened, tmp_path, "exec sleep 300")
        everything = [opened.pid, *opened.descendants()]
        os.kill(opened.pid, signal.SIGSTOP)
    assert outliving(everything, SOON) == []


def test_a_fork_uses_the_supervisor_and_takes_only_its_own_along(bare: Supervisor, tmp_path: Path) -> None:
    ours = shell(bare, tmp_path, "exec sleep 300")
    answer, question = os.pipe()
    worker = os.fork()
    if not worker:
        try:
            theirs = shell(bare, tmp_path, "exec sleep 300")
            os.write(question, f"{theirs.pid} {ours.wait(0)}".encode())
            bare.close()  # of no meaning to the helper, here
        finally:
            os._exit(0)
    os.waitpid(worker, 0)
    theirs_pid, seen_of_ours = os.read(answer, 100).decode().split()
    os.close(answer)
    os.close(question)
    assert outliving([int(theirs_pid)], SOON) == []
    assert seen_of_ours == str(-signal.SIGKILL)  # to a fork it is as good as gone
    assert ours.poll() is None
    assert ours.stop() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("limits", "program", "code"),
    [
        (Limits(), "import resource; raise SystemExit(resource.getrlimit(resource.RLIMIT_CORE)[1])", 0),
        (Limits(open_files=20), "fds = [open('/dev/null') for _ in range(30)]", 1),
        (Limits(memory_bytes=200 << 20), "held = bytearray(300 << 20)", 1),
        (Limits(file_bytes=1000), "import pathlib; pathlib.Path('big').write_bytes(bytes(2000))", 1),
        (Limits(cpu_seconds=1), "while True: pass", -signal.SIGXCPU),
        (Limits(open_files=1 << 40), "print('as many as may be')", 0),
    ],
)
def test_limits_hold(bare: Supervisor, tmp_path: Path, limits: Limits, program: str, code: int) -> None:
    unlimited = python(bare, tmp_path, program)
    if code >= 0:
        assert unlimited.wait(SOON) == 0
    unlimited.stop(0)
    assert python(bare, tmp_path, program, limits).wait(SOON) == code


FAMILY = """
import os, time
for _ in range(4):
    if not os.fork():
        held = os.urandom(30 << 20)
        break
time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what other processes hold")
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(tree_processes=3), "Ended by the grader: 5 processes, 3 are allowed."),
        (Limits(tree_bytes=90 << 20), "MiB of memory in 5 processes, 90 MiB are allowed."),
    ],
)
def test_a_family_has_limits_too(bare: Supervisor, tmp_path: Path, limits: Limits, said: str) -> None:
    within = python(bare, tmp_path, FAMILY, Limits(tree_processes=5, tree_bytes=1 << 30))
    beyond = python(bare, tmp_path, FAMILY, limits)
    assert beyond.wait(SOON) == -signal.SIGKILL
    assert said in (tmp_path / "log").read_text()
    assert within.poll() is None
    within.stop(0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may be somebody else")
def test_another_user_and_a_limit_on_processes(bare: Supervisor, tmp_path: Path) -> None:
    program = "id -un; for n in 1 2 3 4 5 6; do sleep 1 & done; echo started"
    for limits, started in ((None, True), (Limits(processes=3), False)):
        log = tmp_path / f"{started}.log"
        argv = ["/bin/sh", "-c", program]
        process = bare.spawn(argv, env=PATH, cwd=Path("/"), log=log, limits=limits, user="nobody")
        process.wait(SOON)
        process.stop(0)
        assert log.read_text().startswith("nobody\n")
        assert ("started" in log.read_text()) is started


def test_secrets_show_only_where_they_belong(bare: Supervisor, tmp_path: Path) -> None:
    secret = "s3cret-" + os.urandom(8).hex()
    env = PATH | {"JWT_SECRET": secret}
    process = bare.spawn(["/bin/sleep", "300"], env=env, cwd=tmp_path, log=tmp_path / "log")
    assert secret.encode() in environments_and_arguments([process.pid])
    others = [bare.pid, *(pid for pid in bare.descendants() if pid != process.pid)]
    assert secret.encode() not in environments_and_arguments(others)
    process.stop(0)


GRADER = """
import signal, sys, time
from pathlib import Path
from grader.postgres import PostgresServer
from grader.stack import Stack
from grader.supervisor import Supervisor
from tests.endings import COMET, CROWD, DAEMON, numbers_after

folder = Path(sys.argv[1])
scratch = folder / "scratch"
scratch.mkdir()
with Supervisor(scratch=scratch) as backends, Supervisor(preload=["json"]) as learners:
    stack = Stack(backends, scratch / "stack")
    print("server", stack.redis.pid)
    print("server", stack.postgres().server.pid)
    hostile = learners.spawn([sys.executable, "-c", DAEMON], env={}, cwd=folder, log=folder / "log")
    assert hostile.wait_for_output("daemon ", 10)
    print("daemon", numbers_after("daemon", (folder / "log").read_text())[0])
    for helper in (backends, learners):
        print("helper", helper.pid)
        for pid in helper.descendants():
            print("descendant", pid)
    try:
        print("ready", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("alive" if stack.redis.client().ping() else "dead", flush=True)
        sys.exit(5)
"""


FORKER = """
import os, signal, sys
from pathlib import Path
from grader.supervisor import Supervisor

with Supervisor() as opened:
    process = opened.spawn(["/bin/sleep", "300"], env={}, cwd=Path("/"), log=Path(sys.argv[1], "log"))
    worker = os.fork()
    if worker:
        print("worker", worker, "\\nhelper", opened.pid, "\\ndescendant", process.pid, "\\nready", flush=True)
    signal.pause()
"""


def test_forks_do_not_keep_a_helper_whose_grader_was_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    argv = [sys.executable, "-c", FORKER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as running:
        assert running.stdout
        said = "".join(iter(running.stdout.readline, "ready\n"))
        (worker,) = numbers_after("worker", said)
        ends = numbers_after("helper", said) + numbers_after("descendant", said)
        running.kill()
        try:
            assert outliving(ends, 5) == []
            assert outliving([worker], 0) == [worker]
        finally:
            os.kill(worker, signal.SIGKILL)


@pytest.fixture
def small_grader(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that supervises as the grader does, and the processes below it."""
    root = Path(__file__).parents[1]
    argv = [sys.executable, "-c", GRADER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root, start_new_session=True) as running:
        assert running.stdout
        said = "".join(iter(running.stdout.readline, "ready\n"))
        pids = [pid for word in ("server", "daemon", "helper", "descendant") for pid in numbers_after(word, said)]
        assert len(pids) > 10
        assert set(outliving(pids, 0)) == set(pids)
        yield running, pids
        running.kill()
    assert outliving(pids, SOON) == []


def test_nothing_outlives_a_grader_that_was_killed(
    small_grader: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    running, pids = small_grader
    running.kill()
    assert outliving(pids, 5) == []
    assert not (tmp_path / "scratch").exists()


def test_ctrl_c_is_for_the_grader_to_decide(
    small_grader: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    running, pids = small_grader
    os.killpg(running.pid, signal.SIGINT)
    assert running.stdout
    assert running.stdout.readline() == "alive\n"
    assert running.wait(SOON) == 5
    assert outliving(pids, 0) == []
    assert not (tmp_path / "scratch").exists()
