// SPDX-License-Identifier: BSD-2-Clause
//! Requests that must be refused, each with the error that says so, and that everything works afterwards.
//!
//! What only an unprivileged client is refused, quotas and other domains' nodes, is left out in the privileged domain.

use core::future::Future;

use crate::client::{Client, Error, Place, Transaction, Watch};
use crate::run::{Failed, Kind, Run, Watchman};

/// Longer than any path may be.
const LONG_PATH: &[u8; 3100] = &{
    let mut path = [b'x'; 3100];
    path[0] = b'/';
    path
};
/// More than a message holds, and more than an unprivileged client may keep in a node.
const LONG_VALUE: &[u8] = &[b'v'; 4096];
/// Nodes, open transactions and watches that are tried before a quota is missed.
const NODES: u32 = 8192;
const TRANSACTIONS: usize = 16;
const WATCHES: usize = 32;
/// Milliseconds within which a watch must fire.
const LIMIT: u32 = 30_000;

const QUOTA: &[Error] = &[Error::NoSpace, Error::Quota, Error::TooBig];

struct Script<'a, P> {
    run: Run<'a>,
    place: &'a P,
}

impl<P: Place> Script<'_, P> {
    fn fail(&self, what: &str, how: &str) -> Failed {
        self.run.wrong(self.place, format_args!("{what}: {how}"));
        Failed
    }

    /// A request that must be refused with one of `allowed`.
    async fn refused<T>(
        &self,
        what: &str,
        allowed: &[Error],
        kind: Kind,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<(), Failed> {
        let watchman = Watchman::start(&self.run, self.place);
        match self.run.request(request).await {
            Ok(_) => return Err(self.fail(what, "not refused")),
            Err(error) if !allowed.contains(&error) => return Err(self.fail(what, error.name())),
            Err(_) => {}
        }
        watchman.end(&self.run, self.place, kind);
        Ok(())
    }

    /// A request that must be carried out.
    async fn granted<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failed> {
        let result = self.run.request(request).await;
        result.map_err(|error| self.fail(what, error.name()))
    }
}

/// The worker's part: the whole list once.
pub(crate) async fn work<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let script = Script { run, place };
    let own = run.workload.path(format_args!("t{worker}/own"));
    script
        .granted("first write", client.write(&own, b"1"))
        .await?;
    anyone(&script, client, worker).await?;
    if run.workload.domain != 0 {
        forbidden(&script, client).await?;
        nodes(&script, client, worker).await?;
        transactions(&script, client).await?;
        watches(&script, client, &own).await?;
    }
    script
        .granted("last write", client.write(&own, b"2"))
        .await?;
    let read = script.granted("last read", client.read(&own)).await?;
    match read.as_ref() {
        b"2" => Ok(()),
        _ => Err(script.fail("last read", "another value")),
    }
}

/// What everybody is refused.
async fn anyone<C: Client, P: Place>(
    script: &Script<'_, P>,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let workload = script.run.workload;
    let none = workload.path(format_args!("t{worker}/none"));
    let missing = &[Error::NotFound];
    script
        .refused("read of nothing", missing, Kind::Read, client.read(&none))
        .await?;
    let list = client.directory(&none);
    script
        .refused("list of nothing", missing, Kind::Directory, list)
        .await?;
    let invalid = &[Error::Invalid];
    for path in ["data//x", "data/a b", "data/\u{e4}", ""] {
        script
            .refused("read of a bad path", invalid, Kind::Read, client.read(path))
            .await?;
        let write = client.write(path, b"x");
        script
            .refused("write of a bad path", invalid, Kind::Write, write)
            .await?;
    }
    // ASCII.
    let path = core::str::from_utf8(LONG_PATH).unwrap_or_default();
    let long = &[Error::Invalid, Error::TooBig];
    script
        .refused("read of a long path", long, Kind::Read, client.read(path))
        .await?;
    let own = workload.path(format_args!("t{worker}/long"));
    let long = &[Error::Invalid, Error::TooBig, Error::Unsupported];
    let write = client.write(&own, LONG_VALUE);
    script
        .refused("write of a long value", long, Kind::Write, write)
        .await
}

/// Other domains' nodes, and more in one node than there may be.
async fn forbidden<C: Client, P: Place>(script: &Script<'_, P>, client: &C) -> Result<(), Failed> {
    let denied = &[Error::Denied];
    let other = "/local/domain/0/xenstress";
    let write = client.write(other, b"x");
    script
        .refused("write to dom0", denied, Kind::Write, write)
        .await?;
    let set = client.set_permissions("domid", script.run.workload.domain, true);
    script
        .refused("permissions of dom0's node", denied, Kind::Permissions, set)
        .await?;
    script
        .refused(
            "removal of dom0's node",
            denied,
            Kind::Remove,
            client.remove("domid"),
        )
        .await?;
    let large = &[
        Error::NoSpace,
        Error::Quota,
        Error::TooBig,
        Error::Unsupported,
    ];
    let path = script.run.workload.path(format_args!("large"));
    let write = client.write(&path, &LONG_VALUE[..3000]);
    script
        .refused("write of a large value", large, Kind::Write, write)
        .await
}

/// Nodes until there are too many.
async fn nodes<C: Client, P: Place>(
    script: &Script<'_, P>,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let run = script.run;
    let home = run.workload.path(format_args!("t{worker}/many"));
    for number in 0.. {
        let path = run.workload.path(format_args!("t{worker}/many/n{number}"));
        match run.request(client.write(&path, b"")).await {
            Ok(()) if number == NODES => return Err(script.fail("quota of nodes", "none")),
            Ok(()) => {}
            Err(error) if QUOTA.contains(&error) => break,
            Err(error) => return Err(script.fail("quota of nodes", error.name())),
        }
    }
    script
        .granted("removal of many nodes", client.remove(&home))
        .await?;
    let missing = &[Error::NotFound];
    let list = client.directory(&home);
    script
        .refused("list of removed nodes", missing, Kind::Directory, list)
        .await
}

/// Transactions until there are too many.
async fn transactions<C: Client, P: Place>(
    script: &Script<'_, P>,
    client: &C,
) -> Result<(), Failed> {
    let mut open = heapless::Vec::<C::Transaction, TRANSACTIONS>::new();
    loop {
        match script.run.request(client.begin()).await {
            Ok(transaction) => {
                if open.push(transaction).is_err() {
                    return Err(script.fail("quota of transactions", "none"));
                }
            }
            Err(error) if QUOTA.contains(&error) => break,
            Err(error) => return Err(script.fail("quota of transactions", error.name())),
        }
    }
    // Aborted by their drop.
    drop(open);
    let last = script
        .granted("transaction after many", client.begin())
        .await?;
    script.granted("its abort", last.end(false)).await
}

/// Watches until there are too many.
async fn watches<C: Client, P: Place>(
    script: &Script<'_, P>,
    client: &C,
    path: &str,
) -> Result<(), Failed> {
    let mut open = heapless::Vec::<C::Watch, WATCHES>::new();
    loop {
        let watch = script.run.request(client.watch(path)).await;
        let fired = match watch {
            Ok(mut watch) => {
                let fired = watch.changed(LIMIT).await;
                if fired.is_ok() && open.push(watch).is_err() {
                    return Err(script.fail("quota of watches", "none"));
                }
                fired.inspect_err(|error| script.run.refused(*error))
            }
            Err(error) => Err(error),
        };
        match fired {
            Ok(()) => {}
            Err(error) if QUOTA.contains(&error) => break,
            Err(error) => return Err(script.fail("quota of watches", error.name())),
        }
    }
    drop(open);
    let mut last = script
        .granted("watch after many", client.watch(path))
        .await?;
    let fired = last.changed(LIMIT).await;
    fired.map_err(|error| script.fail("watch after many", error.name()))
}
