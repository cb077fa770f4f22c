//! Quantizers, identifiers and collision policies, with a report on the IDs they give.
//!
//! A quantizer turns item vectors (`N x D`) into codes (`N x L`); an identifier turns codes into
//! the SID table, resolving or tolerating collisions.
//!
//! | file | holds |
//! |---|---|
//! | [`rq_kmeans`] | residual k-means, Lloyd or mini-batch |
//! | [`balanced_rq_kmeans`] | residual k-means with equal shares |
//! | [`constrained_rq_kmeans`] | residual k-means with bounded sizes |
//! | [`capacity`] | what the two share, and their codebook |
//! | [`hierarchical_kmeans`] | a tree of clusters: IDs of variable length |
//! | [`stream`] | residual k-means over files larger than memory |
//! | [`rq_vae`] | encoder, residual codebooks and decoder, trained together |
//! | [`rvq`] | residual codebooks that learn by gradients, level after level |
//! | [`contrastive`] | an RQ-VAE with losses over the batch: domains, collaborative vectors, diversity |
//! | [`rq_kmeans_plus`] | an RQ-VAE that starts from the codes of a residual quantizer |
//! | [`sim_vq`] | an RQ-VAE whose codebooks are a frozen matrix times a learned one |
//! | [`graph_rq_vae`] | an RQ-VAE on the vectors of a graph of users and items |
//! | [`pq`] | product quantization: one k-means a part of the vector |
//! | [`opq`] | product quantization behind a learned rotation |
//! | [`fsq`] | bounded and rounded latents: no codebook |
//! | [`residual_fsq`] | the same on finer and finer grids |
//! | [`lfq`] | the signs of a latent as bits |
//! | [`mpq`] | parallel codes of mixed experts |
//! | [`autoencoder`] | what the last four share: encoder, bottleneck, decoder and their training |
//! | [`compositions`] | quantizers one after the other, and side by side |
//! | [`random`] | the control: codes that know nothing of the item |
//! | [`residual`] | the residual loop and the codebook it reads |
//! | [`kmeans`] | one level of k-means: start, pass over the rows, updates |
//! | [`gradient`] | how a gradient passes the choice of a code |
//! | [`sinkhorn`] | balanced assignment of rows to codes |
//! | [`continuous`] | items as sets of real vectors |
//! | [`identifiers`] | collision policies |
//! | [`report`] | are IDs any good? usage, collisions, hierarchy, predictability, stability |
//! | [`files`] | codebooks and SID tables as safetensors |
//! | [`tables`] | SID tables of other programs, in and out |

pub mod autoencoder;
pub mod balanced_rq_kmeans;
mod blocks;
pub mod capacity;
pub mod compositions;
pub mod constrained_rq_kmeans;
pub mod continuous;
pub mod contrastive;
mod digits;
pub mod files;
pub mod fsq;
pub mod gradient;
pub mod graph_rq_vae;
pub mod hierarchical_kmeans;
pub mod identifiers;
pub mod kmeans;
mod levels;
pub mod lfq;
pub mod mpq;
pub mod opq;
pub mod pq;
pub mod random;
pub mod report;
pub mod residual;
pub mod residual_fsq;
pub mod rq_kmeans;
pub mod rq_kmeans_plus;
pub mod rq_vae;
pub mod rvq;
pub mod sim_vq;
pub mod sinkhorn;
pub mod stream;
pub mod tables;
mod training;

pub use autoencoder::{Autoencoder, AutoencoderCodebook, Bottleneck};
pub use balanced_rq_kmeans::{BalancedRqKMeans, BalancedRqKMeansOptions};
pub use capacity::{Assignment, CapacityCodebook};
pub use compositions::{
    Grouped, GroupedCodebook, GroupedOptions, Residual, ResidualOptions, StackedCodebook,
};
pub use constrained_rq_kmeans::{ConstrainedRqKMeans, ConstrainedRqKMeansOptions};
pub use continuous::{ContinuousIds, ScoredItem, set_weights};
pub use contrastive::{ContrastiveRqVae, ContrastiveRqVaeOptions};
pub use files::{codebook_from_tensors, load_codebook, load_sids, save_codebook, save_sids};
pub use fsq::{Fsq, FsqCodebook, FsqOptions};
pub use gradient::{GradientStrategy, RotationTrick, StraightThrough};
pub use graph_rq_vae::{GraphRqVae, GraphRqVaeCodebook, GraphRqVaeOptions};
pub use hierarchical_kmeans::{
    HierarchicalCodebook, HierarchicalKMeans, HierarchicalKMeansOptions,
};
pub use identifiers::{
    Atomic, AtomicOptions, CodeSet, CodeSetOptions, Collaborative, CollaborativeOptions,
    DomainRule, Hybrid, HybridOptions, Keep, Leftover, Merged, NewItems, Numbering, Ordinal,
    OrdinalOptions, OrdinalStart, Popularity, PopularityOptions, RandomId, RandomIdOptions,
    SecondBest, SecondBestOptions, Sequential, SequentialOptions, SharedSet, SharedText, Sinkhorn,
    SinkhornOptions, Table, TableOptions, Taxonomy, TaxonomyOptions, Text, TextForm, TextIds,
    TextOptions, TextSource, Tolerate, TolerateOptions, UserInput, UserOrder, UserSids, extend,
    merge,
};
pub use lfq::{Lfq, LfqCodebook, LfqOptions};
pub use mpq::{Mpq, MpqCodebook, MpqOptions};
pub use opq::{Opq, OpqCodebook, OpqOptions, RotationStart};
pub use pq::{Pq, PqCodebook, PqOptions};
pub use random::{Random, RandomCodebook, RandomOptions};
pub use report::{AnalysisInput, LevelReport, SidAnalysis, SidReport};
pub use residual::{ResidualCodebook, ResidualScale};
pub use residual_fsq::{ResidualFsq, ResidualFsqCodebook, ResidualFsqOptions};
pub use rq_kmeans::{RqKMeans, RqKMeansOptions};
pub use rq_kmeans_plus::{RqKMeansPlus, RqKMeansPlusOptions};
pub use rq_vae::{RqVae, RqVaeCodebook, RqVaeOptions};
pub use rvq::{LevelLoss, Rvq, RvqOptions, level_loss};
pub use sim_vq::{SimVq, SimVqOptions};
pub use tables::{Keys, export, import};

use sidereal_core::{Catalog, Entry, Identifier, Quantizer, Result};

/// Adds this crate's quantizers.
pub fn register(quantizers: &mut Catalog<dyn Quantizer>) -> Result<()> {
    let origin = env!("CARGO_PKG_NAME");
    quantizers.add(Entry::new(
        "rq-kmeans",
        origin,
        "Residual k-means: one k-means per level on what the level before left over \
         (arXiv 2507.22224, 2402.18334).",
        |options: RqKMeansOptions, _: &()| {
            Ok(Box::new(RqKMeans::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "balanced-rq-kmeans",
        origin,
        "Residual k-means where every code has the same number of items (OneRec, arXiv 2502.18965).",
        |options: BalancedRqKMeansOptions, _: &()| {
            Ok(Box::new(BalancedRqKMeans::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "constrained-rq-kmeans",
        origin,
        "Residual k-means with sizes of codes between bounds (MiniOneRec, arXiv 2510.24431).",
        |options: ConstrainedRqKMeansOptions, _: &()| {
            Ok(Box::new(ConstrainedRqKMeans::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "hierarchical-kmeans",
        origin,
        "A tree of k-means: IDs of variable length (DSI, NCI, arXiv 2202.06991, 2206.02743), or of \
         fixed length with bounded clusters (ColaRec, arXiv 2403.18480).",
        |options: HierarchicalKMeansOptions, _: &()| {
            Ok(Box::new(HierarchicalKMeans::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "rq-vae",
        origin,
        "Encoder, residual codebooks and decoder, trained together (arXiv 2203.01941, 2305.05065).",
        |options: RqVaeOptions, _: &()| Ok(Box::new(RqVae::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "rvq",
        origin,
        "Residual codebooks that learn by gradients, level after level (arXiv 2507.22224).",
        |options: RvqOptions, _: &()| Ok(Box::new(Rvq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "contrastive-rq-vae",
        origin,
        "RQ-VAE with losses over the batch: domains, collaborative vectors, diversity of codes \
         (arXiv 2507.12871, 2405.07314).",
        |options: ContrastiveRqVaeOptions, _: &()| {
            Ok(Box::new(ContrastiveRqVae::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::composite(
        "rq-kmeans-plus",
        origin,
        "RQ-VAE that starts as the identity, with the codes of a residual quantizer \
         (arXiv 2510.24431).",
        |options: RqKMeansPlusOptions, context: &(), all| {
            let start = all.build(&options.start.spec("quantizer.start")?, context)?;
            Ok(Box::new(RqKMeansPlus::new(options, start)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "sim-vq",
        origin,
        "RQ-VAE whose codebooks are a frozen matrix times a learned one (arXiv 2411.02038).",
        |options: SimVqOptions, _: &()| Ok(Box::new(SimVq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "graph-rq-vae",
        origin,
        "RQ-VAE on item vectors that a graph network made of features and interactions \
         (arXiv 2404.16555).",
        |options: GraphRqVaeOptions, _: &()| {
            Ok(Box::new(GraphRqVae::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "pq",
        origin,
        "Product quantization: one k-means a part of the vector (arXiv 2210.12316, 2506.05781).",
        |options: PqOptions, _: &()| Ok(Box::new(Pq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "opq",
        origin,
        "Optimized product quantization: a learned rotation, then product quantization \
         (Ge et al. 2013).",
        |options: OpqOptions, _: &()| Ok(Box::new(Opq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "fsq",
        origin,
        "Finite scalar quantization: every dimension of a latent bounded and rounded \
         (arXiv 2309.15505).",
        |options: FsqOptions, _: &()| Ok(Box::new(Fsq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "residual-fsq",
        origin,
        "Finite scalar quantization of what the level before left over, on finer and finer grids \
         (arXiv 2309.15505).",
        |options: ResidualFsqOptions, _: &()| {
            Ok(Box::new(ResidualFsq::new(options)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "lfq",
        origin,
        "Lookup-free quantization: the signs of a latent, with an entropy penalty \
         (arXiv 2310.05737).",
        |options: LfqOptions, _: &()| Ok(Box::new(Lfq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::new(
        "mpq",
        origin,
        "Parallel codes by a mixture of experts (REG4Rec, arXiv 2508.15308; a reconstruction).",
        |options: MpqOptions, _: &()| Ok(Box::new(Mpq::new(options)?) as Box<dyn Quantizer>),
    ))?;
    quantizers.add(Entry::composite(
        "residual",
        origin,
        "Quantizers one after the other, each on what the ones before left over \
         (arXiv 2509.03236).",
        |options: ResidualOptions, _: &(), all| {
            let parts = compositions::build_all(&options.levels, "quantizer.levels", all)?;
            Ok(Box::new(Residual::new(parts)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::composite(
        "grouped",
        origin,
        "Quantizers side by side, each on its own columns (arXiv 2210.12316).",
        |options: GroupedOptions, _: &(), all| {
            let parts = compositions::build_all(&options.parts, "quantizer.parts", all)?;
            Ok(Box::new(Grouped::new(parts, options.groups)?) as Box<dyn Quantizer>)
        },
    ))?;
    quantizers.add(Entry::new(
        "random",
        origin,
        "Uniformly random codes: the control that shows what the content of codes is worth \
         (arXiv 2305.05065, section 4.2).",
        |options: RandomOptions, _: &()| Ok(Box::new(Random::new(options)?) as Box<dyn Quantizer>),
    ))
}

/// Adds this crate's identifiers.
pub fn register_identifiers(all: &mut Catalog<dyn Identifier>) -> Result<()> {
    identifiers::register(all)
}
