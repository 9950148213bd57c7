"""Seeds that are a function of what they are for, so that no order of calls can change a number."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: str | int) -> int:
    """Hashes the parts into a seed.

    A run derives every seed from (run seed, purpose, round, problem, sample), so a resumed run, a run on more processes
    and a run with more callbacks all draw the same numbers.

    Args:
        parts: What the seed is for, for instance `(0, "round", 3, "problem-17", 1)`.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
