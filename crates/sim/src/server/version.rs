//! What server programs of some version can do. All of these have `FAILOVER`, which came with Redis 6.2.

use std::fmt;

/// A version of the server program, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Redis 7.0.
    Redis70,
    /// Redis 7.2.
    Redis72,
    /// Valkey 7.2.
    Valkey72,
    /// Valkey 8.0.
    Valkey80,
    /// Valkey 8.1.
    Valkey81,
    /// Valkey 9.0.
    Valkey90,
    /// Valkey 9.1.
    Valkey91,
}

/// The version of a dump's format: of a dump.rdb, the base of an append-only file, or a full synchronisation.
pub type DumpFormat = u8;

impl Version {
    /// `CLUSTER MIGRATESLOTS`.
    pub fn migrates_slots(self) -> bool {
        self >= Self::Valkey90
    }

    /// Does `CLUSTER FORGET` on one server spread to the others?
    pub fn spreads_forgetting(self) -> bool {
        self >= Self::Redis72
    }

    /// Is an election's delay a part of the node timeout? It was 500 to 1,000 ms, and a second more for each rank.
    pub fn scales_election_delay(self) -> bool {
        self >= Self::Valkey90
    }

    /// The format that it writes.
    pub fn dump_format(self) -> DumpFormat {
        match self {
            Self::Redis70 => 10,
            Self::Redis72 | Self::Valkey72 | Self::Valkey80 | Self::Valkey81 => 11,
            Self::Valkey90 | Self::Valkey91 => 80,
        }
    }

    /// Does it read this format? 12 to 79 are another product's.
    pub fn loads(self, format: DumpFormat) -> bool {
        format <= self.dump_format() && !(12..80).contains(&format)
    }

    /// The format of a full synchronisation for a replica of that version: 9.1 takes an older one for an older replica, 9.0 does not.
    pub fn dump_format_for(self, replica: Self) -> DumpFormat {
        if self >= Self::Valkey91 && replica < Self::Valkey90 { 11 } else { self.dump_format() }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis70 => "7.0.15",
            Self::Redis72 => "7.2.4",
            Self::Valkey72 => "7.2.5",
            Self::Valkey80 => "8.0.1",
            Self::Valkey81 => "8.1.4",
            Self::Valkey90 => "9.0.4",
            Self::Valkey91 => "9.1.2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Version::{Redis70, Redis72, Valkey72, Valkey81, Valkey90, Valkey91};
    use super::*;

    #[test]
    fn slots_migrate_from_9_0_on() {
        assert!(!Valkey81.migrates_slots() && Valkey90.migrates_slots() && Valkey91.migrates_slots());
        assert!(!Redis70.spreads_forgetting() && Redis72.spreads_forgetting());
    }

    #[test]
    fn a_dump_is_loaded_by_the_same_version_and_newer_ones() {
        let all = [Redis70, Redis72, Valkey72, Version::Valkey80, Valkey81, Valkey90, Valkey91];
        for (nth, older) in all.iter().enumerate() {
            assert!(all[nth..].iter().all(|newer| newer.loads(older.dump_format())), "{older}");
        }
        assert!(!Valkey81.loads(Valkey90.dump_format()) && !Redis70.loads(Redis72.dump_format()));
        assert!(Valkey72.loads(Valkey81.dump_format()) && Valkey90.loads(Valkey91.dump_format()));
        assert!(!Valkey91.loads(12), "of Redis 7.4");
    }

    #[test]
    fn only_9_1_sends_older_replicas_what_they_can_load() {
        assert!(Valkey81.loads(Valkey91.dump_format_for(Valkey81)));
        assert!(!Valkey81.loads(Valkey90.dump_format_for(Valkey81)));
        assert_eq!(Valkey91.dump_format_for(Valkey90), 80);
        assert!(!Redis70.loads(Valkey91.dump_format_for(Redis70)));
    }
}
