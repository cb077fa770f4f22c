"""Records what other libraries give on small cases, for tests/reference.rs.

    python record.py [--recbole-python PYTHON] > reference.json

Needs numpy, scipy, scikit-learn, ranx, pytrec-eval-terrier, ir-measures and rouge-score; RecBole's
formulas are recorded by a second interpreter that can import recbole (with torch), because their
requirements clash. Versions are written into the file.
"""

import argparse
import importlib.metadata as meta
import json
import subprocess
import sys

import numpy as np

KS = [1, 2, 3, 5, 10, 20]
N_ITEMS = 40


def cases():
    """Requests with distinct items, best first; gains by item. Ordinary ones and edges."""
    rng = np.random.default_rng(11)
    out = {
        "one user": [([3, 7, 1], {7: 1})],
        "no hit": [([3, 7, 1], {9: 1}), ([1, 2], {1: 1})],
        "short lists": [([4], {4: 1, 5: 1, 6: 1}), ([8, 2], {2: 1})],
        "more targets than places": [(list(range(10, 20)), {i: 1 for i in range(8, 39)})],
        "graded": [
            ([5, 3, 8, 1, 9], {3: 3, 9: 1, 30: 2}),
            ([1, 2, 3, 4], {4: 1, 3: 2, 2: 3, 1: 4}),
            ([4, 3, 2, 1], {4: 1, 3: 2, 2: 3, 1: 4}),
        ],
    }
    for name, graded in (("random", False), ("random graded", True)):
        rows = []
        for _ in range(30):
            length = int(rng.integers(1, 25))
            targets = rng.choice(N_ITEMS, int(rng.integers(1, 12)), replace=False)
            gains = {int(t): int(rng.integers(1, 5)) if graded else 1 for t in targets}
            rows.append(([int(i) for i in rng.choice(N_ITEMS, length, replace=False)], gains))
        out[name] = rows
    return out


def dictionaries(rows):
    qrels = {f"q{u:03}": {f"d{i:03}": g for i, g in gains.items()} for u, (_, gains) in enumerate(rows)}
    run = {f"q{u:03}": {f"d{i:03}": float(len(l) - r) for r, i in enumerate(l)} for u, (l, _) in enumerate(rows)}
    return qrels, run


def of_ranx(rows):
    from ranx import Qrels, Run, evaluate
    qrels, run = dictionaries(rows)
    q, r = Qrels(qrels), Run(run)
    names = {"recall": "recall", "precision": "precision", "f1": "f1", "hit_rate": "hit-rate", "mrr": "mrr",
             "map": "map-trec", "ndcg": "ndcg-linear", "ndcg_burges": "ndcg-exponential"}
    out = {}
    for theirs, ours in names.items():
        for k in KS:
            values = evaluate(q, r, f"{theirs}@{k}", return_mean=False)
            out[f"{ours}@{k}"] = [float(v) for v in np.atleast_1d(values)]
    out["r-precision@100"] = [float(v) for v in np.atleast_1d(evaluate(q, r, "r-precision", return_mean=False))]
    return out


def of_trec(rows):
    import pytrec_eval
    qrels, run = dictionaries(rows)
    cut = ",".join(map(str, KS))
    names = {"recall": "recall", "P": "precision", "success": "hit-rate", "map_cut": "map-trec", "ndcg_cut": "ndcg-linear"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {f"{n}.{cut}" for n in names} | {"recip_rank", "Rprec"})
    found = evaluator.evaluate(run)
    users = sorted(qrels)
    out = {f"{ours}@{k}": [found[u][f"{theirs}_{k}"] for u in users] for theirs, ours in names.items() for k in KS}
    out["mrr@1000"] = [found[u]["recip_rank"] for u in users]
    out["r-precision@100"] = [found[u]["Rprec"] for u in users]
    return out


def of_ir_measures(rows):
    import ir_measures as ir
    qrels, run = dictionaries(rows)
    names = {"recall": ir.R, "precision": ir.P, "hit-rate": ir.Success, "map-trec": ir.AP, "mrr": ir.RR, "ndcg-linear": ir.nDCG}
    measures = {str(m @ k): f"{n}@{k}" for n, m in names.items() for k in KS}
    out = {name: [0.0] * len(rows) for name in measures.values()}
    for value in ir.iter_calc([m @ k for m in names.values() for k in KS], qrels, run):
        out[measures[str(value.measure)]][int(value.query_id[1:])] = float(value.value)
    return out


def of_sklearn(rows):
    from sklearn.metrics import ndcg_score, roc_auc_score
    out = {f"ndcg-linear@{k}": [] for k in KS} | {"auc@40": []}
    for ranked, gains in rows:
        truth, scores = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
        for i, g in gains.items():
            truth[i] = g
        for r, i in enumerate(ranked):
            scores[i] = N_ITEMS - r
        out["auc@40"].append(float(roc_auc_score(truth > 0, scores)))
        # Items outside the list tie at 0, and scikit-learn shares their gains: cut at the list.
        for k in KS:
            value = ndcg_score([truth], [scores], k=k, ignore_ties=True) if k <= len(ranked) else None
            out[f"ndcg-linear@{k}"].append(value if value is None else float(value))
    return out


def of_recbole(rows):
    """Means and figures of exposure: run by an interpreter that has RecBole."""
    np.float = float
    import torch
    from collections import Counter
    from recbole.evaluator import metrics as M
    from recbole.evaluator.collector import DataStruct
    longest = max(KS)
    config = {"topk": KS, "metric_decimal_place": 15, "tail_ratio": 0.1}
    hits = np.zeros((len(rows), longest + 1), np.int64)
    for u, (ranked, gains) in enumerate(rows):
        for r, i in enumerate(ranked[:longest]):
            hits[u, r] = i in gains
        hits[u, longest] = len(gains)
    data = DataStruct()
    data.set("rec.topk", torch.from_numpy(hits))
    names = {"recall": "recall", "precision": "precision", "ndcg": "ndcg", "mrr": "mrr", "map": "map", "hit": "hit-rate"}
    classes = {"recall": M.Recall, "precision": M.Precision, "ndcg": M.NDCG, "mrr": M.MRR, "map": M.MAP, "hit": M.Hit}
    out = {}
    for theirs, ours in names.items():
        for k, v in classes[theirs](config).calculate_metric(data).items():
            out[f"{ours}@{k.split('@')[1]}"] = float(v)
    # Exposure needs lists of one length: the first item of each.
    data.set("rec.items", torch.tensor([[ranked[0]] for ranked, _ in rows]))
    data.set("data.num_items", N_ITEMS)
    data.set("data.count_items", Counter({i: i + 1 for i in range(N_ITEMS)}))
    one = dict(config, topk=[1])
    out["coverage@1"] = float(M.ItemCoverage(one).calculate_metric(data)["itemcoverage@1"])
    out["gini@1"] = float(M.GiniIndex(one).calculate_metric(data)["giniindex@1"])
    # RecBole divides the entropy by the number of recommended items.
    distinct = len({ranked[0] for ranked, _ in rows})
    out["shannon-entropy@1"] = distinct * float(M.ShannonEntropy(one).calculate_metric(data)["shannonentropy@1"])
    return out


def of_scipy():
    from scipy import stats
    rng = np.random.default_rng(5)
    columns = {
        "two": [0.5, 0.25],
        "small": list(rng.normal(0.1, 1, 12)),
        "ties": [float(x) for x in rng.integers(-3, 5, 45) / 4],
        "metrics": [float(x) for x in rng.choice([0, 0, 0, 0.5, -0.5, 0.25, 1, -1], 400, p=[0.5, 0.1, 0.05, 0.1, 0.08, 0.07, 0.06, 0.04])],
        "large": list(rng.normal(0.02, 1, 3000)),
    }
    tests = {}
    for name, d in columns.items():
        d = np.asarray(d)
        t = stats.ttest_rel(d, np.zeros_like(d))
        interval = t.confidence_interval(0.95)
        nonzero = d[d != 0]
        tied = len(set(np.abs(nonzero))) < len(nonzero)
        exact = len(nonzero) <= 50 and not tied
        w = None
        if exact:
            w = stats.wilcoxon(d, method="exact")
        elif len(nonzero) > 50:
            w = stats.wilcoxon(d, method="asymptotic", correction=True)
        plus = int((d > 0).sum())
        sign = stats.binomtest(plus, plus + int((d < 0).sum()))
        tests[name] = {
            "differences": [float(x) for x in d],
            "t": [float(t.statistic), float(t.pvalue)],
            "interval": [float(interval.low), float(interval.high)],
            "wilcoxon": None if w is None else [float(w.statistic), float(w.pvalue)],
            "sign": float(sign.pvalue),
        }
    zs = [0.0, 1e-3, 0.1, 0.5, 1.0, 1.959963984540054, 2.5, 2.83, 3.0, 5.0, 8.0, 12.0, 20.0, 37.0]
    freedoms = [1, 2, 3, 5, 10, 30, 100, 1000, 22362, 1_000_000]
    ts = [0.01, 0.5, 1.0, 1.7, 1.9, 2.5, 4.0, 10.0, 30.0]
    return {
        "tests": tests,
        "erfc": [[x, float(__import__("scipy.special", fromlist=["erfc"]).erfc(x))] for x in [-3, -1, -0.1, 0, 0.1, 0.5, 1, 1.5, 1.99, 2, 2.5, 4, 8, 15, 26]],
        "normal_tail": [[z, float(stats.norm.sf(z))] for z in zs],
        "normal_quantile": [[p, float(stats.norm.ppf(p))] for p in [1e-300, 1e-20, 1e-6, 0.01, 0.025, 0.2, 0.5, 0.8, 0.975, 0.999999]],
        "t_two_sided": [[t, f, float(2 * stats.t.sf(t, f))] for f in freedoms for t in ts],
    }


def of_rouge():
    from rouge_score import rouge_scorer
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    texts = [
        ("the cat sat on the mat", "the cat lay on the mat"),
        ("a", "a b c"),
        ("", "a b"),
        ("police killed the gunman", "police kill the gunman"),
        ("the gunman kill police", "police kill the gunman"),
        ("the the the the", "the cat the"),
        ("Soft, smooth skin!", "smooth skin; soft feel, 100 %"),
        ("x y z", "p q r"),
    ]
    rows = []
    for got, want in texts:
        s = scorer.score(want, got)
        rows.append({"candidate": got, "reference": want} | {n: [float(x) for x in v] for n, v in s.items()})
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--recbole-python")
    parser.add_argument("--only-recbole", action="store_true")
    args = parser.parse_args()
    if args.only_recbole:
        json.dump({"version": meta.version("recbole"), "cases": {n: of_recbole(r) for n, r in cases().items()}}, sys.stdout)
        return
    packages = ["numpy", "scipy", "scikit-learn", "ranx", "pytrec-eval-terrier", "ir-measures", "rouge-score"]
    out = {"versions": {p: meta.version(p) for p in packages}, "n_items": N_ITEMS, "cases": []}
    recbole = None
    if args.recbole_python:
        done = subprocess.run([args.recbole_python, __file__, "--only-recbole"], stdout=subprocess.PIPE, check=True)
        recbole = json.loads(done.stdout.decode().splitlines()[-1])
        out["versions"]["recbole"] = recbole["version"]
    for name, rows in cases().items():
        case = {"name": name, "requests": [{"list": l, "gains": sorted(g.items())} for l, g in rows]}
        case["per_user"] = {
            "ranx": of_ranx(rows), "trec_eval": of_trec(rows), "ir-measures": of_ir_measures(rows), "scikit-learn": of_sklearn(rows),
        }
        if recbole:
            case["means"] = {"RecBole": recbole["cases"][name]}
        out["cases"].append(case)
    out["statistics"] = of_scipy()
    out["rouge"] = of_rouge()
    # One case, measure or test a line: short enough, and changes can be read.
    text = json.dumps(out, separators=(",", ":"))
    print(text.replace('],"', '],\n"').replace('},{', '},\n{'))


if __name__ == "__main__":
    main()
