"""Rules: the Kubernetes manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.deployment import secrets
from grader.deployment.located import Map, items, mapping, merge, text, texts
from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "k8s"
_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout"})
_BACKING = re.compile(
    r"(?:^|/)(?:redis|valkey|postgres(?:ql)?|pgvector|postgis|timescaledb|nginx|envoy|haproxy|caddy|traefik|prom/|grafana|otel|busybox)",
)


@dataclass(frozen=True)
class Workload:
    """A Deployment or its like; `content` is the object with its patches laid over."""

    kind: str
    name: str
    file: str
    content: Map

    @property
    def pod(self) -> Map:
        """The pod's spec."""
        return self.content.map("spec", "template", "spec")

    @property
    def containers(self) -> list[Map]:
        """The containers that run all the time, helpers left out."""
        return [mapping(item) for item in items(self.pod.get("containers"))]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        return {key: text(value) for key, value in self.content.map("spec", "template", "metadata", "labels").items()}

    @property
    def ours(self) -> bool:
        """Whether it runs the service, not a store or a proxy."""
        return not all(_BACKING.search(text(each.get("image")).lower()) for each in self.containers)

    def spot(self, where: Map, key: str, what: str, *, advice: bool = False) -> Spot:
        """Return a spot at `key` of a part of it."""
        return Spot(where.file or self.file, where.line_of(key), f"{self.kind} {self.name}: {what}", advice)


def _name(content: Map) -> str:
    return text(content.at("metadata", "name"))


def workloads(tree: Tree) -> list[Workload]:
    """Return the workloads that run the service; an object and its patches of the same name are one."""
    found: dict[tuple[str, str], Workload] = {}
    for each in tree.manifests:
        kind, name = text(each.content.get("kind")), _name(each.content)
        if kind in _KINDS:
            before = found.get((kind, name))
            content = mapping(merge(before.content, each.content)) if before else each.content
            found[kind, name] = Workload(kind, name, before.file if before else each.file, content)
    return [each for each in found.values() if each.containers and each.ours]


def _objects(tree: Tree, *kinds: str) -> list[Map]:
    return [each.content for each in tree.manifests if each.content.get("kind") in kinds]


def _serverless(tree: Tree) -> bool:
    """Whether Knative runs the service: it probes and scales by itself."""
    return any(text(each.get("apiVersion")).startswith("serving.knative.dev") for each in _objects(tree, "Service"))


def web_workloads(tree: Tree) -> list[Workload]:
    """Return the workloads that answer requests: selected by a Service, else with a port, else without a queue."""
    ours = workloads(tree)
    selectors = [each.map("spec", "selector") for each in _objects(tree, "Service")]
    chosen = [
        each for each in ours if any(s and all(each.labels.get(k) == text(v) for k, v in s.items()) for s in selectors)
    ]
    ported = [each for each in ours if any(items(container.get("ports")) for container in each.containers)]
    return chosen or ported or [each for each in ours if "celery" not in _words(each)]


def _words(workload: Workload) -> str:
    return " ".join(
        word for each in workload.containers for key in ("command", "args") for word in texts(each.get(key))
    )


@rule(
    "k8s-no-workload",
    KIND,
    why="Nothing in the manifests runs the service.",
    mend="Write a Deployment whose pods run the service's image.",
)
def k8s_no_workload(tree: Tree) -> Iterator[Spot]:
    """The manifests run the service."""
    if tree.manifests and not workloads(tree) and not _serverless(tree):
        yield Spot(tree.manifests[0].file, None, "No Deployment (or the like) runs the service.")


def _without(tree: Tree, probe: str) -> Iterator[Spot]:
    for each in web_workloads(tree):
        if not any(mapping(container.get(probe)) for container in each.containers):
            yield each.spot(each.containers[0], "image", f"no container has a {probe}.")


@rule(
    "k8s-no-liveness",
    KIND,
    why="A process that hangs then stays in service until somebody notices.",
    mend="livenessProbe: {httpGet: {path: /livez, port: 8000}}.",
)
def k8s_no_liveness(tree: Tree) -> Iterator[Spot]:
    """Kubernetes restarts a pod that hangs."""
    yield from _without(tree, "livenessProbe")


@rule(
    "k8s-no-readiness",
    KIND,
    why="Requests are then sent to pods that have just begun to start, and to pods whose database is away.",
    mend="readinessProbe: {httpGet: {path: /readyz, port: 8000}}.",
)
def k8s_no_readiness(tree: Tree) -> Iterator[Spot]:
    """Kubernetes sends requests only to pods that are ready."""
    yield from _without(tree, "readinessProbe")


@rule(
    "k8s-liveness-asks-neighbours",
    KIND,
    why="When the database is away, every pod is restarted again and again, which mends no database.",
    mend="Let the livenessProbe ask /livez, and the readinessProbe /readyz.",
    advice=True,
)
def k8s_liveness_asks_neighbours(tree: Tree) -> Iterator[Spot]:
    """The liveness probe asks about the process alone."""
    for each in web_workloads(tree):
        for container in each.containers:
            path = text(container.at("livenessProbe", "httpGet", "path"))
            if path.rstrip("/") in {"/readyz", "/health", "/ready", "/healthz/ready"}:
                yield each.spot(container.map("livenessProbe", "httpGet"), "path", f"the livenessProbe asks {path}.")


def _defaults(tree: Tree) -> bool:
    """Whether a LimitRange gives containers what they do not say themselves."""
    limits = [limit for each in _objects(tree, "LimitRange") for limit in items(each.at("spec", "limits"))]
    return any(mapping(limit).map("default") or mapping(limit).map("defaultRequest") for limit in limits)


def _reckoned(container: Map) -> bool:
    """Whether a container says what it needs, or may take."""
    return bool(container.map("resources", "requests") or container.map("resources", "limits"))


@rule(
    "k8s-no-resources",
    KIND,
    why="The scheduler then packs pods blindly, the autoscaler has nothing to compare with, a leak takes all down.",
    mend="resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {memory: 512Mi}}.",
)
def k8s_no_resources(tree: Tree) -> Iterator[Spot]:
    """Every container of the service says what it needs."""
    for each in workloads(tree) if not _defaults(tree) else []:
        for container in each.containers:
            if not _reckoned(container):
                given = "resources" in container
                what = f"container {text(container.get('name'))} has {'empty' if given else 'no'} resources."
                helper = any(_reckoned(other) for other in each.containers)
                yield each.spot(container, "resources" if given else "image", what, advice=helper)


def _autoscalers(tree: Tree) -> list[Map]:
    return _objects(tree, "HorizontalPodAutoscaler", "ScaledObject", "VerticalPodAutoscaler")


@rule(
    "k8s-no-autoscaler",
    KIND,
    why="The number of replicas is then a guess: too few at noon, too many at night.",
    mend="Write a HorizontalPodAutoscaler (autoscaling/v2) for the api, from 2 replicas to what the database can bear.",
)
def k8s_no_autoscaler(tree: Tree) -> Iterator[Spot]:
    """The manifests have an autoscaler."""
    if workloads(tree) and not _autoscalers(tree) and not _serverless(tree):
        yield Spot(workloads(tree)[0].file, None, "No autoscaler is among the manifests.")


def _target(scaler: Map) -> tuple[str, str]:
    reference = scaler.map("spec", "scaleTargetRef") or scaler.map("spec", "targetRef")
    return text(reference.get("kind")) or "Deployment", text(reference.get("name"))


def _scaled(tree: Tree, scaler: Map) -> Workload | None:
    kind, name = _target(scaler)
    return next((each for each in workloads(tree) if (each.kind, each.name) == (kind, name)), None)


@rule(
    "k8s-autoscaler-aims-at-nothing",
    KIND,
    why="An autoscaler whose target does not exist scales nothing, and only its events say so.",
    mend="Let scaleTargetRef name the Deployment: same kind, same name.",
)
def k8s_autoscaler_aims_at_nothing(tree: Tree) -> Iterator[Spot]:
    """Some autoscaler's target is a workload of the service."""
    scalers = _autoscalers(tree)
    if scalers and workloads(tree) and not any(_scaled(tree, each) for each in scalers):
        kind, name = _target(scalers[0])
        what = f"There is no {kind} {name} for the autoscaler {_name(scalers[0])} among the manifests."
        yield Spot(scalers[0].file, scalers[0].map("spec").line_of("scaleTargetRef"), what)


@rule(
    "k8s-autoscaler-cannot-scale",
    KIND,
    why="With as many replicas at most as at least, or with nothing to compare use with, the number never changes.",
    mend="Set maxReplicas above minReplicas, and resources.requests.cpu on the containers.",
)
def k8s_autoscaler_cannot_scale(tree: Tree) -> Iterator[Spot]:
    """The autoscaler can change the number of replicas."""
    for scaler in _objects(tree, "HorizontalPodAutoscaler"):
        spec = scaler.map("spec")
        most, least = spec.get("maxReplicas"), spec.get("minReplicas", 1)
        if isinstance(most, int) and isinstance(least, int) and most <= least:
            yield Spot(scaler.file, spec.line_of("maxReplicas"), f"{_name(scaler)} scales from {least} to {most}.")
        if _by_cpu_share(spec) and (target := _scaled(tree, scaler)) and not _defaults(tree):
            bare = [each for each in target.containers if not _asks_cpu(each)]
            for container in bare if any(each.map("resources") for each in target.containers) else []:
                name = text(container.get("name"))
                what = f"{_name(scaler)} follows the share of the requested CPU, and {name} requests none."
                yield target.spot(container, "resources", what)


def _by_cpu_share(spec: Map) -> bool:
    if spec.get("targetCPUUtilizationPercentage") is not None:
        return True
    metrics = [mapping(metric).map("resource") for metric in items(spec.get("metrics"))]
    return any(each.get("name") == "cpu" and each.at("target", "type") == "Utilization" for each in metrics)


def _asks_cpu(container: Map) -> bool:
    return any(container.at("resources", part, "cpu") is not None for part in ("requests", "limits"))


@rule(
    "k8s-runs-as-root",
    KIND,
    why="The cluster then takes the image's word for who the process is.",
    mend="securityContext: {runAsNonRoot: true, runAsUser: 10001}, on the pod.",
    advice=True,
)
def k8s_runs_as_root(tree: Tree) -> Iterator[Spot]:
    """The cluster refuses to run the service as root."""
    for each in workloads(tree):
        contexts = [each.pod.map("securityContext"), *(c.map("securityContext") for c in each.containers)]
        if not any(
            context.get("runAsNonRoot") is True or context.get("runAsUser") not in {None, 0} for context in contexts
        ):
            yield each.spot(each.pod, "containers", "nothing keeps it from running as root.")


@rule(
    "k8s-secret",
    KIND,
    why="The file is in git, and base64 hides nothing.",
    mend="Refer to a Secret that is made outside: `valueFrom: {secretKeyRef: …}` or `envFrom`.",
    advice=True,
)
def k8s_secret(tree: Tree) -> Iterator[Spot]:
    """No manifest holds a secret."""
    for each in workloads(tree):
        for container in each.containers:
            for variable in (mapping(item) for item in items(container.get("env"))):
                if secrets.given(text(variable.get("name")), text(variable.get("value"))):
                    yield each.spot(variable, "value", f"{text(variable.get('name'))} stands in this file.")
    for found in _objects(tree, "Secret"):
        if any(text(value).strip() for key in ("data", "stringData") for value in found.map(key).values()):
            yield Spot(found.file, found.line, f"Secret {_name(found)} holds values.")


@rule(
    "k8s-image-unpinned",
    KIND,
    why="Two pods of one Deployment may then run different code, and a rollback brings nothing back.",
    mend="Name the version, or better the digest, that the pipeline built.",
    advice=True,
)
def k8s_image_unpinned(tree: Tree) -> Iterator[Spot]:
    """The service's image has a version."""
    for each in workloads(tree):
        for container in each.containers:
            image = text(container.get("image"))
            if image.endswith(":latest") or (image and ":" not in image.rsplit("/", 1)[-1] and "@" not in image):
                yield each.spot(container, "image", f"`{image}` names no version.")
