"""Residual k-means, 3 levels x 256 codes of 768 values, in faiss or vectorised PyTorch.

Task fit: 10 Lloyd iterations a level on all rows, from the same first rows as the other side (each
level starts at the residuals of 256 drawn rows). Task assign: codes of all rows by one trained
codebook; the other side must give the same codes, but for ties.

The data are noise around clusters with skewed sizes and a decaying spectrum; prepare writes them
once. Distortion is the mean squared length of the residuals behind the last level.
"""

import json
import os

import numpy as np

from arm import arguments, path, prepared, serve

LEVELS, WIDTH, DIM = 3, 256, 768
# Runs this long need no warm-up, and a second peer would not fit beside the first.
LARGE = 200_000
BLOCK = 16384


def make(rows, file, clusters=2000, seed=11):
    rng = np.random.default_rng(seed)
    scale = (1.0 + np.arange(DIM, dtype=np.float32)) ** -0.5
    top = rng.standard_normal((64, DIM), dtype=np.float32)
    centres = top[rng.integers(0, 64, clusters)] + 0.7 * rng.standard_normal((clusters, DIM), dtype=np.float32)
    p = 1.0 / np.arange(1, clusters + 1) ** 0.7
    part = file + ".part.npy"
    out = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(rows, DIM))
    for i in range(0, rows, 50_000):
        m = min(50_000, rows - i)
        z = rng.choice(clusters, size=m, p=p / p.sum())
        out[i : i + m] = (centres[z] + 0.6 * rng.standard_normal((m, DIM), dtype=np.float32)) * scale
    out.flush()
    os.replace(part, file)


class Torch:
    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.version = torch, torch.__version__

    def assign(self, rows, codes, out):
        half, columns = 0.5 * (codes * codes).sum(1), codes.t().contiguous()
        for i in range(0, len(rows), BLOCK):
            out[i : i + BLOCK] = self.torch.addmm(half, rows[i : i + BLOCK], columns, beta=-1).argmax(1)
        return out

    def fit(self, x, starts, iterations):
        torch = self.torch
        left, books = torch.from_numpy(x).clone(), []
        z = torch.empty(len(x), dtype=torch.long)
        for first in starts:
            codes = left[torch.tensor(first)].clone()
            for _ in range(iterations):
                self.assign(left, codes, z)
                sums = torch.zeros(WIDTH, DIM).index_add_(0, z, left)
                n = torch.bincount(z, minlength=WIDTH).float()
                codes = torch.where(n[:, None] > 0, sums / n.clamp(min=1)[:, None], codes)
            books.append(codes)
            self.assign(left, codes, z)
            for i in range(0, len(x), BLOCK):
                left[i : i + BLOCK] -= codes[z[i : i + BLOCK]]
        return books, left.numpy()

    def encode(self, x, books):
        torch, x = self.torch, self.torch.from_numpy(x)
        halves, columns = [0.5 * (c * c).sum(1) for c in books], [c.t().contiguous() for c in books]
        out = torch.empty(len(x), len(books), dtype=torch.long)
        for i in range(0, len(x), BLOCK):
            left = x[i : i + BLOCK].clone()
            for l, codes in enumerate(books):
                z = torch.addmm(halves[l], left, columns[l], beta=-1).argmax(1)
                out[i : i + BLOCK, l] = z
                if l + 1 < len(books):
                    left -= codes[z]
        return out


class Faiss:
    def __init__(self, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.faiss, self.version = faiss, faiss.__version__

    def fit(self, x, starts, iterations):
        left, books = x.copy(), []
        for first in starts:
            means = self.faiss.Kmeans(DIM, WIDTH, niter=iterations, max_points_per_centroid=len(x))
            means.train(left, init_centroids=left[first].copy())
            books.append(means.centroids.copy())
            z = means.assign(left)[1]
            for i in range(0, len(x), BLOCK):
                left[i : i + BLOCK] -= books[-1][z[i : i + BLOCK]]
        return books, left


def main():
    args = arguments(peer="torch", task="fit", rows=100_000, iterations=10, draw=5)
    file = path(args, f"quantize-{args.rows}.npy")
    plan = path(args, f"quantize-{args.rows}.json")
    large = args.rows > LARGE
    peer = {"torch": Torch, "faiss": Faiss}[args.peer](args.threads)
    if args.mode == "prepare":
        if not os.path.exists(file):
            make(args.rows, file)
        rng = np.random.default_rng(args.draw)
        starts = [rng.choice(args.rows, WIDTH, replace=False).tolist() for _ in range(LEVELS)]
        with open(plan, "w") as out:
            json.dump({"file": file, "starts": starts, "iterations": args.iterations}, out)
        if args.task == "assign":
            from safetensors.numpy import save_file

            x = np.load(file, mmap_mode="r")
            some = np.array(x[: min(20_000, args.rows)])
            few = [rng.choice(len(some), WIDTH, replace=False).tolist() for _ in range(LEVELS)]
            books, _ = peer.fit(some, few, 3)
            tensors = {f"level_{l}": c.numpy() for l, c in enumerate(books)}
            tensors["codes"] = peer.encode(np.array(x), books).numpy()
            save_file(tensors, path(args, f"quantize-{args.rows}.safetensors"))
        # faiss keeps its buffers anyway.
        prepared(version=peer.version, allocator=not large and args.peer == "torch")

    x = np.load(file)
    if args.task == "assign":
        from safetensors.torch import load_file

        tensors = load_file(path(args, f"quantize-{args.rows}.safetensors"))
        books = [tensors[f"level_{l}"] for l in range(LEVELS)]
        return serve(lambda: peer.encode(x, books), warmup=0 if large else 2)
    with open(plan) as read:
        starts = json.load(read)["starts"]
    last = {}

    def work():
        _, left = peer.fit(x, starts, args.iterations)
        last["distortion"] = float(sum(np.square(left[i : i + BLOCK]).sum(dtype=np.float64) for i in range(0, len(left), BLOCK)) / len(left))

    serve(work, warmup=0 if large else 1, told=last)


main()
