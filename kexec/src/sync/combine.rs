// SPDX-License-Identifier: BSD-2-Clause
//! Waiting for the first or for all of a few futures, without allocation.
//!
//! Select drops the futures that lost: use cancel-safe ones. The earlier one wins when several are ready.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

/// The future of two that was ready first.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either2<A, B> {
    /// The first one's output.
    First(A),
    /// The second one's output.
    Second(B),
}

/// The future of three that was ready first.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either3<A, B, C> {
    /// The first one's output.
    First(A),
    /// The second one's output.
    Second(B),
    /// The third one's output.
    Third(C),
}

pin_project! {
    struct Select2<A, B> {
        #[pin]
        a: A,
        #[pin]
        b: B,
    }
}

impl<A: Future, B: Future> Future for Select2<A, B> {
    type Output = Either2<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.a.poll(cx) {
            return Poll::Ready(Either2::First(output));
        }
        this.b.poll(cx).map(Either2::Second)
    }
}

/// The first of two.
///
/// # IRQL
/// That of the task, and of the futures.
pub fn select2<A: Future, B: Future>(
    a: A,
    b: B,
) -> impl Future<Output = Either2<A::Output, B::Output>> {
    Select2 { a, b }
}

/// The first of three.
///
/// # IRQL
/// That of the task, and of the futures.
pub async fn select3<A: Future, B: Future, C: Future>(
    a: A,
    b: B,
    c: C,
) -> Either3<A::Output, B::Output, C::Output> {
    match select2(a, select2(b, c)).await {
        Either2::First(output) => Either3::First(output),
        Either2::Second(Either2::First(output)) => Either3::Second(output),
        Either2::Second(Either2::Second(output)) => Either3::Third(output),
    }
}

pin_project! {
    struct Join2<A: Future, B: Future> {
        #[pin]
        a: A,
        #[pin]
        b: B,
        first: Option<A::Output>,
        second: Option<B::Output>,
    }
}

impl<A: Future, B: Future> Future for Join2<A, B> {
    type Output = (A::Output, B::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.first.is_none()
            && let Poll::Ready(output) = this.a.poll(cx)
        {
            *this.first = Some(output);
        }
        if this.second.is_none()
            && let Poll::Ready(output) = this.b.poll(cx)
        {
            *this.second = Some(output);
        }
        match (this.first.take(), this.second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                *this.first = first;
                *this.second = second;
                Poll::Pending
            }
        }
    }
}

/// Both of two, polled side by side.
///
/// # IRQL
/// That of the task, and of the futures.
pub fn join2<A: Future, B: Future>(a: A, b: B) -> impl Future<Output = (A::Output, B::Output)> {
    Join2 {
        a,
        b,
        first: None,
        second: None,
    }
}

/// All of three, polled side by side.
///
/// # IRQL
/// That of the task, and of the futures.
pub async fn join3<A: Future, B: Future, C: Future>(
    a: A,
    b: B,
    c: C,
) -> (A::Output, B::Output, C::Output) {
    let (a, (b, c)) = join2(a, join2(b, c)).await;
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Notify;
    use crate::sync::testing::{counted, poll_once};
    use core::pin::pin;

    #[test]
    fn select_takes_the_first_ready_one() {
        let (a, b) = (Notify::new(), Notify::new());
        let (waker, _) = counted();
        let mut either = pin!(select2(a.notified(), b.notified()));
        assert!(poll_once(either.as_mut(), &waker).is_pending());
        b.notify();
        assert_eq!(
            poll_once(either.as_mut(), &waker),
            Poll::Ready(Either2::Second(()))
        );
    }

    #[test]
    fn join_polls_both_and_keeps_the_early_output() {
        let (a, b) = (Notify::new(), Notify::new());
        let (waker, _) = counted();
        let mut both = pin!(join2(
            async {
                a.notified().await;
                1
            },
            async {
                b.notified().await;
                2
            }
        ));
        assert!(poll_once(both.as_mut(), &waker).is_pending());
        b.notify();
        assert!(poll_once(both.as_mut(), &waker).is_pending());
        a.notify();
        assert_eq!(poll_once(both.as_mut(), &waker), Poll::Ready((1, 2)));
    }
}
