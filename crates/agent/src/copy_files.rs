//! The files of a data directory that an engine would load, judged by the engine's own rules; and moving them out of its way.

use crate::{aof_head, rdb_header};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use valkeeper_model::{AofRecord, AofTail, CopySource, Slot};
use valkeeper_plan::agent::SetAside;
use valkeeper_plan::failover::copy::{AofFiles, DataFiles, RdbFile};

const RDB: &str = "dump.rdb";
/// Since Redis 7.0 the append-only file is a manifest and the files it names, in a directory of their own.
const AOF_DIR: &str = "appendonlydir";
const AOF_NAME: &str = "appendonly.aof";
const MANIFEST: &str = "appendonly.aof.manifest";
/// A manifest names a base, a few increments and what is left to be deleted.
const LONGEST_MANIFEST: u64 = 1 << 20;
/// The header and the first key of a snapshot. Function libraries come before the first key.
const HEADER: u64 = 256 << 10;

/// What the engine would find. An increment that has become shorter than it was when it was recorded lost what was acknowledged, and the
/// engine would load the rest without a word (`aof-load-truncated`).
pub(crate) fn inspect(data: &Path, record: Option<&AofRecord>) -> io::Result<DataFiles> {
    let mut aof = aof(data)?;
    let record = record.filter(|record| record.complete && aof == AofFiles::Whole);
    let lack = |tail: Option<&AofTail>| {
        let tail = tail?;
        let now = fs::metadata(data.join(AOF_DIR).join(&tail.file)).ok()?;
        (now.len() < tail.bytes)
            .then(|| format!("{} has {} of its {} bytes", tail.file, now.len(), tail.bytes))
    };
    let end_lost = lack(record.and_then(|record| record.unsynced_tail.as_ref())).is_some();
    if let Some(why) = lack(record.and_then(|record| record.tail.as_ref())) {
        aof = AofFiles::Short(why);
    }
    let aof_slot = if aof.is_loadable() { first_slot(data) } else { None };
    Ok(DataFiles { aof, end_lost, aof_slot, rdb: rdb(&data.join(RDB))? })
}

/// The slot of the first key of the base or, if that has none, of the first increment that has one. What cannot be read tells nothing: whether
/// it can be loaded is the engine's to say.
fn first_slot(data: &Path) -> Option<Slot> {
    let dir = data.join(AOF_DIR);
    let names = files_named(&fs::read_to_string(dir.join(MANIFEST)).ok()?).ok()?;
    names.iter().find_map(|name| {
        let mut head = Vec::new();
        File::open(dir.join(name)).ok()?.take(HEADER).read_to_end(&mut head).ok()?;
        rdb_header::parse(&head).slot.or_else(|| aof_head::first_slot(&head))
    })
}

/// The increment that the server writes to, with its length.
pub(crate) fn tail(data: &Path, server: ServerIs) -> io::Result<Option<AofTail>> {
    let dir = data.join(AOF_DIR);
    let Ok(text) = fs::read_to_string(dir.join(MANIFEST)) else { return Ok(None) };
    let last =
        files_named(&text).ok().and_then(|names| names.into_iter().rfind(|name| name.ends_with(".incr.aof")));
    let Some(file) = last else { return Ok(None) };
    let open = match File::open(dir.join(&file)) {
        Ok(open) => open,
        // A rewrite has ended meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = open.metadata()?.len();
    if server == ServerIs::Down {
        open.sync_data()?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(AofTail { file, bytes, at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX) }))
}

/// Does the server run whose files are looked at?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerIs {
    /// Its own sync each second would wait for another one, and with `appendfsync everysec` the server holds back what it has acknowledged
    /// while a sync goes on (up to 2 s, `aof.c`): a sync of ours would widen what a crash loses.
    Running,
    /// Nobody is disturbed by a sync.
    Down,
}

fn aof(data: &Path) -> io::Result<AofFiles> {
    let dir = data.join(AOF_DIR);
    if !exists(&dir)? {
        // One file, as up to Redis 6.2.
        return Ok(if exists(&data.join(AOF_NAME))? { AofFiles::Whole } else { AofFiles::Absent });
    }
    let manifest = dir.join(MANIFEST);
    let broken = |why: String| Ok(AofFiles::Broken(why));
    if !exists(&manifest)? {
        // Empty, or left by a first rewrite that did not end: the engine takes no notice of it.
        return match first_file(&dir)? {
            None => Ok(AofFiles::Absent),
            Some(name) => broken(format!("{name} is there and no {MANIFEST}")),
        };
    }
    if fs::metadata(&manifest)?.len() > LONGEST_MANIFEST {
        return broken(format!("{MANIFEST} is too large"));
    }
    let Ok(text) = String::from_utf8(fs::read(&manifest)?) else {
        return broken(format!("{MANIFEST} is not text"));
    };
    match files_named(&text) {
        Err(why) => broken(format!("{MANIFEST}: {why}")),
        Ok(names) => {
            for name in names {
                if !exists(&dir.join(&name))? {
                    return broken(format!("{MANIFEST} names {name}, which is not there"));
                }
            }
            Ok(AofFiles::Whole)
        }
    }
}

/// A file of an append-only file in that directory; temporary ones do not count.
fn first_file(dir: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.contains(".base.") || name.ends_with(".incr.aof") && !name.starts_with("temp-") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The base and the increments that a manifest names: lines of `file NAME seq N type b|i|h`, with comments.
fn files_named(manifest: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut lines = 0;
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        lines += 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |key: &str| {
            words.chunks_exact(2).find(|pair| pair[0].eq_ignore_ascii_case(key)).map(|pair| pair[1])
        };
        match (value("file"), value("seq").and_then(|seq| seq.parse::<u64>().ok()), value("type")) {
            (Some(name), Some(_), Some("b" | "i")) if !name.contains('/') => {
                names.push(name.trim_matches('"').to_owned());
            }
            (Some(_), Some(_), Some("h")) => {}
            _ => return Err(format!("line {lines} of the manifest is not one")),
        }
    }
    if lines == 0 { Err("the manifest is empty".to_owned()) } else { Ok(names) }
}

fn rdb(path: &Path) -> io::Result<Option<RdbFile>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = Vec::new();
    file.take(HEADER).read_to_end(&mut header)?;
    Ok(Some(rdb_header::parse(&header)))
}

fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Moves files out of the engine's way, within the data directory and so within its file system: a rename, whatever their size. What
/// was moved before by a start that was cut short stays where it is.
pub(crate) fn set_aside(data: &Path, aside: &SetAside) -> io::Result<()> {
    let names: &[&str] = match aside.what {
        CopySource::Aof => &[AOF_DIR, AOF_NAME],
        CopySource::Rdb => &[RDB],
        CopySource::Nothing => &[],
    };
    let folder: PathBuf = data.join(&aside.folder);
    crate::data_dir::make_private_dir(&folder)?;
    for name in names {
        if exists(&data.join(name))? {
            fs::rename(data.join(name), folder.join(name))?;
        }
    }
    File::open(&folder)?.sync_all()?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(files: &[(&str, &str)]) -> AofFiles {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join(AOF_DIR);
        fs::create_dir(&dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
        aof(place.path()).unwrap()
    }

    const BASE: &str = "appendonly.aof.1.base.rdb";
    const INCREMENT: &str = "appendonly.aof.1.incr.aof";

    #[test]
    fn an_append_only_file_is_what_its_manifest_names() {
        let manifest = format!("file {BASE} seq 1 type b\nfile {INCREMENT} seq 1 type i\n");
        assert_eq!(judged(&[(MANIFEST, &manifest), (BASE, ""), (INCREMENT, "")]), AofFiles::Whole);
        assert!(matches!(judged(&[(MANIFEST, &manifest), (INCREMENT, "x")]), AofFiles::Broken(_)));
        assert!(matches!(judged(&[(MANIFEST, "\0\0"), (BASE, "")]), AofFiles::Broken(_)));
        assert!(matches!(judged(&[(MANIFEST, ""), (BASE, "")]), AofFiles::Broken(_)));
        assert!(matches!(judged(&[(BASE, "x"), (INCREMENT, "x")]), AofFiles::Broken(_)));
        assert_eq!(judged(&[]), AofFiles::Absent);
        assert_eq!(judged(&[("temp-appendonly.aof.incr", "x")]), AofFiles::Absent);
    }

    #[test]
    fn history_files_may_be_gone() {
        let manifest = format!("file old.aof seq 1 type h\nfile {BASE} seq 2 type b\n");
        assert_eq!(judged(&[(MANIFEST, &manifest), (BASE, "")]), AofFiles::Whole);
    }
}
