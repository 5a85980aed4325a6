"""Catalogue: all incidents, in the order in which they are best met."""

from __future__ import annotations

from grader.incidents import capacity, code, configuration, dependency
from grader.incidents.incident import Incident

INCIDENTS: tuple[Incident, ...] = (
    code.STALLED,
    configuration.ONE_IN_THREE,
    dependency.AFTERSHOCK,
    code.COSTLY_MORNING,
    configuration.ODD_ONE_OUT,
    capacity.RUSH_HOUR,
    dependency.HALF_HEARTED,
    configuration.CROWDED,
    capacity.HEAVY_METRICS,
    dependency.ONE_QUESTION,
    code.EXPENSIVE_TALK,
    capacity.SUNDAY_OOM,
    configuration.OUT_OF_TIME,
    dependency.BUSY_NIGHTS,
    capacity.FORGETFUL,
)


def named(name: str) -> Incident:
    """Return an incident by its name. Raises ``KeyError``."""
    for incident in INCIDENTS:
        if incident.name == name:
            return incident
    raise KeyError(name)
