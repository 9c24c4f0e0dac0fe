//! `servers`: the server programs of this machine, which images are names of.

use crate::args::{Output, ServersCommand};
use crate::output;
use crate::program;
use crate::target::local::LocalPlatform;
use serde::Serialize;
use std::path::PathBuf;
use valkeeper_local::KnownBy;

/// `servers list -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    engine: String,
    version: String,
    from: &'static str,
    path: PathBuf,
}

pub(super) fn servers(platform: &LocalPlatform, command: &ServersCommand) -> anyhow::Result<()> {
    let state = platform.state_dir()?;
    match command {
        ServersCommand::List { output: Output { format } } => {
            let servers: Vec<Server> = program::list(&state)
                .into_iter()
                .map(|one| Server {
                    engine: one.program.engine,
                    version: one.program.version,
                    from: one.from,
                    path: one.program.path,
                })
                .collect();
            let mut rows = vec![["SERVER", "FROM", "PATH"].map(str::to_owned).to_vec()];
            rows.extend(servers.iter().map(|one| {
                vec![
                    format!("{} {}", one.engine, one.version),
                    one.from.to_owned(),
                    one.path.display().to_string(),
                ]
            }));
            output::value(*format, &servers, || output::columns(&rows))
        }
        ServersCommand::Add { path } => {
            let program = program::probed(&state, path)?;
            state.keep_server(&program, KnownBy::Added)?;
            eprintln!("added: {}", program.version());
            Ok(())
        }
    }
}
