//! Results go to stdout, and only here. A reader that has gone away is no failure.

use crate::args::Format;
use anyhow::Context as _;
use serde::Serialize;
use std::io::Write as _;

/// Prints text as it is.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("write to stdout"),
    }
}

/// Prints a value for programs, or the text made of it for people.
pub(crate) fn value<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match format {
        Format::Table => text(&table()),
        Format::Json => text(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        Format::Yaml => text(&format!("{}\n", serde_saphyr::to_string(value)?.trim_end())),
    }
}

/// Each on a line of its own.
pub(crate) fn lines<T: AsRef<str>>(all: &[T]) -> String {
    all.iter().flat_map(|line| [line.as_ref(), "\n"]).collect()
}

/// Columns as wide as their widest cell, two spaces apart; no trailing spaces.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..).map_while(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
