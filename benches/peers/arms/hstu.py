"""Forward and backward of the attention of one HSTU layer (4 heads of 32) over one sequence, with
bias by position and by time; with --softmax instead PyTorch's fused softmax attention without bias.

The rows of u, v, q and k are given, and so is the gradient of the output. Distances, time buckets
and the mask are computed beforehand and not timed.
"""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from arm import arguments, path, prepared, serve

HEADS, WIDTH, BUCKETS = 4, 32, 129


def inputs(n):
    torch.manual_seed(1)
    gaps = torch.exp(2.5 * torch.randn(n) + 6).long()  # from seconds to days
    return {
        "x": torch.randn(n, 4 * HEADS * WIDTH) * 0.7,
        "dout": torch.randn(n, HEADS * WIDTH),
        "position": torch.randn(n) * 0.02,  # entry n - 1 + j - i for j <= i
        "time": torch.randn(BUCKETS) * 0.02,
        "times": 1_500_000_000 + torch.cumsum(gaps, 0),
    }


class Hstu:
    def __init__(self, t):
        self.t = {k: v.requires_grad_() if k in ("x", "position", "time") else v for k, v in t.items()}
        n = self.n = len(t["times"])
        i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
        self.distance = (n - 1 + j - i).clamp_(max=n - 1).flatten().int()
        asked = torch.cat([t["times"][1:], t["times"][-1:]])  # time of the next event
        gap = (asked[:, None] - t["times"][None, :]).abs_().clamp_(min=1)
        # In f64, so that no pair at the edge of a bucket falls on the other side.
        self.bucket = (torch.log(gap.float().double()) / 0.301).long().clamp_(max=BUCKETS - 1).flatten().int()
        self.mask = torch.tril(torch.ones(n, n)) / n

    def bias(self):
        sum = self.t["position"].index_select(0, self.distance) + self.t["time"].index_select(0, self.bucket)
        return sum.view(self.n, self.n)

    def attend(self, bias):
        u, v, q, k = (p.view(self.n, HEADS, WIDTH).transpose(0, 1) for p in self.t["x"].chunk(4, -1))
        scores = torch.matmul(q, k.transpose(1, 2)).add_(bias)
        weights = F.silu(scores).mul_(self.mask)
        return torch.matmul(weights, v).transpose(0, 1).reshape(self.n, HEADS * WIDTH)

    def forward(self):
        return self.attend(self.bias())


class Softmax(Hstu):
    def __init__(self, t):
        self.t, self.n = {"x": t["x"].requires_grad_(), "dout": t["dout"]}, len(t["times"])

    def forward(self):
        u, v, q, k = (p.view(1, self.n, HEADS, WIDTH).transpose(1, 2) for p in self.t["x"].chunk(4, -1))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).reshape(self.n, HEADS * WIDTH)


def results(model):
    """Output and gradients. Those of the tables are sums of millions of terms: in f64."""
    bias = model.bias().detach().requires_grad_()
    out = model.attend(bias)
    out.backward(model.t["dout"])
    flat = bias.grad.flatten().double()
    n = model.n
    return {
        "out": out.detach(),
        "dx": model.t["x"].grad,
        "dposition": torch.zeros(n, dtype=torch.float64).index_add_(0, model.distance, flat).float(),
        "dtime": torch.zeros(BUCKETS, dtype=torch.float64).index_add_(0, model.bucket, flat).float(),
    }


def main():
    args = arguments(length=2048, softmax=False)
    torch.set_num_threads(args.threads)
    t = inputs(args.length)
    if args.mode == "prepare":
        want = {} if args.softmax else results(Hstu({k: v.clone() for k, v in t.items()}))
        name = "hstu-softmax" if args.softmax else "hstu"
        save_file({k: v.contiguous() for k, v in (t | want).items()}, path(args, f"{name}-{args.length}.safetensors"))
        prepared(version=torch.__version__.split("+")[0])
    model = Softmax(t) if args.softmax else Hstu(t)

    def work():
        for v in model.t.values():
            v.grad = None
        model.forward().backward(t["dout"])

    serve(work)


main()
