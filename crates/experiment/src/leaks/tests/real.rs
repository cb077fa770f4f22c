//! Data that others use: no false accusation.

use super::*;
use crate::stages::data;
use crate::{Cache, Config, Plan, Registry};
use sidereal_core::Run;
use std::path::Path;

#[test]
fn real_data_is_not_accused() {
    let fallback = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_string();
    let root = std::env::var("SIDEREAL_DATA").unwrap_or(fallback);
    let registry = Registry::builtin().unwrap();
    for folder in ["amazon2014-beauty", "ml-latest-small"] {
        let path = Path::new(&root).join(folder);
        if !path.exists() {
            println!("skipped: {folder}, because {} is not here", path.display());
            continue;
        }
        let text = format!("[data]\ntype = \"folder\"\npath = {path:?}\n");
        let plan = Plan::resolve(&registry, &Config::parse(&text, "x.toml").unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let cx = Context { registry: &registry, plan: &plan, cache: &cache, run: Run::quiet(0) };
        let data = data::data(&cx).unwrap();
        let began = std::time::Instant::now();
        let findings = of_data(&data, plan.split.built.order()).unwrap();
        println!("{folder}, {:.3} s", began.elapsed().as_secs_f64());
        findings.iter().for_each(|f| println!("  {:?} {f}", f.verdict));
        assert!(findings.iter().all(|f| f.verdict != Verdict::Leak), "{findings:?}");
        let numbers = found(findings, "item-numbers");
        assert_eq!(numbers.verdict, Verdict::Clean, "{numbers}");
    }
}
