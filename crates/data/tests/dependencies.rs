//! The light crates stay light: few crates, no tensor library, no C code.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that a build of `package` compiles, itself included.
fn tree(package: &str, edges: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--prefix", "none", "-e", edges, "-f", "{p}", "-p", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo tree did not start");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_string).collect()
}

#[test]
fn light_crates_stay_light() {
    for package in [
        "sidereal-core",
        "sidereal-metrics",
        "sidereal-decoding",
        "sidereal-rerank",
        "sidereal-data",
    ] {
        let crates = tree(package, "normal");
        assert!(crates.contains(package), "{package}: {crates:?}");
        assert!(
            crates.len() <= 36,
            "{package} has {} crates in its tree, more than 36: {crates:?}",
            crates.len()
        );
        for name in tree(package, "normal,build") {
            let tensor = name.starts_with("candle") || name.starts_with("gemm");
            let c_code = name.ends_with("-sys") || matches!(name.as_str(), "cc" | "cmake");
            assert!(!tensor && !c_code, "{package} pulls in {name}");
        }
    }
}
