//! Which server program: engine and version; and what of that an image's name says.

use crate::EngineKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A server program, by engine and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerVersion {
    /// Which engine.
    pub engine: EngineKind,
    /// `9.1.2`.
    pub version: String,
}

impl ServerVersion {
    /// Does it read what that one writes: a snapshot, an append-only file, a full copy?
    ///
    /// Each engine writes one version of the RDB format and reads those up to it; the formats of Redis from 7.4 on are its own
    /// (reference: RDB 9 is Redis 6.2, 10 Redis 7.0, 11 Redis 7.2 and Valkey up to 8, 80 Valkey 9).
    pub fn reads(&self, writer: &Self) -> bool {
        let foreign = |one: &Self| matches!(one.rdb(), 12..80);
        writer.rdb() <= self.rdb() && (!foreign(writer) || foreign(self))
    }

    /// The version of the RDB format that it writes.
    fn rdb(&self) -> u32 {
        let of_redis = |(major, minor): (u32, u32)| match (major, minor) {
            (0..=6, _) => 9,
            (7, 0..=1) => 10,
            (7, 2..=3) => 11,
            _ => 12,
        };
        match (self.engine, numbers(&self.version)) {
            (EngineKind::Redis, numbers) => of_redis(numbers),
            (EngineKind::Valkey, (0..=8, _)) => 11,
            (EngineKind::Valkey, _) => 80,
        }
    }

    /// Of two versions of an engine, is this the newer?
    pub fn is_newer_than(&self, other: &Self) -> bool {
        parts(&self.version) > parts(&other.version)
    }
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = parts(version).into_iter();
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            EngineKind::Valkey => "valkey",
            EngineKind::Redis => "redis",
        };
        write!(f, "{engine} {}", self.version)
    }
}

/// What an image's name says of the server in it: `valkey/valkey:9.1` is any Valkey 9.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersion {
    /// The engine, if the image is called after one.
    engine: Option<EngineKind>,
    /// The numbers that its tag begins with; none for `latest` and without a tag.
    version: Vec<u32>,
}

impl ImageVersion {
    /// Of that image.
    pub fn of(image: &str) -> Self {
        let name = image.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        let (name, tag) = last.split_once(':').unwrap_or((last, ""));
        let engine = match name {
            name if name.contains("valkey") => Some(EngineKind::Valkey),
            name if name.contains("redis") => Some(EngineKind::Redis),
            _ => None,
        };
        let digits = |c: char| !(c.is_ascii_digit() || c == '.');
        Self { engine, version: parts(tag.split(digits).next().unwrap_or_default()) }
    }

    /// Which server it is, as far as its data format is told by that: of Redis 7 the minor version decides.
    pub fn server(&self) -> Option<ServerVersion> {
        let engine = self.engine?;
        let needed = if engine == EngineKind::Redis { 2 } else { 1 };
        let version = self.version.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        (self.version.len() >= needed).then_some(ServerVersion { engine, version })
    }

    /// Is it that one?
    pub fn is(&self, server: &ServerVersion) -> bool {
        self.engine.is_none_or(|engine| engine == server.engine)
            && parts(&server.version).starts_with(&self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valkey(version: &str) -> ServerVersion {
        ServerVersion { engine: EngineKind::Valkey, version: version.to_owned() }
    }

    fn redis(version: &str) -> ServerVersion {
        ServerVersion { engine: EngineKind::Redis, version: version.to_owned() }
    }

    #[test]
    fn who_reads_what() {
        assert!(valkey("9.1.2").reads(&valkey("9.0.0")) && valkey("9.0.0").reads(&valkey("9.1.2")));
        assert!(valkey("9.1.2").reads(&redis("7.0.15")) && !redis("7.0.15").reads(&valkey("9.1.2")));
        assert!(!valkey("8.1.4").reads(&valkey("9.0.0")) && valkey("8.1.4").reads(&redis("7.2.5")));
        assert!(!redis("6.2.14").reads(&redis("7.0.0")) && !redis("7.0.15").reads(&redis("7.2.0")));
        // Redis 7.4 has formats of its own, which Valkey does not read whatever their number.
        assert!(!valkey("9.1.2").reads(&redis("7.4.0")));
    }

    #[test]
    fn an_image_names_a_version() {
        let is = |image: &str, server: &ServerVersion| ImageVersion::of(image).is(server);
        for image in
            ["valkey/valkey:9.1.2", "valkey/valkey:9.1", "docker.io:5000/valkey:9.1.2-alpine@sha256:0"]
        {
            assert!(is(image, &valkey("9.1.2")) && !is(image, &valkey("9.0.0")), "{image}");
            assert!(!is(image, &redis("9.1.2")), "{image}");
        }
        assert!(is("valkey/valkey", &valkey("9.0.0")) && is("valkey/valkey:latest", &valkey("9.0.0")));
        let server = |image: &str| ImageVersion::of(image).server();
        assert_eq!(server("valkey/valkey:9-alpine"), Some(valkey("9")));
        assert_eq!(server("redis:7.4.1"), Some(redis("7.4.1")));
        for image in ["redis:7", "redis", "valkey/valkey:latest", "own/server:7.0"] {
            assert_eq!(server(image), None, "{image}");
        }
        assert!(is("own/server:7.0", &redis("7.0.15")) && !is("valkey/valkey:9.1", &valkey("9.10.0")));
    }
}
