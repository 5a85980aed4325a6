"""What /openapi.json says of the finished service is true: Schemathesis draws requests from it and judges the answers.

`OPENAPI_SEED` draws others; `OPENAPI_EXAMPLES` says how many for each route and kind.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from grader.api import Api
from grader.submission import Submission
from tests.grading import SOLUTION, Grading

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "12"))
SEED = int(os.environ.get("OPENAPI_SEED", "1"))
PLENTY = "1000000"

UNTOLD: list[CheckFunction] = [positive_data_acceptance]
"""A schema cannot say what is blank, how much a bucket holds, or which key is used already: such requests are 422."""

Operation = APIOperation[Any, Any, Any, Any]


@pytest.fixture(scope="module")
def api(grading: Grading, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The finished service, with limits that nobody reaches."""
    workshop = dataclasses.replace(grading.workshop, directory=tmp_path_factory.mktemp("openapi"))
    with workshop.bench(Submission.at(SOLUTION), "openapi") as bench:
        yield bench.start(
            users=6,
            RATE_LIMIT_REQUESTS=PLENTY,
            BUCKET_CAPACITY=PLENTY,
            BUCKET_REFILL_PER_S=PLENTY,
            LOGIN_MAX_FAILURES=PLENTY,
            QUEUE_MAX=PLENTY,
        )


@pytest.fixture(scope="module")
def description(api: Api) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{api.url}/openapi.json")


def operations(description: BaseSchema) -> list[Operation]:
    return [cast("Ok[Operation]", result).ok() for result in description.get_all_operations()]


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: str(mode.value))
def test_answers_are_as_described(api: Api, description: BaseSchema, mode: GenerationMode) -> None:
    admin = api.new_caller("admin").headers
    user = api.token_caller(api.new_user()).headers
    found = []
    for operation in operations(description):
        headers = user if operation.path == "/protected" else admin
        found += complaints(operation, mode, headers, api.url)
    assert not found, f"seed {SEED}:\n" + "\n\n".join(found)


def complaints(operation: Operation, mode: GenerationMode, headers: dict[str, str], url: str) -> list[str]:
    """Try a route, and return what Schemathesis finds wrong with its answers."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Case[Any]) -> None:
        case.call_and_validate(base_url=url, headers=headers, excluded_checks=UNTOLD)

    try:
        holds()
    except (FailureGroup, BaseExceptionGroup) as wrong:
        return [f"{operation.label}: {wrong}"]
    except Unsatisfiable:  # a route that takes nothing cannot be asked wrongly
        return []
    return []
