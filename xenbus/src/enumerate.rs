// SPDX-License-Identifier: BSD-2-Clause
//! Enumeration: which children there should be, from the classes in xenstore.
//!
//! One task per started bus. It watches `device`, and after each change lists it, filters the classes,
//! and tells the owner of the device objects what appeared and what is gone. There is one child per
//! class: what is below `device/<class>` is the class driver's business. Runs on a passive executor,
//! because the owner reads the registry and makes device objects; it ends with its task.

use heapless::String;
use kexec::Result;
use kexec::nt::{Tag, Vec};

use crate::pdo::{CLASS_MAX, Class};
use crate::store::Client;
use crate::store::wire::{Path, names};

/// Pool tag of enumeration.
const TAG: Tag = Tag(*b"XBen");

/// What the registry says.
pub struct Policy {
    /// `SupportedClasses`; a class passes if an entry begins with it.
    pub supported: Vec<Class>,
    /// `SyntheticClasses`: there without xenstore, used as written.
    pub synthetic: Vec<Class>,
    /// `Enumerate`: false leaves the children as they are.
    pub enumerate: bool,
}

impl Policy {
    /// Nothing supported.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            supported: Vec::new(TAG),
            synthetic: Vec::new(TAG),
            enumerate: true,
        }
    }

    /// Appends to `supported`.
    ///
    /// # Errors
    /// `NAME_TOO_LONG`, `NO_MEMORY`.
    pub fn support(&mut self, class: &str) -> Result {
        self.supported.try_push(class_name(class)?)
    }

    /// Appends to `synthetic`.
    ///
    /// # Errors
    /// `NAME_TOO_LONG`, `NO_MEMORY`.
    pub fn synthesise(&mut self, class: &str) -> Result {
        self.synthetic.try_push(class_name(class)?)
    }

    /// An entry that is a proper prefix of a supported name passes too: deployed registries rely on
    /// it.
    fn passes(&self, class: &str) -> bool {
        self.supported
            .iter()
            .any(|supported| supported.as_bytes().starts_with(class.as_bytes()))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

fn class_name(text: &str) -> Result<Class> {
    Class::try_from(text).map_err(|_| kexec::Status::NAME_TOO_LONG)
}

/// The owner of the children's device objects. PASSIVE_LEVEL.
pub trait Children {
    /// What the registry says now.
    ///
    /// # Errors
    /// Of the registry: this scan is left out.
    fn policy(&self) -> Result<Policy>;
    /// Calls `f` with the class of each child that is not missing.
    fn known(&self, f: &mut dyn FnMut(&str));
    /// A class appeared: makes a child.
    ///
    /// # Errors
    /// Logged; the class is tried again at the next scan.
    fn appeared(&self, class: &str) -> Result;
    /// A child's class is gone.
    fn disappeared(&self, class: &str);
    /// Something of the above happened: the relations are to be queried again.
    fn changed(&self);
    /// A scan is complete, with or without a change.
    fn scanned(&self);
}

/// The classes that should have a child: listed or synthetic, supported, each once.
///
/// # Errors
/// `NO_MEMORY`.
pub fn wanted(listed: &[u8], policy: &Policy) -> Result<Vec<Class>> {
    let mut wanted = Vec::<Class>::new(TAG);
    for name in names(listed) {
        // Only letters change case, and a name that is not text has no class.
        let Some(class) = upper_case(name) else {
            continue;
        };
        if policy.passes(&class) && !wanted.contains(&class) {
            wanted.try_push(class)?;
        }
    }
    for class in policy.synthetic.iter() {
        if policy.passes(class) && !wanted.contains(class) {
            wanted.try_push(class.clone())?;
        }
    }
    Ok(wanted)
}

fn upper_case(name: &[u8]) -> Option<Class> {
    let text = core::str::from_utf8(name).ok()?;
    let mut class: String<CLASS_MAX> = String::try_from(text).ok()?;
    class.make_ascii_uppercase();
    Some(class)
}

/// Makes the children fit the classes in `listed`.
///
/// # Errors
/// Of the registry, `NO_MEMORY`; nothing was changed then.
pub fn reconcile(listed: &[u8], children: &impl Children) -> Result {
    let policy = children.policy()?;
    if !policy.enumerate {
        return Ok(());
    }
    let wanted = wanted(listed, &policy)?;
    let mut known = Vec::<Class>::new(TAG);
    let mut noted = Ok(());
    children.known(&mut |class| {
        if noted.is_ok() {
            noted = class_name(class).and_then(|class| known.try_push(class));
        }
    });
    noted?;
    let mut changed = false;
    for class in known.iter().filter(|class| !wanted.contains(class)) {
        children.disappeared(class);
        changed = true;
    }
    for class in wanted.iter().filter(|class| !known.contains(class)) {
        match children.appeared(class) {
            Ok(()) => changed = true,
            Err(status) => kexec::warn!("enumerate: no child for {class}, {status}"),
        }
    }
    if changed {
        children.changed();
    }
    Ok(())
}

/// Keeps the children in step with xenstore until the task is cancelled.
///
/// # Errors
/// When `device` cannot be watched, or not any more.
pub async fn run(client: Client, children: impl Children) -> Result {
    let path = Path::plain(b"device")?;
    let mut watch = client.watch(path).await?;
    loop {
        // The first one follows registration: it is the first scan.
        watch.changed().await?;
        scan(&client, path, &children).await;
        children.scanned();
    }
}

async fn scan(client: &Client, path: Path<'_>, children: &impl Children) {
    let listed = client.directory(None, path).await;
    // Without the directory only synthetic classes remain.
    let listed = listed.as_deref().unwrap_or_default();
    if let Err(status) = reconcile(listed, children) {
        kexec::warn!("enumerate: scan left out, {status}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rig::{StoreRig, poll_once};
    use crate::testing::xenstored::Xenstored;
    use core::cell::RefCell;
    use core::pin::pin;
    use std::string::{String as StdString, ToString};
    use std::vec::Vec as StdVec;

    #[derive(Default)]
    struct Fake {
        supported: &'static [&'static str],
        synthetic: &'static [&'static str],
        off: bool,
        children: RefCell<StdVec<StdString>>,
        log: RefCell<StdVec<StdString>>,
    }

    impl Children for &Fake {
        fn policy(&self) -> Result<Policy> {
            let mut policy = Policy::new();
            policy.enumerate = !self.off;
            self.supported.iter().try_for_each(|c| policy.support(c))?;
            self.synthetic
                .iter()
                .try_for_each(|c| policy.synthesise(c))?;
            Ok(policy)
        }
        fn known(&self, f: &mut dyn FnMut(&str)) {
            self.children.borrow().iter().for_each(|c| f(c));
        }
        fn appeared(&self, class: &str) -> Result {
            if class == "BROKEN" {
                return Err(kexec::Status::NO_MEMORY);
            }
            self.children.borrow_mut().push(class.to_string());
            self.log.borrow_mut().push(std::format!("+{class}"));
            Ok(())
        }
        fn disappeared(&self, class: &str) {
            self.children.borrow_mut().retain(|c| c != class);
            self.log.borrow_mut().push(std::format!("-{class}"));
        }
        fn changed(&self) {
            self.log.borrow_mut().push("changed".into());
        }
        fn scanned(&self) {
            self.log.borrow_mut().push("scanned".into());
        }
    }

    impl Fake {
        fn taken(&self) -> StdVec<StdString> {
            self.log.take()
        }
    }

    #[test]
    fn store_names_are_upper_cased_synthetic_ones_are_not_and_both_are_filtered() {
        let fake = Fake {
            supported: &["VIF", "VBD", "iface"],
            synthetic: &["iface", "CONS"],
            ..Fake::default()
        };
        reconcile(b"vif\0vkbd\0vbd\0vif\0", &&fake).expect("memory");
        assert_eq!(fake.taken(), ["+VIF", "+VBD", "+iface", "changed"]);
    }

    #[test]
    fn a_proper_prefix_of_a_supported_name_passes() {
        let fake = Fake {
            supported: &["VIFX"],
            ..Fake::default()
        };
        reconcile(b"vif\0vifxy\0", &&fake).expect("memory");
        assert_eq!(fake.taken(), ["+VIF", "changed"]);
    }

    #[test]
    fn only_differences_are_told() {
        let fake = Fake {
            supported: &["VIF", "VBD"],
            ..Fake::default()
        };
        reconcile(b"vif\0", &&fake).expect("memory");
        fake.taken();
        reconcile(b"vif\0", &&fake).expect("memory");
        assert!(fake.taken().is_empty());
        reconcile(b"vbd\0", &&fake).expect("memory");
        assert_eq!(fake.taken(), ["-VIF", "+VBD", "changed"]);
        reconcile(b"", &&fake).expect("memory");
        assert_eq!(fake.taken(), ["-VBD", "changed"]);
    }

    #[test]
    fn a_child_that_cannot_be_made_does_not_stop_the_others() {
        let fake = Fake {
            supported: &["BROKEN", "VIF"],
            ..Fake::default()
        };
        reconcile(b"broken\0vif\0", &&fake).expect("memory");
        assert_eq!(fake.taken(), ["+VIF", "changed"]);
        reconcile(b"broken\0vif\0", &&fake).expect("memory");
        assert!(fake.taken().is_empty(), "tried again, in vain");
    }

    #[test]
    fn enumerate_off_leaves_everything_alone() {
        let fake = Fake {
            supported: &["VIF"],
            off: true,
            ..Fake::default()
        };
        reconcile(b"vif\0", &&fake).expect("memory");
        assert!(fake.taken().is_empty());
    }

    #[test]
    fn hostile_names_make_no_child() {
        let fake = Fake {
            supported: &["VIF"],
            ..Fake::default()
        };
        let long = [b'v'; 200];
        let listed = [&b"\xFF\xFE\0"[..], &long, b"\0"].concat();
        reconcile(&listed, &&fake).expect("memory");
        assert!(fake.taken().is_empty());
    }

    #[test]
    fn the_task_scans_at_once_and_after_each_change_and_unregisters_when_cancelled() {
        let fake = Fake {
            supported: &["SAMPLE", "VIF"],
            ..Fake::default()
        };
        let mut rig = StoreRig::new(Xenstored::with(&[("device/sample/0/nonce", "1")]));
        {
            let mut task = pin!(run(rig.client.clone(), &fake));
            let mut step = |rig: &mut StoreRig| {
                for _ in 0..4 {
                    assert!(poll_once(task.as_mut()).is_pending());
                    rig.settle();
                }
            };
            step(&mut rig);
            assert_eq!(fake.taken(), ["+SAMPLE", "changed", "scanned"]);
            rig.daemon.put("device/vif/0/mac", "aa");
            rig.settle();
            step(&mut rig);
            assert_eq!(fake.taken(), ["+VIF", "changed", "scanned"]);
            rig.daemon.delete("device");
            rig.settle();
            step(&mut rig);
            assert_eq!(fake.taken(), ["-SAMPLE", "-VIF", "changed", "scanned"]);
        }
        rig.settle();
        assert_eq!(rig.daemon.watch_count(), 0);
    }
}
