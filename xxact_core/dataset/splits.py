"""Train, validation and test: by reduced formula, so that no composition is in two of them."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "validation", "test")
SHARES = (0.85, 0.05, 0.10)
"""Shares of the formulas. XxaCT-NN section 3.3 splits rows, not formulas: 90 % and 10 %, no validation."""


def formula_to_split(reduced_formula: str, *, seed: int) -> str:
    """The split of a reduced formula: a hash of the formula and the seed, so that adding materials moves none."""
    digest = hashlib.sha256(f"{seed}:{reduced_formula}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return SPLITS[0] if position < SHARES[0] else SPLITS[1] if position < SHARES[0] + SHARES[1] else SPLITS[2]
