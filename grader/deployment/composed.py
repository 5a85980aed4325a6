"""One Compose project out of its files: `include`, the override file, `extends`."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from grader.deployment.located import Map, Value, YamlError, items, load, mapping, merge, text

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

_DEEPEST = 8


def project(tree: Tree, file: str) -> Map:
    """Return the whole project of `file`; raise `YamlError` when a file of it is no YAML."""
    whole = _file(tree, file, 0)
    stem = file.rsplit(".", 1)[0]
    override = tree.first((f"{stem}.override.yaml", f"{stem}.override.yml"))
    return mapping(merge(whole, _file(tree, override, 0))) if override else whole


def _file(tree: Tree, name: str, depth: int) -> Map:
    content = _read(tree, name)
    folder = posixpath.dirname(name)
    services = content.map("services")
    for service in list(services):
        services[service] = _extended(tree, name, services, service, depth)
    below: Value = None
    for entry in items(content.get("include")) if depth < _DEEPEST else []:
        for path in items(entry.get("path") if isinstance(entry, Map) else entry):
            included = posixpath.normpath(posixpath.join(folder, text(path)))
            if tree.text(included) is not None:
                below = merge(below, _file(tree, included, depth + 1))
    return mapping(merge(below, content))


def _read(tree: Tree, name: str) -> Map:
    documents = load(tree.text(name) or "", name)
    content = documents[0] if documents else None
    if content is not None and not isinstance(content, Map):
        raise YamlError("the file holds no mapping", 1)
    return mapping(content)


def _extended(tree: Tree, file: str, services: Map, name: str, depth: int) -> Value:
    service = services.get(name)
    extends = service.get("extends") if isinstance(service, Map) else None
    if extends is None or depth >= _DEEPEST:
        return service
    other = text(extends.get("service")) if isinstance(extends, Map) else text(extends)
    where = text(extends.get("file")) if isinstance(extends, Map) else ""
    if not where or where == posixpath.basename(file):
        return merge(_extended(tree, file, services, other, depth + 1), service) if other != name else service
    path = posixpath.normpath(posixpath.join(posixpath.dirname(file), where))
    below = _read(tree, path).map("services")
    return merge(_extended(tree, path, below, other, depth + 1), service)
