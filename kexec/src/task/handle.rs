// SPDX-License-Identifier: BSD-2-Clause
//! [`JoinHandle`] and [`SpawnError`].
#![expect(unsafe_code, reason = "takes the output out of a type-erased block")]

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use super::header::{CANCELLED, COMPLETE, Header, JOIN, JOINER, OUTPUT};
use crate::Status;
use crate::atomic::Ordering;

/// The task was aborted, or its group or executor stopped, before it finished.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl From<Aborted> for Status {
    fn from(_: Aborted) -> Self {
        Self::CANCELLED
    }
}

/// A spawn that failed gives the future back.
///
/// # IRQL
/// Any.
pub struct SpawnError<F> {
    /// The future, never polled.
    pub future: F,
    /// `INSUFFICIENT_RESOURCES`, or `DELETE_PENDING` from a group or executor that is stopping.
    pub status: Status,
}

impl<F> From<SpawnError<F>> for Status {
    fn from(error: SpawnError<F>) -> Self {
        error.status
    }
}

impl<F> fmt::Debug for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpawnError({})", self.status)
    }
}

/// The owner of a task: a future of its output.
///
/// Dropping the handle **aborts** the task; [`Self::detach`] lets it run on. Cancel-safe: a dropped wait loses nothing but the
/// task, as said. Ready with [`Aborted`] when the future was dropped before it finished.
///
/// # IRQL
/// Poll and abort: any that the output's drop allows. Drop: <= DISPATCH_LEVEL (it may drop the output).
#[must_use = "dropping a JoinHandle aborts the task; use detach()"]
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    /// The output was taken.
    taken: bool,
    output: PhantomData<T>,
}

// SAFETY: a counted reference to a block whose output is taken by one owner.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: `&self` methods touch atomics only.
unsafe impl<T: Send> Sync for JoinHandle<T> {}
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// `task` is a live task with output `T`; the handle takes over one reference and the JOIN flag.
    pub(crate) unsafe fn new(task: NonNull<Header>) -> Self {
        Self {
            task,
            taken: false,
            output: PhantomData,
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle holds a reference.
        unsafe { self.task.as_ref() }
    }

    /// Has the future dropped on its own executor within one drain, unless it finishes before.
    ///
    /// # IRQL
    /// Any.
    pub fn abort(&self) {
        // SAFETY: the handle holds a reference.
        unsafe { Header::schedule(self.task, CANCELLED) };
    }

    /// Lets the task run on without an owner; its output will be dropped.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn detach(self) {
        let this = core::mem::ManuallyDrop::new(self);
        this.close();
    }

    /// Whether the future is gone.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.header().state.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Ends the handle.
    fn close(&self) {
        let header = self.header();
        let mut state = header.state.load(Ordering::Acquire);
        if state & COMPLETE == 0 {
            // Either the runner sees that JOIN is gone, or we see COMPLETE.
            state = header.state.fetch_and(!JOIN, Ordering::AcqRel);
        }
        if state & COMPLETE != 0 && state & OUTPUT != 0 && !self.taken {
            // SAFETY: complete while JOIN was set, so the output is ours, and it is still there.
            unsafe { (header.vtable.drop_output)(self.task) };
        }
        // SAFETY: the handle's reference; both callers end the handle.
        unsafe { Header::release(self.task) };
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.header();
        let mut state = header.state.load(Ordering::Acquire);
        if state & COMPLETE == 0 {
            header.join.register(context.waker());
            state = if state & JOINER == 0 {
                // Either the runner sees that there is a waker, or we see COMPLETE.
                header.state.fetch_or(JOINER, Ordering::AcqRel)
            } else {
                header.state.load(Ordering::Acquire)
            };
            if state & COMPLETE == 0 {
                return Poll::Pending;
            }
        }
        if state & OUTPUT == 0 || self.taken {
            return Poll::Ready(Err(Aborted));
        }
        // SAFETY: a live block.
        let output = unsafe { (header.vtable.output)(self.task) };
        self.taken = true;
        // SAFETY: the output was there, and `taken` makes this the only read.
        Poll::Ready(Ok(unsafe { output.cast::<T>().read() }))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if !self.is_finished() {
            self.abort();
        }
        self.close();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.header().vtable.info.name())
    }
}
