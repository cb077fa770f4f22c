"""Records what Elliot, RecBole, KILT, trec_eval, SciPy, scikit-learn and NLTK give on small cases
of what record.py leaves out, for tests/beyond.rs.

    python record_beyond.py --elliot DIR --kilt DIR --recbole-python PYTHON > beyond.json

DIR are checkouts: sisinflab/elliot at v0.3.1 and facebookresearch/KILT. Needs numpy, scipy,
scikit-learn, pytrec-eval-terrier and nltk; RecBole runs in an interpreter of its own.
"""

import argparse
import importlib.metadata as meta
import json
import math
import subprocess
import sys
import types

import numpy as np

KS = [1, 3, 5, 10]
N_ITEMS = 30


def worlds():
    """Training items of users, and requests of the first of them: list and gains. Items are drawn
    from a steep distribution; some are never seen in training."""
    rng = np.random.default_rng(3)
    weights = 1 / np.arange(1, N_ITEMS + 1)
    weights[-3:] = 0
    out = {}
    for name, users, requests, length, least in (
        ("ordinary", 40, 25, (10, 11), 1), ("short lists", 30, 12, (1, 9), 1), ("one user", 9, 1, (10, 11), 1),
        ("no rare item", 60, 10, (10, 11), 2),
    ):
        train = [rng.choice(N_ITEMS, int(rng.integers(2, 9)), replace=False, p=weights / weights.sum()) for _ in range(users)]
        counts = np.bincount(np.concatenate(train), minlength=N_ITEMS)
        train = [[int(i) for i in items if counts[i] >= least] for items in train]
        rows = []
        for u in range(requests):
            fresh = [i for i in range(N_ITEMS) if i not in train[u]]
            ranked = [int(i) for i in rng.permutation(N_ITEMS)[: int(rng.integers(*length))]]
            targets = rng.choice(fresh, int(rng.integers(1, 7)), replace=False)
            rows.append((ranked, {int(i): int(rng.integers(1, 5)) for i in targets}))
        out[name] = (train, rows)
    return out


def of_elliot(train, rows):
    import elliot.evaluation.metrics as M
    from elliot.evaluation.popularity_utils import Popularity
    from elliot.evaluation.relevance import Relevance
    from scipy.sparse import csr_matrix
    users, items = zip(*[(u, i) for u, own in enumerate(train) for i in own])
    matrix = csr_matrix((np.ones(len(users)), (users, items)), shape=(len(train), N_ITEMS))
    data = types.SimpleNamespace(
        train_dict={u: dict.fromkeys(own, 1.0) for u, own in enumerate(train) if own}, sp_i_train=matrix,
        private_items={i: i for i in range(N_ITEMS)}, transactions=len(users), num_items=N_ITEMS)
    # Ratings one below the gain, threshold 0: Elliot's gain is 2^(rating + 1) - 1.
    test = {u: {i: g - 1 for i, g in gains.items()} for u, (_, gains) in enumerate(rows)}
    lists = {u: [(i, -r) for r, i in enumerate(ranked)] for u, (ranked, _) in enumerate(rows)}
    names = {"Precision": "precision", "Recall": "recall", "F1": "f1", "HR": "hit-rate", "MRR": "mrr", "MAP": "map-elliot",
             "nDCG": "ndcg-exponential", "EPC": "epc", "EFD": "efd", "ACLT": "aclt", "APLT": "aplt", "ARP": "arp"}
    whole = {"PopREO": "pop-reo", "PopRSP": "pop-rsp", "ItemCoverage": "item-coverage", "GiniIndex": "gini-elliot",
             "ShannonEntropy": "shannon-entropy"}
    per_user, values = {}, {}
    for k in KS:
        objects = types.SimpleNamespace(cutoff=k, relevance=Relevance(test, 0), pop=Popularity(data), num_items=N_ITEMS, data=data)
        make = lambda name: getattr(M, name)(lists, None, None, objects)
        for theirs, ours in names.items():
            per_user[f"{ours}@{k}"] = [float(v) for _, v in sorted(make(theirs).eval_user_metric().items())]
        for theirs, ours in whole.items():
            with np.errstate(all="ignore"):
                value = float(make(theirs).eval())
            if theirs == "ShannonEntropy":
                # In bits; users with short lists weigh as much as others, so equal lengths only.
                value = value * math.log(2) if len({len(l[:k]) for l in lists.values()}) == 1 else math.nan
            values[f"{ours}@{k}"] = None if math.isnan(value) else value
    return per_user, values


def of_recbole(train, rows):
    """Run by an interpreter that has RecBole."""
    np.float = float
    import torch
    from collections import Counter
    from scipy.stats import rankdata
    from recbole.evaluator import metrics as M
    from recbole.evaluator.collector import DataStruct
    config = {"topk": KS, "metric_decimal_place": 15, "tail_ratio": 0.1}
    data, out = DataStruct(), {}
    counts = Counter(i for own in train for i in own)
    if len({len(l) for l, _ in rows}) == 1:
        data.set("rec.items", torch.tensor([l for l, _ in rows]))
        data.set("data.count_items", counts)
        for k, v in M.AveragePopularity(config).calculate_metric(data).items():
            out[f"arp@{k.split('@')[1]}"] = float(v)
        for tail in (0.1, 0.35, 3):
            for k, v in M.TailPercentage(config | {"tail_ratio": tail}).calculate_metric(data).items():
                out[f"tail-percentage[tail={tail}]@{k.split('@')[1]}"] = float(v)
    ranks = []
    for ranked, gains in rows:
        scores = np.zeros(N_ITEMS)
        scores[ranked] = np.arange(len(ranked), 0, -1)
        own = rankdata(-scores)
        ranks.append([sum(own[i] for i in gains), N_ITEMS, len(gains)])
    data.set("rec.meanrank", torch.tensor(ranks, dtype=torch.float64))
    out[f"gauc@{N_ITEMS}"] = float(M.GAUC(config).calculate_metric(data)["gauc"])
    return out


def of_kilt():
    sys.modules["rouge"] = types.SimpleNamespace(Rouge=object)
    from kilt import eval_downstream as down, eval_retrieval as ret
    rng = np.random.default_rng(8)
    page = lambda ids: {"provenance": [{"wikipedia_id": str(i)} for i in ids]}
    retrieval = []
    for _ in range(60):
        sets = [[int(i) for i in rng.integers(0, 9, int(rng.integers(1, 4)))] for _ in range(int(rng.integers(1, 5)))]
        guesses = [int(i) for i in rng.integers(0, 12, int(rng.integers(0, 10)))]
        gold, guess = {"output": [page(s) for s in sets]}, {"output": [page(guesses)]}
        row = {"sets": sets, "guesses": guesses, "r-precision": ret.rprecision(guess, gold, ["wikipedia_id"])}
        for k in (1, 2, 5):
            rank, n = ret.get_rank(guess, gold, k, ["wikipedia_id"])
            row[f"@{k}"] = [ret._precision_at_k(rank, k), ret._recall_at_k(rank, n, k) if n else 0.0, float(ret._success_rate_at_k(rank, k))]
        retrieval.append(row)
    texts = [("The Beatles!", "beatles"), ("Theatre", "atre"), ("a-b", "b"), ("an  Owl. ", "owl"), ("l\u2019a the\u2014cat", "l cat"), ("the_a", "a"),
             ("red cat red", "the red cat"), ("", ""), ("the", "x"), ("\u00c9t\u00e9 a", "\u00e9t\u00e9"), ("3.5 %", "35"), ("U.S.A.", "usa"), ("A'a", "aa")]
    answers = [{"answer": a, "reference": b, "normal": down.normalize_answer(a), "exact": float(down._exact_match_score(a, b)),
                "f1": float(down._f1_score(a, b))} for a, b in texts]
    return {"retrieval": retrieval, "answers": answers}


def of_trec_ties():
    """A run with equal scores, and scores that are equal in 32 bits only."""
    import pytrec_eval
    rows = {"q1": [("a", 1.0), ("c", 1.0), ("b", 1.0), ("d", 2.0)], "q2": [("x", 0.1 + 1e-10), ("y", 0.1), ("a10", 0.1), ("a9", 0.1)],
            "q3": [("a", -1.0), ("b", 0.0), ("c", -0.0)], "q4": [("m", 16777217.0), ("n", 16777216.0), ("o", 16777220.0)]}
    qrels = {"q1": {"b": 1, "zz": 1}, "q2": {"x": 1, "a9": 2}, "q3": {"b": 1}, "q4": {"m": 1}}
    run = {q: dict(r) for q, r in rows.items()}
    found = pytrec_eval.RelevanceEvaluator(qrels, {"map_cut.2,10", "ndcg_cut.1,2,3", "recip_rank", "P.1"}).evaluate(run)
    names = {"map_cut_2": "map-trec@2", "map_cut_10": "map-trec@10", "ndcg_cut_1": "ndcg-linear@1", "ndcg_cut_2": "ndcg-linear@2",
             "ndcg_cut_3": "ndcg-linear@3", "recip_rank": "mrr@100", "P_1": "precision@1"}
    text = "".join(f"{q} Q0 {d} {i} {s!r} tag\n" for q, r in rows.items() for i, (d, s) in enumerate(r))
    truth = "".join(f"{q} 0 {d} {g}\n" for q, r in qrels.items() for d, g in r.items())
    return {"run": text, "qrels": truth, "values": {ours: [found[q][theirs] for q in qrels] for theirs, ours in names.items()}}


def of_scipy():
    from scipy import stats
    rng = np.random.default_rng(6)
    columns = {
        "ties and zeros": [0.5, 0, 0.5, -0.25, 0, 0.25, 0.5, -0.5, 1],
        "all of one size": [0.5, 0.5, -0.5, 0.5, 0.5, 0.5],
        "one beside zeros": [0, 0, 0.25, 0, 0], "two": [0.5, -0.25], "all equal": [0.125] * 8,
        "hits": [float(x) for x in rng.choice([0, 1, -1, 0.5], 11)],
        "no ties": [float(x) for x in rng.normal(0.3, 1, 10)],
    }
    out = {}
    for name, d in columns.items():
        d = np.asarray(d)
        nonzero = d[d != 0]
        # All signs: exact with ties too, which SciPy's own exact distribution is not.
        every = stats.PermutationMethod(n_resamples=np.inf)
        # One pair cannot be permuted by SciPy; its exact distribution has no ties then.
        w = stats.wilcoxon(nonzero, method=every if len(nonzero) > 1 else "exact")
        flips = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
        t = stats.ttest_rel(d, np.zeros_like(d)) if np.ptp(d) > 0 else None
        out[name] = {"differences": [float(x) for x in d], "wilcoxon": [float(w.statistic), float(w.pvalue)],
                     "sign-flip": float(flips.pvalue), "t": None if t is None else [float(t.statistic), float(t.pvalue)]}
    big = rng.choice([0, 0, 0.5, -0.5, 0.25, 1, -1], 120, p=[0.3, 0.1, 0.2, 0.1, 0.1, 0.12, 0.08])
    w = stats.wilcoxon(big, zero_method="wilcox", correction=True, method="asymptotic")
    out["many ties and zeros"] = {"differences": [float(x) for x in big], "wilcoxon": [float(w.statistic), float(w.pvalue)], "sign-flip": None,
                                  "t": [float(x) for x in stats.ttest_rel(big, np.zeros_like(big))]}
    return out


def of_scores():
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(2)
    rows = []
    for n, levels in ((5, 3), (40, 4), (200, 1000), (12, 1)):
        scores, labels = rng.integers(0, levels, n) / 4, rng.integers(0, 2, n)
        labels[:2] = 0, 1
        rows.append({"scores": scores.tolist(), "labels": labels.tolist(), "auc": float(roc_auc_score(labels, scores))})
    return rows


def of_agreement():
    from scipy.stats import kendalltau
    from sklearn.metrics import cohen_kappa_score
    rng = np.random.default_rng(4)
    kappas = []
    for n, classes in ((6, 2), (50, 3), (20, 5), (9, 2)):
        a, b = rng.integers(0, classes, n), rng.integers(0, classes, n)
        b[: n // 2] = a[: n // 2]
        kappas.append({"a": a.tolist(), "b": b.tolist(), "kappa": float(cohen_kappa_score(a, b))})
    taus = []
    for n in (2, 5, 10):
        a, b = rng.permutation(15)[:n], rng.permutation(15)[:n]
        if n < 10:
            b = rng.permutation(a)
        common = [i for i in a if i in b]
        places = [list(b).index(i) for i in common]
        taus.append({"a": a.tolist(), "b": b.tolist(), "tau": float(kendalltau(range(len(common)), places).statistic)})
    return {"kappa": kappas, "tau": taus}


def of_bleu():
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
    corpora = [
        [("the cat is on the mat today", "the cat is on the mat")],
        [("soft and smooth on my skin all day", "very soft and smooth on my skin"), ("it works well for dry hair", "works well for dry hair and scalp")],
        [("a b c", "a b c")], [("the the the the", "the cat the dog")], [("good hair product for the price", "a good hair product for a fair price here")],
        [("x y z w", "p q r s")],
    ]
    import warnings
    warnings.simplefilter("ignore")
    rows = []
    for pairs in corpora:
        references, candidates = [[r.split()] for _, r in pairs], [c.split() for c, _ in pairs]
        plain = corpus_bleu(references, candidates)
        row = {"pairs": pairs, "bleu": 0.0 if plain < 1e-70 else plain}
        row["smoothed"] = float(corpus_bleu(references, candidates, smoothing_function=SmoothingFunction().method2))
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser()
    for name in ("elliot", "kilt", "recbole-python"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--only-recbole", action="store_true")
    args = parser.parse_args()
    if args.only_recbole:
        json.dump({"version": meta.version("recbole"), "worlds": {n: of_recbole(*w) for n, w in worlds().items()}}, sys.stdout)
        return
    sys.path += [args.elliot, args.kilt]
    done = subprocess.run([args.recbole_python, __file__, "--only-recbole"], stdout=subprocess.PIPE, check=True)
    recbole = json.loads(done.stdout.decode().splitlines()[-1])
    packages = ["numpy", "scipy", "scikit-learn", "pytrec-eval-terrier", "nltk"]
    out = {"versions": {p: meta.version(p) for p in packages} | {"elliot": "0.3.1", "recbole": recbole["version"]}, "n_items": N_ITEMS, "worlds": []}
    for name, (train, rows) in worlds().items():
        per_user, values = of_elliot(train, rows)
        out["worlds"].append({
            "name": name, "train": train, "requests": [{"list": l, "gains": sorted(g.items())} for l, g in rows],
            "per_user": per_user, "values": values, "recbole": recbole["worlds"][name]})
    out |= {"kilt": of_kilt(), "trec": of_trec_ties(), "scipy": of_scipy(), "scores": of_scores(), "agreement": of_agreement(), "bleu": of_bleu()}
    text = json.dumps(out, separators=(",", ":"), ensure_ascii=True)
    print(text.replace('],"', '],\n"').replace('},{', '},\n{'))


if __name__ == "__main__":
    main()
