"""One training step of a decoder-only model with PyTorch's fused attention.

4 pre-norm layers, d 128, ff 1024, 6 heads of 64, 128 sequences of 80 positions, every position
predicts its next token, AdamW. Vocabulary: 4 digits of 256 codes and a start token.
"""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import arm
import kinks

BATCH, LENGTH, WIDTH, HIDDEN, HEADS, HEAD, LAYERS = 128, 80, 128, 1024, 6, 64, 4
DIGITS, CODES = 4, 256
START = DIGITS * CODES
VOCABULARY = START + 1

args = arm.arguments(dropout=0.1, compile=False)
torch.set_num_threads(args.threads)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        inner = HEADS * HEAD
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-6), nn.RMSNorm(WIDTH, eps=1e-6)
        self.qkv = nn.Linear(WIDTH, 3 * inner, bias=False)
        self.o = nn.Linear(inner, WIDTH, bias=False)
        self.wi = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.wo = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        drop = args.dropout if self.training else 0.0
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)
        x = x + F.dropout(self.o(a.transpose(1, 2).reshape(b, t, -1)), drop)
        hidden = F.dropout(F.relu(self.wi(self.norm2(x))), drop)
        return x + F.dropout(self.wo(hidden), drop)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.RMSNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids, labels):
        drop = args.dropout if self.training else 0.0
        x = F.dropout(self.table(ids) + self.positions.weight, drop)
        for block in self.blocks:
            x = block(x)
        logits = self.head(F.dropout(self.norm(x), drop))
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


net = Net()
# The tokens of 20 items, digit h as code + 256 h; the input is the same one later, from START on.
digits = torch.randint(0, CODES, (BATCH, LENGTH // DIGITS, DIGITS)) + CODES * torch.arange(DIGITS)
labels = digits.flatten(1)
ids = torch.cat([torch.full((BATCH, 1), START), labels[:, :-1]], 1)

if args.mode == "prepare":
    net.eval()
    check = kinks.farthest(net, lambda name: name.endswith(".wi"), lambda m: m(ids, labels), BATCH)
    loss = net(ids[check], labels[check])
    loss.backward()
    out = {k: v.detach().clone() for k, v in net.named_parameters()}
    out |= {"grad." + k: v.grad.clone() for k, v in net.named_parameters()}
    out |= {"ids": ids, "labels": labels, "check": check, "loss": loss.detach().reshape(1)}
    save_file(out, arm.path(args, "causal.safetensors"))
    arm.prepared(version=torch.__version__)

optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
forward = torch.compile(net) if args.compile else net


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = forward(ids, labels)
    loss.backward()
    optimizer.step()
    return loss.item()


arm.serve(step)
