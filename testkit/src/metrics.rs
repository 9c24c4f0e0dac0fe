//! What a supervisor serves as metrics.

use crate::cluster::Cluster;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer must have come by then.
const WITHIN: Duration = Duration::from_secs(15);

/// The samples of one look.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// As they were told.
    pub text: String,
}

impl Metrics {
    /// The value of a metric of one instance.
    pub fn of(&self, metric: &str, instance: &str) -> Option<f64> {
        let label = format!("instance=\"{instance}\"");
        let line = self.text.lines().find(|line| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')) && line.contains(&label)
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

impl Cluster<'_> {
    /// Where its supervisor serves metrics, by `status`.
    pub fn metrics_port(&self) -> u16 {
        self.until("status tells where metrics are", || {
            let status: serde_json::Value =
                serde_json::from_str(&self.run(&["status", "-o", "json"]).out).ok()?;
            status["metrics"].as_str()?.rsplit_once(':')?.1.parse().ok()
        })
    }

    /// What is served there now.
    pub fn metrics(&self, port: u16) -> Metrics {
        let answer = http(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| self.fail(&answer));
        let kind = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        self.check(head.starts_with("HTTP/1.1 200 ") && head.contains(kind), head);
        Metrics { text: text.to_owned() }
    }
}

/// What is answered to these bytes, until the connection ends.
pub fn http(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a timeout can be set");
    stream.write_all(request).expect("a request can be sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
