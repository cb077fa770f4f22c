"""Alternates one measured piece of work between Sidereal and a peer, and prints the ratio.

Both sides are processes that stay up ("arms"). An arm prints "ready" after its warm-up, does one
timed piece of work for every line that it reads and answers {"ms": ...}, and answers the end of its
input with {"rss_mib": ..., ...}. So both are warm, only one works at a time, and a slow minute of
the machine falls on both. The peer's arm runs first with "prepare": it writes weights, inputs and,
where the mathematics must agree, results without dropout, which Sidereal's arm loads and compares.

PyTorch gives big temporaries back to the kernel after every operation. A second copy of the peer
therefore runs with an allocator that keeps them; both figures are printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = {"MALLOC_MMAP_THRESHOLD_": "17179869184", "MALLOC_TRIM_THRESHOLD_": "17179869184"}

def decode(*options):
    return ["decode.py", *options], ["decode", *options]


# name: (arguments of the peer's arm, arguments of ours, label[, rounds]); {v} is the peer's
# version, {rows} and {draw} the options of that name.
COMPARISONS = {
    "decode-hf-b32-w50": (*decode("--peer", "hf"), "transformers {v} generate", 3),
    "decode-torch-b32-w50": (*decode(), "torch {v} vectorised", 9),
    "decode-torch-b256-w50": (*decode("--batch", "256"), "torch {v} vectorised"),
    "decode-torch-masked-b32-w50": (*decode("--masked"), "torch {v} vectorised", 9),
    "decode-torch-1m": (*decode("--items", "1000000"), "torch {v} vectorised", 9),
    "decode-hf-latency": (*decode("--peer", "hf", "--batch", "1", "--check", "8"), "transformers {v} generate", 15),
    "decode-torch-latency": (*decode("--batch", "1", "--check", "64"), "torch {v} vectorised", 20),
    "tiger-step": (["tiger.py"], ["tiger"], "torch {v} eager"),
    "tiger-step-nodrop": (["tiger.py", "--dropout", "0"], ["tiger", "--dropout", "0"], "torch {v} eager"),
    "tiger-step-compiled": (["tiger.py", "--compile"], ["tiger"], "torch {v} compile"),
    "causal-step": (["causal.py"], ["causal"], "torch {v} eager"),
    "causal-step-nodrop": (["causal.py", "--dropout", "0"], ["causal", "--dropout", "0"], "torch {v} eager"),
    "rqvae-step": (["rqvae.py"], ["rqvae"], "torch {v} eager"),
    "rqvae-step-fused": (["rqvae.py", "--fused"], ["rqvae"], "torch {v} eager, fused AdamW"),
    "rqvae-step-compiled": (["rqvae.py", "--compile"], ["rqvae"], "torch {v} compile"),
    "embed-st": (["embed.py"], ["embed"], "sentence-transformers {v}"),
    "data-polars": (["data.py"], ["data"], "polars {v} lazy"),
    "hstu-2048": (["hstu.py", "--length", "2048"], ["hstu", "--length", "2048"], "torch {v} eager"),
    "hstu-8192": (["hstu.py", "--length", "8192"], ["hstu", "--length", "8192"], "torch {v} eager"),
    "hstu-sdpa-8192": (["hstu.py", "--length", "8192", "--softmax"], ["hstu", "--length", "8192", "--softmax"], "torch {v} scaled_dot_product_attention"),
    "metrics-ranx": (["metrics.py", "--ranx", "--users", "{rows}"], ["metrics", "--users", "{rows}"], "ranx {v}"),
    "metrics-numpy": (["metrics.py", "--users", "{rows}"], ["metrics", "--users", "{rows}"], "numpy {v}"),
    "rq-kmeans-fit-torch": (["quantize.py", "--rows", "{rows}", "--draw", "{draw}"], ["quantize", "--task", "fit", "--rows", "{rows}"], "torch {v} eager"),
    "rq-kmeans-fit-faiss": (["quantize.py", "--peer", "faiss", "--rows", "{rows}", "--draw", "{draw}"], ["quantize", "--task", "fit", "--rows", "{rows}"], "faiss {v}"),
    "rq-assign-torch": (["quantize.py", "--task", "assign", "--rows", "{rows}"], ["quantize", "--task", "assign", "--rows", "{rows}"], "torch {v} eager"),
}


class Arm:
    def __init__(self, command, env=None):
        self.name = " ".join(command[-3:])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, **(env or {})))
        self.times = []
        if self.line() != "ready":
            raise RuntimeError(f"{self.name}: no `ready`")

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with code {self.process.wait()}")
        return line.strip()

    def step(self):
        # Worker threads of the other side stop spinning in this time.
        time.sleep(0.3)
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        self.times.append(json.loads(self.line())["ms"])

    def close(self):
        self.process.stdin.close()
        last = json.loads(self.line())
        self.process.wait()
        return last


def spread(values):
    return [round(min(values), 3), round(max(values), 3)]


# Ours may lie above the peer's by this share: sums in another order.
DISTORTION = 1.001


def compare(name, rounds, threads, work, options):
    theirs, ours, label, *usual = COMPARISONS[name]
    rounds = rounds or (usual or [5])[0]
    theirs, ours = ([a.format(**options) for a in side] for side in (theirs, ours))
    python = [sys.executable, os.path.join(HERE, "arms", theirs[0])]
    common = ["--threads", str(threads), "--work", work]
    prepared = subprocess.run(python + ["prepare"] + theirs[1:] + common, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(prepared.stdout.strip().splitlines()[-1])
    if "skipped" in told:
        return {"name": name, "skipped": told["skipped"]}
    arms = {
        "ours": lambda: Arm([os.environ["SIDEREAL_PEERS"]] + ours + common),
        "peer": lambda: Arm(python + ["serve"] + theirs[1:] + common),
    }
    if told.get("allocator", True):
        arms["kept"] = lambda: Arm(python + ["serve"] + theirs[1:] + common, KEEP)
    arms = {key: start() for key, start in arms.items()}
    for _ in range(rounds):
        for arm in arms.values():
            arm.step()
    last = {key: arm.close() for key, arm in arms.items()}
    x, y = arms["ours"].times, arms["peer"].times
    ratios = [b / a for a, b in zip(x, y)]
    out = {
        "name": name,
        "ours_ms": round(statistics.median(x), 2),
        "peer_ms": round(statistics.median(y), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": spread(ratios),
        "peer": label.format(v=told["version"]),
        "ours_rss_mib": round(last["ours"]["rss_mib"]),
        "peer_rss_mib": round(last["peer"]["rss_mib"]),
    }
    if "kept" in arms:
        z = arms["kept"].times
        kept = [b / a for a, b in zip(x, z)]
        out["peer_kept_ms"] = round(statistics.median(z), 2)
        out["ratio_kept"] = round(statistics.median(kept), 3)
        out["ratio_kept_range"] = spread(kept)
    out |= {k: v for k, v in last["ours"].items() if k != "rss_mib"}
    out |= {f"peer_{k}": v for k, v in last["peer"].items() if k != "rss_mib"}
    if out.get("distortion", 0) > DISTORTION * out.get("peer_distortion", 0):
        raise RuntimeError(f"distortion {out['distortion']} above the peer's {out['peer_distortion']}")
    return out | {"rounds": rounds, "threads": threads}


def main():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="comparisons; all when none is given")
    parser.add_argument("--rounds", type=int, help="a few by default: 5, fewer where a peer is slow, more where both are fast")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=100_000, help="vectors of rq-*, where a million takes 9 GB, or lists of metrics-*")
    parser.add_argument("--draw", type=int, default=5, help="which rows the fits of rq-kmeans start from")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    args = parser.parse_args()
    if args.list:
        print("\n".join(COMPARISONS))
        return 0
    unknown = [n for n in args.names if n not in COMPARISONS]
    if unknown:
        parser.error(f"no comparison {', '.join(unknown)}; known: {', '.join(COMPARISONS)}")
    work = os.path.join(HERE, ".venv", "work")
    os.makedirs(work, exist_ok=True)
    failed = 0
    for name in args.names or COMPARISONS:
        try:
            line = compare(name, args.rounds, args.threads, work, {"rows": args.rows, "draw": args.draw})
        except Exception as error:  # One comparison that fails does not take the others along.
            line, failed = {"name": name, "failed": str(error)}, 1
        print(json.dumps(line), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
