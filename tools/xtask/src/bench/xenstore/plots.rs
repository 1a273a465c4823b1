// SPDX-License-Identifier: BSD-2-Clause
//! The plots of the report, as SVG elements.
//!
//! They are as wide as a telephone, so that their letters stay readable there; the page gives text its colour, because only the page knows
//! whether its ground is light or dark. All other colours are seen on both.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::{DOM0, Each, KINDS, Key, Measured, Metric};
use super::tables;

/// Size of a plot in CSS pixels.
const WIDTH: u32 = 380;
const HEIGHT: u32 = 250;
/// A bar, and what is between two groups of bars.
const BAR: u32 = 10;
const GAP: u32 = 8;
/// The library takes this for more than the size of letters: 12 pixels come of it.
const LETTERS: u32 = 15;
const GREY: RGBColor = RGBColor(128, 128, 128);
/// In the order in which [`Measured::places`] names places other than dom0.
const COLOURS: [RGBColor; 6] = [
    RGBColor(58, 134, 230),
    RGBColor(230, 120, 20),
    RGBColor(40, 165, 95),
    RGBColor(200, 75, 180),
    RGBColor(20, 165, 180),
    RGBColor(200, 160, 20),
];

/// A plot and what it shows.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) svg: String,
}

/// The colour of each place.
pub(super) fn colours<'a>(places: &[&'a str]) -> Vec<(&'a str, RGBColor)> {
    let mut colours = COLOURS.into_iter().cycle();
    let colour = |place: &&'a str| match *place {
        DOM0 => (DOM0, GREY),
        place => (place, colours.next().unwrap_or(GREY)),
    };
    places.iter().map(colour).collect()
}

/// Every plot for that number of processors.
///
/// # Errors
///
/// The plotting library's.
pub(super) fn all(measured: &Measured, vcpus: u32) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    plots.extend(scaling(measured, vcpus)?);
    plots.extend(latencies(measured, vcpus)?);
    for each in Each::ALL {
        let title = match each {
            Each::Busy => "Guest instructions for one operation".to_owned(),
            _ => format!("{} for one operation", capital(each.name())),
        };
        plots.extend(bars(measured, vcpus, title, Metric::Each(each))?);
    }
    Ok(plots)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.as_str().chars()).collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws on an area of that height.
fn plot(title: String, height: u32, draw: impl Fn(&Area<'_>) -> Result<()>) -> Result<Plot> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    draw(&area)?;
    area.present().map_err(failed)?;
    drop(area);
    Ok(Plot { title, svg })
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot can't be drawn: {error}")
}

fn letters<'a>() -> TextStyle<'a> {
    ("sans-serif", LETTERS).into_text_style(&(WIDTH, HEIGHT))
}

/// `12 k` for 12000.
fn short(value: f64) -> String {
    let digits = |value: f64| {
        if value < 10.0 && value.fract() != 0.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        }
    };
    match value {
        value if value >= 1e6 => format!("{} M", digits(value / 1e6)),
        value if value >= 1e3 => format!("{} k", digits(value / 1e3)),
        value if value < 1.0 && value > 0.0 => format!("{value:.2}"),
        value => digits(value),
    }
}

fn place_key(vcpus: u32, workload: &str, place: &str) -> Key {
    Key {
        vcpus,
        workload: workload.to_owned(),
        place: place.to_owned(),
    }
}

/// Rates over the number of outstanding requests.
fn scaling(measured: &Measured, vcpus: u32) -> Result<Option<Plot>> {
    let mut lines = Vec::new();
    for (place, colour) in colours(&measured.places(vcpus)) {
        let points: Vec<(f64, f64)> = tables::workloads(measured, vcpus)
            .into_iter()
            .filter_map(|workload| {
                let workers: u32 = workload.strip_prefix("throughput-")?.parse().ok()?;
                let key = place_key(vcpus, workload, place);
                let rate = measured.value(&key, Metric::Rate)?;
                Some((f64::from(workers).log2(), rate))
            })
            .collect();
        lines.push((colour, points));
    }
    let all = || lines.iter().flat_map(|(_, points)| points);
    let most = |pick: fn(&(f64, f64)) -> f64| all().map(pick).fold(0.0, f64::max);
    let (right, top) = (most(|point| point.0), most(|point| point.1));
    if top == 0.0 {
        return Ok(None);
    }
    let title = "Operations a second over outstanding requests".to_owned();
    let done = plot(title, HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(24)
            .y_label_area_size(44)
            .build_cartesian_2d(-0.1..right + 0.1, 0.0..top * 1.05)
            .map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.3))
            .axis_style(GREY)
            .label_style(letters())
            .x_labels(right as usize + 1)
            .x_label_formatter(&|at| format!("{:.0}", at.exp2()))
            .y_labels(6)
            .y_label_formatter(&|rate| short(*rate));
        mesh.draw().map_err(failed)?;
        for (colour, points) in &lines {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            chart.draw_series(line).map_err(failed)?;
            let dots = points.iter().map(|at| Circle::new(*at, 3, colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
        }
        Ok(())
    })?;
    Ok(Some(done))
}

/// From the median to the 99th percentile of each kind of operation.
fn latencies(measured: &Measured, vcpus: u32) -> Result<Option<Plot>> {
    let places = colours(&measured.places(vcpus));
    let at = |kind, place: &str, percent| {
        let key = place_key(vcpus, "latency", place);
        measured.value(&key, Metric::Percentile(kind, percent))
    };
    let groups = KINDS.map(|kind| {
        let spans = places.iter().map(|(place, colour)| {
            let span = [50, 90, 99].map(|percent| at(kind, place, percent));
            (*colour, span.map(|value| value.map(|ns| ns / 1000.0)))
        });
        (kind.to_owned(), spans.collect::<Vec<_>>())
    });
    let title = "Latency in virtual microseconds: p50, p90, p99".to_owned();
    groups_plot(title, &groups)
}

/// A bar for each workload and place.
fn bars(measured: &Measured, vcpus: u32, title: String, metric: Metric) -> Result<Option<Plot>> {
    let places = colours(&measured.places(vcpus));
    let groups: Vec<_> = tables::workloads(measured, vcpus)
        .into_iter()
        .map(|workload| {
            let bars = places.iter().map(|(place, colour)| {
                let value = measured.value(&place_key(vcpus, workload, place), metric);
                (*colour, [value, None, None])
            });
            (workload.to_owned(), bars.collect::<Vec<_>>())
        })
        .collect();
    groups_plot(title, &groups)
}

/// A name, and for each place its colour and up to three values: a bar to the first, and marks at the others on a thin line.
type Group = (String, Vec<(RGBColor, [Option<f64>; 3])>);

/// Groups of horizontal bars, their names at the left. Nothing if there is no value.
fn groups_plot(title: String, groups: &[Group]) -> Result<Option<Plot>> {
    let shown: Vec<(&str, Vec<_>)> = groups
        .iter()
        .map(|(name, bars)| {
            let some = bars.iter().filter(|(_, values)| values[0].is_some());
            (name.as_str(), some.collect())
        })
        .filter(|(_, bars): &(_, Vec<_>)| !bars.is_empty())
        .collect();
    let values = shown
        .iter()
        .flat_map(|(_, bars)| bars.iter().flat_map(|bar| bar.1));
    let right = values.flatten().fold(0.0, f64::max);
    if shown.is_empty() {
        return Ok(None);
    }
    let lines: usize = shown.iter().map(|(_, bars)| bars.len()).sum();
    let room = lines as u32 * BAR + shown.len() as u32 * GAP;
    let right = if right == 0.0 { 1.0 } else { right * 1.05 };
    let done = plot(title, room + 36, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(4)
            .margin_right(16)
            .x_label_area_size(24)
            .y_label_area_size(104)
            // Downwards, in pixels.
            .build_cartesian_2d(0.0..right, f64::from(room)..0.0)
            .map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.3))
            .axis_style(GREY)
            .label_style(letters())
            .x_labels(5)
            .x_label_formatter(&|value| short(*value))
            .disable_y_mesh()
            .y_labels(0);
        mesh.draw().map_err(failed)?;
        let bar = f64::from(BAR);
        let mut top = f64::from(GAP) / 2.0;
        for (name, bars) in &shown {
            let middle = top + bars.len() as f64 * bar / 2.0;
            let (left, y) = chart.plotting_area().map_coordinate(&(0.0, middle));
            let text = Text::new((*name).to_owned(), (4, y - 6), letters());
            debug_assert!(left > 100, "room for names");
            area.draw(&text).map_err(failed)?;
            for (colour, values) in bars {
                let end = values[0].unwrap_or(0.0);
                let corners = [(0.0, top + 1.0), (end, top + bar - 1.0)];
                let rest = values[1..].iter().flatten();
                let furthest = rest.clone().copied().fold(end, f64::max);
                let middle = top + bar / 2.0;
                let thin = PathElement::new([(end, middle), (furthest, middle)], *colour);
                chart
                    .draw_series([Rectangle::new(corners, colour.filled())])
                    .map_err(failed)?;
                chart.draw_series([thin]).map_err(failed)?;
                let marks = rest.map(|value| Circle::new((*value, middle), 2, colour.filled()));
                chart.draw_series(marks).map_err(failed)?;
                top += bar;
            }
            top += f64::from(GAP);
        }
        Ok(())
    })?;
    Ok(Some(done))
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::measured;
    use super::*;

    #[test]
    fn plots_are_there_for_what_was_measured_and_no_others() {
        let plots = all(&measured(), 1).expect("plots");
        let titles: Vec<_> = plots.iter().map(|plot| plot.title.as_str()).collect();
        // No throughput was measured, so nothing scales.
        assert_eq!(
            titles,
            [
                "Latency in virtual microseconds: p50, p90, p99",
                "Guest instructions for one operation",
                "Hypercalls for one operation",
                "Sends for one operation",
                "Interrupts for one operation",
                "Allocations for one operation",
            ]
        );
        for plot in plots {
            assert!(plot.svg.starts_with("<svg "), "{}", plot.svg);
            assert!(plot.svg.trim_end().ends_with("</svg>"), "{}", plot.svg);
        }
    }

    #[test]
    fn the_ticks_of_an_axis_are_short() {
        let all = [0.0, 0.25, 1.5, 12.0, 1500.0, 72_000.0, 2e6].map(short);
        assert_eq!(all, ["0", "0.25", "1.5", "12", "1.5 k", "72 k", "2 M"]);
    }
}
