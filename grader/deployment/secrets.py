"""What a secret looks like: by the name of the variable that holds it, or by its own form."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|API_?KEY|AUTH_?KEY|PRIVATE_?KEY|ACCESS_?KEY|SECRET_?KEY(?:_BASE)?"
    r"|SIGNING_?KEY|ENCRYPTION_?KEY|MASTER_?KEY|JWT_?KEY)$|.+_(?:PASS|PWD)$",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@${}]+@"  # a URL with a password
    r"|-----BEGIN (?:[A-Z ]+ )?PRIVATE KEY-----"
    r"|\bsk-(?:proj-|ant-|live_|test_)?[A-Za-z0-9_-]{20,}"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,})"
    r"|\bAKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}\b|\bxox[abprs]-[\w-]{10,}"
    r"|\"password\"\s*:\s*\"[^\"${}]+\"",
)
_HARMLESS = re.compile(r"(?:true|false|yes|no|none|null|on|off|\{\}|\[\]|/[\w./-]+|<.*>|\.{3}|…)?", re.IGNORECASE)


def named(name: str) -> bool:
    """Whether a variable of this name holds a secret. `API_KEYS` does not: it holds digests; nor do `…_FILE` names."""
    return bool(_NAME.search(name))


def formed(value: str) -> bool:
    """Whether a value shows by its form that it is a secret, whatever its name."""
    return bool(_FORM.search(value))


def given(name: str, value: str) -> bool:
    """Whether `name=value` gives a secret away: a name for secrets with a value of its own, or a telling value."""
    value = value.strip().strip("'\"")
    if formed(value):
        return True
    return named(name) and not _HARMLESS.fullmatch(value) and not (name.upper().endswith("TOKEN") and value.isdigit())
