// SPDX-License-Identifier: BSD-2-Clause
//! Each image through Wine's service manager: create, start, look, stop.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Expected, Wine};

/// The channel on which Wine prints the text of `DbgPrint` and its relatives.
const DEBUG: &str = "-all,err+seh,+debugstr";
/// What stands before that text.
const PRINTED: &str = "vDbgPrintExWithPrefix ";

/// How long the service manager may take to change a state.
const STATE_LIMIT: Duration = Duration::from_secs(60);

/// Starts `expected`, wants it RUNNING with its message and no complaint, then stops it.
///
/// # Errors
///
/// Says which of these was not so, with what the driver printed.
pub(crate) fn driver_stays_inert(wine: &Wine, expected: &Expected) -> Result<()> {
    create(wine, expected.name)?;
    wine.end_session();
    let started = wine.run(&["sc", "start", expected.name], DEBUG)?;
    let log = wine.session_log()?;
    let printed = printed(&log);
    let context = || format!("printed: {printed:#?}\n{}", started.text.trim_end());
    wait_for_state(wine, expected.name, "RUNNING").with_context(context)?;
    for wanted in expected.lines {
        let found = printed.iter().filter(|line| line.contains(wanted)).count();
        ensure!(
            found == 1,
            "{found} lines say {wanted:?}, want one\n{}",
            context()
        );
    }
    ensure!(
        printed.len() == expected.lines.len(),
        "it said more than {:#?}\n{}",
        expected.lines,
        context()
    );
    stop(wine, expected)?;
    // What happens while it unloads is in the same log.
    let log = wine.session_log()?;
    if let Some(fault) = log
        .lines()
        .find(|line| line.contains("Unhandled") || line.contains("err:seh"))
    {
        bail!("it came to a fault: {fault}");
    }
    println!(
        "wine: {}.sys RUNNING{}; it printed {printed:?}",
        expected.name,
        if expected.stops { ", STOPPED" } else { "" }
    );
    Ok(())
}

/// The check on this test itself: a file that is no PE image must not get to RUNNING.
///
/// # Errors
///
/// Wine took it for a driver.
pub(crate) fn refuses_what_is_no_image(wine: &Wine) -> Result<()> {
    const NAME: &str = "noimage";
    let path = wine.drivers().join(format!("{NAME}.sys"));
    fs::write(&path, b"This is no image.").with_context(|| path.display().to_string())?;
    create(wine, NAME)?;
    wine.run(&["sc", "start", NAME], "-all")?;
    let state = state(wine, NAME)?;
    ensure!(
        state == "STOPPED",
        "Wine has a text file as a driver in state {state}"
    );
    wine.succeed(&["sc", "delete", NAME])?;
    fs::remove_file(&path).with_context(|| path.display().to_string())
}

fn create(wine: &Wine, name: &str) -> Result<()> {
    let binary = format!("C:\\windows\\system32\\drivers\\{name}.sys");
    wine.succeed(&[
        "sc", "create", name, "type=", "kernel", "start=", "demand", "binPath=", &binary,
    ])?;
    Ok(())
}

fn stop(wine: &Wine, expected: &Expected) -> Result<()> {
    wine.run(&["sc", "stop", expected.name], "-all")?;
    if expected.stops {
        wait_for_state(wine, expected.name, "STOPPED").context("it does not stop")?;
    } else {
        let state = state(wine, expected.name)?;
        ensure!(
            state == "RUNNING",
            "the service is {state}: where is its unload routine?"
        );
    }
    wine.succeed(&["sc", "delete", expected.name])?;
    Ok(())
}

fn wait_for_state(wine: &Wine, name: &str, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + STATE_LIMIT;
    loop {
        let state = state(wine, name)?;
        if state == wanted {
            return Ok(());
        }
        if Instant::now() >= deadline || (wanted == "RUNNING" && state == "STOPPED") {
            bail!("the service is {state}, not {wanted}");
        }
    }
}

fn state(wine: &Wine, name: &str) -> Result<String> {
    let text = wine.succeed(&["sc", "query", name])?;
    state_of(&text).with_context(|| format!("no state in {text:?}"))
}

/// `        STATE              : 4  RUNNING`: the last word.
fn state_of(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("STATE"))?;
    line.split_whitespace().last().map(str::to_owned)
}

/// The lines that drivers printed, without Wine's own prefix.
fn printed(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| line.split_once(PRINTED))
        // What follows is component and level, then the text.
        .filter_map(|(_, rest)| rest.split_once(' '))
        .map(|(_, text)| text.trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_the_last_word_of_its_line() {
        let text = "SERVICE_NAME: a\r\n        TYPE               : 1  \r\n        STATE              : 4  RUNNING\r\n";
        assert_eq!(state_of(text).as_deref(), Some("RUNNING"));
        assert_eq!(state_of("SERVICE_NAME: a\r\n"), None);
    }

    #[test]
    fn only_what_drivers_print_is_taken() {
        let log = "0050:err:systray:x no\n\
                   0118:warn:debugstr:vDbgPrintExWithPrefix 0000004d:00000001: hello: ex 43\n\
                   00a0:err:plugplay:load vain\n";
        assert_eq!(printed(log), ["hello: ex 43"]);
    }
}
