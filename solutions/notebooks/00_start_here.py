"""Notebook 00: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-00-price
def price(tokens_in: int, tokens_out: int, price_in: float, price_out: float) -> float:
    return (tokens_in * price_in + tokens_out * price_out) / 1_000_000


# WRONG exercise-00-price
def price(tokens_in: int, tokens_out: int, price_in: float, price_out: float) -> float:
    return (tokens_in + tokens_out) * price_in / 1_000_000


# CELL exercise-00-whose
def whose(status: int) -> str:
    return "nobody" if status < 400 else "caller" if status < 500 else "service"


# WRONG exercise-00-whose
def whose(status: int) -> str:
    return "nobody" if status == 200 else "service"
