# CELL exercise-01-budget
def minutes_down(availability, days=30):
    """How many minutes in so many days may the service be down? availability is a share: 0.999."""
    return (1 - availability) * days * 24 * 60


# WRONG exercise-01-budget
def minutes_down(availability, days=30):
    """Forget the days that were asked for."""
    return (1 - availability) * 30 * 24 * 60


# CELL exercise-01-chain
import math


def all_needed(parts):
    """Availability of a request that needs every one of the parts (a list of shares)."""
    return math.prod(parts)


def any_suffices(part, n):
    """Availability of n replicas of which one suffices, if they fail independently."""
    return 1 - (1 - part) ** n


# WRONG exercise-01-chain
def all_needed(parts):
    """Take the weakest part for the whole chain."""
    return min(parts, default=1.0)


def any_suffices(part, n):
    """Availability of n replicas of which one suffices, if they fail independently."""
    return 1 - (1 - part) ** n


# CELL exercise-01-share
def share_within(seconds, limit):
    """Which share (0 to 1) of the answers took at most `limit` seconds? No answers: nobody waited too long."""
    return sum(each <= limit for each in seconds) / len(seconds) if seconds else 1.0


# WRONG exercise-01-share
def share_within(seconds, limit):
    """Leave out those that took exactly as long as promised."""
    return sum(each < limit for each in seconds) / len(seconds) if seconds else 1.0
