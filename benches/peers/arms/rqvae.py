"""One training step of an RQ-VAE in PyTorch: 768-512-256-128-32 and back, 3 levels of 256 codes.

1,024 rows, mean squared errors, commitment 0.25, the codes by `cdist` and `argmin`, AdamW (its fused
form with --fused).
"""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import arm

WIDTHS, LEVELS, CODES, BATCH, BETA = [768, 512, 256, 128, 32], 3, 256, 1024, 0.25

args = arm.arguments(compile=False, fused=False)
torch.set_num_threads(args.threads)
torch.manual_seed(0)


def chain(widths):
    layers = []
    for i, o in zip(widths, widths[1:]):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class RqVae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = chain(WIDTHS), chain(WIDTHS[::-1])
        books = [nn.Parameter(0.1 * torch.randn(CODES, WIDTHS[-1])) for _ in range(LEVELS)]
        self.level = nn.ParameterList(books)

    def forward(self, x):
        z = self.encoder(x)
        residual, total, loss, codes = z, 0.0, 0.0, []
        for book in self.level:
            code = torch.cdist(residual.detach(), book.detach()).argmin(-1)
            q = F.embedding(code, book)
            loss = loss + F.mse_loss(q, residual.detach()) + BETA * F.mse_loss(residual, q.detach())
            total, residual = total + q, residual - q.detach()
            codes.append(code)
        return F.mse_loss(self.decoder(z + (total - z).detach()), x) + loss, codes


model, x = RqVae(), torch.randn(BATCH, WIDTHS[0])

if args.mode == "prepare":
    loss, codes = model(x)
    loss.backward()
    named = dict(model.named_parameters())
    out = {k: v.detach().clone().contiguous() for k, v in named.items()}
    out |= {"grad." + k: v.grad.clone().contiguous() for k, v in named.items()}
    out |= {"x": x, "codes": torch.stack(codes, 1).contiguous(), "loss": loss.detach().reshape(1)}
    save_file(out, arm.path(args, "rqvae.safetensors"))
    arm.prepared(version=torch.__version__)

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=args.fused or None)
forward = torch.compile(model) if args.compile else model


def step():
    loss, _ = forward(x)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


arm.serve(step)
