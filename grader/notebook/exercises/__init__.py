"""What the exercises of each notebook ask for, one module a notebook."""
