// SPDX-License-Identifier: BSD-2-Clause
//! The frontend of a device: the handshake with its backend over the store, again and again, for a driver that only says what is
//! particular to its device ([`Device`]).
//!
//! Each end has a key `state`. What the frontend writes, and why:
//!
//! ```text
//!                 +------------------ 9 ----------------+------ 9, 10 ------+
//!                 v                                     |                   |
//!   --1--> Initialising --2--> (link) --3--> Initialised --4--> Connected --+
//!                                               |            11 |   ^ 12    |
//!                                               |               v   |       |
//!                                               |           Reconfiguring --+
//!                                               +---------5---------+-------+
//!                                                         v
//!                            (1 again) <--9-- Closed <--6-- Closing
//!                                               |    7: no link
//!                                               +--8--> end
//! ```
//!
//! | | when | what is done | by |
//! |---|---|---|---|
//! | 1 | start; again after 9 and 10 | look the backend up; close one that still serves a predecessor of ours; watch its state | `round` |
//! | 2 | the backend is InitWait or Initialised | [`Device::connect`] makes the link and the keys | `attach` |
//! | 3 | it has | keys and state are written in one transaction | `connected` |
//! | 4 | the backend is Connected | state is written, [`Device::run`] runs | `connected` |
//! | 5 | the backend closes; it was moved; the driver closes; the device ends or fails | what runs of the device is dropped, state is written | `part` |
//! | 6 | the backend is Closing or Closed, is gone, or [`Limits::answer`] is over | state is written | `part` |
//! | 7 | the backend is Closed, is gone, waits for the next frontend, or [`Limits::answer`] is over | [`Device::disconnect`] ends the link | `serve` |
//! | 8 | the driver closed, the device ended or failed, the backend closed and is not `online`, or all keys are gone | [`Frontend::run`] returns | `run` |
//! | 9 | otherwise. From a state of before: the backend is gone or started anew, so it uses nothing of ours | [`Device::disconnect`], from the beginning; after a backend that went by itself not before [`Limits::pause`] | `serve`, `run` |
//! | 10 | the domain was suspended and lives on | [`Device::disconnect`] at once: grants and channels are dead, the keys are the new toolstack's; from the beginning | `serve` |
//! | 11 | the backend is Reconfiguring | [`Device::run`] is dropped, state is written | `connected` |
//! | 12 | it is Reconfigured, or Connected again | [`Device::reconfigured`], state is written, [`Device::run`] runs again | `connected` |
//!
//! Keys that are gone end every wait (8). A `state` that is no state says nothing: the last one counts. What decides is always
//! what the keys say now, never how often a watch has fired. States are written only where the toolstack has made the key, in
//! transactions, so nothing is made anew after a removal.
//!
//! Dropped in the middle, [`Frontend::run`] drops the link and writes nothing: set [`Services::closing`] and wait for the end
//! first.

mod backend;
mod device;
mod state;

use core::fmt;
use core::pin::pin;

use kexec::nt::String;
use kexec::sync::{Either2, Either3, Event, select2, select3};
use kexec::timer::Timers;
use kexec::{Duration, Result, Status, info, try_format, warn};

use super::{Resumes, Store, Suspend, Watch};

pub use backend::{Backend, Keys};
pub use device::{Device, End};
pub use state::State;

/// What a frontend works with.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    /// The store.
    pub store: &'a Store,
    /// Suspends.
    pub suspend: &'a Suspend,
    /// Timers of the executor.
    pub timers: &'a Timers,
    /// Set by the driver, manual: close the device and end.
    pub closing: &'a Event,
}

impl fmt::Debug for Services<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// How long a frontend waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a backend to see that the device closes.
    pub answer: Duration,
    /// Before a backend that closed the device by itself is asked again.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(5),
            pause: Duration::from_secs(1),
        }
    }
}

/// The frontend of one device.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
#[derive(Debug)]
pub struct Frontend<'a> {
    services: Services<'a>,
    limits: Limits,
    path: String,
    state_path: String,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The driver closes.
    Closing,
    /// The device has ended or failed.
    Device(Result),
    /// A state of the backend that does not fit.
    Backend(State),
    /// There is another backend.
    Moved,
    /// There was a suspend.
    Resumed,
    /// The keys are gone.
    Removed,
    /// The backend closed for good.
    Offline,
}

/// What is awaited, and the backend that it is about.
struct Sight<'s, 'a> {
    own: &'s Watch<'a>,
    theirs: Watch<'a>,
    resumes: &'s Resumes<'a>,
    backend: Backend<'a>,
    /// [`Suspend::count`] before the backend was looked up.
    count: u32,
}

/// Whether a backend with that state lets a closing device go on.
type Done = fn(State) -> bool;

/// A wait's result, or why it is in vain.
type Outcome<T> = core::result::Result<T, Cause>;

impl<'a> Frontend<'a> {
    /// The frontend of the device whose keys are at `path`, such as `device/vif/0`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn try_new(services: Services<'a>, path: &str) -> Result<Self> {
        let tag = services.store.tag();
        Ok(Self {
            services,
            limits: Limits::default(),
            path: String::try_from_str(tag, path)?,
            state_path: try_format!(tag, "{path}/state")?,
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Connects the device to its backend, as often as need be; returns when the device has ended.
    ///
    /// # Errors
    /// The device's; the store's; `STATUS_DATA_ERROR` for keys of the toolstack that make no sense.
    pub async fn run<D: Device>(&self, device: &mut D) -> Result<End> {
        let Services { store, suspend, .. } = self.services;
        let own = store.watch(self.path.as_str())?;
        let resumes = suspend.resumes()?;
        loop {
            let count = suspend.count();
            let cause = match self.round(device, &own, &resumes, count).await {
                // What failed went with the suspend.
                Err(_) if suspend.count() != count => Cause::Resumed,
                other => other?,
            };
            match cause {
                Cause::Closing | Cause::Device(Ok(())) => return Ok(End::Closed),
                Cause::Device(Err(status)) => return Err(status),
                Cause::Removed => return Ok(End::Removed),
                Cause::Offline => return Ok(End::Offline),
                Cause::Backend(State::Closing | State::Closed | State::Unknown) => {
                    let pause = self.services.timers.sleep(self.limits.pause);
                    select2(pin!(self.services.closing.wait()), pin!(pause)).await;
                }
                Cause::Backend(_) | Cause::Moved | Cause::Resumed => {}
            }
        }
    }

    /// From 1 to 8, 9 or 10.
    async fn round<D: Device>(
        &self,
        device: &mut D,
        own: &Watch<'a>,
        resumes: &Resumes<'a>,
        count: u32,
    ) -> Result<Cause> {
        let store = self.services.store;
        let Some(backend) = Backend::look_up(store, self.path.as_str()).await? else {
            return Ok(Cause::Removed);
        };
        let sight = Sight {
            own,
            theirs: backend.watch("state")?,
            resumes,
            backend,
            count,
        };
        let cause = match self.attach(device, &sight).await? {
            Ok((link, keys)) => self.serve(device, &sight, link, &keys).await?,
            Err(Cause::Device(Err(_))) if self.services.suspend.count() != count => Cause::Resumed,
            Err(cause @ (Cause::Closing | Cause::Device(_))) => {
                let _ = self.switch(State::Closed, None).await?;
                cause
            }
            Err(cause) => cause,
        };
        if let Cause::Backend(state) = cause {
            info!("{}: backend state {}", self.path.as_str(), state.text());
            if !state.in_use() && sight.backend.is_offline().await? {
                return Ok(Cause::Offline);
            }
        }
        Ok(cause)
    }

    /// Transitions 1 and 2, and what must be told in 3.
    async fn attach<D: Device>(
        &self,
        device: &mut D,
        sight: &Sight<'_, 'a>,
    ) -> Result<Outcome<(D::Link, Keys)>> {
        let (_, state) = self.look(sight).await?;
        if state.is_some_and(State::in_use)
            && let Some(cause) = self.part(sight).await?
        {
            return Ok(Err(cause));
        }
        if let Err(cause) = self.switch(State::Initialising, None).await? {
            return Ok(Err(cause));
        }
        let offers = |state| match state {
            State::InitWait | State::Initialised => Some(Ok(())),
            _ => None,
        };
        if let Err(cause) = self.until(sight, offers).await? {
            return Ok(Err(cause));
        }
        let mut keys = Keys::try_new(self.services.store.tag(), self.path.as_str())?;
        let made = {
            let connect = pin!(device.connect(&sight.backend, &mut keys));
            let stays = |state| match state {
                State::InitWait | State::Initialised => None,
                other => Some(Err(Cause::Backend(other))),
            };
            match select2(pin!(self.until(sight, stays)), connect).await {
                Either2::First(changed) => changed.map(|never: Outcome<D::Link>| never),
                Either2::Second(made) => Ok(made.map_err(|status| Cause::Device(Err(status)))),
            }
        };
        Ok(made?.map(|link| (link, keys)))
    }

    /// From 3 to 7, or 10: the link's whole life.
    async fn serve<D: Device>(
        &self,
        device: &mut D,
        sight: &Sight<'_, 'a>,
        mut link: D::Link,
        keys: &Keys,
    ) -> Result<Cause> {
        let ended = self.connected(device, sight, &mut link, keys).await;
        let ended = match ended {
            // A channel or a grant that went with a suspend is no failure of the device's.
            Ok(Cause::Device(Err(_))) | Err(_) if self.services.suspend.count() != sight.count => {
                Ok(Cause::Resumed)
            }
            other => other,
        };
        let parted = match ended {
            // There is nobody to tell, or nobody who uses anything of ours.
            Ok(Cause::Resumed | Cause::Removed) | Err(_) => Ok(None),
            Ok(Cause::Backend(State::Unknown | State::Initialising | State::InitWait)) => Ok(None),
            Ok(_) => self.part(sight).await,
        };
        device.disconnect(link).await;
        match (ended?, parted?) {
            // What the driver or the device wants is wanted still.
            (cause @ (Cause::Closing | Cause::Device(_)), _) => Ok(cause),
            (cause, changed) => Ok(changed.unwrap_or(cause)),
        }
    }

    /// From 3 to 5, with 11 and 12.
    async fn connected<D: Device>(
        &self,
        device: &mut D,
        sight: &Sight<'_, 'a>,
        link: &mut D::Link,
        keys: &Keys,
    ) -> Result<Cause> {
        if let Err(cause) = self.switch(State::Initialised, Some(keys)).await? {
            return Ok(cause);
        }
        let accepts = |state| match state {
            State::Connected => Some(Ok(())),
            State::InitWait | State::Initialised => None,
            other => Some(Err(Cause::Backend(other))),
        };
        if let Err(cause) = self.until(sight, accepts).await? {
            return Ok(cause);
        }
        loop {
            if let Err(cause) = self.switch(State::Connected, None).await? {
                return Ok(cause);
            }
            let stays = |state| match state {
                State::Connected | State::Reconfigured => None,
                State::Reconfiguring => Some(Ok(())),
                other => Some(Err(Cause::Backend(other))),
            };
            let over = {
                let work = pin!(device.run(link, &sight.backend));
                select2(pin!(self.until(sight, stays)), work).await
            };
            match over {
                Either2::First(changed) => {
                    if let Err(cause) = changed? {
                        return Ok(cause);
                    }
                }
                Either2::Second(result) => return Ok(Cause::Device(result)),
            }
            if let Err(cause) = self.switch(State::Reconfiguring, None).await? {
                return Ok(cause);
            }
            let changed = |state| match state {
                State::Connected | State::Reconfigured => Some(Ok(())),
                State::Reconfiguring => None,
                other => Some(Err(Cause::Backend(other))),
            };
            if let Err(cause) = self.until(sight, changed).await? {
                return Ok(cause);
            }
            if let Err(status) = device.reconfigured(link, &sight.backend).await {
                return Ok(Cause::Device(Err(status)));
            }
        }
    }

    /// Transitions 5 to 7, but for the end of the link. What came in between.
    async fn part(&self, sight: &Sight<'_, 'a>) -> Result<Option<Cause>> {
        // One that waits for a frontend may be about to use what it was told of; once it has seen the end it waits for the next.
        let steps: [(State, Done); 2] = [
            (State::Closing, |state| {
                !state.in_use() && state != State::InitWait
            }),
            (State::Closed, |state| {
                !state.in_use() && state != State::Closing
            }),
        ];
        for (state, done) in steps {
            if let Err(cause) = self.switch(state, None).await? {
                return Ok(Some(cause));
            }
            let answer = pin!(self.parted(sight, done));
            let limit = self.limits.answer;
            match self.services.timers.timeout(limit, answer).await {
                Ok(parted) => {
                    if let Err(cause) = parted? {
                        return Ok(Some(cause));
                    }
                }
                Err(_) => warn!(
                    "{}: no answer of the backend to state {}",
                    self.path.as_str(),
                    state.text()
                ),
            }
        }
        Ok(None)
    }

    /// Waits until the backend's state suits while the device closes: whoever wants that, and which backend is the next, is of no
    /// interest then.
    async fn parted(&self, sight: &Sight<'_, 'a>, done: Done) -> Result<Outcome<()>> {
        loop {
            match self.look(sight).await? {
                (Some(cause @ (Cause::Resumed | Cause::Removed)), _) => return Ok(Err(cause)),
                (_, Some(state)) if done(state) => return Ok(Ok(())),
                _ => {}
            }
            sight.news().await?;
        }
    }

    /// Waits until `judge` has an answer to the backend's state, or anything else ends the wait.
    async fn until<T>(
        &self,
        sight: &Sight<'_, 'a>,
        judge: impl Fn(State) -> Option<Outcome<T>>,
    ) -> Result<Outcome<T>> {
        loop {
            match self.look(sight).await? {
                (Some(cause), _) => return Ok(Err(cause)),
                (None, Some(state)) => {
                    if let Some(outcome) = judge(state) {
                        return Ok(outcome);
                    }
                }
                (None, None) => {}
            }
            let news = pin!(sight.news());
            match select2(news, pin!(self.services.closing.wait())).await {
                Either2::First(news) => news?,
                Either2::Second(()) => {}
            }
        }
    }

    /// What the keys say now: what ends a wait whatever the backend's state is, and that state unless it is none.
    async fn look(&self, sight: &Sight<'_, 'a>) -> Result<(Option<Cause>, Option<State>)> {
        let Services { store, suspend, .. } = self.services;
        let now = Backend::look_up(store, self.path.as_str()).await?;
        let state = match sight.backend.read("state").await? {
            Some(text) => State::parse(&text),
            None => Some(State::Unknown),
        };
        // Last: what was read above may be the new host's.
        let cause = match now {
            _ if suspend.count() != sight.count => Some(Cause::Resumed),
            None => Some(Cause::Removed),
            Some(_) if self.services.closing.is_set() => Some(Cause::Closing),
            Some(now) if !now.is(&sight.backend) => Some(Cause::Moved),
            Some(_) => None,
        };
        Ok((cause, state))
    }

    /// Writes a state, and `keys` with it, unless the toolstack has taken the key away.
    async fn switch(&self, state: State, keys: Option<&Keys>) -> Result<Outcome<()>> {
        let path = self.state_path.as_str();
        let written = self.services.store.transaction(|t| async move {
            t.read(path).await?;
            if let Some(keys) = keys {
                for (path, value) in keys.iter() {
                    t.write(path, value).await?;
                }
            }
            t.write(path, state.text()).await?;
            Ok((t, ()))
        });
        match written.await {
            Ok(()) => Ok(Ok(())),
            Err(Status::OBJECT_NAME_NOT_FOUND) => Ok(Err(Cause::Removed)),
            Err(status) => Err(status),
        }
    }
}

impl Sight<'_, '_> {
    /// Waits until something may have changed.
    async fn news(&self) -> Result {
        let theirs = pin!(self.theirs.changed());
        let own = pin!(self.own.changed());
        let resumed = pin!(self.resumes.next());
        match select3(theirs, own, resumed).await {
            Either3::First(changed) | Either3::Second(changed) => changed,
            Either3::Third(_) => Ok(()),
        }
    }
}
