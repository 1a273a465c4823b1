// SPDX-License-Identifier: BSD-2-Clause
//! Operations on a worker's own keys, and looks at others'.

use crate::client::{Client, Error, Names, Place, Transaction};
use crate::model::{Key, LAST_VERSION, Permissions};
use crate::random::Random;
use crate::run::{Failed, Kind, Run, Watchman};
use crate::spec::{KEYS, Role};
use crate::value::{Value, expected, version_of};

/// Conflicts of one transaction after which something is wrong.
const CONFLICTS: u32 = 1000;
/// One read in so many looks at another worker's key, one transaction in so many is aborted.
const OTHERS: u32 = 8;

/// A worker's key at work.
struct Own<'a, P> {
    run: Run<'a>,
    place: &'a P,
    worker: u32,
}

impl<P: Place> Own<'_, P> {
    fn state(&self, key: u32) -> Key {
        self.run
            .cell(self.worker, key)
            .map_or_else(Key::default, Key::load)
    }

    fn set(&self, key: u32, state: Key) {
        if let Some(cell) = self.run.cell(self.worker, key) {
            state.store(cell);
        }
    }

    fn value(&self, key: u32, version: u32) -> Value {
        let workload = self.run.workload;
        expected(workload.seed, workload.size, self.worker, key, version)
    }

    /// A request on the key failed, or gave what it should not.
    fn fail(&self, kind: Kind, key: u32, what: &str) -> Failed {
        let path = self.run.workload.key(self.worker, key);
        let state = self.state(key);
        self.run.wrong(
            self.place,
            format_args!("{} of {path} (version {state}): {what}", kind.name()),
        );
        Failed
    }

    /// Compares what a read gave with the model.
    fn compare<V: AsRef<[u8]>>(&self, key: u32, read: &Result<V, Error>) -> Result<(), Failed> {
        let state = self.state(key);
        match read {
            Ok(value) if state.present && *value.as_ref() == *self.value(key, state.version) => {
                Ok(())
            }
            Ok(_) if state.present => Err(self.fail(Kind::Read, key, "another value")),
            Ok(_) => Err(self.fail(Kind::Read, key, "a value of a node that was removed")),
            Err(Error::NotFound) if !state.present => Ok(()),
            Err(error) => Err(self.fail(Kind::Read, key, error.name())),
        }
    }

    /// Compares the names in a list with the model: every key that is present, once, and nothing else.
    fn complete(&self, names: &impl Names) -> Result<(), Failed> {
        let workload = self.run.workload;
        let mut seen = [0u64; KEYS as usize / 64];
        let mut strange = None;
        names.each(|name| {
            match workload.key_named(name) {
                Some(key) if self.state(key).present => {
                    let (word, bit) = (&mut seen[key as usize / 64], 1 << (key % 64));
                    if *word & bit != 0 {
                        strange.get_or_insert((key, "listed twice"));
                    }
                    *word |= bit;
                }
                Some(key) => {
                    strange.get_or_insert((key, "listed, but it was removed"));
                }
                None => {
                    strange.get_or_insert((0, "a name that nobody made"));
                }
            };
        });
        if let Some((key, what)) = strange {
            return Err(self.fail(Kind::Directory, key, what));
        }
        let listed = |key: u32| seen[key as usize / 64] & 1 << (key % 64) != 0;
        match (0..workload.keys).find(|&key| self.state(key).present && !listed(key)) {
            Some(key) => Err(self.fail(Kind::Directory, key, "not listed")),
            None => Ok(()),
        }
    }

    /// The state of a key while it becomes `next`.
    fn pending(&self, key: u32) -> Result<Key, Failed> {
        let state = self.state(key);
        if state.version == LAST_VERSION {
            return Err(self.fail(Kind::Write, key, "no version is left"));
        }
        let pending = true;
        self.set(key, Key { pending, ..state });
        Ok(state)
    }

    /// A key whose value has been written.
    fn written(&self, key: u32, before: Key) {
        let permissions = match before.present {
            true => before.permissions,
            false => Permissions::Inherited,
        };
        self.set(
            key,
            Key {
                version: before.version + 1,
                present: true,
                permissions,
                pending: false,
            },
        );
    }
}

/// Writes every key once.
pub(crate) async fn setup<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
) -> Result<(), Failed> {
    let own = Own { run, place, worker };
    for key in 0..run.workload.keys {
        write(&own, client, key).await?;
    }
    Ok(())
}

/// One operation.
pub(crate) async fn step<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
    random: &mut Random,
) -> Result<(), Failed> {
    let workload = run.workload;
    let own = Own { run, place, worker };
    let key = random.below(workload.keys);
    let mut part = random.below(workload.mix.iter().sum());
    let mut kind = Kind::Read;
    for (candidate, weight) in Kind::ALL.into_iter().zip(workload.mix) {
        kind = candidate;
        if part < weight {
            break;
        }
        part -= weight;
    }
    // What is not there is made, not changed.
    if !own.state(key).present && matches!(kind, Kind::Remove | Kind::Permissions) {
        kind = Kind::Write;
    }
    let other = random.below(workload.workers());
    let rarely = random.below(OTHERS) == 0;
    // What came of a read or a list is checked when the watch has been stopped.
    let watchman = Watchman::start(&run, place);
    match kind {
        Kind::Read if rarely && other != worker && workload.role(other) == Role::Keys => {
            peek(run, place, client, other, key).await?;
        }
        Kind::Read | Kind::Watch => {
            let path = workload.key(worker, key);
            let read = run.request(client.read(&path)).await;
            watchman.end(&run, place, kind);
            return own.compare(key, &read);
        }
        Kind::Write => write(&own, client, key).await?,
        Kind::Remove => remove(&own, client, key).await?,
        Kind::Directory => {
            let names = list(&own, client).await?;
            watchman.end(&run, place, kind);
            return own.complete(&names);
        }
        Kind::Permissions => permit(&own, client, key, random.below(2) == 0).await?,
        Kind::Transaction => transaction(&own, client, key, random, rarely).await?,
    }
    watchman.end(&run, place, kind);
    Ok(())
}

/// Reads a key that another worker may be changing.
async fn peek<C: Client, P: Place>(
    run: Run<'_>,
    place: &P,
    client: &C,
    worker: u32,
    key: u32,
) -> Result<(), Failed> {
    let other = Own { run, place, worker };
    let before = other.state(key);
    let path = run.workload.key(worker, key);
    let read = run.request(client.read(&path)).await;
    let after = other.state(key);
    // The first change that may not have been seen yet, and the last that may have been.
    let last = after.version + u32::from(after.pending);
    let unsure = before.pending || before.version != after.version || after.pending;
    let workload = run.workload;
    match read {
        Ok(value) => {
            let (seed, size) = (workload.seed, workload.size);
            match version_of(value.as_ref(), seed, size, worker, key) {
                None => Err(other.fail(Kind::Read, key, "a value that nobody wrote")),
                Some(version) if version < before.version || version > last => {
                    Err(other.fail(Kind::Read, key, "a value of another time"))
                }
                Some(_) => Ok(()),
            }
        }
        Err(Error::NotFound) if unsure || !before.present => Ok(()),
        Err(error) => Err(other.fail(Kind::Read, key, error.name())),
    }
}

async fn write<C: Client, P: Place>(own: &Own<'_, P>, client: &C, key: u32) -> Result<(), Failed> {
    let before = own.pending(key)?;
    let (path, value) = (
        own.run.workload.key(own.worker, key),
        own.value(key, before.version + 1),
    );
    match own.run.request(client.write(&path, &value)).await {
        Ok(()) => {
            own.written(key, before);
            Ok(())
        }
        Err(error) => Err(own.fail(Kind::Write, key, error.name())),
    }
}

async fn remove<C: Client, P: Place>(own: &Own<'_, P>, client: &C, key: u32) -> Result<(), Failed> {
    let before = own.pending(key)?;
    let path = own.run.workload.key(own.worker, key);
    match own.run.request(client.remove(&path)).await {
        Ok(()) => {
            let gone = Key {
                version: before.version + 1,
                ..Key::default()
            };
            own.set(key, gone);
            Ok(())
        }
        Err(error) => Err(own.fail(Kind::Remove, key, error.name())),
    }
}

async fn list<C: Client, P: Place>(own: &Own<'_, P>, client: &C) -> Result<C::Names, Failed> {
    let home = own.run.workload.home(own.worker);
    let names = own.run.request(client.directory(&home)).await;
    names.map_err(|error| own.fail(Kind::Directory, 0, error.name()))
}

async fn permit<C: Client, P: Place>(
    own: &Own<'_, P>,
    client: &C,
    key: u32,
    readable: bool,
) -> Result<(), Failed> {
    let workload = own.run.workload;
    let path = workload.key(own.worker, key);
    let set = client.set_permissions(&path, workload.domain, readable);
    match own.run.request(set).await {
        Ok(()) => {
            let permissions = match readable {
                true => Permissions::Readable,
                false => Permissions::Nobody,
            };
            let state = own.state(key);
            own.set(
                key,
                Key {
                    permissions,
                    ..state
                },
            );
            Ok(())
        }
        Err(error) => Err(own.fail(Kind::Permissions, key, error.name())),
    }
}

/// Reads two keys and writes the first, all at once or not at all.
async fn transaction<C: Client, P: Place>(
    own: &Own<'_, P>,
    client: &C,
    key: u32,
    random: &mut Random,
    abort: bool,
) -> Result<(), Failed> {
    let run = own.run;
    let workload = run.workload;
    let second = random.below(workload.keys);
    let (path, second_path) = (
        workload.key(own.worker, key),
        workload.key(own.worker, second),
    );
    let fail = |error: Error| own.fail(Kind::Transaction, key, error.name());
    for _ in 0..CONFLICTS {
        let open = run.request(client.begin()).await.map_err(fail)?;
        let read = run.request(open.read(&path)).await;
        let also = run.request(open.read(&second_path)).await;
        // Nobody else writes them, so these are right even if the commit fails.
        own.compare(key, &read)?;
        own.compare(second, &also)?;
        let before = own.pending(key)?;
        let value = own.value(key, before.version + 1);
        run.request(open.write(&path, &value)).await.map_err(fail)?;
        let ended = run.request(open.end(!abort)).await;
        match ended {
            Ok(()) if abort => {
                own.set(key, before);
                return Ok(());
            }
            Ok(()) => {
                own.written(key, before);
                return Ok(());
            }
            Err(Error::Again) => {
                own.set(key, before);
                let retries = &run.tally.retries;
                retries.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            }
            Err(error) => return Err(fail(error)),
        }
    }
    Err(own.fail(Kind::Transaction, key, "no commit without a conflict"))
}
