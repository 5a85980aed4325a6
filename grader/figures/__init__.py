"""The interactive pictures of the notebooks: `from grader.figures import limiters; limiters()`.

Importing this package loads nothing; a picture's module is loaded when its name is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.figures.architecture import request_flow
    from grader.figures.caching import cache_bill, stampede
    from grader.figures.capacity import autoscaling, pool_arithmetic
    from grader.figures.concurrency import event_loop, streaming
    from grader.figures.deploys import drain, image_layers
    from grader.figures.identity import jwt_parts, roles
    from grader.figures.incidents import error_budget
    from grader.figures.latency import percentiles
    from grader.figures.limits import bucket, limiters
    from grader.figures.overview import Progress, ladder
    from grader.figures.queueing import littles_law, queue_growth
    from grader.figures.quiz import Quiz
    from grader.figures.resilience import breaker, retry_storm
    from grader.figures.similarity import semantic_threshold
    from grader.figures.trails import log_trail

_HOME = {
    "Progress": "overview",
    "Quiz": "quiz",
    "autoscaling": "capacity",
    "breaker": "resilience",
    "bucket": "limits",
    "cache_bill": "caching",
    "drain": "deploys",
    "error_budget": "incidents",
    "event_loop": "concurrency",
    "image_layers": "deploys",
    "jwt_parts": "identity",
    "ladder": "overview",
    "limiters": "limits",
    "littles_law": "queueing",
    "log_trail": "trails",
    "percentiles": "latency",
    "pool_arithmetic": "capacity",
    "queue_growth": "queueing",
    "request_flow": "architecture",
    "retry_storm": "resilience",
    "roles": "identity",
    "semantic_threshold": "similarity",
    "stampede": "caching",
    "streaming": "concurrency",
}

__all__ = [
    "Progress",
    "Quiz",
    "autoscaling",
    "breaker",
    "bucket",
    "cache_bill",
    "drain",
    "error_budget",
    "event_loop",
    "image_layers",
    "jwt_parts",
    "ladder",
    "limiters",
    "littles_law",
    "log_trail",
    "percentiles",
    "pool_arithmetic",
    "queue_growth",
    "request_flow",
    "retry_storm",
    "roles",
    "semantic_threshold",
    "stampede",
    "streaming",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute may be anything
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
