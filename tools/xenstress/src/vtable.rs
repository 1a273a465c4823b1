// SPDX-License-Identifier: BSD-2-Clause
//! Place `vtable`: the published store, version 2, whose calls block a thread. Its futures are ready when they are first polled.

use core::ffi::CStr;

use kexec::nt::{Arc, Vec};
use kexec::{Duration, Passive, Status};
use workload::{Client, Error, Names, Result, Transaction, Watch};
use xenbus_interface::client::published::{Buffer, Open, Watching, Wired};

use crate::asynchronous::permission;
use crate::job::TAG;
use crate::place::error;

/// The client; one for each thread.
pub(crate) struct Vtable<'a> {
    pub(crate) wired: &'a Arc<Wired>,
}

/// Longest text that needs no pool block; `StorePrintf` writes no longer ones.
const SHORT: usize = 1024;

/// Runs `call` with `bytes` as a string.
#[inline(never)]
fn terminated<T>(bytes: &[u8], call: impl FnOnce(&CStr) -> kexec::Result<T>) -> Result<T> {
    let mut short = [0; SHORT];
    let mut long = Vec::new(TAG);
    let text = match short.get_mut(..=bytes.len()) {
        Some(room) => {
            room[..bytes.len()].copy_from_slice(bytes);
            &*room
        }
        None => {
            let filled = long
                .try_extend_from_slice(bytes)
                .and_then(|()| long.try_push(0));
            filled.map_err(error)?;
            &*long
        }
    };
    let text = CStr::from_bytes_with_nul(text).map_err(|_| Error::Invalid)?;
    call(text).map_err(error)
}

fn write(wired: &Wired, open: Option<&Open>, path: &str, value: &[u8]) -> Result {
    if value.len() >= SHORT {
        return Err(Error::Unsupported);
    }
    let put = |path: &CStr| {
        // The inner one's refusal is a status already.
        let mut status = Ok(());
        let put = terminated(value, |value| {
            status = wired.store().write(open, path, value);
            Ok(())
        });
        put.map_err(|_| Status::INVALID_PARAMETER)?;
        status
    };
    terminated(path.as_bytes(), put)
}

/// What was read.
pub(crate) struct Text<'a>(Buffer<'a>);

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Names of children; `None`: there are none.
pub(crate) struct Children<'a>(Option<Buffer<'a>>);

impl Names for Children<'_> {
    fn each(&self, mut each: impl FnMut(&str)) {
        let bytes = self.0.as_ref().map_or(&[][..], Buffer::bytes);
        for name in bytes
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            each(core::str::from_utf8(name).unwrap_or("?"));
        }
    }
}

impl<'a> Client for Vtable<'a> {
    type Value = Text<'a>;
    type Names = Children<'a>;
    type Transaction = Opened<'a>;
    type Watch = Watched;

    async fn read(&self, path: &str) -> Result<Text<'a>> {
        let store = self.wired.store();
        terminated(path.as_bytes(), |path| store.read(None, path).map(Text))
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        write(self.wired, None, path, value)
    }

    async fn remove(&self, path: &str) -> Result {
        let store = self.wired.store();
        terminated(path.as_bytes(), |path| store.remove(None, path))
    }

    async fn directory(&self, path: &str) -> Result<Children<'a>> {
        let store = self.wired.store();
        terminated(path.as_bytes(), |path| match store.directory(None, path) {
            Ok(names) => Ok(Children(Some(names))),
            Err(Status::OBJECT_PATH_NOT_FOUND) => Ok(Children(None)),
            Err(status) => Err(status),
        })
    }

    async fn set_permissions(&self, path: &str, owner: u16, readable: bool) -> Result {
        let store = self.wired.store();
        let entries = [permission(owner, readable)];
        terminated(path.as_bytes(), |path| {
            store.set_permissions(path, &entries)
        })
    }

    async fn begin(&self) -> Result<Opened<'a>> {
        let open = Open::start(self.wired.clone()).map_err(error)?;
        Ok(Opened {
            wired: self.wired,
            open,
        })
    }

    async fn watch(&self, path: &str) -> Result<Watched> {
        // An event of its own.
        let wired = self.wired.another(TAG).map_err(error)?;
        let wired = Arc::try_new(TAG, wired).map_err(error)?;
        let watching = terminated(path.as_bytes(), |path| Watching::add(wired.clone(), path))?;
        Ok(Watched {
            _watching: watching,
            wired,
        })
    }
}

/// A transaction.
pub(crate) struct Opened<'a> {
    wired: &'a Arc<Wired>,
    open: Open,
}

impl<'a> Transaction for Opened<'a> {
    type Value = Text<'a>;

    async fn read(&self, path: &str) -> Result<Text<'a>> {
        let store = self.wired.store();
        terminated(path.as_bytes(), |path| {
            store.read(Some(&self.open), path).map(Text)
        })
    }

    async fn write(&self, path: &str, value: &[u8]) -> Result {
        write(self.wired, Some(&self.open), path, value)
    }

    async fn end(self, commit: bool) -> Result {
        self.open.end(commit).map_err(error)
    }
}

/// A watch with an event of its own.
pub(crate) struct Watched {
    // Ends before its event goes.
    _watching: Watching,
    wired: Arc<Wired>,
}

impl Watch for Watched {
    async fn changed(&mut self, limit: u32) -> Result {
        let limit = Duration::from_millis(limit.into());
        let changed = self.wired.changed().wait(Passive::assert(), Some(limit));
        changed.map_err(|_| Error::TimedOut)
    }
}
