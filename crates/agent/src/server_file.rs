//! The configuration file of one server. It holds the password, so that no process list does (law 11).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use valkeeper_client::Password;
use valkeeper_model::Address;
use valkeeper_plan::server::config::Directive;

/// Where things of one server are.
pub(crate) struct Places<'a> {
    pub(crate) data: &'a Path,
    pub(crate) log: &'a Path,
}

/// Whom the server lets in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LetsIn<'a> {
    /// Who has this password.
    pub(crate) wanted: &'a Password,
    /// And who has this one, while a changed password is on its way to all.
    pub(crate) former: Option<&'a Password>,
    /// What it follows its primary with, if that is of another cluster.
    pub(crate) source: Option<&'a Password>,
}

/// The text of the file. Directives of the cluster come first, then what is the instance's own and nobody may change.
pub(crate) fn render(
    directives: &[Directive],
    own: &[Directive],
    address: &Address,
    places: &Places<'_>,
    lets_in: LetsIn<'_>,
    knows: impl Fn(&str) -> bool,
) -> String {
    let mut text = String::from("# Written by valkeeper at each start. Change the manifest instead.\n");
    write_directives(&mut text, directives.iter().filter(|(name, _)| knows(name)));
    let mut line = |name: &str, value: &str| write_line(&mut text, name, value);
    line("port", &address.port.to_string());
    line("bind", &address.ip.to_string());
    // Of two lines of one name the engine takes the last.
    for (name, value) in own.iter().filter(|(name, _)| knows(name)) {
        line(name, value);
    }
    if address.bus_port != address.port.wrapping_add(Address::BUS_OFFSET) {
        line("cluster-port", &address.bus_port.to_string());
    }
    line("protected-mode", "no");
    line("daemonize", "no");
    line("dir", &quoted(&places.data.to_string_lossy()));
    line("logfile", &quoted(&places.log.to_string_lossy()));
    line("cluster-config-file", "nodes.conf");
    line("dbfilename", "dump.rdb");
    // A server that accepts both shows the former one, as one does to which the wanted one was added while it ran.
    let shown = lets_in.former.unwrap_or(lets_in.wanted);
    line("requirepass", &quoted(shown.reveal()));
    line("masterauth", &quoted(lets_in.source.unwrap_or(shown).reveal()));
    if let Some(former) = lets_in.former {
        let rules = [former, lets_in.wanted].map(|one| quoted(&format!(">{}", one.reveal())));
        line("user", &format!("default on {} ~* &* +@all", rules.join(" ")));
    }
    text
}

/// The file of a server that only tries directives: on a socket in its own folder, with nothing listening and nothing kept. Not in
/// cluster mode: there a server listens on port 10000 even if its own port is 0.
pub(crate) fn render_trial<'a>(directives: impl Iterator<Item = &'a Directive>, folder: &Path) -> String {
    let mut text = String::new();
    write_directives(&mut text, directives);
    let mut line = |name: &str, value: &str| write_line(&mut text, name, value);
    for (name, value) in [
        ("cluster-enabled", "no"),
        ("port", "0"),
        ("appendonly", "no"),
        ("save", ""),
        ("protected-mode", "no"),
    ] {
        line(name, value);
    }
    line("dir", &quoted(&folder.to_string_lossy()));
    line("unixsocket", &quoted(&folder.join("s").to_string_lossy()));
    // What it says of mistakes goes where its output goes.
    line("logfile", "");
    line("daemonize", "no");
    text
}

fn write_line(text: &mut String, name: &str, value: &str) {
    let value = if value.is_empty() { "\"\"" } else { value };
    let _ = writeln!(text, "{name} {value}");
}

fn write_directives<'a>(text: &mut String, directives: impl Iterator<Item = &'a Directive>) {
    for (name, value) in directives {
        if name == "save" && !value.is_empty() {
            // One line each: older engines take only one pair a line.
            let fields: Vec<&str> = value.split_whitespace().collect();
            for pair in fields.chunks(2) {
                write_line(text, name, &pair.join(" "));
            }
        } else {
            write_line(text, name, value);
        }
    }
}

/// The password in a file that was rendered here and parsed.
pub(crate) fn password(parsed: &BTreeMap<String, String>) -> Option<Password> {
    unquoted(parsed.get("requirepass")?).map(Password::new)
}

/// The directives in a file that was rendered here. Several `save` lines are one directive.
pub(crate) fn parse(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
    {
        let value = if value == "\"\"" { "" } else { value };
        found
            .entry(name.to_owned())
            .and_modify(|all| *all = format!("{all} {value}"))
            .or_insert_with(|| value.to_owned());
    }
    found
}

/// In double quotes, as the engine's own parser (`sdssplitargs`) takes it: a line break in a password would begin another directive.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What was [`quoted`]; files of older versions have passwords without quotes.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Some(text.to_owned());
    };
    let mut plain = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                'x' => {
                    let code: String = [rest.next()?, rest.next()?].iter().collect();
                    plain.push(char::from(u8::from_str_radix(&code, 16).ok()?));
                }
                c => plain.push(c),
            },
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_started_while_a_password_changes_accepts_both() {
        let [wanted, former] = ["new one", "old"].map(Password::new);
        let address = Address { ip: std::net::Ipv4Addr::LOCALHOST.into(), port: 7101, bus_port: 17101 };
        let places = Places { data: Path::new("/d"), log: Path::new("/l") };
        let file = |lets_in| render(&[], &[], &address, &places, lets_in, |_| true);
        let both = file(LetsIn { wanted: &wanted, former: Some(&former), source: None });
        assert!(both.contains("\nuser default on \">old\" \">new one\" ~* &* +@all\n"), "{both}");
        assert_eq!(password(&parse(&both)).as_ref(), Some(&former));
        let one = file(LetsIn { wanted: &wanted, former: None, source: None });
        assert!(!one.contains("user ") && !one.contains("old"), "{one}");
    }

    #[test]
    fn a_password_is_one_word_of_one_line_and_is_read_back() {
        for text in ["plain", "s3 cret", "a\"b\\c'd#e", "two\nport 1\r\n", "\u{7f}\u{1}ü", "\\x41"] {
            let file = quoted(text);
            assert!(!file.contains(|c: char| c.is_ascii_control()), "{file:?}");
            assert_eq!(unquoted(&file).as_deref(), Some(text));
        }
        assert_eq!(unquoted("older"), Some("older".to_owned()));
        assert_eq!(unquoted("\"half\\x4\""), None);
    }
}
