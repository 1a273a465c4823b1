// SPDX-License-Identifier: BSD-2-Clause
//! Writes to a node until all its watches have fired; some of them are new each time.

use crate::client::{Client, Error, Place, Watch};
use crate::model::Key;
use crate::run::{Failed, Kind, Run, Watchman};
use crate::value::expected;

/// Milliseconds within which a watch must fire.
const LIMIT: u32 = 30_000;
/// A watch is registered anew after so many writes.
const CHURN: u32 = 4;
/// Most watches of a worker; see [`crate::Workload`].
const WATCHES: usize = 16;

fn fail(run: &Run<'_>, place: &impl Place, worker: u32, what: &str) -> Failed {
    let path = run.workload.key(worker, 0);
    run.wrong(place, format_args!("watch of {path}: {what}"));
    Failed
}

/// Writes the node once.
pub(crate) async fn setup<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    write(run, place, client, worker).await
}

async fn write<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let workload = run.workload;
    let Some(cell) = run.cell(worker, 0) else {
        return Err(fail(&run, place, worker, "no model"));
    };
    let version = Key::load(cell).version + 1;
    let value = expected(workload.seed, workload.size, worker, 0, version);
    let path = workload.key(worker, 0);
    let written = run.request(client.write(&path, &value)).await;
    written.map_err(|error| fail(&run, place, worker, error.name()))?;
    let state = Key {
        version,
        present: true,
        ..Key::default()
    };
    state.store(cell);
    // Who has seen the watch fire must read what was written before.
    let read = run.request(client.read(&path)).await;
    match read {
        Ok(read) if *read.as_ref() == *value => Ok(()),
        Ok(_) => Err(fail(&run, place, worker, "another value")),
        Err(error) => Err(fail(&run, place, worker, error.name())),
    }
}

async fn register<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<C::Watch, Failed> {
    let path = run.workload.key(worker, 0);
    let refused = |error: Error| fail(&run, place, worker, error.name());
    let mut watch = run.request(client.watch(&path)).await.map_err(refused)?;
    // Fires once by itself.
    watch.changed(LIMIT).await.map_err(refused)?;
    Ok(watch)
}

/// The worker's part.
pub(crate) async fn work<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let mut watches = heapless::Vec::<C::Watch, WATCHES>::new();
    for _ in 0..run.workload.watches {
        let watch = register(run, place, client, worker).await?;
        if watches.push(watch).is_err() {
            return Err(fail(&run, place, worker, "no room"));
        }
    }
    let mut done = 0;
    while !run.is_over(place, done) {
        if done % CHURN == CHURN - 1 {
            let oldest = watches.remove(0);
            drop(oldest);
            let watch = register(run, place, client, worker).await?;
            // Room for the one that was removed.
            let _ = watches.push(watch);
        }
        let watchman = Watchman::start(&run, place);
        write(run, place, client, worker).await?;
        for watch in &mut watches {
            let fired = watch.changed(LIMIT).await;
            fired.map_err(|error| match error {
                Error::TimedOut => fail(&run, place, worker, "did not fire"),
                error => fail(&run, place, worker, error.name()),
            })?;
        }
        watchman.end(&run, place, Kind::Watch);
        done += 1;
    }
    Ok(())
}
