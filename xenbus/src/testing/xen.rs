// SPDX-License-Identifier: BSD-2-Clause
//! A hypervisor in miniature, for host tests: ports, both event ABIs, parameters, interrupts.
//!
//! Behaviour is written from the facts about Xen 4.17: who sets and clears which bit, what is raised
//! on which vCPU, which calls fail. Interrupts are not delivered by themselves: [`FakeXen::run`] does
//! it, on the test's thread, so that every interleaving is the test's choice.

mod machine;

use core::array::from_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use kexec::{Result, Status};

use crate::evtchn::host::{EventPage, Hypervisor, SharedInfo, VcpuInfo, WORDS};

const PENDING: u32 = 1 << 31;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;
const LINK: u32 = (1 << 17) - 1;

/// A page of the fake machine.
#[derive(Clone)]
pub struct FakePage {
    gfn: u64,
    words: Arc<[AtomicU32; WORDS]>,
}

impl EventPage for FakePage {
    fn gfn(&self) -> u64 {
        self.gfn
    }
    fn words(&self) -> &[AtomicU32; WORDS] {
        &self.words
    }
}

/// What a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Waits for a domain to bind.
    Unbound(u16),
    /// Bound to a domain's port.
    InterDomain(u16, u32),
    /// A virtual interrupt.
    Virq(u32),
}

#[derive(Clone, Copy, Debug)]
struct Port {
    kind: PortKind,
    vcpu: u32,
    priority: usize,
}

impl Port {
    fn new(kind: PortKind, vcpu: u32) -> Self {
        Self {
            kind,
            vcpu,
            priority: 7,
        }
    }
}

/// What can be made to fail, and what the machine looks like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Processors; vCPU numbers are twice the processor's.
    pub cpus: u32,
    /// `init_control` works for this many vCPUs, then says `NOT_IMPLEMENTED`.
    pub fifo_cpus: u32,
    /// `set_upcall_vector` works.
    pub vectors: bool,
    /// The platform device has a line interrupt.
    pub line: Option<u32>,
    /// `expand_array` works.
    pub expand: bool,
    /// `reset` works.
    pub reset: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpus: 2,
            fifo_cpus: u32::MAX,
            vectors: true,
            line: Some(28),
            expand: true,
            reset: true,
        }
    }
}

/// State behind the lock.
#[derive(Default)]
pub struct State {
    ports: BTreeMap<u32, Port>,
    /// Parameters.
    pub params: BTreeMap<u32, u64>,
    /// Pages that were allocated so far.
    pub pages: Vec<FakePage>,
    control: BTreeMap<u32, FakePage>,
    array: Vec<FakePage>,
    vectors: BTreeMap<u32, u8>,
    interrupts: BTreeSet<u32>,
    dpcs: VecDeque<u32>,
    /// Ports that were sent to.
    pub sent: Vec<u32>,
    /// Ports closed by hypercall.
    pub closed: Vec<u32>,
    /// Routines called: routine, argument.
    pub called: Vec<(usize, usize)>,
    /// `init_control` works for this many vCPUs of this domain only.
    pub fifo_limit: Option<usize>,
    /// Every hypercall by name, in order.
    pub calls: Vec<&'static str>,
    /// The IRQL of each.
    pub levels: Vec<u8>,
}

impl State {
    fn call(&mut self, name: &'static str) {
        self.calls.push(name);
        self.levels.push(kexec::irql::current());
    }
}

/// What a test does when a parameter is set: index and value.
pub type ParamHook = std::boxed::Box<dyn FnMut(u32, u64) + Send>;
/// What a test does in a service routine.
pub type CallHook = std::boxed::Box<dyn FnMut() + Send>;

/// The machine and its hypervisor.
pub struct FakeXen {
    options: Options,
    info: SharedInfo,
    state: Mutex<State>,
    current: AtomicU32,
    /// Called by `set_param`, before anything else.
    pub on_param: Mutex<Option<ParamHook>>,
    /// Called once, by the next service routine.
    pub on_call: Mutex<Option<CallHook>>,
    /// One for each processor: held while its interrupt is being served.
    interrupt_locks: Vec<Mutex<()>>,
}

impl FakeXen {
    /// A machine.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        let word = core::sync::atomic::AtomicU64::new;
        let mut state = State::default();
        state.params.insert(0, 0);
        let interrupt_locks = (0..=options.cpus).map(|_| Mutex::new(())).collect();
        Arc::new(Self {
            interrupt_locks,
            options,
            info: SharedInfo {
                vcpu: from_fn(|_| VcpuInfo::default()),
                pending: from_fn(|_| word(0)),
                mask: from_fn(|_| word(0)),
                wallclock: from_fn(|_| AtomicU32::new(0)),
            },
            state: Mutex::new(state),
            current: AtomicU32::new(0),
            on_param: Mutex::new(None),
            on_call: Mutex::new(None),
        })
    }

    /// The state, for tests to look at and to script.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked inside")
    }

    fn cpu_of(vcpu: u32) -> u32 {
        vcpu / 2
    }

    /// Gives the domain a port, as the toolstack does.
    pub fn add_port(&self, port: u32, kind: PortKind) {
        self.state().ports.insert(port, Port::new(kind, 0));
    }

    /// Gives a port a priority: 0 highest, 15 lowest.
    pub fn set_priority(&self, port: u32, priority: usize) {
        if let Some(port) = self.state().ports.get_mut(&port) {
            port.priority = priority;
        }
    }

    /// The domain is saved and restored as a new one, which keeps its memory and its toolstack's parameters but nothing that the
    /// hypervisor knew; the shared info page is a fresh one.
    pub fn new_domain(&self) {
        let mut state = self.state();
        state.ports.clear();
        state.control.clear();
        state.array.clear();
        state.vectors.clear();
        state.interrupts.clear();
        state.params.insert(0, 0);
        for word in self.info.pending.iter().chain(&self.info.mask) {
            word.store(0, Ordering::SeqCst);
        }
        for vcpu in &self.info.vcpu {
            vcpu.upcall_pending.store(0, Ordering::SeqCst);
            vcpu.pending_sel.store(0, Ordering::SeqCst);
        }
    }

    fn word(state: &State, port: u32) -> Option<&AtomicU32> {
        let page = state.array.get(port as usize / WORDS)?;
        page.words().get(port as usize % WORDS)
    }

    /// An event arrives on a port.
    pub fn raise(&self, port: u32) {
        let mut state = self.state();
        self.raise_locked(&mut state, port);
    }

    fn raise_locked(&self, state: &mut State, port: u32) {
        let Some(vcpu) = state.ports.get(&port).map(|p| p.vcpu) else {
            return;
        };
        if state.control.is_empty() {
            let (word, bit) = (port as usize / 64, 1u64 << (port % 64));
            let was = self.info.pending[word].fetch_or(bit, Ordering::SeqCst);
            let masked = self.info.mask[word].load(Ordering::SeqCst) & bit != 0;
            if was & bit == 0 && !masked {
                self.select(state, vcpu, word);
            }
            return;
        }
        let Some(word) = Self::word(state, port) else {
            return;
        };
        let old = word.fetch_or(PENDING, Ordering::SeqCst);
        if old & (MASKED | LINKED) == 0 {
            Self::link(state, port, vcpu);
            self.ready(state, port, vcpu);
        }
    }

    fn select(&self, state: &mut State, vcpu: u32, word: usize) {
        let info = &self.info.vcpu[Self::cpu_of(vcpu) as usize];
        let sel = info.pending_sel.fetch_or(1 << word, Ordering::SeqCst);
        if sel & (1 << word) == 0 {
            self.inject(state, vcpu);
        }
    }

    fn priority(state: &State, port: u32) -> usize {
        state.ports.get(&port).map_or(7, |port| port.priority)
    }

    /// Appends to the queue of its priority.
    fn link(state: &State, port: u32, vcpu: u32) {
        let Some(word) = Self::word(state, port) else {
            return;
        };
        word.fetch_or(LINKED, Ordering::SeqCst);
        let Some(control) = state.control.get(&vcpu) else {
            return;
        };
        let head = &control.words()[2 + Self::priority(state, port)];
        // Find the tail by walking, as a real hypervisor remembers it.
        let mut tail = head.load(Ordering::SeqCst);
        let linked = |port: u32| {
            Self::word(state, port).is_some_and(|w| w.load(Ordering::SeqCst) & LINKED != 0)
        };
        if tail == 0 || tail == port || !linked(tail) {
            head.store(port, Ordering::SeqCst);
            return;
        }
        // Bounded: a test may have scribbled a circle.
        for _ in 0..WORDS * 4 {
            let Some(word) = Self::word(state, tail) else {
                return;
            };
            let next = word.load(Ordering::SeqCst) & LINK;
            if next == 0 {
                word.fetch_or(port, Ordering::SeqCst);
                return;
            }
            tail = next;
        }
    }

    fn ready(&self, state: &mut State, port: u32, vcpu: u32) {
        let bit = 1 << Self::priority(state, port);
        let Some(control) = state.control.get(&vcpu) else {
            return;
        };
        let old = control.words()[0].fetch_or(bit, Ordering::SeqCst);
        if old & bit == 0 {
            self.inject(state, vcpu);
        }
    }

    fn inject(&self, state: &mut State, vcpu: u32) {
        let cpu = Self::cpu_of(vcpu);
        let info = &self.info.vcpu[cpu as usize];
        if info.upcall_pending.swap(1, Ordering::SeqCst) == 0
            && (state.vectors.contains_key(&vcpu) || (cpu == 0 && self.line_is_set(state)))
        {
            state.interrupts.insert(cpu);
        }
    }

    fn line_is_set(&self, state: &State) -> bool {
        {
            // Type 0 with a GSI; other types that are used here mean none.
            let via = state.params.get(&0).copied().unwrap_or(0);
            via != 0 && via >> 56 == 0
        }
    }

    /// Writes a word that makes no sense: of a FIFO control block, of the event array, or of the
    /// 2-level words.
    pub fn scribble(&self, page: usize, word: u32, value: u32) {
        let state = self.state();
        let index = word as usize;
        match page % 3 {
            0 => {
                if let Some(control) = state.control.get(&0) {
                    control.words()[index % 18].store(value, Ordering::SeqCst);
                }
            }
            1 => {
                if let Some(word) = Self::word(&state, word % 2048) {
                    word.store(value, Ordering::SeqCst);
                }
            }
            _ => {
                let value = u64::from(value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                self.info.pending[index % 64].store(value, Ordering::SeqCst);
                self.info.vcpu[0]
                    .pending_sel
                    .store(!value, Ordering::SeqCst);
            }
        }
        self.info.vcpu[0].upcall_pending.store(1, Ordering::SeqCst);
    }

    /// Whether an interrupt or DPC waits.
    pub fn is_quiet(&self) -> bool {
        let state = self.state();
        state.interrupts.is_empty() && state.dpcs.is_empty()
    }

    /// Pages that the driver holds.
    #[must_use]
    pub fn pages_in_use(&self) -> usize {
        let state = self.state();
        let known = |page: &FakePage| {
            let told = state.control.values().chain(&state.array);
            1 + told.filter(|p| p.gfn == page.gfn).count()
        };
        let held = |page: &&FakePage| Arc::strong_count(&page.words) > known(page);
        state.pages.iter().filter(held).count()
    }

    /// Takes the next interrupt or DPC: the processor and whether it is an interrupt.
    pub fn next(&self) -> Option<(u32, bool)> {
        let mut state = self.state();
        let taken = match state.interrupts.pop_first() {
            Some(cpu) => (cpu, true),
            None => (state.dpcs.pop_front()?, false),
        };
        self.current.store(taken.0, Ordering::SeqCst);
        Some(taken)
    }

    /// Delivers interrupts and runs DPCs until it is quiet.
    pub fn run(&self, service: &crate::evtchn::Evtchn<Arc<Self>>) {
        for _ in 0..100_000 {
            match self.next() {
                Some((cpu, true)) => {
                    self.serve(cpu, &mut || {
                        service.isr(cpu);
                    });
                }
                Some((cpu, false)) => service.dpc(cpu),
                None => {
                    self.set_current(0);
                    return;
                }
            }
        }
        panic!("an interrupt storm that never ends");
    }

    /// Runs `f` as a processor serves an interrupt: one at a time, and no DPC in between.
    fn serve(&self, cpu: u32, f: &mut dyn FnMut()) {
        let _raised = kexec::irql::Raised::to_high();
        let _lock = self.interrupt_locks[cpu as usize].lock();
        f();
    }

    /// The processor that the test's code runs on.
    pub fn set_current(&self, cpu: u32) {
        self.current.store(cpu, Ordering::SeqCst);
    }

    fn new_port(state: &mut State, kind: PortKind, vcpu: u32) -> u32 {
        let port = (1..).find(|p| !state.ports.contains_key(p)).expect("ports");
        state.ports.insert(port, Port::new(kind, vcpu));
        port
    }
}

impl Hypervisor for Arc<FakeXen> {
    fn alloc_unbound(&self, remote_domain: u16) -> Result<u32> {
        let mut state = self.state();
        state.call("alloc_unbound");
        Ok(FakeXen::new_port(
            &mut state,
            PortKind::Unbound(remote_domain),
            0,
        ))
    }
    fn bind_interdomain(&self, remote_domain: u16, remote_port: u32) -> Result<u32> {
        let mut state = self.state();
        state.call("bind_interdomain");
        let kind = PortKind::InterDomain(remote_domain, remote_port);
        let port = FakeXen::new_port(&mut state, kind, 0);
        // A new inter-domain port is made pending at once.
        self.raise_locked(&mut state, port);
        Ok(port)
    }
    fn bind_virq(&self, virq: u32, vcpu: u32) -> Result<u32> {
        let mut state = self.state();
        state.call("bind_virq");
        let kind = PortKind::Virq(virq);
        if state
            .ports
            .values()
            .any(|p| p.kind == kind && p.vcpu == vcpu)
        {
            return Err(Status::DUPLICATE_OBJECTID);
        }
        Ok(FakeXen::new_port(&mut state, kind, vcpu))
    }
    fn bind_vcpu(&self, port: u32, vcpu: u32) -> Result {
        let mut state = self.state();
        state.call("bind_vcpu");
        match state.ports.get_mut(&port) {
            Some(Port {
                kind: PortKind::Virq(_),
                ..
            })
            | None => Err(Status::INVALID_PARAMETER),
            Some(port) => {
                port.vcpu = vcpu;
                Ok(())
            }
        }
    }
    fn close(&self, port: u32) -> Result {
        let mut state = self.state();
        state.call("close");
        state.closed.push(port);
        state
            .ports
            .remove(&port)
            .map(|_| ())
            .ok_or(Status::INVALID_PARAMETER)
    }
    fn send(&self, port: u32) -> Result {
        self.state().sent.push(port);
        Ok(())
    }
    fn unmask(&self, port: u32) -> Result {
        let mut state = self.state();
        state.call("unmask");
        let vcpu = state
            .ports
            .get(&port)
            .map(|p| p.vcpu)
            .ok_or(Status::INVALID_PARAMETER)?;
        if state.control.is_empty() {
            let (word, bit) = (port as usize / 64, 1u64 << (port % 64));
            let was = self.info.mask[word].fetch_and(!bit, Ordering::SeqCst);
            // Acts only if it finds the port masked.
            if was & bit != 0 && self.info.pending[word].load(Ordering::SeqCst) & bit != 0 {
                self.select(&mut state, vcpu, word);
            }
            return Ok(());
        }
        let pending = FakeXen::word(&state, port).is_some_and(|word| {
            let old = word.fetch_and(!MASKED, Ordering::SeqCst);
            old & PENDING != 0 && old & LINKED == 0
        });
        if pending {
            FakeXen::link(&state, port, vcpu);
            self.ready(&mut state, port, vcpu);
        }
        Ok(())
    }
    fn query_interdomain(&self, port: u32) -> Result<(u16, u32)> {
        match self.state().ports.get(&port).map(|p| p.kind) {
            Some(PortKind::InterDomain(domain, port)) => Ok((domain, port)),
            _ => Err(Status::INVALID_PARAMETER),
        }
    }
    fn reset(&self) -> Result {
        let mut state = self.state();
        state.call("reset");
        if !self.options.reset {
            return Err(Status::DEVICE_BUSY);
        }
        state.ports.clear();
        state.control.clear();
        state.array.clear();
        // The next port is another number than before.
        state.ports.insert(1, Port::new(PortKind::Virq(99), 0));
        Ok(())
    }
    fn init_control(&self, gfn: u64, vcpu: u32) -> Result {
        let mut state = self.state();
        state.call("init_control");
        let limit = state.fifo_limit.unwrap_or(self.options.fifo_cpus as usize);
        if state.control.len() >= limit {
            return Err(Status::NOT_IMPLEMENTED);
        }
        let page = state.pages.iter().find(|p| p.gfn == gfn).cloned();
        state
            .control
            .insert(vcpu, page.ok_or(Status::INVALID_PARAMETER)?);
        Ok(())
    }
    fn expand_array(&self, gfn: u64) -> Result {
        let mut state = self.state();
        state.call("expand_array");
        if !self.options.expand {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        let page = state.pages.iter().find(|p| p.gfn == gfn).cloned();
        state.array.push(page.ok_or(Status::INVALID_PARAMETER)?);
        Ok(())
    }
    fn set_upcall_vector(&self, vcpu: u32, vector: u8) -> Result {
        let mut state = self.state();
        state.call("set_upcall_vector");
        if !self.options.vectors {
            return Err(Status::NOT_IMPLEMENTED);
        }
        state.vectors.insert(vcpu, vector);
        // Setting it injects one upcall.
        state.interrupts.insert(FakeXen::cpu_of(vcpu));
        Ok(())
    }
    fn get_param(&self, index: u32) -> Result<u64> {
        self.state()
            .params
            .get(&index)
            .copied()
            .ok_or(Status::INVALID_PARAMETER)
    }
    fn set_param(&self, index: u32, value: u64) -> Result {
        if let Some(hook) = &mut *self.on_param.lock().expect("no test panicked inside") {
            hook(index, value);
        }
        let mut state = self.state();
        state.params.insert(index, value);
        if index == 0
            && value != 0
            && value >> 56 == 0
            && self.info.vcpu[0].upcall_pending.load(Ordering::SeqCst) != 0
        {
            state.interrupts.insert(0);
        }
        Ok(())
    }
    fn shared_info(&self) -> &SharedInfo {
        &self.info
    }
    fn vcpu_id(&self, cpu: u32) -> Result<u32> {
        if cpu < self.options.cpus {
            Ok(cpu * 2)
        } else {
            Err(Status::NOT_SUPPORTED)
        }
    }
    fn vcpu_info(&self, cpu: u32) -> Option<&VcpuInfo> {
        self.info
            .vcpu
            .get(cpu as usize)
            .filter(|_| cpu < self.options.cpus)
    }
}
