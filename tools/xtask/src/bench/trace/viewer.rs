// SPDX-License-Identifier: BSD-2-Clause
//! A timeline in the Chrome trace-event format, which `chrome://tracing` and Perfetto open.
//!
//! A microsecond, the format's unit, stands for an instruction: whole numbers, which no viewer rounds. There is a row for each image,
//! with a bar from every point until the next, and a row for what ran while the processor was outside of the guest.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::timeline::{Cost, Timeline};

/// The one process of the file.
const PROCESS: u32 = 1;
/// Its row for Xen and dom0; the images' come after it.
const OUTSIDE: usize = 1;

fn name(row: Option<usize>, name: &str) -> Value {
    let what = if row.is_some() {
        "thread_name"
    } else {
        "process_name"
    };
    json!({"ph": "M", "pid": PROCESS, "tid": row.unwrap_or(0), "name": what, "args": {"name": name}})
}

fn arguments(cost: &Cost) -> Value {
    json!({
        "instructions": cost.total(),
        "guest": cost.guest,
        "Xen": cost.others.xen,
        "dom0 kernel": cost.others.kernel,
        "dom0 programs": cost.others.user,
        "exits": cost.exits,
    })
}

/// The file.
///
/// # Errors
///
/// It can't be written as JSON.
pub(super) fn json(timeline: &Timeline) -> Result<Vec<u8>> {
    let mut events = vec![
        name(None, "one store read"),
        name(Some(OUTSIDE), "Xen, dom0"),
    ];
    let mut images: Vec<&str> = Vec::new();
    for (index, step) in timeline.steps.iter().enumerate() {
        let known = images.iter().position(|image| *image == step.image);
        let row = OUTSIDE + 1 + known.unwrap_or(images.len());
        if known.is_none() {
            images.push(&step.image);
            events.push(name(Some(row), &step.image));
        }
        let mut event = json!({
            "pid": PROCESS,
            "tid": row,
            "name": step.point.name(),
            "cat": "point",
            "ts": step.at,
        });
        let (kind, more) = match timeline.steps.get(index + 1) {
            Some(next) => {
                event["dur"] = json!(next.at - step.at);
                ("X", arguments(&next.cost))
            }
            None => {
                // On its row only.
                event["s"] = json!("t");
                ("i", json!({}))
            }
        };
        event["ph"] = json!(kind);
        event["args"] = more;
        event["args"]["what"] = json!(step.point.meaning());
        events.push(event);
    }
    for outside in &timeline.outside {
        let executed = outside.executed;
        let who = if executed.kernel + executed.user == 0 {
            "Xen"
        } else {
            "Xen and dom0"
        };
        events.push(json!({
            "ph": "X",
            "pid": PROCESS,
            "tid": OUTSIDE,
            "name": who,
            "cat": "outside",
            "ts": outside.at,
            "dur": executed.total(),
            "args": {"Xen": executed.xen, "dom0 kernel": executed.kernel, "dom0 programs": executed.user},
        }));
    }
    let file = json!({
        "otherData": {"clock": "a microsecond is an instruction"},
        "traceEvents": events,
    });
    let mut text = serde_json::to_vec_pretty(&file).context("a trace as JSON")?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::testing::RECORD;
    use super::super::timeline::tests::timeline;
    use super::*;

    #[test]
    fn bars_of_a_row_follow_each_other_and_cover_the_request() {
        let timeline = timeline(RECORD).expect("timeline");
        let file: Value = serde_json::from_slice(&json(&timeline).expect("JSON")).expect("JSON");
        let events = file["traceEvents"].as_array().expect("array");
        let bars = |category: &str| -> Vec<(String, u64, u64)> {
            let bar = |e: &&Value| e["ph"] == "X" && e["cat"] == category;
            let read = |e: &Value| {
                let number = |key: &str| e[key].as_u64().expect("number");
                (
                    e["name"].as_str().expect("name").to_owned(),
                    number("ts"),
                    number("dur"),
                )
            };
            events.iter().filter(bar).map(read).collect()
        };
        let points = bars("point");
        assert_eq!(points.len(), 17);
        assert_eq!(points[0].0, "submit");
        let sum: u64 = points.iter().map(|(_, _, length)| length).sum();
        assert_eq!(sum, 119_260);
        let outside = bars("outside");
        assert_eq!(outside.len(), timeline.outside.len());
        for bars in [&points, &outside] {
            for pair in bars.windows(2) {
                assert!(pair[0].1 + pair[0].2 <= pair[1].1, "{pair:?}");
            }
        }
        // Every event has the fields that the format demands, and each row a name.
        for event in events {
            assert!(event["ph"].is_string() && event["pid"].is_u64() && event["tid"].is_u64());
        }
        let named = events.iter().filter(|e| e["name"] == "thread_name").count();
        assert_eq!(named, 3);
        let end = events.iter().filter(|e| e["ph"] == "i").count();
        assert_eq!(end, 1);
    }
}
