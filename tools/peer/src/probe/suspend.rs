// SPDX-License-Identifier: BSD-2-Clause
//! A guest that suspends and goes on in the same domain.
//!
//! | words | what dom0 does |
//! |---|---|
//! | `suspend cancel` | saves the guest to where there is no room: it is asked to suspend, and goes on |
//! | `suspend await` | waits, in a thread, until the guest has suspended by itself, and lets it go on as after a cancelled save |
//! | `suspend went` | waits for the end of that |

use std::fs::{File, OpenOptions};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Probe, broken};
use crate::args::Args;
use crate::ffi::{Context, Domctl, domctl};
use crate::{Failure, Result};

/// Fails unless the guest suspended and `xl` let it go on.
const CANCEL: &str =
    "mkdir -p /probe-small && mount -t tmpfs -o size=1m tmpfs /probe-small || exit 9
xl save -c \"$1\" /probe-small/f 2>&1; code=$?; umount /probe-small; exit $code";

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    args.end()?;
    match verb.as_str() {
        "cancel" => cancel(probe),
        "await" => {
            if probe.sleeper.is_some() {
                return Err(Failure::new("still waiting"));
            }
            let domain = Domain::open(probe.domid)?;
            let end = Instant::now() + probe.limit;
            probe.sleeper = Some(std::thread::spawn(move || domain.resume(end)));
            Ok(String::new())
        }
        "went" => {
            let sleeper = probe.sleeper.take();
            let sleeper = sleeper.ok_or_else(|| Failure::new("nothing waits"))?;
            let went = sleeper.join();
            went.map_err(|_| Failure::new("the thread panicked"))??;
            Ok(String::new())
        }
        _ => Err(Failure::new(format!("suspend: no verb {verb}"))),
    }
}

fn cancel(probe: &mut Probe) -> Result<String> {
    let name = format!("{}/name", probe.base);
    let name = probe.store.read(0, &name).map_err(broken)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let done = Command::new("sh")
        .args(["-c", CANCEL, "sh", &name])
        .output();
    let done = done.map_err(|error| Failure::new(format!("sh: {error}")))?;
    let said = String::from_utf8_lossy(&done.stdout);
    if done.status.success() {
        return Err(Failure::new("there was room for the guest"));
    }
    if !said.contains("resuming domain") || said.contains("did not respond") {
        return Err(Failure::new(format!(
            "xl save: {}",
            said.replace('\n', "; ")
        )));
    }
    Ok(String::new())
}

/// The guest, as a toolstack holds it.
struct Domain {
    file: File,
    domid: u16,
}

impl Domain {
    fn open(domid: u32) -> Result<Self> {
        let path = "/dev/xen/privcmd";
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            file: file.map_err(|e| Failure::new(format!("open {path}: {e}")))?,
            domid: u16::try_from(domid).map_err(|_| Failure::new("no such domain"))?,
        })
    }

    /// `XEN_DOMCTL_` numbers and structures of Xen 4.17.
    fn call(&self, command: u32, context: Option<&mut Context>) -> Result<Domctl> {
        let mut argument = Domctl {
            command,
            version: 0x15,
            domain: self.domid,
            pad: [0; 3],
            words: [0; 16],
        };
        domctl(&self.file, &mut argument, context)
            .map_err(|e| Failure::new(format!("domctl {command}: {e}")))?;
        Ok(argument)
    }

    /// Waits until the guest has suspended, and has its hypercall return 1: nothing happened.
    fn resume(&self, end: Instant) -> Result {
        const GET_INFO: u32 = 5;
        const SET_CONTEXT: u32 = 12;
        const GET_CONTEXT: u32 = 13;
        const RESUME: u32 = 27;
        /// Shut down, and the reason, in the flags of GET_INFO.
        const SUSPENDED: u64 = 1 << 2 | 2 << 16;
        const MASK: u64 = 1 << 2 | 0xFF << 16;
        /// RAX in a context: behind 512 bytes of FPU state and the flags, the eleventh register.
        const RAX: usize = (512 + 8 + 10 * 8) / 8;
        // Domain, a gap, flags.
        while (self.call(GET_INFO, None)?.words[0] >> 32) & MASK != SUSPENDED {
            if Instant::now() > end {
                return Err(Failure::new("the guest did not suspend"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut context: Box<Context> = Box::new([0; _]);
        self.call(GET_CONTEXT, Some(&mut context))?;
        context[RAX] = 1;
        self.call(SET_CONTEXT, Some(&mut context))?;
        self.call(RESUME, None).map(|_| ())
    }
}
