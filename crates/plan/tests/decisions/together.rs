//! Moves that were decided together, by figures that the controller has not: all of them stand in the layout, or none.

use crate::ordered::{ordered, runs, spec, started};
use valkeeper_model::{
    Layout, Millis, Observation, Operation, Refusal, Request, ShardName, SlotMove, SlotMoveTarget,
    SlotRefusal, SlotRequest,
};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::{Command, Event};

fn target((from, to, slots): (&str, &str, &str)) -> SlotMoveTarget {
    let shard = |name: &str| -> ShardName { name.parse().expect("a name") };
    SlotMoveTarget { from: shard(from), to: shard(to), slots: slots.parse().expect("slots") }
}

/// What a whole cluster of three shards, in whose layout this is changed, stores or answers.
fn asked(
    change: impl FnOnce(&mut Layout),
    moves: &[(&str, &str, &str)],
) -> Result<Vec<SlotMoveTarget>, Refusal> {
    let (founder, given) = ordered(3, |_| ());
    let mut layout = founder.layout().expect("a layout").clone().founded();
    change(&mut layout);
    let (mut controller, _) = started(spec(3), layout, &given);
    let instances = given.iter().map(|(name, order)| (name.clone(), runs(order, |_| true))).collect();
    let seen = Observation { at: Millis(10), instances, ..Observation::default() };
    let moves = moves.iter().copied().map(target).collect();
    let request = Request::Slots(SlotRequest::MoveTogether { moves });
    let mut commands = controller.handle(Millis(10), Event::Asked { token: Token(7), request });
    for at in [10, 11] {
        commands.extend(controller.handle(Millis(at), Event::Tick));
        commands.extend(controller.handle(Millis(at), Event::Observed(seen.clone())));
    }
    let stored = commands.into_iter().find_map(|command| match command {
        Command::Commit { layout, .. } => {
            Some(Ok(layout.slot_moves().map(|(_, one)| one.target.clone()).collect()))
        }
        Command::Answer { token: Token(7), result, .. } => Some(result.map(|()| Vec::new())),
        _ => None,
    });
    stored.expect("it is stored or answered")
}

fn refused(moves: &[(&str, &str, &str)]) -> SlotRefusal {
    match asked(|_| (), moves) {
        Err(Refusal::Slots(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_decided_stands_in_the_layout_as_it_was_decided() {
    let moves = [("s0", "s1", "0-9 77"), ("s0", "s2", "10-19")];
    assert_eq!(asked(|_| (), &moves), Ok(moves.map(target).to_vec()));
    assert_eq!(asked(|_| (), &[]), Ok(Vec::new()));
}

#[test]
fn one_move_that_cannot_be_refuses_all() {
    let good = ("s0", "s1", "0-9");
    assert!(matches!(refused(&[good, ("s1", "s2", "0-3")]), SlotRefusal::NotItsSlots { .. }));
    assert!(matches!(refused(&[good, ("s0", "s2", "9-12")]), SlotRefusal::NamedTwice { .. }));
    assert!(matches!(refused(&[good, ("s1", "s0", "6000")]), SlotRefusal::OtherWay { .. }));
    assert!(matches!(refused(&[good, ("s2", "s2", "16383")]), SlotRefusal::SameShard { .. }));
    let all = [good, ("s0", "s2", "10-5460")];
    assert!(matches!(refused(&all), SlotRefusal::WouldBeEmpty { .. }));
    let missing = asked(|_| (), &[good, ("s7", "s1", "1")]);
    assert!(matches!(missing, Err(Refusal::NoSuchShard { .. })), "{missing:?}");
}

#[test]
fn nothing_is_begun_beside_another_move() {
    let other = target(("s1", "s2", "6000"));
    let moving = |layout: &mut Layout| {
        let one = SlotMove::new(other.from, other.to, other.slots);
        layout.operations.insert(one.name(), Operation::MoveSlots(one));
    };
    let refused = asked(moving, &[("s0", "s1", "0-9")]);
    assert!(matches!(refused, Err(Refusal::Slots(SlotRefusal::OnTheirWay { .. }))), "{refused:?}");
}
