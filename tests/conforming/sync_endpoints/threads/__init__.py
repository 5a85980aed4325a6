"""A service of plain functions."""

from .application import create_app

__all__ = ["create_app"]
