// SPDX-License-Identifier: BSD-2-Clause
//! `xenpeer stress`: workloads over a connection of many requests, and what the store must hold afterwards.

mod check;
mod client;
#[cfg(test)]
mod daemon;
mod run;
mod serve;
#[cfg(test)]
mod tests;

use std::io::Write;

use workload::Workload;

use crate::args::Args;
use crate::mux::Mux;
use crate::store::Store;
use crate::wire::Op;
use crate::{Failure, Result};

/// `xenpeer stress run|serve|check ..`
pub(crate) fn run(mut args: Args) -> Result {
    match args.need("what to do")?.as_str() {
        "run" => run_workload(args),
        "serve" => serve_device(args),
        "check" => check_tree(args),
        other => Err(Failure::new(format!("unknown stress command {other}"))),
    }
}

fn parse(line: &str, root: Option<String>) -> Result<Workload> {
    let mut workload: Workload = line
        .parse()
        .map_err(|refusal| Failure::new(format!("workload: {refusal}")))?;
    if let Some(root) = root {
        let set = workload.set_root(&root);
        set.map_err(|refusal| Failure::new(format!("--root: {refusal}")))?;
    }
    Ok(workload)
}

/// `xenpeer stress run [--device PATH] [--root PATH] WORKLOAD`
fn run_workload(mut args: Args) -> Result {
    let device: Option<String> = args.option("--device")?;
    let root = args.option("--root")?;
    let line = args.need("the workload")?;
    args.end()?;
    match device {
        None => {
            let desk = run::Desk::new("dom0", std::io::stdout());
            run::run(
                &[client::Store::new(Mux::connect()?)],
                &parse(&line, root)?,
                &desk,
            )
        }
        Some(device) => run_in_guest(&device, &line, root),
    }
}

/// Runs a workload over Linux's device, on all processors.
fn run_in_guest(device: &str, line: &str, root: Option<String>) -> Result {
    let threads = std::thread::available_parallelism();
    let threads = threads.map_err(|e| Failure::new(format!("number of processors: {e}")))?;
    let stores: Result<Vec<_>> = (0..threads.get())
        .map(|_| Ok(client::Store::new(Mux::device(device)?)))
        .collect();
    let stores = stores?;
    let mux = &stores[0].mux;
    // A guest has an id that nobody knew when the line was written; one that stands there comes last and counts.
    let domid = mux.run(mux.call(Op::Read, 0, &[b"domid\0"]))?;
    let line = format!("domain={} {line}", String::from_utf8_lossy(&domid));
    let desk = run::Desk::new(serve::PLACE, std::io::stdout());
    run::run(&stores, &parse(&line, root)?, &desk)
}

/// `xenpeer stress serve --device PATH`
fn serve_device(mut args: Args) -> Result {
    let device: String = args.required("--device")?;
    args.end()?;
    serve::serve(&Mux::device(&device)?, |line| {
        run_in_guest(&device, line, None)
    })
}

/// `xenpeer stress check [--root PATH] --workload WORKLOAD --model FILE`
fn check_tree(mut args: Args) -> Result {
    let root = args.option("--root")?;
    let line: String = args.required("--workload")?;
    let file: String = args.required("--model")?;
    args.end()?;
    let workload = parse(&line, root)?;
    let log = std::fs::read(&file).map_err(|e| Failure::new(format!("{file}: {e}")))?;
    let model = check::Model::parse(&workload, &String::from_utf8_lossy(&log))?;
    let tree = check::Tree::read(&mut Store::connect()?, &workload)?;
    let wrong = check::compare(&workload, &model, &tree);
    for what in &wrong {
        println!("{what}");
    }
    if !wrong.is_empty() {
        let count = wrong.len();
        return Err(Failure::new(format!(
            "the tree is not as the model says, {count} times"
        )));
    }
    let mut out = std::io::stdout();
    writeln!(out, "{} nodes as the model says", tree.len()).map_err(|e| Failure::new(e.to_string()))
}
