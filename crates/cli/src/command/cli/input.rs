//! Lines of commands, as they come or as a person is asked for them.

use std::io::{self, BufRead as _, Write as _};
use tokio::sync::mpsc;

/// Lines read ahead of the command that is being answered.
const AHEAD: usize = 64;

/// Lines of stdin. Reading blocks, so a thread does it; it asks for the next line only when the last is answered if a person
/// is prompted, and ahead of that otherwise.
pub(super) struct Input {
    lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    ready: std::sync::mpsc::Sender<()>,
}

impl Input {
    pub(super) fn open(prompt: Option<String>) -> Self {
        let (sender, lines) = mpsc::channel(AHEAD);
        let (ready, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || match prompt {
            None => plain(|| Some(String::new()), &sender),
            Some(prompt) => plain(|| asked.recv().ok().map(|()| prompt.clone()), &sender),
        });
        Self { lines, ready }
    }

    pub(super) async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
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
