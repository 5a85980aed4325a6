"""What the model says: sentences about nothing in particular, never the same twice, and never to be foreseen."""

from __future__ import annotations

import random
import re
import zlib

_OPENINGS = (
    "Seen from a distance, {a} and {b} have more in common than most people expect.",
    "The short answer begins with {a}, although {b} deserves a word too.",
    "There are two schools here, one that starts from {a} and one that starts from {b}.",
    "Before anything else it helps to separate {a} from {b}.",
)
_MIDDLES = (
    "In practice {a} decides the matter well before {b} is even measured.",
    "Whoever writes down {a} on Monday will be glad of {b} by Friday.",
    "A careful reader would check {a} twice and leave {b} for later.",
    "Most of the cost hides in {a}, and very little of it in {b}.",
    "Nothing here depends on {a} as long as {b} stays where it is.",
)
_THINGS = (
    "the morning traffic", "a second opinion", "the price of tin", "an open window", "the slowest replica",
    "a quiet harbour", "the last invoice", "an honest estimate", "the weather in spring", "a borrowed ladder",
    "the third paragraph", "a patient colleague", "the width of the road", "an old habit", "the first draft",
    "a handful of rice",
)  # fmt: skip
_NONCE = "bcdfghjkmnpqrstvwxz23456789"


class Author:
    """Writes answers; two authors with the same seed write the same, without a seed nobody can tell."""

    def __init__(self, seed: int | None = None, *, topical: bool = False) -> None:
        self._random = random.Random(seed) if seed is not None else random.SystemRandom()
        self._topical = topical

    def write(self, text: str) -> str:
        """Answer a text: some sentences whose kind follows from the text, and a mark that no other answer bears."""
        choose = random.Random(zlib.crc32(text.encode("utf-8", "surrogatepass")) ^ self._random.getrandbits(16) << 40)
        sentences = [choose.choice(_OPENINGS), *choose.sample(_MIDDLES, choose.randint(1, 3))]
        things = choose.sample(_THINGS, 2 * len(sentences))
        filled = [line.format(a=things.pop(), b=things.pop()) for line in sentences]
        mark = "".join(self._random.choices(_NONCE, k=12))
        return " ".join([*self._topic(text), *filled, f"№ {mark}"])

    def reasoning_tokens(self) -> int:
        """Give a number of tokens that were thought and not said: no service can work it out from the text."""
        return self._random.randint(1, 60)

    def _topic(self, text: str) -> list[str]:
        words = re.findall(r"[A-Za-z]{5,15}", text)[:3] if self._topical else []
        return [f"You ask about {', '.join(words)}."] if words else []


def pieces(content: str) -> list[str]:
    """Cut a text into the pieces that a stream sends: words, or for a very short text smaller ones."""
    words = re.findall(r"\s*\S+|\s+$", content)
    if len(words) >= 5:
        return words
    size = max(1, len(content) // 5)
    return [content[start : start + size] for start in range(0, len(content), size)]
