//! Every measured time as a dot on a logarithmic scale, the median as a bar, the goal as a line.

use crate::results::{How, Results, Series};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
/// Room for the names.
const LEFT: f64 = 330.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const ROW: f64 = 24.0;
/// Between events.
const SPACE: f64 = 12.0;
/// Milliseconds at both ends of the scale.
const FROM: f64 = 1.0;
const TO: f64 = 60_000.0;

const OURS: &str = "#0b6e4f";
const BARE: &str = "#b45309";

pub(super) fn svg(results: &Results) -> String {
    let timed: Vec<&Series> = results.series.iter().filter(|series| series.unit == "ms").collect();
    let mut body = String::new();
    let mut y = TOP;
    let mut event = "";
    // An event's series stand together, also those that were measured later.
    let mut events: Vec<&str> = Vec::new();
    for series in &timed {
        if !events.contains(&series.event.as_str()) {
            events.push(&series.event);
        }
    }
    for series in events.iter().flat_map(|event| timed.iter().filter(move |series| series.event == *event)) {
        if series.event != event {
            event = &series.event;
            y += SPACE;
            text(&mut body, 8.0, y + 15.0, "start", "bold", event);
            y += ROW;
        }
        row(&mut body, series, y);
        y += ROW;
    }
    let height = y + 34.0;
    let mut all = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    grid(&mut all, y);
    legend(&mut all);
    all.push_str(&body);
    all.push_str("</svg>\n");
    all
}

fn at(ms: f64) -> f64 {
    let share = (ms.clamp(FROM, TO) / FROM).ln() / (TO / FROM).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn colour(how: How) -> &'static str {
    match how {
        How::Valkeeper => OURS,
        How::Bare => BARE,
    }
}

fn row(body: &mut String, series: &Series, y: f64) {
    let (middle, colour) = (y + ROW / 2.0, colour(series.how));
    let name = series.by.replace('`', "");
    let short: String =
        if name.chars().count() > 50 { name.chars().take(49).chain(['…']).collect() } else { name };
    text(body, LEFT - 10.0, middle + 4.0, "end", "normal", &short);
    if let Some(goal) = series.goal {
        let x = at(goal);
        let _ = writeln!(
            body,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y:.1}\" y2=\"{:.1}\" stroke=\"#334155\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>",
            y + ROW
        );
    }
    for value in &series.values {
        let _ = writeln!(
            body,
            "<circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"3.2\" fill=\"{colour}\" fill-opacity=\"0.45\"/>",
            at(*value)
        );
    }
    let median = at(series.rank(50));
    let _ = writeln!(
        body,
        "<line x1=\"{median:.1}\" x2=\"{median:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
        middle - 8.0,
        middle + 8.0
    );
}

fn grid(all: &mut String, bottom: f64) {
    for (ms, name) in [
        (1.0, "1 ms"),
        (10.0, "10 ms"),
        (100.0, "100 ms"),
        (1_000.0, "1 s"),
        (10_000.0, "10 s"),
        (60_000.0, "60 s"),
    ] {
        let x = at(ms);
        let _ = writeln!(
            all,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\" stroke=\"#e2e8f0\"/>"
        );
        text(all, x, bottom + 18.0, "middle", "normal", name);
    }
}

fn legend(all: &mut String) {
    let entries = [(OURS, "Valkeeper", LEFT), (BARE, "bare servers", LEFT + 100.0)];
    for (colour, name, x) in entries {
        let _ = writeln!(all, "<circle cx=\"{x:.1}\" cy=\"20\" r=\"5\" fill=\"{colour}\"/>");
        text(all, x + 10.0, 24.0, "start", "normal", name);
    }
    text(all, LEFT + 220.0, 24.0, "start", "normal", "bar: median   dashed: goal for the median");
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" fill=\"#0f172a\">{words}</text>"
    );
}
