"""The deployment files of a service, judged by named rules without any other program: `inspect(root)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grader.deployment import (  # noqa: F401  # importing them enters their rules
    compose,
    dockerfile,
    ignore,
    kubernetes,
    presence,
    procfile,
    railway,
    scripts,
    start,
    workflow,
)
from grader.deployment.rule import RULES, Finding, Rule, Spot, judge
from grader.deployment.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RULES", "Finding", "Rule", "Spot", "Tree", "inspect"]


def inspect(root: Path) -> list[Finding]:
    """Judge the deployment files under `root` by every rule; findings in the order of the rules, then of the lines."""
    tree = Tree(root)
    return [finding for entry in RULES.values() for finding in judge(entry, tree)]
