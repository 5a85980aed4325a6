"""Where something else starts JupyterLab (Binder, JupyterHub): the course's settings, as lines for a shell.

eval "$(python -P -m grader.lab.environment)"
"""

from __future__ import annotations

import os
import shlex

from grader import workspace
from grader.lab import command, settings


def main() -> None:
    """Write the settings, sign the notebooks, and print what names them."""
    env = settings.write(workspace.home() / "jupyter")
    os.environ.update(env)
    command.trust()
    for name, value in env.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
