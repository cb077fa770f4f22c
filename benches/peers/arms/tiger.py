"""One training step of a TIGER-size T5 (arXiv 2305.05065) in Hugging Face Transformers.

4 + 4 layers, d 128, ff 1024, 6 heads of 64, vocabulary 1026, 256 samples of 16 items (4 digits of
256 codes and a separator each: 80 encoder positions), 4 decoder positions, AdamW.
"""

import torch
import transformers
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration

import arm
import kinks

BATCH, ITEMS, DIGITS, CODES = 256, 16, 4, 256
SEPARATOR, START = DIGITS * CODES, DIGITS * CODES + 1

args = arm.arguments(dropout=0.1, compile=False)
torch.set_num_threads(args.threads)
torch.manual_seed(0)


def tokens(rows, items):
    """Random IDs as tokens: digit h is code + 256 h, a separator behind each item."""
    digits = torch.randint(0, CODES, (rows, items, DIGITS)) + CODES * torch.arange(DIGITS)
    return torch.cat([digits, torch.full((rows, items, 1), SEPARATOR)], -1)


ids = tokens(BATCH, ITEMS).flatten(1)
labels = tokens(BATCH, 1)[:, 0, :DIGITS].contiguous()
model = T5ForConditionalGeneration(T5Config(
    vocab_size=START + 1, d_model=128, d_ff=1024, d_kv=64, num_heads=6, num_layers=4,
    num_decoder_layers=4, dropout_rate=args.dropout, feed_forward_proj="relu", use_cache=False,
    tie_word_embeddings=True, decoder_start_token_id=START, pad_token_id=START, eos_token_id=START,
)).train()
mask = torch.ones_like(ids)

if args.mode == "prepare":
    model.eval()
    check = kinks.farthest(
        model, lambda name: name.endswith(".wi"),
        lambda m: m(input_ids=ids, attention_mask=mask, labels=labels), BATCH)
    loss = model(input_ids=ids[check], attention_mask=mask[check], labels=labels[check]).loss
    loss.backward()
    named = dict(model.named_parameters())
    out = {k: v.detach().clone().contiguous() for k, v in named.items()}
    out |= {"grad." + k: v.grad.clone().contiguous() for k, v in named.items()}
    out |= {"input_ids": ids, "labels": labels, "check": check,
            "loss": loss.detach().reshape(1)}
    save_file(out, arm.path(args, "tiger.safetensors"))
    arm.prepared(version=torch.__version__)

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
forward = torch.compile(model) if args.compile else model


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = forward(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    optimizer.step()
    return loss.item()


arm.serve(step)
