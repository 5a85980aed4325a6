"""The image that a Dockerfile builds: what its last stage has, inherits, and starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from grader.deployment.instructions import Dockerfile, Instruction, Stage, Word, expand


@dataclass(frozen=True)
class Setting:
    """A value with the line that sets it."""

    value: Word
    line: int


@dataclass(frozen=True)
class Image:
    """What `stage` of `dockerfile` amounts to."""

    dockerfile: Dockerfile
    stage: Stage

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The values of ARGs given before the first FROM."""
        return {name: value for step in self.dockerfile.arguments for name, value in step.pairs}

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """Every ENV of the image, expanded with what was known at its line."""
        return {name: found for name, found, kept in self._assignments if kept}

    @cached_property
    def _assignments(self) -> list[tuple[str, Setting, bool]]:
        values: dict[str, str] = {}
        result = []
        for step in self.stage.history("ARG", "ENV"):
            for name in step.text.split() if step.keyword == "ARG" else []:
                if "=" not in name and name in self.defaults:
                    values[name] = self.defaults[name]
            for name, value in step.pairs:
                word = expand(value, values)
                values[name] = word.text
                result.append((name, Setting(word, step.line), step.keyword == "ENV"))
        return result

    @cached_property
    def values(self) -> dict[str, str]:
        """What variables expand to at the end of the stage: ENV, and ARG with a value."""
        values = {name: found.value.text for name, found, _ in self._assignments}
        return {**{name: self.defaults[name] for name in self._asked if name in self.defaults}, **values}

    @property
    def _asked(self) -> set[str]:
        return {name for step in self.stage.history("ARG") for name in step.text.split() if "=" not in name}

    @property
    def base(self) -> str:
        """The outside image below all stages, in lower case and without Docker Hub's own names."""
        name = self.stage.root.base.text.lower()
        return name.removeprefix("docker.io/").removeprefix("library/")

    @cached_property
    def user(self) -> Setting | None:
        """The last USER, None when the image leaves it to its base."""
        steps = self.stage.history("USER")
        return Setting(expand(steps[-1].text, self.values), steps[-1].line) if steps else None

    @cached_property
    def healthcheck(self) -> Instruction | None:
        """The last HEALTHCHECK."""
        return self._last("HEALTHCHECK")

    @cached_property
    def entrypoint(self) -> Instruction | None:
        """The last ENTRYPOINT; an empty list takes it away."""
        found = self._last("ENTRYPOINT")
        return None if found is None or found.words == () else found

    @cached_property
    def command(self) -> Instruction | None:
        """The last CMD that counts: an ENTRYPOINT discards the CMD of the stages below its own."""
        found: Instruction | None = None
        for stage in self.stage.chain:
            own = [step for step in stage.instructions if step.keyword == "CMD"]
            if any(step.keyword == "ENTRYPOINT" for step in stage.instructions):
                found = None
            found = own[-1] if own else found
        return None if found is None or found.words == () else found

    @property
    def stop_signal(self) -> Instruction | None:
        """The last STOPSIGNAL."""
        return self._last("STOPSIGNAL")

    def _last(self, keyword: str) -> Instruction | None:
        steps = self.stage.history(keyword)
        return steps[-1] if steps else None
