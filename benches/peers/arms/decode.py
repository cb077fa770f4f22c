"""Constrained beam search of a TIGER-size T5 (arXiv 2305.05065): Hugging Face's `generate` with
`prefix_allowed_tokens_fn` over a trie of dictionaries, or a beam search written for speed (beam.py).

4 + 4 layers, d 128, ff 1024, 6 heads of 64, vocabulary 1026 (start, end, 4 digits of 256 codes),
histories of 20 items: 80 encoder positions. Scores are sums of log-probabilities over the whole
vocabulary, or with `--masked` over the allowed children.
"""

import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import arm
import beam
import catalogue

HISTORY, WIDTH, HEADS, LAYERS, DIGITS = 20, 64, 6, 4, 4
FIRST = 2  # Token of the first code; before it start and end.

args = arm.arguments(peer="torch", batch=32, beam=50, items=12_101, masked=False, check=0)
torch.set_num_threads(args.threads)
torch.manual_seed(0)
name = f"decode-{args.peer}-{args.batch}-{args.items}{'-masked' if args.masked else ''}.safetensors"


def weights(d=128, ff=1024, vocabulary=1026):
    """Normal weights, such that logits have a spread of about one."""
    inner, out = HEADS * WIDTH, {}

    def put(name, shape, std):
        out[name] = torch.randn(shape) * std

    put("shared.weight", (vocabulary, d), 1.0)
    for side in ("encoder", "decoder"):
        bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        put(f"{side}.{bias}", (32, HEADS), d**-0.5)
        for i in range(LAYERS):
            parts = ["SelfAttention"] + ["EncDecAttention"] * (side == "decoder")
            for j, part in enumerate(parts):
                p = f"{side}.block.{i}.layer.{j}"
                put(f"{p}.{part}.q.weight", (inner, d), (d * WIDTH) ** -0.5)
                for n in "kv":
                    put(f"{p}.{part}.{n}.weight", (inner, d), d**-0.5)
                put(f"{p}.{part}.o.weight", (d, inner), inner**-0.5)
            p = f"{side}.block.{i}.layer.{len(parts)}.DenseReluDense"
            put(f"{p}.wi.weight", (ff, d), d**-0.5)
            put(f"{p}.wo.weight", (d, ff), ff**-0.5)
            for j in range(len(parts) + 1):
                norm = f"{side}.block.{i}.layer.{j}.layer_norm.weight"
                out[norm] = 1 + 0.1 * torch.randn(d)
        out[f"{side}.final_layer_norm.weight"] = 1 + 0.1 * torch.randn(d)
    return out


def hugging_face(w, tokens):
    """`generate` over a trie of dictionaries: histories to items and scores."""
    from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(T5Config(
        vocab_size=len(w["shared.weight"]), d_model=128, d_ff=1024, d_kv=WIDTH, num_heads=HEADS,
        num_layers=LAYERS, num_decoder_layers=LAYERS, feed_forward_proj="relu",
        tie_word_embeddings=True, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )).eval()
    missing, unexpected = model.load_state_dict(w, strict=False)
    assert not unexpected and all("embed_tokens" in k or "lm_head" in k for k in missing)
    model.tie_weights()
    root, items = {}, {}
    for item, sid in enumerate(tokens.tolist()):
        node = root
        for token in sid:
            node = node.setdefault(token, {})
        items[tuple(sid)] = item
    config = GenerationConfig(
        num_beams=args.beam, num_return_sequences=args.beam, max_new_tokens=DIGITS, do_sample=False,
        length_penalty=0.0, early_stopping=False, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0, return_dict_in_generate=True, output_scores=True)

    def allowed(_, sent):
        node = root
        for token in sent[1:].tolist():
            node = node.get(token)
            if node is None:
                return [1]
        return list(node) or [1]

    @torch.inference_mode()
    def decode(ids):
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=config,
            prefix_allowed_tokens_fn=allowed)
        sids = out.sequences[:, 1:1 + DIGITS].tolist()
        found = torch.tensor([items[tuple(s)] for s in sids])
        return found.view(len(ids), -1), out.sequences_scores.view(len(ids), -1)

    return decode


if args.mode == "prepare":
    sids = (catalogue.numbered if args.items < 1_000_000 else catalogue.full)(args.items)
    out = weights() | {
        "sids": torch.from_numpy(sids),
        "users": torch.from_numpy(catalogue.users(args.items, max(4 * args.batch, 64), HISTORY)),
    }
else:
    out = load_file(arm.path(args, name))
sids = out["sids"].numpy()
tokens = sids + FIRST + 256 * np.arange(DIGITS)
w = {k: v for k, v in out.items() if k.endswith(".weight")}
start = time.perf_counter()
if args.peer == "hf":
    decode = hugging_face(w, tokens)
else:
    index = beam.Index(tokens)
    built = time.perf_counter() - start
    model = beam.T5(w, HEADS, WIDTH, LAYERS)
    decode = lambda ids: beam.search(model, index, ids, args.beam, args.masked)
pool = torch.from_numpy(tokens)[out["users"]].flatten(1)

if args.mode == "prepare":
    parts = [decode(ids) for ids in pool[:args.check or args.batch].split(args.batch)]
    out["found"], out["scores"] = (torch.cat(x).contiguous() for x in zip(*parts))
    save_file(out, arm.path(args, name))
    version = torch.__version__
    if args.peer == "hf":
        import transformers

        version = transformers.__version__
    arm.prepared(version=version)

turn = 0


def work():
    """The next batch of users."""
    global turn
    at = turn * args.batch % len(pool)
    turn += 1
    decode(pool[at:at + args.batch])


arm.serve(work, told={} if args.peer == "hf" else {"index_s": built})
