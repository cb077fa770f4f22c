"""The protocol of a peer's arm; see compare.py."""

import argparse
import json
import os
import resource
import sys
import time


def arguments(**defaults):
    """`prepare` or `serve`, the common options, and one option for each default."""
    p = argparse.ArgumentParser()
    p.add_argument("mode", choices=["prepare", "serve"])
    p.add_argument("--work", required=True, help="folder that both sides read")
    p.add_argument("--threads", type=int, default=2)
    for key, value in defaults.items():
        key = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            p.add_argument(key, action="store_true")
        else:
            p.add_argument(key, type=type(value), default=value)
    return p.parse_args()


def prepared(**told):
    """Ends `prepare`: `version`, or `skipped` with the reason; `allocator=False` where keeping
    memory changes nothing."""
    print(json.dumps(told), flush=True)
    sys.exit(0)


def serve(work, warmup=2, told=None):
    """Runs `work` once for every line of input; `told` joins the summary."""
    for _ in range(warmup):
        work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - start)}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rss_mib": peak} | (told or {})), flush=True)


def path(args, name):
    return os.path.join(args.work, name)
