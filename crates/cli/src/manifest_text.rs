//! The text of a manifest: of a file, or of stdin or a pipe, which can be read only once.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

/// Stands for stdin.
pub(crate) const STDIN: &str = "-";

/// Does this name stdin?
pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}

/// Can it be read only once? So it is with `<(...)` of a shell, too.
pub(crate) fn is_read_once(file: &Path) -> bool {
    is_stdin(file) || std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file())
}

/// The text; the same however often it is asked for.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    static GIVEN: OnceLock<String> = OnceLock::new();
    if !is_read_once(file) {
        return std::fs::read_to_string(file);
    }
    if let Some(text) = GIVEN.get() {
        return Ok(text.clone());
    }
    let mut text = String::new();
    if is_stdin(file) {
        io::stdin().lock().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)?;
    }
    Ok(GIVEN.get_or_init(|| text).clone())
}

/// Its name in what is said of it.
pub(crate) fn name(file: &Path) -> String {
    if is_stdin(file) { "<stdin>".to_owned() } else { file.display().to_string() }
}
