//! Gigabytes, and what is repeated for minutes: `make test-long` alone runs these.

use crate::modes::{How, Mode, Stop, life};
use crate::sync::{self, Data};
use std::panic::catch_unwind;

const LIVE: How = How::Live;
const WHILE_DOWN: How = How::WhileDown;

#[test]
#[ignore = "longest: ten full syncs of 300 MB"]
fn a_primary_dies_at_ten_moments_of_a_full_sync() {
    sync::dies_in_full_sync(Data::Real(300), 10);
}

#[test]
#[ignore = "longest: 1 GB"]
fn two_deaths_and_a_power_loss_lose_nothing() {
    sync::two_deaths(Data::Real(1_000), None);
}

#[test]
#[ignore = "longest: 1.6 GB"]
fn a_restarted_replica_has_everything_on_its_disk_before_it_is_primary() {
    sync::restart_and_switchover(Data::Real(1_600), None);
}

/// Every triple of modes that begins so, changed in every way, stopped in every way. All are tried before one fails the test.
fn triples(first: Mode, second: Mode) {
    let thirds = [Mode::Aof, Mode::Rdb, Mode::Off].into_iter().filter(|third| *third != second);
    let mut failed = Vec::new();
    for third in thirds {
        for (one, two) in [(LIVE, LIVE), (LIVE, WHILE_DOWN), (WHILE_DOWN, LIVE), (WHILE_DOWN, WHILE_DOWN)] {
            for stop in [Stop::Down, Stop::PowerLoss] {
                if catch_unwind(|| life(None, first, &[(one, second), (two, third)], stop)).is_err() {
                    failed.push(format!("{first:?}, {second:?} {one:?}, {third:?} {two:?}, {stop:?}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

macro_rules! beginnings {
    ($($name:ident: $first:ident $second:ident;)*) => {
        $(#[test]
        #[ignore = "longest: sixteen lives of a cluster"]
        fn $name() {
            triples(Mode::$first, Mode::$second);
        })*
    };
}

beginnings! {
    aof_rdb: Aof Rdb;
    aof_off: Aof Off;
    rdb_aof: Rdb Aof;
    rdb_off: Rdb Off;
    off_aof: Off Aof;
    off_rdb: Off Rdb;
}
