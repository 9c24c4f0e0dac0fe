//! Where a server is reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use valkeeper_model::Address;

/// Host and port. The host may be a name: servers can announce one, and clients outside a cluster know no other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// An address or a name, without brackets.
    pub host: String,
    /// The clients' port.
    pub port: u16,
}

/// A text that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not host:port")]
pub struct InvalidEndpoint(String);

impl Endpoint {
    /// From both parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The socket address, if the host is an IP address.
    pub fn socket(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| (ip, self.port).into())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        Self { host: socket.ip().to_string(), port: socket.port() }
    }
}

impl From<&Address> for Endpoint {
    fn from(address: &Address) -> Self {
        address.socket().into()
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;
    /// `host:port`; an IPv6 address with or without brackets, as the engine writes it in `MOVED`.
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let wrong = || InvalidEndpoint(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_write() {
        for (text, host, port) in [
            ("127.0.0.1:7000", "127.0.0.1", 7000),
            ("::1:7000", "::1", 7000),
            ("[::1]:1", "::1", 1),
            ("a.b:2", "a.b", 2),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap(), Endpoint::new(host, port));
        }
        for text in ["", "a", "a:", ":7000", "a:70000"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        assert_eq!(Endpoint::new("::1", 7).to_string(), "[::1]:7");
    }
}
