"""Reading /metrics: the Prometheus text exposition, by the official parser, and differences between two readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from grader.api import Api
from grader.exchange import Exchange
from grader.expectation import Broken, expect


@dataclass(frozen=True)
class Sample:
    """One line of the exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


class Reading:
    """All samples of one scrape."""

    def __init__(self, samples: list[Sample], exchange: Exchange) -> None:
        self.samples = samples
        self.exchange = exchange

    @classmethod
    def of(cls, api: Api) -> Reading:
        """Scrape /metrics (one redirect to /metrics/ is followed). Raises ``Broken`` when it cannot be parsed."""
        exchange = api.anonymous.get("/metrics")
        if exchange.status in {301, 307, 308}:
            exchange = api.anonymous.get("/metrics/")
        expect(exchange).status(200).header(
            "Content-Type",
            lambda kind: kind.startswith(("text/plain", "application/openmetrics-text")),
            what="the Prometheus text format",
        )
        try:
            families = list(text_string_to_metric_families(exchange.text))
        except ValueError as error:
            raise Broken(f"{exchange}, and the Prometheus parser refuses the text: {error}.", [exchange]) from None
        samples = [Sample(each.name, each.labels, each.value) for family in families for each in family.samples]
        return cls(samples, exchange)

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of a name that carry these labels."""
        return sum(
            each.value
            for each in self.samples
            if each.name == name and all(each.labels.get(label) == value for label, value in labels.items())
        )

    def has(self, name: str, *labels: str) -> bool:
        """Whether there is a sample of that name with all these labels."""
        return any(each.name == name and all(label in each.labels for label in labels) for each in self.samples)

    def values(self, name: str, label: str) -> set[str]:
        """The values that a label takes in the samples of a name."""
        return {each.labels[label] for each in self.samples if each.name == name and label in each.labels}
