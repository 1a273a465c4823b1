// SPDX-License-Identifier: BSD-2-Clause
//! The report: one page of HTML that needs nothing else, with the plots and the tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use super::figures::Measured;
use super::{plots, tables};
use crate::util;

/// What was run: names and values.
pub(super) type Facts = Vec<(&'static str, String)>;

/// How to read it all.
const READING: [&str; 6] = [
    "Time is virtual: the rig's clock counts executed instructions, one of them is one nanosecond, and all processors take turns. Rates and \
     latencies are therefore those of the work of guest, Xen and dom0 together, and do not depend on the machine that ran them.",
    "Places: dom0 is a Linux process on xenstored's socket; async is a child driver that awaits requests; vtable is the same driver with \
     threads that block in the published interface. All run the same workload with the same seed, one after the other, in the same run.",
    "Each workload checks itself: values read were written, watches fired, transactions kept their sums, and dom0 compared the tree that was \
     left with the model. A failed check ends the benchmark, and there is no report.",
    "latency, directory: one worker, one request at a time. throughput-N: N requests outstanding. transactions: transfers that conflict with \
     each other and with dom0. watches: writes whose watches fire, and watches that come and go. mixed: all of it. hostile: requests that must be refused.",
    "While any transaction is open, xenstored slows a guest's writes down to some 200 a second. Rates of transactions and mixed in a guest are therefore \
     the daemon's more than the drivers'.",
    "Figures are medians of the rounds, of which the Linux guest has one; instructions are the least. In the plot of latencies a bar ends at the median, the dots are the 90th and 99th percentile.",
];

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--soft:#8882}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:80rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.5rem 0 .25rem}
p{margin:.4rem 0;max-width:46rem}.note{font-size:.9rem;opacity:.8}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1rem;align-items:start}
figure{margin:0;padding:.5rem;border:1px solid var(--line);border-radius:.5rem}
figcaption{font-size:.9rem;font-weight:600;padding:.1rem .25rem .4rem}
svg{display:block;width:100%;height:auto;max-width:40rem}svg text{fill:currentColor}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:.5rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;text-align:right;white-space:nowrap}
tbody tr:nth-child(odd){background:var(--soft)}thead th{border-bottom:1px solid var(--line)}
tr>:first-child{text-align:left}
ul.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;padding:0;margin:.5rem 0}
.legend i{display:inline-block;width:.9em;height:.9em;border-radius:.2em;margin-right:.4em;vertical-align:-.08em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.5rem 0}dt{opacity:.75}dd{margin:0;overflow-wrap:anywhere}
";

/// Writes the page; its path.
///
/// # Errors
///
/// A plot can't be drawn, or the file can't be written.
pub(super) fn write(measured: &Measured, facts: &Facts) -> Result<PathBuf> {
    let path = util::target_dir().join("bench/xenstore.html");
    util::write_if_changed(&path, page(measured, facts)?.as_bytes())?;
    Ok(path)
}

/// What must not be taken for markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(measured: &Measured, facts: &Facts) -> Result<String> {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>xenstore through the bus drivers</title>\n",
    );
    // Writing to a string cannot fail.
    let _ = write!(
        html,
        "<style>\n{STYLE}</style>\n<h1>xenstore through the bus drivers</h1>\n<dl>\n"
    );
    for (name, value) in facts {
        let _ = writeln!(
            html,
            "<dt>{}</dt><dd>{}</dd>",
            escaped(name),
            escaped(value)
        );
    }
    html.push_str("</dl>\n<details>\n<summary>How to read this</summary>\n");
    for paragraph in READING {
        let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
    }
    html.push_str("</details>\n");
    for vcpus in measured.vcpus() {
        let plural = if vcpus == 1 { "" } else { "s" };
        let _ = writeln!(html, "<h2>{vcpus} vCPU{plural}</h2>\n<ul class=\"legend\">");
        for (place, colour) in plots::colours(&measured.places(vcpus)) {
            let (red, green, blue) = (colour.0, colour.1, colour.2);
            let place = escaped(place);
            let _ = writeln!(
                html,
                "<li><i style=\"background:rgb({red},{green},{blue})\"></i>{place}</li>"
            );
        }
        html.push_str("</ul>\n<div class=\"plots\">\n");
        for plot in plots::all(measured, vcpus)? {
            let title = escaped(&plot.title);
            let svg = plot.svg.replacen(
                "<svg ",
                &format!("<svg role=\"img\" aria-label=\"{title}\" "),
                1,
            );
            let _ = writeln!(
                html,
                "<figure><figcaption>{title}</figcaption>{svg}</figure>"
            );
        }
        html.push_str("</div>\n");
    }
    html.push_str("<h2>Figures</h2>\n");
    for table in tables::all(measured) {
        let _ = writeln!(
            html,
            "<h3>{}</h3>\n<p class=\"note\">{}</p>\n<div class=\"scroll\"><table>",
            escaped(&table.title),
            escaped(table.note)
        );
        let mut row = |cells: &[String], cell: &str| {
            let _ = write!(html, "<tr>");
            for text in cells {
                let _ = write!(html, "<{cell}>{}</{cell}>", escaped(text));
            }
            let _ = writeln!(html, "</tr>");
        };
        row(&table.head, "th");
        for cells in &table.rows {
            row(cells, "td");
        }
        html.push_str("</table></div>\n");
    }
    html.push_str("</html>\n");
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::measured;
    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_has_every_figure() {
        let facts = vec![("Xen", "4.17 <debian> & others".to_owned())];
        let page = page(&measured(), &facts).expect("a page");
        assert!(page.contains("name=\"viewport\""));
        assert!(page.contains("4.17 &lt;debian&gt; &amp; others"));
        assert_eq!(page.matches("<svg ").count(), 6);
        assert!(page.contains("<td>7 500 (0.38)</td>"), "{page}");
        // Its only address is the name space of SVG.
        let addresses = page.matches("http").count();
        assert_eq!(addresses, page.matches("xmlns=\"http").count());
        for outside in ["<script", "<link", "<img", "url(", "@import", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
