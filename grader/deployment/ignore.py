"""Rules: what `.dockerignore` must keep out of the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = ".dockerignore"


@rule(
    "env-in-image",
    KIND,
    why="Whoever can pull the image can read its layers, and a later `rm` takes nothing out of an earlier layer.",
    mend="Add a line `.env` (and `.env.*`) to .dockerignore, or copy only the folders the service needs.",
)
def env_in_image(tree: Tree) -> Iterator[Spot]:
    """A `.env` beside the Dockerfile never gets into the image."""
    for copy in tree.copies:
        if copy.takes(".env") and tree.ignore is not None:
            yield Spot(
                tree.ignore_file, None, f"`{copy.step.keyword} {copy.step.text}` would take .env into the image."
            )
            return


@rule(
    "git-in-image",
    KIND,
    why="The history holds everything ever committed, makes the context large, and spoils the cache at each commit.",
    mend="Add a line `.git` to .dockerignore.",
    advice=True,
)
def git_in_image(tree: Tree) -> Iterator[Spot]:
    """The repository's history stays out of the image."""
    for copy in tree.copies:
        if copy.takes(".git/HEAD") and tree.ignore is not None:
            yield Spot(
                tree.ignore_file, None, f"`{copy.step.keyword} {copy.step.text}` would take .git into the image."
            )
            return
