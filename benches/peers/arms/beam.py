"""A T5 beam search written for speed in PyTorch: what `generate` could be.

Identifiers lie sorted, so the children of a prefix are a range (no dictionary); beams are rows of
one product, the encoder's keys and values are made once a user and never copied; the cache holds at
most four positions; only allowed children are gathered and ranked.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


class Index:
    """Level by level: `start[l][n] .. start[l][n + 1]` are the children of node `n`."""

    def __init__(self, tokens):
        n, self.depth = tokens.shape
        self.order = np.lexsort(tokens.T[::-1])
        t = tokens[self.order]
        self.order = torch.from_numpy(self.order)
        new = np.arange(n) == 0
        node, nodes = np.zeros(n, np.int64), 1
        self.start, self.token, self.most = [], [], []
        for l in range(self.depth):
            new = new.copy()
            new[1:] |= t[1:, l] != t[:-1, l]
            at = np.flatnonzero(new)
            count = np.bincount(node[at], minlength=nodes)
            self.start.append(torch.from_numpy(np.r_[0, np.cumsum(count)]))
            self.token.append(torch.from_numpy(t[at, l]))
            self.most.append(int(count.max()))
            node, nodes = np.cumsum(new) - 1, len(at)


def rms(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def bucket(distance, both, buckets, most):
    base = torch.zeros_like(distance)
    if both:
        buckets //= 2
        base += (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = -torch.clamp(distance, max=0)
    exact = buckets // 2
    far = torch.log(distance.float().clamp(min=1) / exact) / math.log(most / exact)
    far = exact + (far * (buckets - exact)).long()
    return base + torch.where(distance < exact, distance, far.clamp(max=buckets - 1))


class T5:
    """Weights of a Hugging Face T5 (ReLU, tied head), laid out for decoding."""

    def __init__(self, weights, heads, width, layers):
        self.heads, self.width = heads, width
        get = lambda *names: torch.cat([weights[n] for n in names]).t().contiguous()
        norm = lambda p: weights[f"{p}.layer_norm.weight"]
        self.table = weights["shared.weight"]
        self.head = (self.table * self.table.shape[1] ** -0.5).t().contiguous()
        self.sides = {}
        for side, ff in (("encoder", 1), ("decoder", 2)):
            blocks = []
            for i in range(layers):
                p = f"{side}.block.{i}.layer"
                own, x = f"{p}.0.SelfAttention", f"{p}.1.EncDecAttention"
                block = {
                    "norm": norm(f"{p}.0"), "qkv": get(*(f"{own}.{n}.weight" for n in "qkv")),
                    "o": get(f"{own}.o.weight"), "ff_norm": norm(f"{p}.{ff}"),
                    "wi": get(f"{p}.{ff}.DenseReluDense.wi.weight"),
                    "wo": get(f"{p}.{ff}.DenseReluDense.wo.weight"),
                }
                if side == "decoder":
                    block |= {
                        "x_norm": norm(f"{p}.1"), "x_q": get(f"{x}.q.weight"),
                        "x_kv": get(f"{x}.k.weight", f"{x}.v.weight"), "x_o": get(f"{x}.o.weight"),
                    }
                blocks.append(block)
            final = weights[f"{side}.final_layer_norm.weight"]
            name = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            self.sides[side] = blocks, final, weights[name]
        past = self.sides["decoder"][2][bucket(torch.arange(-15, 1), False, 32, 128)]
        self.past_bias, self.biases = past.t(), {}

    def bias(self, n):
        if n not in self.biases:
            r = torch.arange(n)
            table = self.sides["encoder"][2][bucket(r[None] - r[:, None], True, 32, 128)]
            self.biases[n] = table.permute(2, 0, 1)[None].contiguous()
        return self.biases[n]

    def encode(self, ids):
        (b, n), h, w = ids.shape, self.heads, self.width
        blocks, final, _ = self.sides["encoder"]
        x = self.table[ids].view(b * n, -1)
        for l in blocks:
            q, k, v = (rms(x, l["norm"]) @ l["qkv"]).view(b, n, 3, h, w).permute(2, 0, 3, 1, 4)
            mask = self.bias(n).expand(b, -1, -1, -1)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
            x = x + a.transpose(1, 2).reshape(b * n, h * w) @ l["o"]
            x = x + torch.relu_(rms(x, l["ff_norm"]) @ l["wi"]) @ l["wo"]
        x = rms(x, final)
        cross = []
        for l in self.sides["decoder"][0]:
            k, v = (x @ l["x_kv"]).view(b, n, 2, h, w).permute(2, 0, 3, 1, 4)
            cross.append((k.contiguous(), v.contiguous()))
        return {"cross": cross, "cache": [None] * len(cross), "t": 0, "beams": 1}

    def step(self, state, token, parent):
        """Logits `B x K x V` behind `token`, `B x K`, which extends the row `parent`."""
        (b, k), h, w = token.shape, self.heads, self.width
        blocks, final, _ = self.sides["decoder"]
        x = self.table[token].view(b * k, -1)
        rows = (parent + torch.arange(b)[:, None] * state["beams"]).flatten()
        bias = self.past_bias[:, 15 - state["t"]:]
        for i, l in enumerate(blocks):
            q, key, value = (rms(x, l["norm"]) @ l["qkv"]).view(b * k, 3, h, 1, w).unbind(1)
            old = state["cache"][i]
            if old is not None:
                key = torch.cat([old[0][rows], key], 2)
                value = torch.cat([old[1][rows], value], 2)
            state["cache"][i] = key, value
            p = torch.softmax((q * key).sum(-1) + bias, -1)
            x = x + (p[..., None] * value).sum(2).view(b * k, h * w) @ l["o"]
            q = (rms(x, l["x_norm"]) @ l["x_q"]).view(b, k, h, w).transpose(1, 2)
            key, value = state["cross"][i]
            a = torch.softmax(q @ key.transpose(-1, -2), -1) @ value
            x = x + a.transpose(1, 2).reshape(b * k, h * w) @ l["x_o"]
            x = x + torch.relu_(rms(x, l["ff_norm"]) @ l["wi"]) @ l["wo"]
        state["t"], state["beams"] = state["t"] + 1, k
        return (rms(x, final) @ self.head).view(b, k, -1)


@torch.inference_mode()
def search(model, index, ids, width, masked):
    """Items and scores, `B x width`. `masked`: softmax over the allowed children only."""
    b = len(ids)
    state = model.encode(ids)
    token, parent, node = (torch.zeros(b, 1, dtype=torch.long) for _ in range(3))
    total = torch.zeros(b, 1)
    for l in range(index.depth):
        logits = model.step(state, token, parent)
        start = index.start[l][node]
        count, at = index.start[l][node + 1] - start, torch.arange(index.most[l])
        children = (start[..., None] + at).clamp_(max=len(index.token[l]) - 1)
        outside = at >= count[..., None]
        score = logits.gather(-1, index.token[l][children])
        if masked:
            score = torch.log_softmax(score.masked_fill_(outside, -torch.inf), -1)
            score += total[..., None]
        else:
            score += (total - torch.logsumexp(logits, -1))[..., None]
            score.masked_fill_(outside, -torch.inf)
        score = score.flatten(1)
        total, best = score.topk(min(width, score.shape[1]))
        parent, node = best // index.most[l], children.flatten(1).gather(1, best)
        token = index.token[l][node]
    return index.order[node], total
