// SPDX-License-Identifier: BSD-2-Clause
//! Saving and restoring the guest.

use std::time::Duration;

use super::{Rig, domain_id};
use crate::error::{Error, Kind, Result};

impl Rig {
    /// Saves the guest and restores it as another domain; returns the new domain id, of which the log functions speak from now on.
    ///
    /// `prepare` gives a shell command for the new domain, run before its first instruction: its store has only what the toolstack
    /// puts there.
    ///
    /// # Errors
    /// What `xl` or the command said; the guest is gone or still there.
    pub fn save_restore(&mut self, prepare: impl FnOnce(u32) -> String) -> Result<u32> {
        let limit = Duration::from_secs(180);
        let name = self.guest()?.name.clone();
        let file = format!("/{name}.save");
        self.dom0(&format!("xl save {name} {file}"), limit)?
            .ok("xl save")?;
        let restore = format!("xl restore -p {file} && rm {file} && xl domid {name}");
        let said = self.dom0(&restore, limit)?.ok("xl restore")?;
        let domid = domain_id(&said)?;
        if let Some(guest) = &mut self.guest {
            guest.domid = domid;
        }
        self.dom0_ok(&prepare(domid))?;
        self.unpause()?;
        Ok(domid)
    }

    /// Makes the guest suspend and lets it go on in the same domain: there is no room for what would be saved.
    ///
    /// # Errors
    /// The guest did not suspend, or there was room.
    pub fn cancelled_suspend(&mut self) -> Result {
        let name = self.guest()?.name.clone();
        let command = format!(
            "mkdir -p /small && mount -t tmpfs -o size=1m tmpfs /small; xl save -c {name} /small/f; code=$?; umount /small; exit $code"
        );
        let done = self.dom0(&command, Duration::from_secs(180))?;
        if done.code == Some(0) || !done.text.contains("resuming domain") {
            return Err(Error::new(
                Kind::Dom0,
                format!("dom0: the suspend was not cancelled: {}", done.text),
            ));
        }
        Ok(())
    }
}
