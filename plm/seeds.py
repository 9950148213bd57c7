"""Seeds that are a function of what they are for, so that no order of calls can change a number."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator


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


@contextlib.contextmanager
def untouched_rng() -> Iterator[None]:
    """Leaves the random states of Python, NumPy and torch, on every device, as they were, also when the body raises.

    Lightning's `isolate_rng` does not restore them after an exception.
    """
    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
