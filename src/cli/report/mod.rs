//! `sidereal report RUNS...`: finished runs compared, with tests, and a page of their views.

mod forms;
mod page;
mod sheet;
mod sheets;

use super::args::{ReportArguments, TestName};
use super::interrupt::cancel_on_interrupt;
use super::output;
use super::run::observers;
use crate::Registry;
use sheet::Sheet;
use sidereal_core::observe::Fanout;
use sidereal_core::{Error, Result, Run, files};
use sidereal_experiment::report::compare::{Rules, Test};
use sidereal_experiment::report::{Mixed, Report, ReportOptions};
use std::process::ExitCode;

pub fn report(registry: &Registry, a: ReportArguments) -> Result<ExitCode> {
    let observer = Fanout(observers(a.quiet || a.json));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = Run { seed: 0, observer: &observer, cancel: cancel_on_interrupt(), threads };
    let rules = Rules {
        test: match a.test {
            TestName::PairedT => Test::PairedT,
            TestName::Wilcoxon => Test::Wilcoxon,
            TestName::Permutation => Test::Permutation,
        },
        level: a.level,
        resamples: a.resamples,
        ..Rules::default()
    };
    let options = ReportOptions {
        base: a.base,
        metrics: a.metric,
        mixed: if a.mixed { Mixed::Show } else { Mixed::Refuse },
        rules,
    };
    let report = Report::of(registry, &a.runs, &options, &run).map_err(at_argument)?;
    let mut written = String::new();
    if let Some(file) = &a.html {
        files::write_bytes(file, page::page(&report)?.as_bytes())?;
        written = format!("\n{}\n", file.display());
    }
    match (a.json, a.markdown, a.latex) {
        (true, _, _) => output::print_json(&report)?,
        (_, true, _) => output::print(&markdown(&report))?,
        (_, _, true) => output::print(&latex(&report))?,
        _ => output::print(&format!("{}{written}", text(&report)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Keys of the rules are arguments here.
fn at_argument(error: Error) -> Error {
    match error {
        Error::Config { key, message } if ["level", "resamples"].contains(&key.as_str()) => {
            Error::ConfigAt { place: format!("--{key}"), message }
        }
        other => other,
    }
}

/// Tables that have something to say.
fn tables(report: &Report) -> Vec<Sheet> {
    let mut out = vec![sheets::overview(report)];
    if report.systems.len() > 1 {
        if sheets::compared(report) {
            out.extend(report.metrics.iter().map(|t| sheets::details(report, t)));
        }
        out.push(sheets::factors(report));
    }
    out.extend(report.choice.iter().map(sheets::choice));
    out.push(sheets::costs(report));
    out
}

/// For people in a terminal: details of one metric only.
fn text(report: &Report) -> String {
    let mut out = String::new();
    let warning = sheets::warning(report);
    if !warning.is_empty() {
        out.push_str(&format!("!! {}\n\n", warning.join("\n!! ")));
    }
    out.push_str(&forms::text(&sheets::overview(report)));
    if report.systems.len() > 1 {
        let first = report.metrics.iter().find(|t| t.metric == report.metric);
        if let Some(table) = first.filter(|_| sheets::compared(report)) {
            out.push_str(&format!("\n{}", forms::text(&sheets::details(report, table))));
        }
        out.push_str(&format!("\n{}", forms::text(&sheets::factors(report))));
    }
    if let Some(choice) = &report.choice {
        out.push_str(&format!("\n{}", forms::text(&sheets::choice(choice))));
    }
    out.push_str(&format!("\n{}\n", forms::text(&sheets::costs(report))));
    for line in sheets::legend(report).iter().chain(&report.notes) {
        out.push_str(&format!("- {line}\n"));
    }
    out
}

fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let warning = sheets::warning(report);
    if !warning.is_empty() {
        let lines: Vec<String> = warning.iter().map(|l| forms::markdown_text(l)).collect();
        out.push_str(&format!("> **{}**\n\n", lines.join("**\n> **")));
    }
    for sheet in tables(report) {
        let title = forms::markdown_text(&sheet.title);
        out.push_str(&format!("**{title}**\n\n{}\n", forms::markdown(&sheet)));
    }
    for line in sheets::legend(report).iter().chain(&report.notes) {
        out.push_str(&format!("- {}\n", forms::markdown_text(line)));
    }
    out
}

fn latex(report: &Report) -> String {
    let mut out = String::from("% needs \\usepackage{booktabs}\n");
    // A comment ends with its line, so no text may bring another one.
    let comment = |line: &String| format!("% {}\n", line.replace(['\n', '\r'], " "));
    sheets::warning(report).iter().for_each(|l| out.push_str(&comment(l)));
    for sheet in tables(report) {
        out.push_str(&format!("\n{}{}", comment(&sheet.title), forms::latex(&sheet)));
    }
    out.push('\n');
    sheets::legend(report).iter().chain(&report.notes).for_each(|l| out.push_str(&comment(l)));
    out
}
