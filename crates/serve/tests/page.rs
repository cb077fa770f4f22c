//! The page in a browser, where there is one: what a link asks for stands in the document.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::Service;
use sidereal_serve::ServeOptions;
use std::process::Command;

/// The document of a page after its script has run.
fn document(browser: &str, address: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
                 --disable-background-networking --disable-component-update --disable-sync \
                 --virtual-time-budget=5000 --dump-dom";
    let output = Command::new(browser)
        .args(flags.split_whitespace())
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(address)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The part of a document between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    let rest = &text[start..];
    &rest[..rest.find(to).unwrap_or(rest.len())]
}

#[test]
fn links_show_recommendations_searches_and_faults() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let there =
        |b: &&&str| Command::new(b).arg("--version").output().is_ok_and(|o| o.status.success());
    let Some(browser) = browsers.iter().find(there) else {
        println!("skipped: the page, because there is none of {}", browsers.join(", "));
        return;
    };
    let s = Service::start(ServeOptions { timeout: 20_000, ..Default::default() });
    let page =
        |fragment: &str| document(browser, &format!("http://{}/#{fragment}", s.server.address()));

    let text = page("item=i3&item=i7&k=3&filter=price%20%3C%2010");
    let items = between(&text, "<ol id=\"items\"", "</ol>");
    for part in ["Thing 8", "Thing 9", "Thing 0", "&lt;a_1&gt;&lt;b_0&gt;", "-2.000", "if allowed"]
    {
        assert!(items.contains(part), "{part} is not in {items}");
    }
    assert!(!items.contains("Thing 10"), "{items}");
    let history = between(&text, "<ol id=\"history\"", "</ol>");
    assert!(history.contains("Thing 3") && history.contains("Remove Thing 7"), "{history}");
    assert!(text.contains("3 items for a history of 2"), "{text}");
    assert!(text.contains("run first, table ") && text.contains("generation 1"));
    assert!(between(&text, "<p id=\"fault\"", ">").contains("hidden"));

    let text = page("user=nobody");
    assert!(between(&text, "<p id=\"fault\"", "</p>").contains("no user `nobody`"), "{text}");

    let text = page("query=thing%2031");
    let matches = between(&text, "<ul id=\"matches\"", "</ul>");
    assert!(matches.contains("Thing 31") && !matches.contains("Thing 30"), "{matches}");
    s.stop();
}
