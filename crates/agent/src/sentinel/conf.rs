//! A Sentinel's file. The Sentinel writes it anew itself; what it has learned stays in it when it is rendered for another start.

use crate::server_file::quoted;
use std::fmt::Write as _;
use std::path::Path;
use valkeeper_client::Password;
use valkeeper_model::{Followed, SentinelOrder};
use valkeeper_plan::mode::sentinel::{DOWN_AFTER_MS, USER};

/// What a Sentinel has learned, as its file says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Learned {
    /// Where the primary is.
    primary: Option<Followed>,
    /// `config-epoch`, `leader-epoch` and `current-epoch`, in the words of the file.
    epochs: Vec<String>,
}

impl Learned {
    /// From the file of its last run. What cannot be read there is learned again.
    pub(super) fn read(text: &str, name: &str) -> Self {
        let mut learned = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["sentinel", "monitor", of, host, port, _] if of == name => {
                    let host = host.to_owned();
                    learned.primary = port.parse().ok().map(|port| Followed { host, port });
                }
                ["sentinel", "config-epoch" | "leader-epoch", of, _] if of == name => {
                    learned.epochs.push(line.trim().to_owned());
                }
                ["sentinel", "current-epoch", _] => learned.epochs.push(line.trim().to_owned()),
                _ => {}
            }
        }
        learned
    }
}

/// Whom a Sentinel lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passwords {
    /// Who has this password. With it the Sentinel logs in elsewhere, too.
    pub(super) wanted: Password,
    /// And who has this one, while clients learn of a changed one.
    pub(super) former: Option<Password>,
}

/// Where the files of one Sentinel are.
pub(super) struct Places<'a> {
    pub(super) data: &'a Path,
    pub(super) log: &'a Path,
    pub(super) pid_file: &'a Path,
}

/// The text of the file; `None` while it is not known where the Sentinel is to listen, or where any primary is.
pub(super) fn render(
    order: &SentinelOrder,
    learned: &Learned,
    passwords: &Passwords,
    places: &Places<'_>,
) -> Option<String> {
    let myself = order.myself()?;
    let at = myself.address.as_ref()?;
    // A primary that is none of the servers' addresses any more would be asked for in vain.
    let is_server = |primary: &&Followed| order.servers.values().any(|address| primary.is_at(address));
    let founder = order.servers.get(&order.founder)?;
    let founder = Followed { host: founder.ip.to_string(), port: founder.port };
    let primary = learned.primary.as_ref().filter(is_server).unwrap_or(&founder);
    let name = order.name.as_str();
    let mut text = String::from("# Written by valkeeper at each start, and by the Sentinel.\n");
    let mut line = |words: String| _ = writeln!(text, "{words}");
    line(format!("port {}", at.port));
    line(format!("bind {}", at.ip));
    line("protected-mode no".to_owned());
    line("daemonize no".to_owned());
    line(format!("dir {}", path(places.data)));
    line(format!("logfile {}", path(places.log)));
    line(format!("pidfile {}", path(places.pid_file)));
    let password = quoted(passwords.wanted.reveal());
    line(format!("requirepass {password}"));
    if let Some(former) = &passwords.former {
        let rules = [&passwords.wanted, former].map(|one| quoted(&format!(">{}", one.reveal())));
        line(format!("user default on {} ~* &* +@all", rules.join(" ")));
    }
    line(format!("sentinel sentinel-pass {password}"));
    line(format!("sentinel myid {}", myself.id));
    line(format!("sentinel monitor {name} {} {} {}", primary.host, primary.port, order.quorum));
    line(format!("sentinel auth-user {name} {USER}"));
    line(format!("sentinel auth-pass {name} {password}"));
    line(format!("sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}"));
    for (_, other) in order.sentinels.iter().filter(|(sentinel, _)| **sentinel != order.sentinel) {
        if let Some(address) = &other.address {
            line(format!("sentinel known-sentinel {name} {} {} {}", address.ip, address.port, other.id));
        }
    }
    for address in order.servers.values().filter(|address| !primary.is_at(address)) {
        line(format!("sentinel known-replica {name} {} {}", address.ip, address.port));
    }
    for epoch in &learned.epochs {
        line(epoch.clone());
    }
    Some(text)
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

    use super::*;
    use std::collections::BTreeMap;
    use valkeeper_model::{Address, ClusterId, Format, Generation, InstanceName, NodeId, SentinelMember};

    fn address(port: u16) -> Address {
        Address { ip: std::net::Ipv4Addr::LOCALHOST.into(), port, bus_port: 0 }
    }

    fn order() -> SentinelOrder {
        let sentinel = |n: u8| -> InstanceName { format!("c-sentinel-{n}").parse().unwrap() };
        let server = |n: u8| -> InstanceName { format!("c-{n}").parse().unwrap() };
        let member = |n: u8| SentinelMember {
            id: NodeId::from_bytes([n; 20]),
            address: Some(address(100 + u16::from(n))),
        };
        SentinelOrder {
            format: Format,
            generation: Generation(1),
            cluster: ClusterId::from_bytes([9; 20]),
            name: "c".parse().unwrap(),
            sentinel: sentinel(0),
            quorum: 2,
            sentinels: (0..3).map(|n| (sentinel(n), member(n))).collect(),
            servers: BTreeMap::from([(server(0), address(1)), (server(1), address(2))]),
            founder: server(0),
        }
    }

    fn text(learned: &Learned) -> String {
        let places = Places { data: Path::new("/d"), log: Path::new("/l"), pid_file: Path::new("/p") };
        let passwords = Passwords { wanted: Password::new("a \"word\""), former: None };
        render(&order(), learned, &passwords, &places).unwrap()
    }

    #[test]
    fn the_first_file_names_the_founder_and_all_others() {
        let text = text(&Learned::default());
        for line in [
            "sentinel monitor c 127.0.0.1 1 2",
            "sentinel known-replica c 127.0.0.1 2",
            "requirepass \"a \\\"word\\\"\"",
            "sentinel known-sentinel c 127.0.0.1 102 0202020202020202020202020202020202020202",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        assert!(!text.contains("known-sentinel c 127.0.0.1 100"), "it knows itself: {text}");
    }

    #[test]
    fn what_it_has_learned_stays() {
        let before =
            "sentinel monitor c 127.0.0.1 2 2\nsentinel config-epoch c 7\nsentinel current-epoch 4\n";
        let again = text(&Learned::read(before, "c"));
        for line in [
            "sentinel monitor c 127.0.0.1 2 2",
            "sentinel config-epoch c 7",
            "sentinel known-replica c 127.0.0.1 1",
        ] {
            assert!(again.lines().any(|one| one == line), "{line}: {again}");
        }
        assert_eq!(Learned::read(&again, "c"), Learned::read(before, "c"));
    }

    #[test]
    fn a_primary_that_is_no_server_any_more_is_not_monitored() {
        let learned = Learned::read("sentinel monitor c 127.0.0.1 77 2\n", "c");
        assert!(text(&learned).contains("sentinel monitor c 127.0.0.1 1 2"));
    }
}
