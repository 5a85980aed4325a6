"""Faults of lab 5, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_05_caching import (
    check_alike_is_a_hit,
    check_alike_stays_private,
    check_answers_expire,
    check_different_questions_differ,
    check_embedding_failures_harm_nobody,
    check_entries_have_lifetimes,
    check_failures_are_not_stored,
    check_first_may_leave,
    check_hit_rate,
    check_hits_count_against_the_limit,
    check_hundred_are_remembered,
    check_most_similar_answers,
    check_numbers_and_negations_matter,
    check_replicas_share_answers,
    check_same_question_is_a_hit,
    check_simultaneous_questions_share_one_call,
)
from tests.mutants import Mutant

CACHE = "app/cache.py"
HEADER = 'return {"X-Cache": self.source}'
KEY = 'digest("answer", caller, self._settings.llm_model, prompt.temperature, prompt.system, prompt.text)'
KEEP = 'redis.set(f"answer:{key}", kept.dump(), px=rest)'
SCOPE = 'digest("alike", caller, *models, prompt.temperature, prompt.system)'
SEMANTIC = "app/semantic.py"
SIGNATURE = 'f"{NUMBER.findall(text)} {NEGATION.search(text) is not None}"'

MUTANTS = [
    Mutant(
        "says HIT and asks the model all the same",
        CACHE,
        "            return Answer(kept.completion, Source.HIT)\n",
        "            return Answer(await self.model.complete(prompt), Source.HIT)\n",
        {check_same_question_is_a_hit, check_hit_rate},
    ),
    Mutant(
        "never stores an answer",
        CACHE,
        "await self._keep(key, Kept(completion, time.time()))",
        "pass",
        {check_same_question_is_a_hit},
    ),
    Mutant("does not say where an answer came from", CACHE, HEADER, "return {}", {check_same_question_is_a_hit}),
    Mutant(
        "counts no tokens for a cached answer",
        CACHE,
        "return cls(Completion(text, tokens, model), at)",
        "return cls(Completion(text, 0, model), at)",
        {check_same_question_is_a_hit},
    ),
    Mutant(
        "serves one caller's answers to others",
        CACHE,
        KEY,
        KEY.replace("caller, ", ""),
        {check_different_questions_differ},
    ),
    Mutant(
        "forgets the temperature in the key",
        CACHE,
        KEY,
        KEY.replace("prompt.temperature, ", ""),
        {check_different_questions_differ},
    ),
    Mutant(
        "ignores case in questions",
        CACHE,
        KEY,
        KEY.replace("prompt.text)", "prompt.text.lower())"),
        {check_different_questions_differ},
    ),
    Mutant(
        "forgets the model in the key",
        CACHE,
        KEY,
        KEY.replace("self._settings.llm_model, ", ""),
        {check_replicas_share_answers},
    ),
    Mutant(
        "makes keys that differ from process to process",
        CACHE,
        "return hashlib.sha256(json.dumps(parts).encode()).hexdigest()",
        "return hashlib.sha256(f\"{json.dumps(parts)}{__import__('os').getpid()}\".encode()).hexdigest()",
        {check_replicas_share_answers},
    ),
    Mutant(
        "serves answers for ever",
        CACHE,
        "return kept if kept and time.time() - kept.at <= lifetime else None",
        "return kept",
        {check_answers_expire},
    ),
    Mutant(
        "keeps answers for ever", CACHE, KEEP, 'redis.set(f"answer:{key}", kept.dump())', {check_entries_have_lifetimes}
    ),
    Mutant(
        "keeps answers ten times too long",
        CACHE,
        KEEP,
        'redis.set(f"answer:{key}", kept.dump(), px=10 * rest)',
        {check_entries_have_lifetimes},
    ),
    Mutant(
        "stores the fallback model's answers",
        CACHE,
        "        if not completion.degraded:\n",
        "        if completion:\n",
        {check_failures_are_not_stored},
    ),
    Mutant(
        "asks once for each of many at once",
        CACHE,
        "        if flight is None:\n",
        "        if flight is None or True:\n",
        {check_simultaneous_questions_share_one_call},
    ),
    Mutant(
        "stops when the first of many leaves",
        "app/chat.py",
        "    answer = await answers.answer(caller_of(request).id, prompt)\n",
        "    task = asyncio.ensure_future(answers.answer(caller_of(request).id, prompt))\n"
        "    gone = asyncio.ensure_future(resilience.disconnected(request))\n"
        "    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)\n"
        "    if not task.done():\n"
        "        for flight in list(answers._answers._flights.values()):\n"
        "            flight.cancel()\n"
        "    answer = await task\n",
        {check_first_may_leave},
    ),
    Mutant(
        "does not limit whoever repeats a question",
        "app/chat.py",
        "answers: AnswersDep, allowance: Allowance\n) -> ChatResponse:\n",
        "answers: AnswersDep\n) -> ChatResponse:\n    allowance: dict[str, str] = {}\n",
        {check_hits_count_against_the_limit},
    ),
    Mutant(
        "knows no likeness",
        SEMANTIC,
        "if likeness[best] >= self._threshold",
        "if likeness[best] >= 2",
        {check_alike_is_a_hit},
    ),
    Mutant(
        "finds all alike that are a little alike",
        SEMANTIC,
        "if likeness[best] >= self._threshold",
        "if likeness[best] >= 0.5",
        {check_alike_is_a_hit},
    ),
    Mutant(
        "compares vectors without regard to their length",
        SEMANTIC,
        "return np.asarray(vector / length)",
        "return np.asarray(vector)",
        {check_alike_is_a_hit, check_most_similar_answers},
    ),
    Mutant(
        "takes the first that is alike enough",
        SEMANTIC,
        "best = int(likeness.argmax())",
        "best = int((likeness >= self._threshold).nonzero()[0][-1]) if (likeness >= self._threshold).any() else 0",
        {check_most_similar_answers},
    ),
    Mutant(
        "compares with answers that came from the cache",
        CACHE,
        "        if kept:\n            await self._keep(key, kept)\n",
        "        if kept and index:\n            await index.add(self._scope(caller, prompt), prompt.text, vector, key)\n"
        "            await self._keep(key, kept)\n",
        {check_most_similar_answers},
    ),
    Mutant(
        "finds other callers' answers alike", CACHE, SCOPE, SCOPE.replace("caller, ", ""), {check_alike_stays_private}
    ),
    Mutant(
        "finds answers at another temperature alike",
        CACHE,
        SCOPE,
        SCOPE.replace("prompt.temperature, ", ""),
        {check_alike_stays_private},
    ),
    Mutant(
        "does not look at numbers",
        SEMANTIC,
        SIGNATURE,
        'f"{NEGATION.search(text) is not None}"',
        {check_numbers_and_negations_matter},
    ),
    Mutant(
        "does not look at negations",
        SEMANTIC,
        SIGNATURE,
        'f"{NUMBER.findall(text)}"',
        {check_numbers_and_negations_matter},
    ),
    Mutant(
        "compares numbers without their order",
        SEMANTIC,
        SIGNATURE,
        SIGNATURE.replace("NUMBER.findall(text)", "sorted(NUMBER.findall(text))"),
        {check_numbers_and_negations_matter},
    ),
    Mutant(
        "finds a negation in every word with not in it",
        SEMANTIC,
        'r"\\b(?:not|no|',
        'r"(?:not|no|',
        {check_numbers_and_negations_matter},
    ),
    Mutant(
        "fails with the embedding",
        SEMANTIC,
        "with suppress(ModelError), provider_errors():",
        "with provider_errors():",
        {check_embedding_failures_harm_nobody},
    ),
    Mutant(
        "waits long for an embedding",
        SEMANTIC,
        "EMBEDDING_WITHIN_S = 1.0",
        "EMBEDDING_WITHIN_S = 30.0",
        {check_embedding_failures_harm_nobody},
    ),
    Mutant(
        "lets what has expired hide what has not",
        SEMANTIC,
        '(entries["at"] > time.time() - self._lifetime) & (entries["signature"] == signature(text))',
        'entries["signature"] == signature(text)',
        {check_hundred_are_remembered},
    ),
    Mutant("remembers only the latest ten", SEMANTIC, "LATEST = 128", "LATEST = 10", {check_hundred_are_remembered}),
]
