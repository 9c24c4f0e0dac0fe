//! Where a supervisor serves the metrics of its instances.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::str::FromStr;

/// An address to listen on: a host, which may be a name, and a port. Port 0: any that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsAddress {
    host: String,
    port: u16,
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetricsAddress {
    /// Nothing before the colon.
    #[error(
        "no host before the port: 127.0.0.1:PORT is this machine alone, 0.0.0.0:PORT everybody who reaches it"
    )]
    NoHost,
    /// No number that is a port.
    #[error("no port from 0 to 65535 at its end: PORT or HOST:PORT is wanted, like 9121 or 127.0.0.1:9121")]
    NoPort,
    /// An address with colons that is not told from its port.
    #[error("an IPv6 address goes into brackets: [::1]:9121")]
    NoBrackets,
}

impl FromStr for MetricsAddress {
    type Err = InvalidMetricsAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMetricsAddress> {
        let port = |text: &str| text.parse().map_err(|_| InvalidMetricsAddress::NoPort);
        let Some((host, after)) = text.rsplit_once(':') else {
            return Ok(Self { host: Ipv4Addr::LOCALHOST.to_string(), port: port(text)? });
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        if host.is_empty() {
            return Err(InvalidMetricsAddress::NoHost);
        }
        if inner.is_none() && host.contains(':') {
            return Err(InvalidMetricsAddress::NoBrackets);
        }
        Ok(Self { host: host.to_owned(), port: port(after)? })
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl MetricsAddress {
    /// Listens there. A name is resolved, and its first address that can be listened on is taken.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let found: Vec<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let listener = TcpListener::bind(&found[..])?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine() {
        let read = |text: &str| text.parse::<MetricsAddress>().map(|address| address.to_string());
        let well = [
            ("9121", "127.0.0.1:9121"),
            ("0", "127.0.0.1:0"),
            ("localhost:9121", "localhost:9121"),
            ("0.0.0.0:9121", "0.0.0.0:9121"),
            ("[::1]:9121", "[::1]:9121"),
        ];
        for (text, wanted) in well {
            assert_eq!(read(text).as_deref(), Ok(wanted), "{text}");
        }
        let (no_host, no_port) = (InvalidMetricsAddress::NoHost, InvalidMetricsAddress::NoPort);
        for (text, why) in [
            (":9121", no_host.clone()),
            ("[]:9121", no_host),
            ("localhost", no_port.clone()),
            ("localhost:", no_port.clone()),
            ("65536", no_port.clone()),
            ("", no_port),
            ("::1:9121", InvalidMetricsAddress::NoBrackets),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_and_port_0_a_free_one() {
        let any: MetricsAddress = "0".parse().unwrap();
        let first = any.listen().unwrap();
        let port = first.local_addr().unwrap().port();
        let taken: MetricsAddress = port.to_string().parse().unwrap();
        assert_eq!(taken.listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
