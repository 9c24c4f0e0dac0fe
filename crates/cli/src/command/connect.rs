//! `connect`: how clients reach the cluster. The password is never printed, only where it stands (law 11).

use crate::args::{Args, Format};
use crate::called::called;
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
    let dir = target::cluster(&args.common)?;
    let seeds: Vec<String> = dir.addresses()?.values().map(ToString::to_string).collect();
    if dir.supervisor().is_none() && dir.running_servers()?.is_empty() {
        eprintln!("note: cluster {} is down: `{} up FILE` starts it", dir.name(), called());
    }
    let connect = Connect { seeds, username: "default", password_file: dir.password_path() };
    output::value(format, &connect, || {
        let first = connect.seeds.first().map_or("-", String::as_str);
        let (host, port) = first.rsplit_once(':').unwrap_or((first, "-"));
        format!(
            "url       redis://default@{first} (a cluster: use a client that knows clusters)\nseeds     {}\nusername  default\n\
             password  in {}\n\nexample   REDISCLI_AUTH=\"$(cat {})\" valkey-cli -c -h {host} -p {port}\n",
            connect.seeds.join(" "),
            connect.password_file.display(),
            quoted(&connect.password_file.to_string_lossy()),
        )
    })
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(quoted("/a/b-c_1.d"), "/a/b-c_1.d");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
