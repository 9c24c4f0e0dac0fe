//! The scripts in tests/scenarios, each with its transcript beside it. `UPDATE=1 cargo test -p valkeeper-sim scripts::`
//! writes the transcripts anew: read the difference as you would read code.

use std::fs;
use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut scripts: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    scripts.sort();
    scripts
}

#[test]
fn scripts_play_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for script in scripts() {
        let name = script.file_stem().unwrap().to_string_lossy().into_owned();
        let scenario = valkeeper_sim::scenario::parse(&fs::read_to_string(&script).unwrap());
        let (outcome, unmet) = scenario.unwrap_or_else(|error| panic!("{name}: {error}")).play();
        wrong.extend(unmet.into_iter().map(|what| format!("{name}: {what}")));
        let transcript = outcome.transcript.join("\n") + "\n";
        let golden = script.with_extension("golden");
        if update {
            fs::write(&golden, &transcript).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != transcript {
            wrong.push(format!("{name}: its transcript differs; UPDATE=1 writes it anew"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
