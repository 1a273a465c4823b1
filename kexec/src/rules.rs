// SPDX-License-Identifier: BSD-2-Clause
//! What must not compile. Each case stands beside a twin that does and differs in the one thing that is wrong, so that it fails
//! for that reason.

/// A spin lock's guard in a task, dropped before the wait:
/// ```
/// use kexec::{DpcExecutor, nt::SpinLock, task};
/// fn serve(executor: &DpcExecutor) -> kexec::Result {
///     let lock = SpinLock::new(0_u32);
///     let wait = async move {
///         { let mut guard = lock.lock(); *guard += 1; }
///         core::future::ready(()).await;
///     };
///     executor.spawn(task!("serve"), wait)?.detach();
///     Ok(())
/// }
/// ```
/// and across it: the guard is not `Send`.
/// ```compile_fail,E0277
/// use kexec::{DpcExecutor, nt::SpinLock, task};
/// fn serve(executor: &DpcExecutor) -> kexec::Result {
///     let lock = SpinLock::new(0_u32);
///     let wait = async move {
///         let mut guard = lock.lock(); *guard += 1;
///         core::future::ready(()).await;
///     };
///     executor.spawn(task!("serve"), wait)?.detach();
///     Ok(())
/// }
/// ```
/// The same with a raised IRQL: it is lowered before the wait,
/// ```
/// use kexec::{DpcExecutor, irql::Raised, task};
/// fn serve(executor: &DpcExecutor) -> kexec::Result {
///     let wait = async { { let raised = Raised::to_dispatch(); drop(raised) } core::future::ready(()).await };
///     executor.spawn(task!("serve"), wait)?.detach();
///     Ok(())
/// }
/// ```
/// or it does not compile.
/// ```compile_fail,E0277
/// use kexec::{DpcExecutor, irql::Raised, task};
/// fn serve(executor: &DpcExecutor) -> kexec::Result {
///     let wait = async { let raised = Raised::to_dispatch(); core::future::ready(()).await; drop(raised) };
///     executor.spawn(task!("serve"), wait)?.detach();
///     Ok(())
/// }
/// ```
mod guards_and_waits {}

/// Blocking takes a token of the level. A thread that has one blocks:
/// ```
/// use kexec::{Passive, Result, block_on};
/// fn wait(level: Passive) -> Result {
///     block_on(level, async {})
/// }
/// ```
/// A task cannot be given one, because tokens are not `Send`: what may block is not spawned on a DPC executor,
/// ```compile_fail,E0277
/// use kexec::{DpcExecutor, Passive, Result, block_on, task};
/// fn spawn(executor: &DpcExecutor, level: Passive) -> Result {
///     executor.spawn(task!("blocks"), async move { block_on(level, async {}) })?.detach();
///     Ok(())
/// }
/// ```
/// and without the token it is:
/// ```
/// use kexec::{DpcExecutor, Passive, Result, task};
/// fn spawn(executor: &DpcExecutor, level: Passive) -> Result {
///     executor.spawn(task!("waits"), async move {})?.detach();
///     Ok(())
/// }
/// ```
/// Nor can it make one: at DISPATCH_LEVEL `here` says `None`, and the fields are private, so
/// ```compile_fail,E0423
/// fn forge() -> kexec::Passive {
///     kexec::Passive(core::marker::PhantomData)
/// }
/// ```
/// does not compile, while this does:
/// ```
/// fn ask() -> Option<kexec::Passive> {
///     kexec::Passive::here()
/// }
/// ```
/// A service whose tasks may touch paged memory asks for the executor by its type,
/// ```
/// use kexec::{PassiveExecutor, Result, task};
/// fn load_settings(executor: &PassiveExecutor) -> Result { executor.spawn(task!("load"), async {})?.detach(); Ok(()) }
/// fn start(executor: &PassiveExecutor) -> Result { load_settings(executor) }
/// ```
/// and a DPC executor is not one.
/// ```compile_fail,E0308
/// use kexec::{DpcExecutor, PassiveExecutor, Result, task};
/// fn load_settings(executor: &PassiveExecutor) -> Result { executor.spawn(task!("load"), async {})?.detach(); Ok(()) }
/// fn start(executor: &DpcExecutor) -> Result { load_settings(executor) }
/// ```
mod levels {}
