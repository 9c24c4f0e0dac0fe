//! `MOVED` and `ASK`: the server's word for where a slot is.

use crate::Endpoint;

/// What the reply tells a client to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot lives there.
    Moved(Endpoint),
    /// This one key may be there: ask there, once, after `ASKING`.
    Ask(Endpoint),
}

impl Redirect {
    /// Reads an error reply: its code and the rest, `<slot> <host>:<port>`. A server that does not know its own name
    /// leaves the host out; then it is the one that was asked.
    pub(crate) fn read(code: &str, text: &str, asked: &Endpoint) -> Option<Self> {
        let place = text.split_once(' ')?.1;
        let (host, port) = place.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { &asked.host } else { host };
        let endpoint = Endpoint::new(host, port.parse().ok()?);
        match code {
            "MOVED" => Some(Self::Moved(endpoint)),
            "ASK" => Some(Self::Ask(endpoint)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds() {
        let asked = Endpoint::new("10.0.0.1", 7000);
        let read = |code, text| Redirect::read(code, text, &asked);
        assert_eq!(
            read("MOVED", "93 127.0.0.1:7001"),
            Some(Redirect::Moved(Endpoint::new("127.0.0.1", 7001)))
        );
        assert_eq!(read("ASK", "93 ::1:7001"), Some(Redirect::Ask(Endpoint::new("::1", 7001))));
        assert_eq!(read("MOVED", "93 :7001"), Some(Redirect::Moved(Endpoint::new("10.0.0.1", 7001))));
        assert_eq!(
            read("MOVED", "93 h.example:7001"),
            Some(Redirect::Moved(Endpoint::new("h.example", 7001)))
        );
        for (code, text) in [("MOVED", ""), ("MOVED", "93"), ("MOVED", "93 x"), ("CLUSTERDOWN", "93 a:1")] {
            assert_eq!(read(code, text), None);
        }
    }
}
