"""The checks, one module a lab; its docstring's first line is the lab's title."""
