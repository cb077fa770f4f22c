//! All metrics by name.

use crate::content::{
    Calibration, CalibrationOptions, HistoryDistance, IldCategories, IldVectors, Serendipity,
};
use crate::exposure::{Coverage, Gini, GiniElliot, ItemCoverage, ShannonEntropy};
use crate::popularity::{
    Aclt, Aplt, Arp, Efd, Epc, LongTailOptions, PopReo, PopRsp, SelfInformation, TailOptions,
    TailPercentage,
};
use crate::{
    Auc, CutOff, F1, F1Micro, Gauc, HitRate, Map, MapElliot, MapTrec, Metric, Mrr, Ndcg,
    NdcgExponential, NdcgLinear, PassAtK, Precision, PrecisionMicro, RPrecision, Recall,
    RecallMicro,
};
use sidereal_core::{Catalog, Entry, Result};

/// One entry a line: type, options, name, what it is.
macro_rules! entries {
    ($catalog:ident: $($type:ident($options:ident), $name:literal, $doc:literal;)*) => {
        $($catalog.add(Entry::new($name, env!("CARGO_PKG_NAME"), $doc, |o: $options, _: &()| {
            Ok(Box::new($type::new(o)?) as Box<dyn Metric>)
        }))?;)*
    };
}

/// Registers every metric of this crate.
pub fn register(catalog: &mut Catalog<dyn Metric>) -> Result<()> {
    entries! { catalog:
        Recall(CutOff), "recall", "Share of a request's targets among its first k items.";
        RecallMicro(CutOff), "recall-micro", "Hits of all requests over targets of all requests.";
        Precision(CutOff), "precision", "Share of targets among the first k places.";
        PrecisionMicro(CutOff), "precision-micro", "Hits of all requests over recommended items of all requests.";
        F1(CutOff), "f1", "Harmonic mean of precision and recall, by request.";
        F1Micro(CutOff), "f1-micro", "Harmonic mean of recall-micro and precision, over all requests.";
        HitRate(CutOff), "hit-rate", "Share of requests with at least one target among the first k items.";
        PassAtK(CutOff), "pass", "Chance that k of a request's samples hold a target (Chen et al. 2021).";
        Ndcg(CutOff), "ndcg", "Normalised discounted cumulative gain with binary relevance (Järvelin and Kekäläinen 2002).";
        NdcgLinear(CutOff), "ndcg-linear", "NDCG with the gains of the truth.";
        NdcgExponential(CutOff), "ndcg-exponential", "NDCG with gains 2^g - 1 (Burges et al. 2005).";
        Mrr(CutOff), "mrr", "Mean reciprocal rank of the first target, 0 beyond rank k.";
        Map(CutOff), "map", "Mean average precision over min(targets, k).";
        MapTrec(CutOff), "map-trec", "Mean average precision over the number of targets.";
        MapElliot(CutOff), "map-elliot", "Mean of the precisions at all ranks up to k, which Elliot calls MAP.";
        RPrecision(CutOff), "r-precision", "Share of targets among as many first items as there are targets.";
        Auc(CutOff), "auc", "Chance that a target stands before another item; items beyond k are tied.";
        Gauc(CutOff), "gauc", "AUC, requests weighed by their targets.";
        Coverage(CutOff), "coverage", "Share of the catalogue that appears in the first k items of at least one list.";
        ItemCoverage(CutOff), "item-coverage", "Number of items that appear in the first k items of at least one list.";
        Gini(CutOff), "gini", "Gini index of exposure: 0 is even.";
        GiniElliot(CutOff), "gini-elliot", "Gini as Elliot has it: 1 is even.";
        ShannonEntropy(CutOff), "shannon-entropy", "Entropy of exposure in nats.";
        Epc(CutOff), "epc", "Expected popularity complement of the hits (Vargas and Castells 2011).";
        Efd(CutOff), "efd", "Expected free discovery of the hits in bits (Vargas and Castells 2011).";
        SelfInformation(CutOff), "self-information", "Novelty as mean self-information of the items in bits (Zhou et al. 2010).";
        Arp(CutOff), "arp", "Mean popularity of the recommended items (Yin et al. 2012).";
        Aclt(LongTailOptions), "aclt", "Number of long-tail items in a list (Abdollahpouri et al. 2019).";
        Aplt(LongTailOptions), "aplt", "Share of long-tail items in a list (Abdollahpouri et al. 2019).";
        TailPercentage(TailOptions), "tail-percentage", "Share of the least popular items in a list, as RecBole has it.";
        PopReo(LongTailOptions), "pop-reo", "Difference of head and tail in the chance of a target to be found (Zhu et al. 2020).";
        PopRsp(LongTailOptions), "pop-rsp", "Difference of head and tail in the chance of an item to be shown (Zhu et al. 2020).";
        IldVectors(CutOff), "ild-vectors", "Intra-list diversity: mean cosine distance of pairs.";
        IldCategories(CutOff), "ild-categories", "Intra-list diversity: mean Jaccard distance of the categories of pairs.";
        HistoryDistance(CutOff), "history-distance", "Novelty as mean cosine distance to the nearest item of the history.";
        Serendipity(CutOff), "serendipity", "Share of hits that the most popular items do not give (Ge et al. 2010).";
        Calibration(CalibrationOptions), "calibration", "Divergence of a list's categories from the history's (Steck 2018).";
    }
    Ok(())
}
