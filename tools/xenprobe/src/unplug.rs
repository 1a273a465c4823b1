// SPDX-License-Identifier: BSD-2-Clause
//! Emulated devices, through [`xenbus_interface::client::Unplug`]; at PASSIVE_LEVEL.

use kexec::nt::Key;
use kexec::{Passive, Status, wstr};
use xenbus_interface::client::Emulated;

use crate::probe::{Outcome, Probe, ensure};
use crate::run::parameter;

const KINDS: [Emulated; 2] = [Emulated::Nics, Emulated::Disks];

pub(crate) async fn tests(probe: &Probe) {
    let name = "unplug_requests_are_counted_in_the_registry";
    probe.test(name, || counts(probe)).await;
    let name = "unplug_tells_what_this_boot_was_asked_for";
    probe.test(name, || asked(probe)).await;
    let name = "unplug_leaves_the_monitor_a_request_to_reboot";
    probe.test(name, || reboot(probe)).await;
}

fn count(kind: Emulated, passive: Passive) -> Result<u32, Status> {
    let path = wstr!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\XEN\\Unplug");
    let name = match kind {
        Emulated::Nics => wstr!("NICS"),
        Emulated::Disks => wstr!("DISKS"),
    };
    match Key::open(passive, path).and_then(|key| key.query_dword(name)) {
        Err(Status::OBJECT_NAME_NOT_FOUND) => Ok(0),
        other => other,
    }
}

async fn counts(probe: &Probe) -> Outcome {
    let passive = Passive::assert();
    for kind in KINDS {
        let before = count(kind, passive)?;
        probe.unplug.request(kind, passive);
        probe.unplug.request(kind, passive);
        ensure!(count(kind, passive)? == before + 2, "two requests more");
        probe.unplug.withdraw(kind, passive);
        ensure!(count(kind, passive)? == before + 1, "one of them left");
        probe.unplug.withdraw(kind, passive);
        ensure!(count(kind, passive)? == before, "both taken back");
    }
    Ok(())
}

/// Whoever wrote the registry says what to expect.
async fn asked(probe: &Probe) -> Outcome {
    let passive = Passive::assert();
    let [nics, disks] = KINDS.map(|kind| probe.unplug.is_requested(kind, passive));
    let expected = parameter(wstr!("Nics"), passive) != 0;
    ensure!(nics == expected, "the network cards of this boot");
    ensure!(!disks, "nobody asked for the disks");
    let expected = parameter(wstr!("BootEmulated"), passive) != 0;
    let emulated = probe.unplug.boot_emulated(passive);
    ensure!(emulated == expected, "the start option");
    Ok(())
}

async fn reboot(probe: &Probe) -> Outcome {
    let passive = Passive::assert();
    let path = wstr!(
        "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenbus_monitor\\Request\\xenprobe"
    );
    probe.unplug.reboot(c"xenprobe", passive);
    let value = Key::open(passive, path).and_then(|key| key.query_dword(wstr!("Reboot")));
    // The key comes with the monitor service; without it nothing happens.
    let monitor = parameter(wstr!("Monitor"), passive) != 0;
    ensure!(
        monitor == (value == Ok(1)),
        "a request if somebody reads it"
    );
    Ok(())
}
