"""Who may do what: three roles in an order (module, section 3)."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a caller may do; every role may do all that the roles before it may."""

    GUEST = "guest"
    USER = "user"
    ADMIN = "admin"

    # BEGIN SOLUTION 3: Compare by order, not by equality: an admin may do what a user may.
    #: def allows(self, least: Role) -> bool:
    #:     """Tell whether this role is `least` or above."""
    #:     return True
    def allows(self, least: Role) -> bool:
        """Tell whether this role is `least` or above."""
        order = list(Role)
        return order.index(self) >= order.index(least)

    # END SOLUTION
