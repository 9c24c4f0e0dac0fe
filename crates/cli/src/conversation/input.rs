//! Lines of commands: as they come, or from a person who edits them and finds former ones again.

use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Editor, history::History as _};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Lines read ahead of the command that is being answered.
const AHEAD: usize = 64;
/// Lines that are found again.
const HISTORY: usize = 1_000;

/// What a person is asked with.
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Where former lines are kept.
    pub(crate) history: Option<PathBuf>,
}

/// Lines of stdin. Reading blocks, so a thread does it; it asks for the next line only when the last is answered if a person
/// is prompted, and ahead of that otherwise.
pub(crate) struct Input {
    lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    ready: std::sync::mpsc::Sender<()>,
}

impl Input {
    pub(crate) fn open(prompt: Option<Prompt>) -> Self {
        let (sender, lines) = mpsc::channel(AHEAD);
        let (ready, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || match prompt {
            None => plain(|| Some(String::new()), &sender),
            Some(prompt) if io::stdout().is_terminal() && io::stdin().is_terminal() => {
                edited(&prompt, &asked, &sender);
            }
            // Somebody elsewhere sits at the terminal.
            Some(prompt) => plain(|| asked.recv().ok().map(|()| prompt.text.clone()), &sender),
        });
        Self { lines, ready }
    }

    pub(crate) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        let _ = self.ready.send(());
        self.lines.recv().await
    }
}

fn plain(mut prompt: impl FnMut() -> Option<String>, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    let mut stdin = io::stdin().lock();
    while let Some(prompt) = prompt() {
        eprint!("{prompt}");
        let _ = io::stderr().flush();
        let mut line = Vec::new();
        let read = stdin.read_until(b'\n', &mut line);
        if matches!(read, Ok(0)) || sender.blocking_send(read.map(|_| line)).is_err() {
            return;
        }
    }
}

fn edited(
    prompt: &Prompt,
    asked: &std::sync::mpsc::Receiver<()>,
    sender: &mpsc::Sender<io::Result<Vec<u8>>>,
) {
    let failed = |error: ReadlineError| io::Error::other(error.to_string());
    let mut editor = match editor() {
        Ok(editor) => editor,
        Err(error) => return drop(sender.blocking_send(Err(failed(error)))),
    };
    if let Some(path) = &prompt.history {
        // There is none the first time; without it the prompt works all the same.
        let _ = editor.load_history(path);
    }
    while asked.recv().is_ok() {
        let line = loop {
            match editor.readline(&prompt.text) {
                // Ctrl-C gives up the line, Ctrl-D the conversation.
                Err(ReadlineError::Interrupted) => {}
                line => break line,
            }
        };
        let line = match line {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return,
            Err(error) => return drop(sender.blocking_send(Err(failed(error)))),
        };
        if !line.trim().is_empty() && !holds_secret(&line) {
            let _ = editor.add_history_entry(&line);
            if let Some(path) = &prompt.history {
                let _ = editor.append_history(path);
            }
        }
        if sender.blocking_send(Ok(line.into_bytes())).is_err() {
            return;
        }
    }
}

fn editor() -> rustyline::Result<Editor<(), DefaultHistory>> {
    let config = Config::builder().max_history_size(HISTORY)?.history_ignore_space(true).build();
    let mut editor = Editor::<(), DefaultHistory>::with_config(config)?;
    editor.history_mut().ignore_dups(true)?;
    Ok(editor)
}

/// Commands that carry passwords are not kept (law 11).
fn holds_secret(line: &str) -> bool {
    let words: Vec<String> = line.split_whitespace().map(str::to_ascii_lowercase).collect();
    let first = words.first().map(String::as_str).unwrap_or_default();
    let has = |word: &str| words.iter().any(|one| one == word);
    matches!(first, "auth" | "hello")
        || first == "acl" && has("setuser")
        || first == "config" && words.iter().any(|word| word.contains("pass") || word.contains("auth"))
        || first == "migrate" && (has("auth") || has("auth2"))
}

#[cfg(test)]
mod tests {
    use super::holds_secret;

    #[test]
    fn passwords_are_not_kept() {
        for line in
            ["AUTH x", " auth u p", "ACL SETUSER a >x", "config set requirepass x", "CONFIG SET masterauth x"]
        {
            assert!(holds_secret(line), "{line}");
        }
        for line in ["GET auth", "ACL LIST", "CONFIG GET maxmemory", "SET hello acl"] {
            assert!(!holds_secret(line), "{line}");
        }
    }
}
