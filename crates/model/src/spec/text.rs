//! A user's text inside a message.

use std::fmt::Write as _;

/// Longer texts are cut: a message is for reading.
const MAX_CHARS: usize = 80;

/// The text with everything escaped that could trick a terminal or a log, and cut if very long.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MAX_CHARS) {
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            // Writing to a String cannot fail.
            _ => _ = write!(shown, "{}", c.escape_debug()),
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(printable("it's \"ü\" \u{1b}[31m\n\u{202e}"), "it's \"ü\" \\u{1b}[31m\\n\\u{202e}");
        assert_eq!(printable(&"x".repeat(100)), format!("{}…", "x".repeat(80)));
    }
}
