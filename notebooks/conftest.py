"""What `pytest --nbval-lax notebooks/` needs: the runner of notebooks, and the course's way of looking at them."""

pytest_plugins = ["nbval.plugin", "grader.notebook.rehearsal"]
