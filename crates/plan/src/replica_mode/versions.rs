//! Which versions can follow which.

use valkeeper_model::EngineKind;

/// Can a server of our version read the full copy that a source sends it? What no number tells is tried.
///
/// Formats of RDB: 10 by Redis 7.0; 11 by Redis 7.2 and Valkey 7.2 to 8.1; 12 and more by Redis from 7.4 on, which Valkey does not read; 80 by
/// Valkey 9.0, and by Valkey 9.1 to replicas that say that they are of 9.0 or newer. Every server reads the older formats of its line.
pub(super) fn reads(ours: &str, engine: EngineKind, theirs: &str) -> bool {
    let (Some(ours), Some(theirs)) = (number(ours), number(theirs)) else { return true };
    let sent = match (engine, theirs) {
        (EngineKind::Valkey, (9, 0)) => 80,
        (EngineKind::Valkey, (9.., _)) => {
            if ours >= (9, 0) {
                80
            } else {
                11
            }
        }
        (EngineKind::Redis, (8.., _) | (7, 4..)) => 12,
        (_, (..=6, _)) => 9,
        (_, (7, 0 | 1)) => 10,
        (_, (7 | 8, _)) => 11,
    };
    match ours {
        (..=6, _) => sent <= 9,
        (7, 0 | 1) => sent <= 10,
        (7, 4..) => sent <= 12,
        (7 | 8, _) => sent <= 11,
        (9.., _) => sent <= 11 || sent == 80,
    }
}

fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineKind::{Redis, Valkey};

    #[test]
    fn older_servers_follow_newer_ones_only_where_they_can_read_their_copies() {
        for (ours, engine, theirs, expected) in [
            ("9.1.2", Valkey, "9.1.2", true),
            ("9.1.2", Redis, "7.0.15", true),
            ("9.1.2", Redis, "7.2.5", true),
            ("9.1.2", Redis, "7.4.0", false),
            ("9.1.2", Redis, "8.0.1", false),
            ("9.0.0", Valkey, "9.1.2", true),
            ("8.1.1", Valkey, "9.0.0", false),
            ("8.1.1", Valkey, "9.1.2", true),
            ("7.0.15", Valkey, "9.1.2", false),
            ("7.0.15", Redis, "7.0.15", true),
            ("7.0.15", Valkey, "8.0.0", false),
            ("unstable", Valkey, "9.1.2", true),
        ] {
            assert_eq!(reads(ours, engine, theirs), expected, "{ours} follows {engine:?} {theirs}");
        }
    }
}
