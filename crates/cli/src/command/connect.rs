//! `connect`: how clients reach the cluster. The password is never printed, only where it stands (law 11).

use crate::args::{Args, Format};
use crate::{output, target};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    seeds: Vec<String>,
    username: &'static str,
    password_file: PathBuf,
}

pub(crate) fn connect(args: &Args, format: Format) -> anyhow::Result<()> {
    let dir = target::cluster(args)?;
    let seeds: Vec<String> = dir.addresses()?.values().map(ToString::to_string).collect();
    let connect = Connect { seeds, username: "default", password_file: dir.password_path() };
    output::value(format, &connect, || {
        let first = connect.seeds.first().map_or("-", String::as_str);
        format!(
            "url       redis://default@{first} (a cluster: use a client that knows clusters)\nseeds     {}\nusername  default\n\
             password  in {}\n\nexample   valkey-cli -c -u redis://default:$(cat {})@{first}\n",
            connect.seeds.join(" "),
            connect.password_file.display(),
            connect.password_file.display(),
        )
    })
}
