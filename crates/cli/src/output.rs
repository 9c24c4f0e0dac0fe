//! Results go to stdout, and only here. A reader that has gone away is no failure.

use crate::args::Format;
use anyhow::Context as _;
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

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

/// Milliseconds with two decimals.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Each on a line of its own.
pub(crate) fn lines<T: AsRef<str>>(all: &[T]) -> String {
    all.iter().flat_map(|line| [line.as_ref(), "\n"]).collect()
}

/// Columns of the terminal that results go to, if they go to one.
pub(crate) fn width() -> Option<usize> {
    let out = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0)?;
    Some(usize::from(size.ws_col))
}

/// The same without some columns, the first of these first, until it is as narrow as that.
pub(crate) fn columns_within(
    mut rows: Vec<Vec<String>>,
    width: Option<usize>,
    dispensable: &[&str],
) -> String {
    let mut text = columns(&rows);
    for name in dispensable {
        let is_wide = |width: usize| text.lines().any(|line| line.chars().count() > width);
        if !width.is_some_and(is_wide) {
            break;
        }
        if let Some(at) = rows.first().and_then(|head| head.iter().position(|cell| cell == name)) {
            for row in rows.iter_mut().filter(|row| row.len() > at) {
                row.remove(at);
            }
            text = columns(&rows);
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_gets_fewer_columns() {
        let rows = || {
            vec![
                vec!["NAME".to_owned(), "PID".to_owned(), "ROLE".to_owned()],
                vec!["a".to_owned(), "1".to_owned(), "primary".to_owned()],
            ]
        };
        let dispensable = ["PID", "GONE"];
        assert_eq!(columns_within(rows(), None, &dispensable), "NAME  PID  ROLE\na     1    primary\n");
        assert_eq!(columns_within(rows(), Some(18), &dispensable), "NAME  PID  ROLE\na     1    primary\n");
        assert_eq!(columns_within(rows(), Some(17), &dispensable), "NAME  ROLE\na     primary\n");
        assert_eq!(columns_within(rows(), Some(5), &dispensable), "NAME  ROLE\na     primary\n");
    }
}
