use super::*;
use crate::{Offset, Position};

#[test]
fn what_passes_between_hosts_survives_the_way() {
    let name: InstanceName = "c-0".parse().unwrap();
    let (incarnation, replaces) = (Incarnation(1), Some(NodeId::from_bytes([3; 20])));
    let force = Ask::Force { incarnation, replaces, after: Death::KilledForSilence, looked_at: None };
    let position = Some(SeenPosition {
        position: Position { history: "9".repeat(40).parse().unwrap(), offset: Offset(7) },
        seen_ms_ago: 300,
    });
    let beat = |position| Ask::Heartbeat { from: name.clone(), position };
    for ask in [beat(None), beat(position), Ask::ConfirmDown { primary: name.clone() }, force] {
        let json = serde_json::to_string(&ask).unwrap();
        assert_eq!(serde_json::from_str::<Ask>(&json).unwrap(), ask);
    }
    let beat = Answer::Heartbeat { counts: true, has_quorum: false, past_promise_window: true };
    for answer in [beat, Answer::ConfirmDown { silent_ms: 1_700 }] {
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
    }
    let missing = Waiting::DownUnconfirmed { instance: name.clone(), of: vec![name.clone()] };
    for waiting in
        [Waiting::Isolated { instance: name.clone() }, Waiting::PrimaryUnheard { instance: name }, missing]
    {
        let json = serde_json::to_string(&waiting).unwrap();
        assert_eq!(serde_json::from_str::<Waiting>(&json).unwrap(), waiting);
    }
}
