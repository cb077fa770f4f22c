"""Samples on which gradients of ReLU networks can be compared.

A hidden value that is zero but for rounding passes a whole gradient in one program and none in the
other, so f32 gradients of a large batch agree to no more than about 1e-3, PyTorch's own with its
f64 ones included. Gradients are therefore compared on the samples whose hidden values, in f64, all
stay farthest from zero.
"""

import copy

import torch


def farthest(model, hidden, run, samples, count=8):
    """Indices of the `count` samples with the largest margin. `hidden` picks modules by name whose
    outputs go into a ReLU; `run(model)` is a forward pass over all samples."""
    exact = copy.deepcopy(model).double().eval()
    margin = torch.full((samples,), torch.inf, dtype=torch.float64)

    def watch(_module, _inputs, output):
        nearest = output.detach().abs().reshape(samples, -1).min(1).values
        torch.minimum(margin, nearest, out=margin)

    hooks = [m.register_forward_hook(watch) for n, m in exact.named_modules() if hidden(n)]
    with torch.no_grad():
        run(exact)
    for hook in hooks:
        hook.remove()
    return margin.topk(count).indices.sort().values
