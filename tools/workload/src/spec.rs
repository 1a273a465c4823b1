// SPDX-License-Identifier: BSD-2-Clause
//! The description of a workload: one line of `key=value` words.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `id` | a number that the report repeats | 0 |
//! | `profile` | `latency throughput transactions watches directory mixed soak hostile` | `throughput` |
//! | `tasks`, `outstanding` | tasks, and requests that each has on their way; their product are the workers | the profile's |
//! | `count` | operations of all workers together | the profile's |
//! | `seconds` | ends a run after so long, whatever `count` is; 0: never | 0, `soak` 60 |
//! | `keys`, `size` | keys of each worker; most bytes of a value | the profile's |
//! | `names` | least length of a key's name | 0, `directory` 24 |
//! | `mix` | parts of operations on keys, such as `read:3,write:1`; others are none | the profile's |
//! | `watches` | watches of each worker that has some | 4 |
//! | `seed` | of values and choices | 1 |
//! | `domain` | whose the nodes are; 0 is the privileged domain | 0 |
//! | `root` | directory of the run | `data/stress/run` |
//! | `accounts` | directory of what transactions share, maybe with other clients | `ROOT/accounts` |

use core::fmt::Write;
use core::str::FromStr;

use crate::run::Kind;

/// A path.
pub type Path = heapless::String<176>;

/// Why a description is refused.
pub type Refusal = heapless::String<112>;

/// Longest root.
const ROOT: usize = 96;
/// Most workers, and keys of one.
const WORKERS: u32 = 1024;
pub(crate) const KEYS: u32 = 1024;
const OUTSTANDING: u32 = 64;
const WATCHES: u32 = 16;
const NAMES: u32 = 64;

/// A set of defaults, and what the workers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One request at a time, of every kind.
    Latency,
    /// Reads and writes of many workers.
    Throughput,
    /// Transfers between shared accounts, which conflict.
    Transactions,
    /// Writes whose watches fire, and watches that come and go.
    Watches,
    /// Lists that are longer than one message.
    Directory,
    /// All of it at once.
    Mixed,
    /// The same for a time.
    Soak,
    /// What a client must be refused.
    Hostile,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Latency,
        Self::Throughput,
        Self::Transactions,
        Self::Watches,
        Self::Directory,
        Self::Mixed,
        Self::Soak,
        Self::Hostile,
    ];

    /// Its name in a description.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Transactions => "transactions",
            Self::Watches => "watches",
            Self::Directory => "directory",
            Self::Mixed => "mixed",
            Self::Soak => "soak",
            Self::Hostile => "hostile",
        }
    }

    fn defaults(self) -> Workload {
        let workload = Workload {
            id: 0,
            profile: self,
            tasks: 1,
            outstanding: 1,
            count: 1000,
            seconds: 0,
            keys: 8,
            size: 64,
            names: 0,
            // Read, write, remove, directory, permissions, transaction.
            mix: [8, 4, 1, 1, 1, 1],
            watches: 4,
            seed: 1,
            domain: 0,
            root: heapless::String::new(),
            accounts: heapless::String::new(),
        };
        match self {
            Self::Latency => Workload {
                mix: [1; MIX],
                ..workload
            },
            Self::Throughput => Workload {
                tasks: 64,
                count: 4000,
                mix: [4, 1, 0, 0, 0, 0],
                ..workload
            },
            Self::Transactions => Workload {
                tasks: 8,
                count: 400,
                ..workload
            },
            Self::Watches => Workload {
                tasks: 8,
                keys: 1,
                count: 400,
                ..workload
            },
            Self::Directory => Workload {
                keys: 300,
                names: 24,
                count: 200,
                mix: [0, 1, 1, 8, 0, 0],
                ..workload
            },
            Self::Mixed => Workload {
                tasks: 16,
                ..workload
            },
            Self::Soak => Workload {
                tasks: 16,
                count: u32::MAX,
                seconds: 60,
                ..workload
            },
            Self::Hostile => Workload {
                tasks: 4,
                ..workload
            },
        }
    }
}

/// Kinds of operations that a mix has.
pub(crate) const MIX: usize = 6;

/// What one worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Operations on keys of its own, after the mix.
    Keys,
    /// Transfers between the accounts.
    Accounts,
    /// Writes to a watched node.
    Watches,
    /// Requests that must be refused.
    Hostile,
}

/// A description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What the report repeats.
    pub id: u32,
    /// Where the defaults came from, and what workers do.
    pub profile: Profile,
    /// Tasks.
    pub tasks: u32,
    /// Workers of each task.
    pub outstanding: u32,
    /// Operations of all workers together.
    pub count: u32,
    /// Seconds after which the run ends; 0: never.
    pub seconds: u32,
    /// Keys of each worker.
    pub keys: u32,
    /// Most bytes of a value.
    pub size: u32,
    /// Least length of a key's name.
    pub names: u32,
    /// Parts of operations on keys: read, write, remove, directory, permissions, transaction.
    pub mix: [u32; MIX],
    /// Watches of a worker with [`Role::Watches`].
    pub watches: u32,
    /// Of values and choices.
    pub seed: u64,
    /// The owner of what is made.
    pub domain: u16,
    root: heapless::String<ROOT>,
    accounts: heapless::String<ROOT>,
}

impl Workload {
    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.tasks * self.outstanding
    }

    /// What worker `worker` does.
    #[must_use]
    pub fn role(&self, worker: u32) -> Role {
        match self.profile {
            Profile::Latency | Profile::Throughput | Profile::Directory => Role::Keys,
            Profile::Transactions => Role::Accounts,
            Profile::Watches => Role::Watches,
            Profile::Mixed | Profile::Soak => match worker % 4 {
                2 => Role::Accounts,
                3 => Role::Watches,
                _ => Role::Keys,
            },
            Profile::Hostile if worker == 0 => Role::Hostile,
            Profile::Hostile => Role::Keys,
        }
    }

    /// Keys of a worker, which depends on what it does.
    #[must_use]
    pub fn keys_of(&self, worker: u32) -> u32 {
        match self.role(worker) {
            Role::Keys => self.keys,
            Role::Watches => 1,
            Role::Accounts | Role::Hostile => 0,
        }
    }

    /// The run's directory.
    #[must_use]
    pub fn root(&self) -> &str {
        if self.root.is_empty() {
            "data/stress/run"
        } else {
            &self.root
        }
    }

    /// Makes `root` the run's directory: what a Linux program is told beside the description.
    ///
    /// # Errors
    /// It is too long.
    pub fn set_root(&mut self, root: &str) -> Result<(), Refusal> {
        self.root = short(root)?;
        Ok(())
    }

    /// Directory of a worker's keys.
    #[must_use]
    pub fn home(&self, worker: u32) -> Path {
        self.path(format_args!("t{worker}"))
    }

    /// Name of a key in it.
    #[must_use]
    pub fn name(&self, key: u32) -> heapless::String<80> {
        let mut name = heapless::String::new();
        // A `k`, a number below 1024, and at most 64 letters have room.
        let _ = write!(name, "k{key}");
        while name.len() < self.names as usize && name.push('-').is_ok() {}
        name
    }

    /// A key.
    #[must_use]
    pub fn key(&self, worker: u32, key: u32) -> Path {
        match self.role(worker) {
            Role::Watches => self.home(worker),
            _ => self.path(format_args!("t{worker}/{}", self.name(key))),
        }
    }

    /// The key that has this name.
    pub(crate) fn key_named(&self, name: &str) -> Option<u32> {
        let number = name.strip_prefix('k')?.trim_end_matches('-').parse().ok()?;
        (number < self.keys && self.name(number) == name).then_some(number)
    }

    /// An account.
    #[must_use]
    pub fn account(&self, number: u32) -> Path {
        let mut path = Path::new();
        // A root and few letters have room.
        let _ = match self.accounts.as_str() {
            "" => write!(path, "{}/accounts/a{number}", self.root()),
            accounts => write!(path, "{accounts}/a{number}"),
        };
        path
    }

    /// A path below the root.
    pub(crate) fn path(&self, rest: core::fmt::Arguments<'_>) -> Path {
        let mut path = Path::new();
        // A root and a name have room.
        let _ = write!(path, "{}/{rest}", self.root());
        path
    }
}

fn refuse(text: core::fmt::Arguments<'_>) -> Refusal {
    let mut refusal = Refusal::new();
    // What has no room is cut off.
    let _ = refusal.write_fmt(text);
    refusal
}

fn short(path: &str) -> Result<heapless::String<ROOT>, Refusal> {
    if path.is_empty() || path.ends_with('/') {
        return Err(refuse(format_args!("a directory is needed")));
    }
    heapless::String::try_from(path)
        .map_err(|_| refuse(format_args!("a path is longer than {ROOT} bytes")))
}

fn number<T: FromStr + PartialOrd + Copy + core::fmt::Display>(
    key: &str,
    text: &str,
    least: T,
    most: T,
) -> Result<T, Refusal> {
    match text.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(refuse(format_args!(
            "{key}={text:.20}: a number from {least} to {most} is needed"
        ))),
    }
}

fn mix(text: &str) -> Result<[u32; MIX], Refusal> {
    let mut mix = [0; MIX];
    for part in text.split(',') {
        let (name, weight) = part.split_once(':').unwrap_or((part, ""));
        let place = Kind::ALL[..MIX].iter().position(|kind| kind.name() == name);
        let Some(place) = place else {
            return Err(refuse(format_args!(
                "mix={part:.20}: no such operation on keys"
            )));
        };
        mix[place] = number("mix", weight, 0, 1000)?;
    }
    if mix.iter().sum::<u32>() == 0 {
        return Err(refuse(format_args!("mix={text:.20}: nothing to do")));
    }
    Ok(mix)
}

impl FromStr for Workload {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let words = || text.split_ascii_whitespace();
        let mut profile = Profile::Throughput;
        for name in words().filter_map(|word| word.strip_prefix("profile=")) {
            profile = Profile::ALL
                .into_iter()
                .find(|profile| profile.name() == name)
                .ok_or_else(|| refuse(format_args!("profile={name:.20}: no such profile")))?;
        }
        let mut workload = profile.defaults();
        for word in words() {
            let Some((key, value)) = word.split_once('=') else {
                return Err(refuse(format_args!("{word:.40}: KEY=VALUE is needed")));
            };
            match key {
                "profile" => {}
                "id" => workload.id = number(key, value, 0, u32::MAX)?,
                "tasks" => workload.tasks = number(key, value, 1, WORKERS)?,
                "outstanding" => workload.outstanding = number(key, value, 1, OUTSTANDING)?,
                "count" => workload.count = number(key, value, 1, u32::MAX)?,
                "seconds" => workload.seconds = number(key, value, 0, 1_000_000)?,
                "keys" => workload.keys = number(key, value, 1, KEYS)?,
                "size" => workload.size = number(key, value, 0, crate::value::LONGEST as u32)?,
                "names" => workload.names = number(key, value, 0, NAMES)?,
                "watches" => workload.watches = number(key, value, 1, WATCHES)?,
                "seed" => workload.seed = number(key, value, 0, u64::MAX)?,
                "domain" => workload.domain = number(key, value, 0, 0x7FEF)?,
                "mix" => workload.mix = mix(value)?,
                "root" => workload.root = short(value)?,
                "accounts" => workload.accounts = short(value)?,
                _ => return Err(refuse(format_args!("{key:.20}=: no such key"))),
            }
        }
        if workload.workers() > WORKERS {
            return Err(refuse(format_args!(
                "tasks x outstanding = {}: at most {WORKERS}",
                workload.workers()
            )));
        }
        Ok(workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_line_overrides_its_profile() {
        let workload: Workload =
            "id=3 profile=mixed tasks=2 outstanding=3 mix=write:1,read:2 root=/a"
                .parse()
                .expect("good");
        assert_eq!((workload.id, workload.workers()), (3, 6));
        assert_eq!(workload.mix, [2, 1, 0, 0, 0, 0]);
        assert_eq!(workload.key(0, 5), "/a/t0/k5");
        assert_eq!(workload.key(3, 0), "/a/t3");
        assert_eq!(workload.account(1), "/a/accounts/a1");
        assert_eq!(
            [0, 1, 2, 3, 4].map(|worker| workload.role(worker)),
            [
                Role::Keys,
                Role::Keys,
                Role::Accounts,
                Role::Watches,
                Role::Keys
            ]
        );
    }

    #[test]
    fn a_name_leads_back_to_its_key() {
        let workload: Workload = "profile=directory".parse().expect("good");
        assert_eq!(workload.name(7).len(), 24);
        assert_eq!(workload.key_named(&workload.name(7)), Some(7));
        assert_eq!(workload.key_named("k7"), None);
        assert_eq!(workload.key_named(&workload.name(300)), None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        for (line, why) in [
            ("tasks", "KEY=VALUE"),
            ("tasks=0", "from 1 to 1024"),
            ("tasks=512 outstanding=4", "tasks x outstanding = 2048"),
            ("profile=fast", "no such profile"),
            ("colour=red", "no such key"),
            ("mix=read:0", "nothing to do"),
            ("mix=watch:1", "no such operation"),
            ("root=", "a directory is needed"),
            ("size=x", "a number from 0 to 1000"),
        ] {
            let refusal = line.parse::<Workload>().expect_err(line).to_string();
            assert!(refusal.contains(why), "{line}: {refusal}");
        }
    }
}
