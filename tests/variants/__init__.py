"""Variants: the finished service with something done otherwise, and as right as before."""

from __future__ import annotations

from tests.variants.one_lab import VARIANTS as ONE_LAB
from tests.variants.variant import Variant
from tests.variants.whole_course import VARIANTS as WHOLE_COURSE

VARIANTS = [*ONE_LAB, *WHOLE_COURSE]

__all__ = ["VARIANTS", "Variant"]
