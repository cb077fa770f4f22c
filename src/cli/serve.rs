//! `sidereal serve RUN`.

use super::args::ServeArguments;
use super::output;
use super::run::cache_folder;
use crate::{Cache, Finished, Registry};
use serde_json::Value;
use sidereal_core::{Error, Options, Result, Run, Spec};
use sidereal_experiment::{Served, plan_of};
use sidereal_serve::{Loader, Log, ServeOptions, Server, Target};
use std::io::stderr;
use std::process::ExitCode;
use std::sync::Arc;

pub fn serve(registry: Registry, a: ServeArguments) -> Result<ExitCode> {
    let options = options(&a)?;
    options.check()?;
    // What comes after training belongs to the run, the rest to the service.
    let changes: Vec<String> = a.set.iter().filter(|s| !of_service(s)).cloned().collect();
    let target = Target { run: a.folder.clone(), table: a.table.clone() };
    let cache = a.cache;
    let loader: Arc<Loader> = Arc::new(move |target: &Target| -> Result<Served> {
        let plan = plan_of(&registry, &target.run, &changes)?;
        let cache = Cache::new(cache_folder(cache.clone(), &plan));
        let run = Run { threads: plan.threads, ..Run::quiet(plan.seed) };
        let table = target.table.as_deref();
        Ok(Finished::open_with(&registry, &plan, &cache, &target.run, table, run)?
            .into_served(&target.name()))
    });
    let served = loader(&target)?;
    let log = if a.log { Log::to(stderr()) } else { Log::none() };
    let text = format!("{} ({} items", served.name, served.catalogue.items.len());
    let users = served.catalogue.users.len();
    let server = Server::start(served, target, loader, options, log)?;
    server.hear_signals()?;
    let admin = server.admin().map_or(String::new(), |at| format!("admin   http://{at}/admin\n"));
    output::print(&format!(
        "serving {text}, {users} users)\nservice http://{}/\n{admin}stop with Ctrl-C\n",
        server.address()
    ))?;
    server.wait()?;
    Ok(ExitCode::SUCCESS)
}

fn of_service(assignment: &str) -> bool {
    assignment.trim_start().starts_with("serve.")
}

/// The service's options: arguments, and `--set serve.KEY=VALUE`.
fn options(a: &ServeArguments) -> Result<ServeOptions> {
    let mut spec = Spec::new("serve", "http");
    for assignment in a.set.iter().filter(|s| of_service(s)) {
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let key = key.trim().trim_start_matches("serve.");
        let value = value.trim();
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        spec.options.insert(key.into(), value);
    }
    let texts = [("address", &a.address), ("admin", &a.admin)];
    let numbers = [
        ("threads", a.threads),
        ("queue", a.queue),
        ("batch", a.batch),
        ("wait", a.wait),
        ("timeout", a.timeout),
    ];
    let texts = texts.into_iter().filter_map(|(k, v)| Some((k, Value::from(v.clone()?))));
    let numbers = numbers.into_iter().filter_map(|(k, v)| Some((k, Value::from(v?))));
    for (key, value) in texts.chain(numbers) {
        if spec.options.insert(key.into(), value).is_some() {
            return Err(Error::config(
                format!("serve.{key}"),
                format!("given twice: as --{key} and with --set"),
            ));
        }
    }
    ServeOptions::from_spec(&spec)
}
