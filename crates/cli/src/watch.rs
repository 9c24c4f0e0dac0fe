//! A status that is shown as it changes: in place on a terminal, one after the other elsewhere.

use crate::args::Format;
use crate::document::status::Status;
use crate::ending::Ending;
use crate::output;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{IsTerminal as _, Read as _};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// Where it is shown.
pub(crate) struct Screen {
    format: Format,
    /// A person looks at a terminal.
    in_place: Option<InPlace>,
    shown: Option<Status>,
    ended: Pin<Box<dyn Future<Output = ()>>>,
    /// The reader of the terminal has gone.
    no_keys: bool,
}

/// A terminal that is drawn on in place. It is put back as it was when this goes.
struct InPlace {
    before: Option<Termios>,
    keys: mpsc::Receiver<u8>,
}

impl Screen {
    pub(crate) fn open(format: Format, ending: &mut Ending) -> anyhow::Result<Self> {
        let person = format == Format::Table && std::io::stdout().is_terminal();
        let in_place = if person { Some(InPlace::open()?) } else { None };
        Ok(Self { format, in_place, shown: None, ended: Box::pin(ending.told()?), no_keys: false })
    }

    /// Shows it; in place with the time of now, elsewhere if it has changed.
    pub(crate) fn show(&mut self, status: &Status) -> anyhow::Result<()> {
        if self.in_place.is_some() {
            let now = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
            // A terminal that does not tell its size has one all the same.
            let size = size();
            return output::text(&frame(&status.page_within(Some(size.0)), &now, size));
        }
        if self.shown.as_ref() != Some(status) {
            match self.format {
                // A stream of documents, one a line: they are many.
                Format::Json => output::text(&format!("{}\n", serde_json::to_string(status)?))?,
                Format::Yaml => {
                    output::text("---\n")?;
                    output::value(self.format, status, String::new)?;
                }
                Format::Table => output::text(&format!("{}\n", status.page()))?,
            }
            self.shown = Some(status.clone());
        }
        Ok(())
    }

    /// Waits so long; `true` if whoever looks has had enough.
    pub(crate) async fn is_left_within(&mut self, time: Duration) -> anyhow::Result<bool> {
        let sleep = tokio::time::sleep(time);
        tokio::pin!(sleep);
        loop {
            let no_keys = self.no_keys;
            let key = async {
                match &mut self.in_place {
                    Some(in_place) if !no_keys => in_place.keys.recv().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut sleep => return Ok(false),
                () = &mut self.ended => return Ok(true),
                key = key => match key {
                    Some(b'q' | b'Q') => return Ok(true),
                    Some(_) => {}
                    None => self.no_keys = true,
                },
            }
        }
    }
}

impl InPlace {
    fn open() -> anyhow::Result<Self> {
        let (sender, keys) = mpsc::channel(1);
        let stdin = std::io::stdin();
        let before = stdin.is_terminal().then(|| termios::tcgetattr(&stdin)).transpose()?;
        if let Some(before) = &before {
            // Keys come one by one and are not shown; Ctrl-C stays what it is.
            let mut keys = before.clone();
            keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            keys.special_codes[SpecialCodeIndex::VMIN] = 1;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            termios::tcsetattr(&stdin, OptionalActions::Now, &keys)?;
            std::thread::spawn(move || {
                let mut key = [0];
                while std::io::stdin().lock().read(&mut key).is_ok_and(|read| read == 1) {
                    if sender.blocking_send(key[0]).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { before, keys })
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    let size = termios::tcgetwinsize(std::io::stdout()).ok();
    size.filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// The page over what was there: each line is written over the former one and its rest erased, so that nothing flickers.
fn frame(page: &str, now: &str, (columns, lines): (usize, usize)) -> String {
    let mut text = String::from("\x1b[H");
    let head = format!("{now}  `q` ends this");
    let all: Vec<&str> = [head.as_str()].into_iter().chain(page.lines()).collect();
    let fit = lines.saturating_sub(1).max(1);
    let hidden = all.len().saturating_sub(fit);
    // The last line says what does not fit.
    let shown = if hidden > 0 { fit - 1 } else { all.len() };
    let more = (hidden > 0).then(|| format!("({} more lines: the terminal is too small)", all.len() - shown));
    for line in all.into_iter().take(shown).chain(more.as_deref()) {
        let line: String = line.chars().take(columns).collect();
        text.push_str(&line);
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_and_fits() {
        let page = "one\n\ntwo is long\nthree\n";
        let whole = frame(page, "12:00:00", (80, 24));
        assert_eq!(
            whole,
            "\x1b[H12:00:00  `q` ends this\x1b[K\none\x1b[K\n\x1b[K\ntwo is long\x1b[K\nthree\x1b[K\n\x1b[J"
        );
        let narrow = frame(page, "12:00:00", (3, 4));
        let lines: Vec<&str> = narrow.lines().collect();
        assert_eq!(lines, ["\x1b[H12:\x1b[K", "one\x1b[K", "(3 \x1b[K", "\x1b[J"]);
    }
}
