"""The model provider: an OpenAI-compatible server on loopback whose ledger is the ground truth of every verdict."""

from __future__ import annotations

from grader.provider.address import ProviderAddress, ProviderError
from grader.provider.client import Gate, Provider, Scripted, Watch
from grader.provider.ledger import Bill, Call, peak
from grader.provider.process import ProviderProcess
from grader.provider.script import Fault
from grader.provider.tokens import seed_tiktoken

__all__ = [
    "Bill",
    "Call",
    "Fault",
    "Gate",
    "Provider",
    "ProviderAddress",
    "ProviderError",
    "ProviderProcess",
    "Scripted",
    "Watch",
    "peak",
    "seed_tiktoken",
]
