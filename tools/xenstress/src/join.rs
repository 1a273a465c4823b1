// SPDX-License-Identifier: BSD-2-Clause
//! Several futures in one task.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use kexec::nt::{Box, Vec};

/// Ready when all of them are. Each wake polls all that are not.
pub(crate) struct Join<F>(pub(crate) Vec<Pin<Box<F>>>);

// Each future is pinned in its own block.
impl<F> Unpin for Join<F> {}

impl<F: Future<Output = ()>> Future for Join<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut at = 0;
        while let Some(future) = self.0.get_mut(at) {
            match future.as_mut().poll(context) {
                Poll::Ready(()) => drop(self.0.swap_remove(at)),
                Poll::Pending => at += 1,
            }
        }
        match self.0.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
