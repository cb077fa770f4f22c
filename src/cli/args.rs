//! Commands and their arguments.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Generative recommendation with semantic IDs.
#[derive(Debug, Parser)]
#[command(name = "sidereal", version, about, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs an experiment: data, semantic IDs, training, metrics
    Run(RunArguments),
    /// Runs many experiments from one file and compares them
    Sweep(SweepArguments),
    /// Compares finished runs: seeds, tests, costs, views
    Report(ReportArguments),
    /// Measures a finished run again, without training
    Evaluate(EvaluateArguments),
    /// Shows what a finished run recommends
    Recommend(RecommendArguments),
    /// Answers over HTTP from a finished run: an interface for programs and a page
    #[cfg(feature = "serve")]
    Serve(ServeArguments),
    /// Repeats a finished run from its folder and compares the metrics
    Replay(ReplayArguments),
    /// Lists the components that a configuration can name, with their options
    Components(ComponentsArguments),
    /// Judges semantic IDs without training a recommender
    Sids(SidsArguments),
    /// Fits residual k-means on a file of vectors of any size, and writes the codes of all rows
    Quantize(QuantizeArguments),
    /// Replaces the test targets by others and tells whether anything upstream changes
    Leaks(LeaksArguments),
    /// Looks at data
    #[command(subcommand)]
    Data(DataCommand),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// The experiment; several run one after the other, and a sweep runs as a sweep
    #[arg(value_name = "FILE.toml", required = true)]
    pub files: Vec<PathBuf>,
    /// Overrides a key, as in decoder.width=20 or quantizer=random
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// The run folder; of several files, the folder of all their folders [default: runs/<name of
    /// the file>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continues the run in the folder; starts when there is none
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replaces the run in the folder
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct LeaksArguments {
    /// The experiment
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Overrides a key, as in encoder=svd
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// Steps of training, enough to read every kind of sample
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct SweepArguments {
    /// The sweep: an experiment with a [sweep] section
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// The sweep's folder [default: runs/<name of the file>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs this case only; several times for several
    #[arg(long, value_name = "NAME")]
    pub case: Vec<String>,
    /// Runs this seed of the sweep only; several times for several
    #[arg(long, value_name = "N")]
    pub seed: Vec<u64>,
    /// Overrides a key of every case
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// Most runs side by side; they share the cores, and no result depends on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Most memory of all runs together, as in 6GiB or 800MiB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// Runs in this process and tells the sweep on standard output: how a sweep starts its runs
    #[arg(long, hide = true)]
    pub child: bool,
    /// Most threads of the run, with --child
    #[arg(long, hide = true, default_value_t = usize::MAX)]
    pub threads: usize,
    /// The rung that the run is on, with --child: what it has of `sweep.halving.resource`
    #[arg(long, hide = true)]
    pub rung: Option<u64>,
    /// Checks every run, lists them with what is ahead (stages, time, memory), and runs none
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Folder of finished stages [default: `cache` of the configuration, else runs/cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Run folders and folders of sweeps; runs that differ in the seed only are one system
    #[arg(value_name = "RUNS", required = true)]
    pub runs: Vec<PathBuf>,
    /// The system that all others are compared with [default: the first]
    #[arg(long, value_name = "NAME")]
    pub base: Option<String>,
    /// A metric, several times for several; views show the first [default: all]
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// Shows runs of other data or protocols beside each other, without tests
    #[arg(long)]
    pub mixed: bool,
    /// Test over users
    #[arg(long, value_enum, default_value_t = TestName::PairedT)]
    pub test: TestName,
    /// Largest p, after Holm, that counts
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub level: f64,
    /// Draws of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub resamples: u64,
    /// Prints tables in Markdown
    #[arg(long, conflicts_with_all = ["latex", "json"])]
    pub markdown: bool,
    /// Prints tables in LaTeX with booktabs
    #[arg(long, conflicts_with = "json")]
    pub latex: bool,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Writes a page with all tables and charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Shows no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Tests over users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestName {
    /// Paired t
    PairedT,
    /// Wilcoxon's signed ranks
    Wilcoxon,
    /// Random signs
    Permutation,
}

#[derive(Debug, Args)]
pub struct EvaluateArguments {
    /// The run folder
    #[arg(value_name = "RUN", required_unless_present = "lists", conflicts_with = "lists")]
    pub folder: Option<PathBuf>,
    /// Overrides a key of [decoder] or [evaluate]
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment, conflicts_with = "lists")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub lists: ListsArguments,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct ListsArguments {
    /// Ranked lists of any program instead of a run: a TREC run, CSV, RecBole's or MiniOneRec's
    #[arg(long, value_name = "FILE")]
    pub lists: Option<PathBuf>,
    /// What is relevant: qrels, CSV, RecBole's or MiniOneRec's
    #[arg(long, value_name = "FILE", requires = "lists", conflicts_with = "data")]
    pub truth: Option<PathBuf>,
    /// An experiment, whose test cases are what is relevant
    #[arg(long, value_name = "FILE.toml", requires = "lists")]
    pub data: Option<PathBuf>,
    /// Metrics of the lists, as in ndcg@10,epc@10
    #[arg(long, value_name = "NAME@K", value_delimiter = ',', requires = "lists")]
    pub metrics: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RecommendArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
    #[command(flatten)]
    pub asker: AskerArguments,
    /// How many items
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,
    /// Overrides a key of [decoder] or [evaluate]
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct AskerArguments {
    /// A user of the data: source id, or number from 0
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Items, oldest first: source ids, or numbers from 0
    #[arg(long, value_name = "ITEMS", value_delimiter = ',')]
    pub history: Option<Vec<String>>,
}

#[cfg(feature = "serve")]
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
    /// A SID table (.safetensors) in the place of the run's own
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Where the service listens; port 0 takes a free one [default: 127.0.0.1:7878]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Where the admin interface listens, on this machine only; "" for none [default: 127.0.0.1:7879]
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// Threads that run the model [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Requests that wait for the model; one more is refused with 503 [default: 256]
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// Most requests that the model answers at once [default: 16]
    #[arg(long, value_name = "N")]
    pub batch: Option<u32>,
    /// Milliseconds that a request waits for others, where others are expected [default: 2]
    #[arg(long, value_name = "MS")]
    pub wait: Option<u32>,
    /// Milliseconds until a request is given up with 504 [default: 2000]
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u32>,
    /// Writes a JSON line a request to standard error
    #[arg(long)]
    pub log: bool,
    /// Overrides a key of [decoder] or [evaluate], or a limit of the service, as in
    /// serve.max_body=4096
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// Folder of finished stages [default: `cache` of the configuration, else runs/cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
    /// Folder of the repetition, replaced when it holds a run [default: RUN/replay]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ComponentsArguments {
    /// A component, as in rq-kmeans, or a section, as in quantizer
    pub name: Option<String>,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Prints tables in Markdown: the book's reference
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct SidsArguments {
    /// Run folders, tables of codes (.safetensors, .json, .tsv, .csv); several are compared
    #[arg(value_name = "RUN_OR_TABLE", required = true)]
    pub subjects: Vec<PathBuf>,
    /// The experiment whose data set and encoder say what the items are; takes the place of the
    /// runs' own
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Writes report.json and report.html there
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Writes the IDs of one run or table for other programs: .json, .tsv, .npy or .safetensors
    #[arg(long, value_name = "FILE", conflicts_with = "validate")]
    pub export: Option<PathBuf>,
    /// Correlates every figure with the test metric of finished runs: run folders, folders of
    /// sweeps, or JSON lists of {name, report, recall}
    #[arg(long)]
    pub validate: bool,
    /// The metric of the runs, with --validate
    #[arg(long, value_name = "NAME", default_value = "recall@10", requires = "validate")]
    pub metric: String,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct QuantizeArguments {
    /// Vectors, a row each: .npy (f2, f4, f8) or safetensors
    #[arg(value_name = "VECTORS")]
    pub vectors: PathBuf,
    /// Name of the tensor in a safetensors file; may be left out when there is only one
    #[arg(long, value_name = "NAME", default_value = "")]
    pub tensor: String,
    /// Codes by this codebook instead of a fit
    #[arg(long, value_name = "FILE", conflicts_with = "set")]
    pub codebook: Option<PathBuf>,
    /// Overrides an option of rq-kmeans, as in levels=[256,256]
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<String>,
    /// Folder of the codebook, the codes and what an unfinished call needs to go on
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// MiB of vectors in memory
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub buffer: u32,
    /// Seed of all random streams
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
    /// Shows no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Counts users, items and interactions of a file or folder
    Inspect(InspectArguments),
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// File or folder in any known format
    pub path: PathBuf,
    /// Prints JSON for programs
    #[arg(long)]
    pub json: bool,
}

fn assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_string()),
        _ => Err("expected KEY=VALUE, as in decoder.width=20".into()),
    }
}

/// Bytes of `6GiB`, `1.5 GiB`, `800MiB`, `64KiB`.
fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let split = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let bytes = split.and_then(|(number, shift)| {
        let number: f64 = number.trim().parse().ok()?;
        Some(number * 2f64.powi(*shift)).filter(|b| (1.0..1e18).contains(b))
    });
    bytes.map(|b| b as u64).ok_or_else(|| "expected a size, as in 6GiB or 800MiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn sizes() {
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("800MiB"), Ok(800 << 20));
        for wrong in ["6", "GiB", "-1GiB", "NaNGiB", "0MiB", "6GB", "infKiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
