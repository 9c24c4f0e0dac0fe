//! The table of metrics as documentation.

use crate::metric::Metric;
use std::fmt::Write as _;

/// A row for each metric, in Markdown.
pub fn reference() -> String {
    let mut text =
        "| metric | what | labels besides | when it is there |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in Metric::ALL {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name(),
            metric.help(),
            labels.join(", "),
            metric.when()
        );
    }
    text
}
