//! What happened to a cluster on this machine, and what its servers say: both are files.

use crate::boxed::Boxed;
use crate::called::called;
use crate::document::event::{Event, What};
use crate::failure::{Failure, Kind};
use crate::output;
use crate::target::{Feed, LogPart};
use anyhow::Context as _;
use jiff::Timestamp;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;
use valkeeper_local::{ClusterDir, EventLine, EventLog};
use valkeeper_model::InstanceName;

/// Between looks at a file that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Lines are looked for in so many bytes from the end.
const TAIL: u64 = 1 << 20;

pub(super) fn event(line: EventLine) -> Event {
    Event { at: line.at, what: What::Whole(line.happened), message: line.message, count: None }
}

/// Events that come after a moment.
pub(super) struct EventsAfter {
    pub(super) log: EventLog,
    pub(super) shown: Option<Timestamp>,
}

impl Feed<Vec<Event>> for EventsAfter {
    fn next(&mut self) -> Boxed<'_, Vec<Event>> {
        Box::pin(async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let mut new = self.log.read()?;
                new.retain(|line| self.shown.is_none_or(|at| line.at > at));
                if let Some(last) = new.last() {
                    self.shown = Some(last.at);
                    return Ok(new.into_iter().map(event).collect());
                }
            }
        })
    }
}

/// A server's log: its last lines, and then what comes if that is wanted.
pub(super) struct LogFile {
    file: File,
    tail: Option<String>,
    part: LogPart,
}

impl LogFile {
    pub(super) fn open(dir: &ClusterDir, instance: &InstanceName, part: LogPart) -> anyhow::Result<Self> {
        if !dir.layout()?.is_some_and(|layout| layout.placed().any(|name| name == instance)) {
            let what = format!("there is no instance or Sentinel `{instance}`");
            return Err(Failure::new(Kind::Usage, what, format!("`{} status` lists them", called())).into());
        }
        Self::read(&dir.server(instance).log(), part)
    }

    fn read(path: &Path, part: LogPart) -> anyhow::Result<Self> {
        let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let last = all.get(all.len().saturating_sub(part.lines)..).unwrap_or_default();
        Ok(Self { file, tail: Some(output::lines(last)), part })
    }
}

impl Feed<Option<Vec<u8>>> for LogFile {
    fn next(&mut self) -> Boxed<'_, Option<Vec<u8>>> {
        Box::pin(async {
            if let Some(tail) = self.tail.take() {
                return Ok(Some(tail.into_bytes()));
            }
            if !self.part.follow {
                return Ok(None);
            }
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let mut more = Vec::new();
                self.file.read_to_end(&mut more)?;
                if !more.is_empty() {
                    return Ok(Some(String::from_utf8_lossy(&more).into_owned().into_bytes()));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn a_log_is_its_last_lines_and_then_what_comes() {
        let path = std::env::temp_dir().join(format!("valkeeper-log-{}", std::process::id()));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut once = LogFile::read(&path, LogPart { lines: 2, follow: false }).unwrap();
        let mut followed = LogFile::read(&path, LogPart { lines: 0, follow: true }).unwrap();
        let mut more = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        more.write_all(b"four\n").unwrap();
        assert_eq!(once.next().await.unwrap().as_deref(), Some(b"two\nthree\n".as_slice()));
        assert_eq!(once.next().await.unwrap(), None);
        assert_eq!(followed.next().await.unwrap().as_deref(), Some(b"".as_slice()));
        assert_eq!(followed.next().await.unwrap().as_deref(), Some(b"four\n".as_slice()));
        std::fs::remove_file(&path).unwrap();
    }
}
