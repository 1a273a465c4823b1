// SPDX-License-Identifier: BSD-2-Clause
//! The small commands: one event channel, one granted page, one store request.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::evtchn::Channel;
use crate::ffi::{PAGE, map_frames};
use crate::gnt::Page;
use crate::store::Store;
use crate::wire::Refused;
use crate::{Failure, Result, rate, report};

fn limit(args: &mut Args) -> Result<Duration> {
    Ok(Duration::from_secs(args.option("--timeout")?.unwrap_or(30)))
}

/// `xenpeer evtchn --domid D --port P [--count N] [--start-here] [--timeout S]`
pub(crate) fn evtchn(mut args: Args) -> Result {
    let (domid, port) = (args.required("--domid")?, args.required("--port")?);
    let count = args.option("--count")?.unwrap_or(1000);
    let first = args.flag("--start-here");
    let limit = limit(&mut args)?;
    args.end()?;
    let mut channel = Channel::bind(domid, port)?;
    println!("bound");
    let start = Instant::now();
    channel.bounce(count, first, limit)?;
    println!(
        "{{\"count\":{count},\"us\":{}}}",
        start.elapsed().as_micros()
    );
    channel.close()
}

/// `xenpeer gnt --domid D --ref R [--patch OFFSET=HEX].. [--len N]`
pub(crate) fn gnt(mut args: Args) -> Result {
    let (domid, reference) = (args.required("--domid")?, args.required("--ref")?);
    let len: usize = args.option("--len")?.unwrap_or(PAGE).min(PAGE);
    let mut patches = Vec::new();
    while let Some(patch) = args.option::<String>("--patch")? {
        patches.push(parse_patch(&patch)?);
    }
    args.end()?;
    let page = Page::map(domid, reference, !patches.is_empty())?;
    for (offset, data) in &patches {
        page.patch(*offset, data)?;
    }
    let text: String = page
        .read()
        .iter()
        .take(len)
        .map(|b| format!("{b:02x}"))
        .collect();
    println!("{text}");
    page.close()
}

/// How many frames are mapped at once.
const BATCH: u64 = 256;

/// `xenpeer dump --domid D --mib N --out FILE [--seek BYTES]`
///
/// Byte n of the dump is the guest's physical byte n; frames that do not exist are zeros.
pub(crate) fn dump(mut args: Args) -> Result {
    let (domid, mib): (u16, u64) = (args.required("--domid")?, args.required("--mib")?);
    let (path, seek): (String, u64) =
        (args.required("--out")?, args.option("--seek")?.unwrap_or(0));
    args.end()?;
    let fail = |what: &str, e: std::io::Error| Failure::new(format!("{what}: {e}"));
    let device = "/dev/xen/privcmd";
    let privcmd = OpenOptions::new()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|e| fail(device, e))?;
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| fail(&path, e))?;
    out.seek(SeekFrom::Start(seek))
        .map_err(|e| fail(&path, e))?;
    let frames = mib << 20 >> 12;
    let mut missing = 0;
    for start in (0..frames).step_by(BATCH as usize) {
        let batch: Vec<u64> = (start..frames.min(start + BATCH)).collect();
        let (mapping, present) = map_frames(&privcmd, domid, &batch)
            .map_err(|e| fail("map the guest's memory", e.into()))?;
        let mut data = Vec::with_capacity(batch.len() * PAGE);
        for (index, present) in present.iter().enumerate() {
            // A frame that is not there must not be touched.
            match present.then(|| mapping.page(index)).flatten() {
                Some(page) => data.extend(page),
                None => {
                    missing += 1;
                    data.resize(data.len() + PAGE, 0);
                }
            }
        }
        out.write_all(&data).map_err(|e| fail(&path, e))?;
    }
    if missing == frames {
        return Err(Failure::new(format!("domain {domid} has no memory")));
    }
    out.sync_all().map_err(|e| fail(&path, e))?;
    println!("{{\"frames\":{frames},\"missing\":{missing}}}");
    Ok(())
}

/// Reads `OFFSET=HEX`.
fn parse_patch(text: &str) -> Result<(usize, Vec<u8>)> {
    let bad = || Failure::new(format!("--patch: bad value {text}"));
    let (offset, hex) = text.split_once('=').ok_or_else(bad)?;
    let offset = offset.parse().map_err(|_| bad())?;
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return Err(bad());
    }
    let data: std::result::Result<Vec<u8>, _> = (0..hex.len())
        .step_by(2)
        .map(|n| u8::from_str_radix(&hex[n..n + 2], 16))
        .collect();
    Ok((offset, data.map_err(|_| bad())?))
}

/// `xenpeer store read|write|ls|rm|perms|wait|conflict|rate PATH ..`, `xenpeer store watches DOMID`
pub(crate) fn store(mut args: Args) -> Result {
    let verb = args.need("the request")?;
    let limit = limit(&mut args)?;
    let path = args.need("the path")?;
    let mut store = Store::connect()?;
    match verb.as_str() {
        "read" => {
            args.end()?;
            let value = store.read(0, &path)?;
            std::io::stdout()
                .write_all(&value)
                .map_err(|e| Failure::new(e.to_string()))?;
            println!();
        }
        "write" => {
            let value = args.need("the value")?;
            args.end()?;
            store.write(0, &path, value.as_bytes())?;
        }
        "ls" => {
            args.end()?;
            for name in store.list(&path)? {
                println!("{name}");
            }
        }
        "rm" => {
            args.end()?;
            store.rm(&path)?;
        }
        "perms" => {
            let mut perms = Vec::new();
            while let Some(perm) = args.word() {
                perms.push(perm);
            }
            store.set_perms(&path, &perms)?;
        }
        "wait" => {
            let value = args.need("the value")?;
            args.end()?;
            wait(&mut store, &path, &value, limit)?;
        }
        "rate" => {
            let count = args.option("--count")?.unwrap_or(1000);
            let depth: u32 = args.option("--depth")?.unwrap_or(1);
            args.end()?;
            rate::run(&path, count, depth.max(1))?;
        }
        "watches" => {
            args.end()?;
            let bad = |_| Failure::new(format!("bad domain {path}"));
            let domid = path.parse().map_err(bad)?;
            println!("{}", report::watches(&mut store, domid)?);
        }
        "conflict" => {
            args.end()?;
            conflict(&mut store, &path)?;
        }
        other => return Err(Failure::new(format!("unknown request {other}"))),
    }
    Ok(())
}

/// Waits until `path` holds `value`.
fn wait(store: &mut Store, path: &str, value: &str, limit: Duration) -> Result {
    let end = Instant::now() + limit;
    store.watch(path, "wait")?;
    loop {
        match store.read(0, path) {
            Ok(now) if now == value.as_bytes() => {
                return store.unwatch(path, "wait").map_err(Failure::from);
            }
            Ok(_) => {}
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(e.into()),
        }
        if store
            .event(end.saturating_duration_since(Instant::now()))?
            .is_none()
        {
            return Err(Failure::new(format!("{path} did not become {value}")));
        }
    }
}

/// Shows that this xenstored detects a conflict: a commit over somebody else's write must be refused.
fn conflict(store: &mut Store, path: &str) -> Result {
    let mut other = Store::connect()?;
    let transaction = store.start()?;
    let before = store.read(transaction, path)?;
    other.write(0, path, b"changed in between")?;
    store.write(transaction, path, &before)?;
    match store.end(transaction, true) {
        Err(Refused::Name(name)) if name == "EAGAIN" => {
            println!("refused: EAGAIN");
            Ok(())
        }
        other => Err(Failure::new(format!(
            "the commit was not refused: {other:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_an_offset_and_hex_digits() {
        assert_eq!(parse_patch("16=00ff").expect("good"), (16, vec![0, 255]));
        for bad in ["16", "x=00", "1=0", "1=0g"] {
            assert!(parse_patch(bad).is_err(), "{bad}");
        }
    }
}
