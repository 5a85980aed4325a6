"""Section 5: where to put the threshold of a semantic cache, on pairs of questions that were really measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from grader.figures.controls import Slider, Switch, stops
from grader.figures.theme import Figure, Params, Table, View, counted


@dataclass(frozen=True)
class Pair:
    """Two questions, the cosine similarity of their embeddings, and whether one answer serves both."""

    first: str
    second: str
    score: float
    same: bool


MEASURED = (
    Pair("Book a flight from Oslo to Rome", "Book a flight from Rome to Oslo", 0.994, same=False),
    Pair("How do I reset my password?", "How can I reset my password?", 0.991, same=True),
    Pair("Is this medicine safe for children?", "Is this medicine not safe for children?", 0.990, same=False),
    Pair("How do I cancel my subscription?", "I want to cancel my subscription, how?", 0.983, same=True),
    Pair("What was our revenue in 2023?", "What was our revenue in 2024?", 0.955, same=False),
    Pair("Where is my order?", "Can you tell me where my order is?", 0.921, same=True),
    Pair("Does the plan include support?", "Does the plan exclude support?", 0.915, same=False),
    Pair("What is your refund policy?", "Can you explain your refund policy?", 0.912, same=True),
    Pair("Translate good morning into French", "How do you say good morning in French?", 0.899, same=True),
    Pair("Is there a student discount?", "Do you offer discounts for students?", 0.899, same=True),
    Pair("Delete the first message", "Delete the last message", 0.895, same=False),
    Pair("How do I reset my password?", "I forgot my password, how can I change it?", 0.894, same=True),
    Pair("How do I turn on two-factor login?", "How do I turn off two-factor login?", 0.891, same=False),
    Pair("How many users does the free plan allow?", "How many users does the paid plan allow?", 0.878, same=False),
    Pair("Which payment methods do you accept?", "What payment methods can I use?", 0.867, same=True),
    Pair("Why was my card declined?", "My credit card was declined, why?", 0.867, same=True),
    Pair("Convert 100 dollars to euros", "Convert 900 dollars to euros", 0.825, same=False),
    Pair("I can log in", "I cannot log in", 0.805, same=False),
    Pair("Summarise this contract in simple words", "Explain this contract in plain language", 0.802, same=True),
    Pair("Can I return an opened item?", "Can I return an unopened item?", 0.792, same=False),
    Pair("What are your opening hours?", "At what time do you open and close?", 0.742, same=True),
    Pair("How long does delivery take?", "How many days until my order is delivered?", 0.733, same=True),
    Pair("What are your opening hours?", "When are you open?", 0.721, same=True),
    Pair("How do I upgrade my plan?", "How do I downgrade my plan?", 0.692, same=False),
    Pair("How do I reset my password?", "How do I reset my phone?", 0.667, same=False),
    Pair("What is the capital of France?", "What is the capital of Germany?", 0.661, same=False),
    Pair("How do I export my data?", "How can I download all my data?", 0.655, same=True),
    Pair("How do I cancel my subscription?", "Stop billing me every month", 0.582, same=True),
    Pair("How do I add a user?", "How do I remove a user?", 0.566, same=False),
    Pair("What is your refund policy?", "How do I get my money back?", 0.548, same=True),
    Pair("Where is my parcel?", "Track my package", 0.524, same=True),
    Pair("Where is my order?", "Where is my invoice?", 0.519, same=False),
    Pair("What is your refund policy?", "What is your privacy policy?", 0.424, same=False),
    Pair("Which payment methods do you accept?", "Can I pay with a credit card?", 0.411, same=True),
)
"""Measured with all-MiniLM-L6-v2, int8, the model behind `lab-embed`."""

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n't\b", re.IGNORECASE)


def unlike(pair: Pair) -> bool:
    """Apply the contract's guard: other numbers, or a negation on one side only, are never alike."""
    numbers = NUMBER.findall(pair.first) != NUMBER.findall(pair.second)
    return numbers or bool(NEGATION.search(pair.first)) != bool(NEGATION.search(pair.second))


def outcome(pair: Pair, threshold: float, *, guard: bool) -> str:
    """Return `hit`, `false hit`, `missed` or `kept apart` for a pair under a threshold."""
    served = pair.score >= threshold and not (guard and unlike(pair))
    if served:
        return "hit" if pair.same else "false hit"
    return "missed" if pair.same else "kept apart"


def saving(pairs: Sequence[Pair], threshold: float, harm: float, *, guard: bool) -> float:
    """Return calls saved less the harm of wrong answers, in calls."""
    verdicts = [outcome(pair, threshold, guard=guard) for pair in pairs]
    return verdicts.count("hit") - harm * verdicts.count("false hit")


def best_threshold(pairs: Sequence[Pair], harm: float, *, guard: bool) -> float | None:
    """Return the threshold with the highest saving on these pairs, the highest one among equals; None if none saves."""
    candidates = [(saving(pairs, pair.score, harm, guard=guard), pair.score) for pair in pairs]
    most, threshold = max(candidates, default=(0.0, 1.0))
    return threshold if most > 0 else None


def _semantic(pairs: Sequence[Pair], p: Params) -> View:
    threshold, guard = p["threshold"], p["guard"]
    verdicts = [outcome(pair, threshold, guard=guard) for pair in pairs]
    hits, wrong = verdicts.count("hit"), verdicts.count("false hit")
    same = sum(pair.same for pair in pairs)
    best = best_threshold(pairs, p["harm"], guard=guard)
    net = saving(pairs, threshold, p["harm"], guard=guard)
    say = (
        f"At {threshold:.3f}: **{hits} of {same}** paraphrases are served from the cache and **{wrong} of "
        f"{len(pairs) - same}** other questions get a wrong answer. If a wrong answer costs as much as "
        f"{counted(p['harm'], 'call')}, that is worth {net:+g}; "
    )
    say += (
        f"the best threshold on these hard pairs is {best:.3f}."
        if best
        else "on these hard pairs no threshold is worth having."
    )
    steps = sorted({0.4, 1.0, *(pair.score for pair in pairs)})
    curve = [
        (
            t,
            sum(q.same and outcome(q, t, guard=guard) == "hit" for q in pairs) / max(1, same),
            sum(outcome(q, t, guard=guard) == "false hit" for q in pairs) / max(1, len(pairs) - same),
        )
        for t in steps
    ]
    scene = {
        "pairs": [
            asdict(pair) | {"verdict": verdict, "guarded": guard and unlike(pair)}
            for pair, verdict in zip(pairs, verdicts, strict=True)
        ],
        "threshold": threshold,
        "best": best,
        "curve": curve,
    }
    rows = [
        (pair.first, pair.second, pair.score, "same" if pair.same else "different", verdict)
        for pair, verdict in zip(pairs, verdicts, strict=True)
    ]
    return View(
        scene, say, Table("Every measured pair", ["question", "another question", "cosine", "meaning", "verdict"], rows)
    )


def semantic_threshold(pairs: Sequence[Pair | tuple[str, str, float, bool]] = MEASURED, **start: object) -> Figure:
    """Show measured pairs of questions and what a threshold serves rightly and wrongly.

    `pairs` may be your own table of (question, question, cosine, same meaning).
    """
    table = [pair if isinstance(pair, Pair) else Pair(*pair) for pair in pairs]
    controls = (
        Slider("threshold", "Threshold (cosine)", 0.4, 1, 0.95, 0.005),
        stops("harm", "A wrong answer costs", 10, (0, 1, 2, 5, 10, 20, 50, 100), "calls"),
        Switch("guard", "Guard: other numbers or a lone negation are never alike", start=False),
    )
    title, question = (
        "How alike is alike enough?",
        "Real similarities of real pairs. Is there a threshold that serves every paraphrase and nothing else?",
    )
    return Figure("semantic", title, question, controls, lambda p: _semantic(table, p), start)
