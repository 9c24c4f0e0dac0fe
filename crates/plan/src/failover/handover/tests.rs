use super::*;
use crate::agent::Command;
use valkeeper_model::{Incarnation, Link, Offset, Part, ReplicationId};

/// Everybody is in step; what the replica answers to `Succeed` is given. How it ended, and what was done.
fn hands_over(succeed: impl FnMut(u64) -> Result<Answer, AskFailed>) -> (Progress, u64, usize) {
    hands_over_and_obeys(succeed, Some(0))
}

/// The same; the primary obeys its successor so many milliseconds after that one rose, or never.
fn hands_over_and_obeys(
    mut succeed: impl FnMut(u64) -> Result<Answer, AskFailed>,
    obeys_after: Option<u64>,
) -> (Progress, u64, usize) {
    let replid = ReplicationId::from_bytes([9; 20]);
    let of = |part| Replication { part, replid, offset: Offset(7) };
    let primary = || Part::Primary { replicas: Vec::new() };
    let replica = || Part::Replica { link: Link::Up };
    let name: InstanceName = "c-3".parse().expect("a name");
    let mut out = Outbox::default();
    let mut handover = Handover::begin(vec![name], None, Millis(0), &mut out);
    let (mut now, mut risen, mut held, mut pauses, mut held_ms) = (0, None, false, 0, 0);
    loop {
        let commands = out.take();
        let waits = commands.is_empty();
        for command in commands {
            let progress = match command {
                Command::Serve { token, command, .. } => {
                    match command {
                        ServerCommand::PauseWrites(_) => (held, pauses) = (true, pauses + 1),
                        ServerCommand::UnpauseWrites => held = false,
                        _ => {}
                    }
                    let reply = match command {
                        ServerCommand::Replication => {
                            let obeys = risen.zip(obeys_after).is_some_and(|(at, after)| now >= at + after);
                            Reply::Replication(of(if obeys { replica() } else { primary() }))
                        }
                        _ => Reply::Done,
                    };
                    handover.served(Millis(now), token, Ok(reply), &mut out)
                }
                Command::Tell { token, ask, .. } => {
                    let part = if risen.is_some() { primary() } else { replica() };
                    let (incarnation, replication) = (Incarnation(1), of(part));
                    let answer = match ask {
                        Ask::Succeed { .. } => {
                            let said = succeed(now);
                            risen = said.is_ok().then_some(now);
                            said
                        }
                        _ => Ok(Answer::Replication { incarnation, replication, standing: None }),
                    };
                    handover.told(Millis(now), token, answer, &mut out)
                }
                _ => Progress::Going,
            };
            if !matches!(progress, Progress::Going) {
                assert!(!held, "writes are held for good");
                assert_eq!(handover.held_ms(Millis(now)), held_ms);
                return (progress, now, pauses);
            }
        }
        if let Some(at) = handover.wake_at().filter(|_| waits) {
            assert!(!held || at.0 - now < PAUSE_MS, "writes are held while nothing is done");
            held_ms += if held { at.0 - now } else { 0 };
            now = at.0.max(now);
            handover.tick(Millis(now), &mut out);
        }
    }
}

#[test]
fn a_link_over_the_bus_that_is_being_made_is_waited_for() {
    let down =
        || AskFailed::Refused("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".to_owned());
    let (progress, at, pauses) = hands_over(|now| if now < 5_000 { Err(down()) } else { Ok(Answer::Done) });
    assert!(matches!(progress, Progress::Done { .. }), "{progress:?}");
    assert!((5_000..6_000).contains(&at) && pauses < 15, "at {at}, {pauses} pauses");
    let (progress, at, _) = hands_over(|_| Err(down()));
    assert!(matches!(&progress, Progress::Abandoned { why } if why.contains("bus")), "{progress:?}");
    assert!(at < 13_000);
    // Any other word of the engine's is final.
    let (progress, at, _) = hands_over(|_| Err(AskFailed::Refused("NOPERM".to_owned())));
    assert!(matches!(&progress, Progress::Abandoned { .. }) && at < 1_000, "{progress:?}");
}

#[test]
fn who_is_not_obeyed_by_the_former_primary_has_not_taken_over() {
    let (progress, at, _) = hands_over_and_obeys(|_| Ok(Answer::Done), Some(900));
    assert!(matches!(progress, Progress::Done { .. }) && (900..1_100).contains(&at), "{progress:?} at {at}");
    let (progress, at, _) = hands_over_and_obeys(|_| Ok(Answer::Done), None);
    assert!(
        matches!(&progress, Progress::Abandoned { why } if why.contains("does not follow")),
        "{progress:?}"
    );
    assert!((SWITCH_MS..SWITCH_MS + 1_000).contains(&at), "{at}");
}
