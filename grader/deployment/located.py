"""YAML as the deployment tools read it, with the line of every key: a finding without a line is half a finding.

Differs from PyYAML's safe loader where Compose, GitHub and Kubernetes do: `on`, `no` and `12:30` are text (YAML 1.2),
a key given twice is an error, unknown tags (`!reset`, `!Ref`) are read as what they stand before.
"""

from __future__ import annotations

import re
from typing import TypeAlias, cast

import yaml

Value: TypeAlias = "Map | Seq | str | int | float | bool | None"


class Map(dict[str, "Value"]):
    """A mapping that knows where it and its keys stand: the file, and lines from 1."""

    file: str = ""
    line: int = 1
    lines: dict[str, int]

    def at(self, *keys: str) -> Value:
        """Return what stands under `keys`, one below the other; None when it is not there."""
        found: Value = self
        for key in keys:
            found = found.get(key) if isinstance(found, Map) else None
        return found

    def map(self, *keys: str) -> Map:
        """Return the mapping under `keys`, an empty one when there is none."""
        return mapping(self.at(*keys))

    def line_of(self, key: str) -> int:
        """Return the line of `key`, or of the mapping when it has no such key."""
        return self.lines.get(key, self.line)


class Seq(list["Value"]):
    """A sequence that knows where it and its items stand."""

    line: int = 1
    lines: list[int]


class YamlError(ValueError):
    """The text is no YAML: `line` and, as the message, what is wrong there."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's idea of plain scalars."""

    file = ""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("merge", r"<<", "<"),
):
    _firsts = [*_first] if _tag != "null" else [*"~nN", ""]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _firsts)


def load(text: str, file: str = "") -> list[Value]:
    """Read every document of `text`, the contents of `file`; raise `YamlError` with the line of what is wrong."""
    try:
        loader = _Loader(text)
        loader.file = file
        try:
            documents = []
            while loader.check_node():
                documents.append(_build(loader, cast("yaml.Node", loader.get_node()), {}))
            return documents
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        raise YamlError(problem.problem or "not YAML", mark.line + 1 if mark else 1) from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        if isinstance(problem, YamlError):
            raise
        raise YamlError(str(problem).split("\n", 1)[0] or "not YAML", 1) from None


def _build(loader: _Loader, node: yaml.Node, built: dict[int, Value]) -> Value:
    if id(node) in built:
        return built[id(node)]
    if isinstance(node, yaml.MappingNode):
        return _build_map(loader, node, built)
    if isinstance(node, yaml.SequenceNode):
        sequence = Seq()
        built[id(node)] = sequence
        sequence.line = node.start_mark.line + 1
        sequence.lines = [item.start_mark.line + 1 for item in node.value]
        sequence.extend(_build(loader, item, built) for item in node.value)
        return sequence
    return _scalar(loader, node)


def _build_map(loader: _Loader, node: yaml.MappingNode, built: dict[int, Value]) -> Map:
    result = Map()
    built[id(node)] = result
    result.file, result.line, result.lines = loader.file, node.start_mark.line + 1, {}
    _refuse_doubles(node)
    loader.flatten_mapping(node)
    for key, value in node.value:
        name = str(key.value)
        result.lines[name] = key.start_mark.line + 1
        result[name] = _build(loader, value, built)
    return result


def _refuse_doubles(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError("a key that is no text", key.start_mark.line + 1)
        name = str(key.value)
        if name in seen and key.tag != "tag:yaml.org,2002:merge":
            raise YamlError(f"the key {name!r} stands here twice", key.start_mark.line + 1)
        seen.add(name)


def _scalar(loader: _Loader, node: yaml.Node) -> Value:
    if node.tag in {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}:
        return cast("Value", loader.construct_object(node))
    return str(node.value)


def mapping(value: Value) -> Map:
    """Return `value` when it is a mapping, else an empty one."""
    if isinstance(value, Map):
        return value
    empty = Map()
    empty.lines = {}
    return empty


def items(value: Value) -> list[Value]:
    """Return the items of a sequence; a single value counts as a sequence of one, nothing as none."""
    if isinstance(value, Seq):
        return list(value)
    return [] if value is None else [value]


def texts(value: Value) -> list[str]:
    """Return the scalars of a sequence, or of a single value, as text."""
    return [text(item) for item in items(value) if not isinstance(item, Map | Seq)]


def text(value: Value) -> str:
    """Return a scalar as it is written; mappings, sequences and nothing are empty."""
    if value is None or isinstance(value, Map | Seq):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def merge(below: Value, above: Value) -> Value:
    """Lay `above` over `below`: mappings key by key, sequences of named mappings by name, other sequences joined."""
    if isinstance(below, Map) and isinstance(above, Map):
        return _merge_maps(below, above)
    if isinstance(below, Seq) and isinstance(above, Seq):
        return _merge_sequences(below, above)
    return below if above is None else above


def _merge_maps(below: Map, above: Map) -> Map:
    result = Map(
        {key: merge(below.get(key), above.get(key)) for key in [*below, *(k for k in above if k not in below)]}
    )
    result.file, result.line, result.lines = above.file, above.line, {**below.lines, **above.lines}
    return result


def _merge_sequences(below: Seq, above: Seq) -> Seq:
    result = Seq()
    result.line, result.lines = above.line, []
    named = {text(item.get("name")): item for item in above if isinstance(item, Map) and "name" in item}
    for line, item in zip(below.lines, below, strict=False):
        other = named.pop(text(item.get("name")), None) if isinstance(item, Map) and "name" in item else None
        result.append(merge(item, other))
        result.lines.append(other.line if other else line)
    for line, item in zip(above.lines, above, strict=False):
        if not isinstance(item, Map) or "name" not in item or text(item.get("name")) in named:
            result.append(item)
            result.lines.append(line)
    return result
