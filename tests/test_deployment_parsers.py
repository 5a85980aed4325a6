"""What the deployment rules read with: Dockerfiles, YAML with lines, start commands, GitHub's expressions."""

from __future__ import annotations

import pytest

from grader.deployment import launch, located
from grader.deployment.context import Ignore
from grader.deployment.expressions import UNKNOWN, evaluate, has_status, truth
from grader.deployment.image import Image
from grader.deployment.instructions import DockerfileError, expand, parse, read
from grader.deployment.pipeline import BRANCH, MAIN, PULL
from grader.deployment.secrets import given

# -- Dockerfiles ----


def test_instructions_keep_their_lines_through_continuations_and_heredocs() -> None:
    text = "FROM a:1.0\nRUN one \\\n  # a comment\n\n  two\nCOPY <<A <<-'B' /x/\nfirst\nA\n\tsecond\n\tB\nCMD [\"x\"]\n"
    found = [(step.keyword, step.line, step.text, step.heredocs) for step in read(text)]
    assert found == [
        ("FROM", 1, "a:1.0", ()),
        ("RUN", 2, "one two", ()),
        ("COPY", 6, "<<A <<-'B' /x/", ("first", "\tsecond")),
        ("CMD", 11, '["x"]', ()),
    ]


def test_flags_and_list_forms() -> None:
    copy, probe, shell, broken = read(
        'COPY --from=build --chown=1:1 ["a b", "/c"]\nHEALTHCHECK --interval=1s CMD ["x", "y"]\nCMD x y\nCMD [\'x\']\n'
    )
    assert (copy.flag("from"), copy.arguments) == ("build", ["a b", "/c"])
    assert probe.words == ("x", "y")
    assert shell.words is None
    assert broken.words is None


@pytest.mark.parametrize(
    ("text", "line"),
    [("RUN x\nFROM a", 1), ("FROM a\nFRUM b", 2), ("FROM a b c d", 1), ("FROM a\nENV", 2), ("FROM a\nRUN <<E\nx", 2)],
)
def test_what_no_builder_could_read(text: str, line: int) -> None:
    with pytest.raises(DockerfileError) as error:
        parse(text)
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "expanded", "known"),
    [
        ("$A-${A}", "1-1", True),
        ("${B:-two}", "two", True),
        ("${B}", "", False),
        ("\\$A", "$A", True),
        ("${A:+yes}${B:+no}", "yes", True),
        ("${A#x}", "${A#x}", False),
    ],
)
def test_variables(text: str, expanded: str, known: bool) -> None:
    word = expand(text, {"A": "1"})
    assert (word.text, word.known) == (expanded, known)


def test_an_entrypoint_discards_the_command_below() -> None:
    dockerfile = parse('FROM a AS x\nCMD ["1"]\nFROM x AS y\nENTRYPOINT ["e"]\nFROM y\nENTRYPOINT []\n')
    assert Image(dockerfile, dockerfile.stages[0]).command is not None
    assert Image(dockerfile, dockerfile.stages[1]).command is None
    assert Image(dockerfile, dockerfile.stages[2]).entrypoint is None


@pytest.mark.parametrize(
    ("patterns", "path", "out"),
    [
        ("*", "app/main.py", True),
        ("*\n!app", "app/main.py", False),
        ("app\n!app/main.py", "app/main.py", False),
        ("**/*.pyc", "a/b/c.pyc", True),
        ("*.pyc", "a/b/c.pyc", False),
        ("a?c/[bd]", "abc/d", True),
        ("# .env", ".env", False),
        ("/secrets/", "secrets/key", True),
    ],
)
def test_dockerignore(patterns: str, path: str, out: bool) -> None:
    assert Ignore(patterns).excludes(path) is out


# -- YAML ----


def test_yaml_reads_as_the_tools_do() -> None:
    (content,) = located.load("on: push\nrestart: no\nat: 12:30\nyes: 755\nflag: true\nnothing:\n")
    assert content == {"on": "push", "restart": "no", "at": "12:30", "yes": 755, "flag": True, "nothing": None}


def test_merged_keys_know_where_they_stand() -> None:
    (content,) = located.load("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n", "f.yaml")
    merged = located.mapping(located.mapping(content).get("b"))
    assert (dict(merged), merged.line_of("x"), merged.line_of("y"), merged.file) == ({"x": 1, "y": 3}, 2, 6, "f.yaml")


@pytest.mark.parametrize(("text", "line"), [("a: 1\na: 2\n", 2), ("a: [\n", 2), ("{{ a }}: 1\n", 1), ("a: *b\n", 1)])
def test_what_is_no_yaml(text: str, line: int) -> None:
    with pytest.raises(located.YamlError) as error:
        located.load(text)
    assert error.value.line == line


# -- start commands ----

FILES = {
    "good.sh": '#!/bin/sh\nset -e\nexec uvicorn a:b --host 0.0.0.0 --port "$PORT"\n',
    "passes.sh": '#!/bin/sh\nexec "$@"\n',
    "bad.sh": "#!/bin/sh\nuvicorn a:b --host 0.0.0.0 --port 8000\n",
    "trap.sh": "#!/bin/sh\ntrap 'kill $child' TERM\nuvicorn a:b --port $PORT &\nchild=$!\nwait\n",
    "serve.py": "uvicorn.run(app, port=int(os.getenv('PORT', 8000)))\n",
}


@pytest.mark.parametrize(
    ("words", "signalled", "everywhere", "honours_port"),
    [
        (("uvicorn", "a:b"), True, False, False),
        (("uvicorn", "a:b", "--host", "0.0.0.0", "--fd", "3"), True, None, None),
        (("python3.13", "-m", "uvicorn", "a:b", "--host=::"), True, True, False),
        (("tini", "--", "uv", "run", "--no-sync", "uvicorn", "a:b", "--host", "0.0.0.0"), True, True, False),
        (("sh", "-c", "uvicorn a:b --host 0.0.0.0 --port $PORT"), False, True, True),
        (("sh", "-c", "cd app; exec uvicorn a:b --host $HOST --port ${PORT}"), True, None, True),
        (("bash", "-c", "uvicorn a:b --host 0.0.0.0 --port $PORT"), True, True, True),
        (("bash", "-c", "uvicorn a:b --host 0.0.0.0 --port $PORT | cat"), False, True, True),
        (("dumb-init", "--", "sh", "-c", "uvicorn a:b --port $PORT"), True, False, True),
        (("gunicorn", "a:b"), True, True, True),
        (("gunicorn", "a:b", "-b", "127.0.0.1:8000"), True, False, False),
        (("gunicorn", "a:b", "-c", "python:app.gunicorn"), True, None, None),
        (("hypercorn", "a:b"), True, False, False),
        (("hypercorn", "a:b", "-b0.0.0.0:80"), True, True, False),
        (("./good.sh",), True, True, True),
        (("/srv/passes.sh", "uvicorn", "a:b", "--host", "0.0.0.0"), True, True, False),
        (("sh", "bad.sh"), False, True, False),
        (("./trap.sh",), None, None, None),
        (("python", "serve.py"), True, None, True),
        (("./unknown",), None, None, None),
    ],
)
def test_start_commands(
    words: tuple[str, ...], signalled: bool | None, everywhere: bool | None, honours_port: bool | None
) -> None:
    read = {f"./{name}": text for name, text in FILES.items()} | {f"/srv/{name}": text for name, text in FILES.items()}
    found = launch.of_words(words, read=lambda name: read.get(name) or FILES.get(name), environment={})
    assert (found.signalled, found.everywhere, found.honours_port) == (signalled, everywhere, honours_port)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("JWT_SECRET", "change-me", True),
        ("JWT_SECRET", "", False),
        ("JWT_SECRET_FILE", "x", False),
        ("API_KEYS", '{"0123": {}}', False),
        ("MAX_TOKENS", "100", False),
        ("API_TOKEN", "100", False),
        ("DEBUG_PASSWORD", "false", False),
        ("DATABASE_URL", "postgresql://app:pw@db/app", True),
        ("DATABASE_URL", "postgresql://db/app", False),
        ("SEED_USERS", '[{"username": "a", "password": "b"}]', True),
        ("GREETING", "sk-proj-" + "a1" * 12, True),
    ],
)
def test_secrets(name: str, value: str, secret: bool) -> None:
    assert given(name, value) is secret


# -- expressions ----


@pytest.mark.parametrize(
    ("condition", "main", "branch", "pull"),
    [
        ("github.ref == 'refs/heads/main'", True, False, False),
        ("${{ github.ref_name == 'MAIN' }}", True, False, False),
        ("github.event_name == 'push' && !startsWith(github.ref, 'refs/heads/fix')", True, False, False),
        ("github['event_name'] != 'pull_request'", True, True, False),
        ("github.base_ref", False, False, True),
        ("github.event.pull_request == null", True, True, False),
        ("contains(github.ref, 'main') || vars.ALWAYS", True, None, None),
        ("vars.ALWAYS && github.ref_name == 'main'", None, False, False),
        ("github.run_number > 3", None, None, None),
        ("format('{0}', github.ref) == 'x'", None, None, None),
        ("github.ref ==", None, None, None),
        ("a ${{ b }}", None, None, None),
        ("3 > 2 && 'it''s' == 'IT''S'", True, True, True),
    ],
)
def test_expressions(condition: str, main: bool | None, branch: bool | None, pull: bool | None) -> None:
    found = [
        truth(evaluate(condition, {"github": event.github, "vars": UNKNOWN}, {})) for event in (MAIN, BRANCH, PULL)
    ]
    assert found == [main, branch, pull]


def test_status_functions_are_seen() -> None:
    assert has_status("always() && github.ref == 'x'")
    assert not has_status("github.event.inputs.always == 'x'")
