"""Made-up catalogues and users of the decode comparisons."""

import numpy as np

CODES = 256


def child(rng, parents, exponent):
    """A code for each row: Zipf's law over an order of the codes that depends on the prefix."""
    weight = 1.0 / np.arange(1, CODES + 1) ** exponent
    rank = rng.choice(CODES, size=len(parents), p=weight / weight.sum())
    return (rank * ((parents * 2654435761 % 128) * 2 + 1) + parents * 40503) % CODES


def numbered(n, seed=7):
    """Three codes with skewed laws and a fourth that numbers collisions: `n x 4`, distinct."""
    rng = np.random.default_rng(seed)
    a = child(rng, np.zeros(n, np.int64), 0.6)
    b = child(rng, a + 1, 0.9)
    c = child(rng, (a + 1) * 257 + b, 0.8)
    key = (a * CODES + b) * CODES + c
    order = np.argsort(key, kind="stable")
    first = np.r_[True, np.diff(key[order]) != 0]
    place = np.arange(n)
    number = np.empty(n, np.int64)
    number[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    assert number.max() < CODES
    return np.stack([a, b, c, number], 1)


def full(n, seed=8):
    """Four codes with skewed laws, distinct, in random order."""
    rng = np.random.default_rng(seed)
    keys = np.empty(0, np.int64)
    while len(keys) < n:
        prefix = np.zeros(int(n * 1.3), np.int64)
        key = prefix.copy()
        for exponent in (0.6, 0.7, 0.7, 0.5):
            code = child(rng, prefix, exponent)
            prefix, key = (prefix + (prefix == 0)) * 257 + code, key * CODES + code
        keys = np.unique(np.r_[keys, key])
    keys = rng.permutation(keys)[:n]
    return np.stack([keys >> s & CODES - 1 for s in (24, 16, 8, 0)], 1)


def users(items, n, length, seed=9):
    """Histories: `n x length` item numbers."""
    return np.random.default_rng(seed).integers(0, items, (n, length))
