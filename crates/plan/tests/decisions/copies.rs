//! Law 13: which copy counts. One row, one situation somebody lost data in.

use std::cmp::Ordering;
use valkeeper_model::{
    AofOnDisk, AofRecord, CopyRecord, CopySource, CopyState, Epoch, HeldCopy, Incarnation, InstanceName,
    Link, Offset, Part, Persistence, Position, Replication, ReplicationId, Role, Slot, SlotSet,
};
use valkeeper_plan::failover::copy::{
    AofFiles, DataFiles, Evidence, RdbFile, compare_positions, examine, is_newer, of_running, would_be_lost,
};
use valkeeper_plan::failover::restart_decision::{
    Claim, Loss, RestartDecision, Returning, Sibling, WaitReason, decide_restart,
};
use valkeeper_plan::failover::succession::Candidate;

fn at(history: u8, offset: u64) -> Position {
    Position { history: ReplicationId::from_bytes([history; 20]), offset: Offset(offset) }
}

fn record(histories: &[Position], complete: bool, aof: Option<Position>) -> CopyRecord {
    CopyRecord {
        sequence: 7,
        role: Role::Primary,
        histories: histories.to_vec(),
        aof: AofRecord { complete, position: aof, ..AofRecord::default() },
        ..CopyRecord::first()
    }
}

fn files(aof: AofFiles, rdb: Option<Position>) -> DataFiles {
    DataFiles {
        aof,
        end_lost: false,
        aof_slot: None,
        rdb: rdb.map(|position| RdbFile { position: Some(position), slot: None }),
    }
}

fn judged(files: &DataFiles, persistence: Persistence, record: &CopyRecord) -> HeldCopy {
    examine(files, persistence, Evidence { record: Some(record), beside: Some(7), ..Evidence::default() })
}

#[test]
fn an_append_only_file_counts_when_its_record_says_that_it_is_complete() {
    let whole = files(AofFiles::Whole, Some(at(1, 50)));
    let complete = record(&[at(1, 90)], true, Some(at(1, 90)));
    // Also when the manifest says `rdb` by now: the crash came first (L19).
    for persistence in [Persistence::Aof, Persistence::Rdb] {
        let held = judged(&whole, persistence, &complete);
        assert_eq!((held.source, held.state, held.everything), (CopySource::Aof, CopyState::Held, true));
    }
    // Switched off and on again, and the first rewrite had not ended (D1).
    let stale = record(&[at(1, 90)], false, Some(at(1, 20)));
    let held = judged(&whole, Persistence::Aof, &stale);
    assert_eq!((held.source, held.position), (CopySource::Rdb, Some(at(1, 50))));
    assert!(!held.everything);
    // A returning replica that had begun without its AOF, and whose snapshot is older.
    let older = record(&[at(1, 90)], false, Some(at(1, 80)));
    assert_eq!(judged(&whole, Persistence::Aof, &older).source, CopySource::Aof);
    // A snapshot of a later history is newer whatever its offset.
    let later = files(AofFiles::Whole, Some(at(2, 5)));
    let record = record(&[at(1, 90), at(2, 9)], false, Some(at(1, 80)));
    assert_eq!(judged(&later, Persistence::Aof, &record).source, CopySource::Rdb);
}

#[test]
fn a_snapshot_from_before_the_file_was_switched_off_is_no_newer() {
    let both = files(AofFiles::Whole, Some(at(1, 80)));
    let mut off = record(&[at(1, 90)], false, Some(at(1, 80)));
    off.aof.stopping = true;
    assert_eq!(judged(&both, Persistence::Rdb, &off).source, CopySource::Aof);
    // FLUSHALL saves an empty snapshot under the offset from before it.
    off.aof.stopping = false;
    assert_eq!(judged(&both, Persistence::Rdb, &off).source, CopySource::Rdb);
}

#[test]
fn files_that_are_gone_are_no_empty_copy() {
    let complete = record(&[at(1, 90)], true, None);
    for aof in [AofFiles::Absent, AofFiles::Broken("no manifest".to_owned())] {
        let held = judged(&files(aof.clone(), None), Persistence::Aof, &complete);
        assert_eq!((held.source, held.state), (CopySource::Nothing, CopyState::Missing));
        let held = judged(&files(aof, Some(at(1, 10))), Persistence::Aof, &complete);
        assert_eq!((held.source, held.state), (CopySource::Rdb, CopyState::Missing));
    }
    // Nothing was ever promised of these.
    let fresh = record(&[], false, None);
    assert_eq!(judged(&DataFiles::default(), Persistence::Aof, &fresh).state, CopyState::Nothing);
}

/// The running server writes its files anew, and the power goes before they are whole.
#[test]
fn files_that_were_lost_under_a_running_server_are_missed_until_they_are_whole_again() {
    let mut lost = record(&[at(1, 90)], false, None);
    lost.aof.on_disk = AofOnDisk::Lost;
    // Of a rewrite that has only begun the manifest may name nothing but a new increment, which would load.
    for aof in [AofFiles::Absent, AofFiles::Broken("no base".to_owned()), AofFiles::Whole] {
        let held = judged(&files(aof, Some(at(1, 10))), Persistence::Aof, &lost);
        assert_eq!((held.source, held.state), (CopySource::Rdb, CopyState::Missing));
    }
}

#[test]
fn under_none_nothing_comes_back() {
    let left = files(AofFiles::Whole, Some(at(1, 50)));
    let held = judged(&left, Persistence::None, &record(&[at(1, 90)], true, None));
    assert_eq!((held.source, held.state), (CopySource::Nothing, CopyState::Nothing));
    // Nor with the AOF switched on again before it was rewritten.
    let mut void = record(&[at(1, 90)], false, Some(at(1, 90)));
    void.aof.void = true;
    assert_eq!(judged(&files(AofFiles::Whole, None), Persistence::Aof, &void).source, CopySource::Nothing);
}

#[test]
fn a_directory_from_before_is_noticed() {
    let whole = files(AofFiles::Whole, None);
    let complete = record(&[at(1, 90)], true, None);
    let seen = |beside, siblings, refused| {
        let evidence = Evidence {
            record: Some(&complete),
            beside,
            seen_by_siblings: siblings,
            refused,
            ..Evidence::default()
        };
        examine(&whole, Persistence::Aof, evidence).state
    };
    assert_eq!(seen(Some(7), Some(7), None), CopyState::Held);
    assert_eq!(seen(Some(8), None, None), CopyState::RolledBack);
    assert_eq!(seen(Some(7), Some(9), None), CopyState::RolledBack);
    assert_eq!(seen(Some(7), None, Some(CopySource::Aof)), CopyState::Damaged);
    assert_eq!(seen(Some(7), None, Some(CopySource::Rdb)), CopyState::Held);
}

#[test]
fn another_shards_snapshot_is_foreign() {
    let slots = SlotSet::part(0, 3);
    let state = |key: &[u8]| {
        let rdb = RdbFile { position: Some(at(1, 5)), slot: Some(Slot::of_key(key)) };
        let files = DataFiles { rdb: Some(rdb), ..DataFiles::default() };
        let evidence = Evidence { slots: Some(&slots), ..Evidence::default() };
        examine(&files, Persistence::Rdb, evidence).state
    };
    assert_eq!(state(b"bar"), CopyState::Held);
    assert_eq!(state(b"foo"), CopyState::Foreign);
}

fn held(position: Position, goes_on: bool, everything: bool, histories: &[Position]) -> HeldCopy {
    HeldCopy {
        position: Some(position),
        goes_on,
        everything,
        histories: histories.to_vec(),
        ..HeldCopy::unrecorded(true)
    }
}

/// The engine loads it but for its end: with the user's word it is better than an old snapshot.
#[test]
fn an_aof_whose_end_is_cut_off_is_doubtful_and_is_what_is_left() {
    let complete = record(&[at(1, 90)], true, Some(at(1, 90)));
    let short = files(AofFiles::Short("an end is missing".to_owned()), Some(at(1, 50)));
    let held = judged(&short, Persistence::Aof, &complete);
    assert_eq!((held.source, held.state), (CopySource::Aof, CopyState::Missing));
    assert!(!held.goes_on && !held.everything);
}

#[test]
fn copies_compare_by_history_and_then_by_offset() {
    let order = [at(1, 100), at(2, 40)];
    assert_eq!(compare_positions(at(2, 1), at(1, 100), &order), Some(Ordering::Greater));
    assert_eq!(compare_positions(at(3, 1), at(1, 100), &order), None);
    let snapshot = |offset| held(at(1, offset), false, false, &[at(1, offset)]);
    let file = |offset| held(at(1, offset), true, false, &[at(1, offset)]);
    assert!(is_newer(&snapshot(20), &snapshot(10)) && !is_newer(&snapshot(10), &snapshot(10)));
    // Where a complete AOF ends nobody knows.
    assert!(!is_newer(&snapshot(20), &file(10)) && is_newer(&file(20), &snapshot(10)));
    // The primary of a history had all of it, whatever was recorded last.
    let primary = held(at(1, 10), true, true, &[at(1, 10)]);
    assert!(!is_newer(&file(20), &primary) && is_newer(&primary, &file(20)));
    // Its successor's history is newer.
    let successor = held(at(2, 1), true, false, &[at(1, 5), at(2, 1)]);
    assert!(is_newer(&successor, &primary) && !is_newer(&primary, &successor));
}

#[test]
fn what_branched_off_is_lost_and_what_was_followed_is_not() {
    let ours = held(at(1, 50), true, false, &[]);
    let ours = HeldCopy { position: Some(at(1, 5_000)), ..ours };
    assert!(!would_be_lost(&ours, &[at(1, 6_000), at(2, 9)]));
    // Pings.
    assert!(!would_be_lost(&ours, &[at(1, 4_972), at(2, 9)]));
    assert!(would_be_lost(&ours, &[at(1, 4_000), at(2, 9)]));
    assert!(would_be_lost(&ours, &[at(3, 900)]));
    assert!(!would_be_lost(&ours, &[]));
}

fn name(n: u32) -> InstanceName {
    format!("c-{n}").parse().expect("a name")
}

fn cold(copy: HeldCopy) -> Sibling {
    let (replid, offset) = (ReplicationId::from_bytes([9; 20]), Offset(0));
    let replication = Replication { part: Part::Replica { link: Link::NeverUp }, replid, offset };
    let candidate = Candidate { instance: name(1), incarnation: Incarnation(1), replication, standing: None };
    Sibling::Cold(candidate, Box::new(copy))
}

fn comes_back(copy: &HeldCopy, sibling: Sibling, loss: Loss) -> RestartDecision {
    let (epoch, claim, persistence) = (Epoch(3), Claim::OwnFile, Persistence::Aof);
    let me = Returning { epoch, claim, copy, attached: None, persistence, loss };
    decide_restart(&me, &[(name(1), sibling)])
}

/// The primary's file is another's, and its record of the offset is a little newer than the replica's: both went on after that.
#[test]
fn a_replica_that_was_in_sync_serves_for_a_primary_whose_files_are_lost() {
    let ours = HeldCopy { state: CopyState::Foreign, ..held(at(1, 90), true, false, &[at(1, 90)]) };
    let theirs = HeldCopy { caught_up: true, ..held(at(1, 50), true, false, &[at(1, 50)]) };
    let comes_back = |attached: &[u32], theirs: &HeldCopy| {
        let attached = attached.iter().map(|n| name(*n)).collect();
        let me = Returning {
            epoch: Epoch(3),
            claim: Claim::OwnFile,
            copy: &ours,
            attached: Some(&attached),
            persistence: Persistence::Aof,
            loss: Loss::Refused,
        };
        decide_restart(&me, &[(name(1), cold(theirs.clone()))])
    };
    let waits = RestartDecision::Wait(WaitReason::Doubtful(CopyState::Foreign));
    assert_eq!(
        comes_back(&[1], &theirs),
        RestartDecision::Promote { instance: name(1), incarnation: Incarnation(1) }
    );
    assert_eq!(comes_back(&[], &theirs), waits);
    assert_eq!(comes_back(&[1], &HeldCopy { caught_up: false, ..theirs.clone() }), waits);
    // A snapshot ends where its header says.
    assert_eq!(comes_back(&[1], &HeldCopy { goes_on: false, ..theirs }), waits);
}

/// L21: a loss of power took the end of the primary's file, and not that of its replica on another host.
#[test]
fn a_replica_that_was_in_sync_serves_for_a_primary_whose_file_lost_its_end() {
    let cut = DataFiles { end_lost: true, ..files(AofFiles::Whole, None) };
    let ours = judged(
        &cut,
        Persistence::Aof,
        &CopyRecord { role: Role::Primary, ..record(&[at(1, 90)], true, Some(at(1, 90))) },
    );
    assert!(ours.end_lost && !ours.everything && ours.state == CopyState::Held);
    let theirs = HeldCopy { caught_up: true, ..held(at(1, 50), true, false, &[at(1, 50)]) };
    let comes_back = |theirs: &HeldCopy| {
        let attached = [name(1)].into();
        let (epoch, claim, persistence) = (Epoch(3), Claim::OwnFile, Persistence::Aof);
        let me = Returning {
            epoch,
            claim,
            copy: &ours,
            attached: Some(&attached),
            persistence,
            loss: Loss::Refused,
        };
        decide_restart(&me, &[(name(1), cold(theirs.clone()))])
    };
    assert_eq!(
        comes_back(&theirs),
        RestartDecision::Promote { instance: name(1), incarnation: Incarnation(1) }
    );
    assert_eq!(comes_back(&HeldCopy { end_lost: true, ..theirs }), RestartDecision::AsPrimary);
}

#[test]
fn the_better_copy_serves_whatever_its_role_was() {
    let ours = held(at(1, 50), true, true, &[at(1, 50)]);
    let theirs = held(at(1, 80), true, false, &[at(1, 80)]);
    let refused = Loss::Refused;
    assert_eq!(comes_back(&ours, cold(theirs.clone()), refused), RestartDecision::AsPrimary);
    for state in [CopyState::Missing, CopyState::Damaged, CopyState::RolledBack, CopyState::Foreign] {
        let doubtful = HeldCopy { state, everything: false, ..ours.clone() };
        let down = Sibling::DownWithData(Box::new(theirs.clone()));
        assert_eq!(
            comes_back(&doubtful, cold(theirs.clone()), refused),
            RestartDecision::Promote { instance: name(1), incarnation: Incarnation(1) }
        );
        assert_eq!(comes_back(&doubtful, down, refused), RestartDecision::Wait(WaitReason::CopyOn(name(1))));
        assert_eq!(
            comes_back(&doubtful, Sibling::Unknown, refused),
            RestartDecision::Wait(WaitReason::Unknown(vec![name(1)]))
        );
        assert_eq!(
            comes_back(&doubtful, Sibling::Empty, refused),
            RestartDecision::Wait(WaitReason::Doubtful(state))
        );
        assert_eq!(comes_back(&doubtful, Sibling::Empty, Loss::Accepted), RestartDecision::AsPrimary);
        // Theirs is as doubtful, and nobody can tell.
        let both = cold(HeldCopy { state, ..theirs.clone() });
        assert_eq!(comes_back(&doubtful, both, refused), RestartDecision::Wait(WaitReason::Doubtful(state)));
    }
    // Ours went on in a file that was not complete: theirs is newer by what is known.
    let incomplete = held(at(1, 50), false, false, &[at(1, 50)]);
    assert_eq!(
        comes_back(&incomplete, cold(theirs), refused),
        RestartDecision::Promote { instance: name(1), incarnation: Incarnation(1) }
    );
}

/// Both are down, and the one with the newer claim has the older copy: neither may wait for the other.
#[test]
fn the_better_copy_comes_up_behind_a_newer_claim() {
    let ours = held(at(2, 50), true, true, &[at(1, 9), at(2, 50)]);
    let theirs = HeldCopy { state: CopyState::Missing, ..held(at(1, 9), false, false, &[at(1, 9)]) };
    let claims = Sibling::Claims(Epoch(4), Box::new(theirs));
    assert_eq!(comes_back(&ours, claims, Loss::Refused), RestartDecision::BehindClaim(name(1)));
    let sound = Sibling::Claims(Epoch(4), Box::new(held(at(3, 1), true, true, &[at(2, 50), at(3, 1)])));
    assert_eq!(comes_back(&ours, sound, Loss::Refused), RestartDecision::Wait(WaitReason::CopyOn(name(1))));
}

#[test]
fn a_server_that_outgrew_its_disk_of_before_its_start_is_a_copy() {
    let recorded = |state, offset| {
        let histories = vec![at(1, offset)];
        Box::new(HeldCopy { state, position: None, histories, ..held(at(1, 0), false, false, &[]) })
    };
    let memory = at(1, 50);
    let runs = |recorded| of_running(memory.history, memory.offset, recorded);
    // Founded with nothing, and primary until somebody else was.
    let outgrown = runs(recorded(CopyState::Nothing, 50));
    assert_eq!((outgrown.state, outgrown.position), (CopyState::Held, Some(memory)));
    assert_eq!(runs(recorded(CopyState::Missing, 40)).state, CopyState::Held);
    // Loaded from less than the record spoke of; put back from before.
    assert_eq!(runs(recorded(CopyState::Missing, 60)).state, CopyState::Missing);
    assert_eq!(runs(recorded(CopyState::RolledBack, 40)).state, CopyState::RolledBack);
}
