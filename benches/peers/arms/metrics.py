"""Accuracy at six cut-offs on top-100 lists: ranx (numba), or the same in vectorised NumPy.

Lists and targets are drawn once and written for our arm, with the means in NumPy, which both
programs must agree with. ranx compiles at its first call, before the clock starts; making its own
Qrels and Run from the arrays is not timed. ranx divides average precision by the number of targets,
so its MAP is not compared. Both sides give Recall, Precision, NDCG, MRR, MAP and HitRate.
"""

import json
import os

import numpy as np

from arm import arguments, path, prepared, serve

CUT_OFFS = (1, 5, 10, 20, 50, 100)
N_ITEMS, LENGTH = 12_101, 100
# Users that are in memory at a time.
BLOCK = 20_000


def draw(users):
    """Distinct items a list, half of them from a popular part; 1 to 20 targets, three in ten of
    them from the list."""
    rng = np.random.default_rng(5)
    popular = 1009
    rest = N_ITEMS - popular
    start, step, start2, step2 = rng.integers(0, 1 << 30, (4, users, 1))
    j = np.arange(LENGTH // 2)
    top = np.empty((users, LENGTH), np.int32)
    top[:, 0::2] = (start + j * (1 + step % (popular - 1))) % popular
    top[:, 1::2] = popular + (start2 + j * (1 + 2 * (step2 % 90))) % rest
    user = np.repeat(np.arange(users), rng.integers(1, 21, users))
    place = np.minimum(rng.exponential(25, len(user)).astype(int), LENGTH - 1)
    item = np.where(rng.random(len(user)) < 0.3, top[user, place], rng.integers(0, N_ITEMS, len(user)))
    key = np.unique(user.astype(np.int64) * N_ITEMS + item)
    offsets = np.r_[0, np.cumsum(np.bincount(key // N_ITEMS, minlength=users))]
    return top, offsets, (key % N_ITEMS).astype(np.int32)


def hits(top, targets, offsets):
    user = np.repeat(np.arange(len(top)), np.diff(offsets))
    known = user.astype(np.int64) * N_ITEMS + targets
    asked = (np.arange(len(top), dtype=np.int64)[:, None] * N_ITEMS + top).ravel()
    place = np.searchsorted(known, asked)
    place[place == len(known)] = 0
    return (known[place] == asked).reshape(top.shape)


def block(hit, n):
    rank = np.arange(1, LENGTH + 1)
    discount = 1 / np.log2(rank + 1)
    found, gain = np.cumsum(hit, 1), np.cumsum(hit * discount, 1)
    precision = np.cumsum(hit * (found / rank), 1)
    ideal = np.r_[0.0, np.cumsum(discount)]
    first = np.where(hit.any(1), hit.argmax(1) + 1, 1 << 30)
    for k in CUT_OFFS:
        yield "recall", k, found[:, k - 1] / n
        yield "precision", k, found[:, k - 1] / k
        yield "ndcg", k, gain[:, k - 1] / ideal[np.minimum(n, k)]
        yield "mrr", k, np.where(first <= k, 1 / first, 0.0)
        yield "map", k, precision[:, k - 1] / np.minimum(n, k)
        yield "hit_rate", k, (first <= k).astype(float)


def evaluate(top, offsets, targets):
    sums = {}
    for start in range(0, len(top), BLOCK):
        own = offsets[start:start + BLOCK + 1]
        hit = hits(top[start:start + BLOCK], targets[own[0]:own[-1]], own - own[0])
        for name, k, values in block(hit, np.diff(own)):
            sums[name, k] = sums.get((name, k), 0.0) + values.sum()
    return {f"{name}@{k}": value / len(top) for (name, k), value in sums.items()}


def main():
    args = arguments(users=100_000, ranx=False)
    file = path(args, f"metrics-{args.users}")
    if args.mode == "prepare":
        try:
            import ranx
            version = ranx.__version__ if hasattr(ranx, "__version__") else __import__("importlib.metadata", fromlist=["version"]).version("ranx")
        except ImportError:
            version = None
        if args.ranx and version is None:
            prepared(skipped="ranx is not installed")
        top, offsets, targets = draw(args.users)
        for name, values in (("lists", top), ("offsets", offsets.astype(np.int64)), ("targets", targets)):
            values.tofile(f"{file}-{name}.bin")
        means = evaluate(top, offsets, targets)
        with open(file + ".json", "w") as out:
            json.dump({"n_items": N_ITEMS, "length": LENGTH, "cut_offs": CUT_OFFS, "means": means}, out)
        prepared(version=version if args.ranx else np.__version__, allocator=False)
    top = np.fromfile(file + "-lists.bin", np.int32).reshape(-1, LENGTH)
    offsets, targets = np.fromfile(file + "-offsets.bin", np.int64), np.fromfile(file + "-targets.bin", np.int32)
    if not args.ranx:
        serve(lambda: evaluate(top, offsets, targets), warmup=1)
        return
    os.environ["NUMBA_NUM_THREADS"] = str(args.threads)
    from ranx import Qrels, Run, evaluate as ranx_evaluate
    scores = np.linspace(1, 0, LENGTH + 1)[:LENGTH].tolist()
    qrels = Qrels({f"u{u}": {f"i{i}": 1 for i in targets[offsets[u]:offsets[u + 1]]} for u in range(len(top))})
    run = Run({f"u{u}": {f"i{i}": s for i, s in zip(top[u].tolist(), scores)} for u in range(len(top))})
    names = [f"{m}@{k}" for m in ("recall", "precision", "ndcg", "mrr", "map", "hit_rate") for k in CUT_OFFS]
    serve(lambda: ranx_evaluate(qrels, run, names, make_comparable=False), warmup=1)


if __name__ == "__main__":
    main()
