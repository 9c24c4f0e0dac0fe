//! The record of a copy, as it lies on disks and as it is sent.

use valkeeper_model::{CopyRecord, CopyState, HeldCopy, Incarnation, Offset};

/// Frozen: never changed, whatever the format becomes.
#[test]
fn a_record_of_the_first_format_is_read() {
    let text = include_str!("frozen/copy-record-1.json");
    let record: CopyRecord = serde_json::from_str(text).unwrap();
    assert_eq!((record.format, record.sequence, record.run), (1, 12, Incarnation(3)));
    assert_eq!(record.position().unwrap().offset, Offset(4_711));
    assert!(record.aof.complete && record.caught_up);
    // What a later program adds is passed over, and what it leaves out is not missed.
    let newer = r#"{"format":2,"sequence":3,"run":1,"role":"replica","novelty":{"a":[1]}}"#;
    assert_eq!(serde_json::from_str::<CopyRecord>(newer).unwrap().sequence, 3);
    let copy = serde_json::to_string(&HeldCopy::unrecorded(true)).unwrap().replace("held", "novelty");
    assert_eq!(serde_json::from_str::<HeldCopy>(&copy).unwrap().state, CopyState::Other);
}
