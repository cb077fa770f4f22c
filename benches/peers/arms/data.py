"""Review JSON lines to 5-core histories and leave-one-out in polars' lazy reader.

prepare writes reviews.jsonl once (2,000,000 lines, 1.06 GB: 350,000 users, 120,000 items, skewed
counts) and, from a first run, the counts and a checksum of the test items that the other side must
reach. The file is in the page cache for both.
"""

import json
import os

from arm import arguments, path, prepared, serve

ARGS = arguments(lines=2_000_000)
# Polars makes its pool when it is imported.
os.environ["POLARS_MAX_THREADS"] = str(ARGS.threads)
import polars as pl  # noqa: E402

SCHEMA = {"reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64}
USER, ITEM, TIME = SCHEMA


def skewed(rng, draws, values, power):
    """Numbers below `values`, number k about (k + 1)^-power often."""
    import numpy as np

    weights = 1.0 / np.arange(1, values + 1) ** power
    return rng.choice(values, size=draws, p=weights / weights.sum()).tolist()


def write(file, lines):
    """Reviews about 530 bytes long with the keys of the 2014 release, escapes in their texts."""
    import numpy as np

    rng = np.random.default_rng(21)
    users, items = skewed(rng, lines, 350_000, 0.55), skewed(rng, lines, 120_000, 0.85)
    times = rng.integers(1_000_000_000, 1_500_000_000, lines).tolist()
    stars = rng.integers(1, 6, lines).tolist()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(letters[c] for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(5000)]
    ends = [' \\"great\\"', " caf\\u00e9", "", "", " it\\n5/5"]
    texts = [
        " ".join(words[w] for w in rng.integers(0, 5000, rng.integers(20, 90))) + ends[i % len(ends)]
        for i in range(4000)
    ]
    which = rng.integers(0, 4000, lines).tolist()
    short = [" ".join(words[w] for w in rng.integers(0, 5000, 3)) for _ in range(4000)]
    part = file + ".part"
    with open(part, "w") as out:
        for u, i, t, s, k in zip(users, items, times, stars, which):
            out.write(
                f'{{"reviewerID": "A{u * 7919 % 350003:012X}", "asin": "B{i:09d}", '
                f'"helpful": [{k % 7}, {k % 11}], "reviewText": "{texts[k]}", "overall": {s}.0, '
                f'"summary": "{short[(k * 31 + s) % 4000]}", "unixReviewTime": {t}, '
                f'"reviewTime": "{k % 12 + 1:02d} {k % 28 + 1}, 2012"}}\n'
            )
    os.replace(part, file)


def split(file):
    """5-core to its fixed point, histories by time, the last two items of each held out."""
    rows = pl.scan_ndjson(file, schema=SCHEMA).select(USER, ITEM, TIME).collect()
    while True:
        before = rows.height
        rows = rows.filter((pl.len().over(USER) >= 5) & (pl.len().over(ITEM) >= 5))
        if rows.height == before:
            break
    rows = rows.sort([USER, TIME], maintain_order=True)
    rows = rows.with_columns((pl.len().over(USER) - pl.int_range(pl.len()).over(USER)).alias("back"))
    back = pl.col("back")
    return rows, rows.filter(back > 2), rows.filter(back == 2), rows.filter(back == 1)


def checksum(test):
    """Sum of FNV-1a hashes of `user item`: no order and no numbering of ids enters."""
    total = 0
    for user, item in zip(test[USER], test[ITEM]):
        h = 0xCBF29CE484222325
        for byte in f"{user} {item}".encode():
            h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
        total = total + h & 0xFFFFFFFFFFFFFFFF
    return total


def main():
    file = path(ARGS, f"reviews-{ARGS.lines}.jsonl")
    if ARGS.mode == "prepare":
        if not os.path.exists(file):
            write(file, ARGS.lines)
        rows, train, valid, test = split(file)
        told = {
            "rows": rows.height, "users": rows[USER].n_unique(), "items": rows[ITEM].n_unique(),
            "train": train.height, "valid": valid.height, "test": test.height,
            "checksum": f"{checksum(test):016x}", "file": file,
        }
        with open(path(ARGS, "data-polars.json"), "w") as out:
            json.dump(told, out)
        # Polars brings its own allocator.
        prepared(version=pl.__version__, allocator=False)
    serve(lambda: split(file), warmup=1)


main()
