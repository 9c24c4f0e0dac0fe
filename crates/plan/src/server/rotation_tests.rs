use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const OVERLAP: u64 = 600_000;

fn rotation(wanted: &'static str, may_accept: &[&'static str]) -> Rotation<&'static str> {
    let instance = "c-0".parse().expect("a name");
    Rotation::new(instance, OVERLAP, Some(wanted), may_accept.to_vec(), None).expect("a password is known")
}

/// A server that shows the first password, and so many that it accepts.
fn shows(accepted: &'static str, passwords: usize) -> Event<&'static str> {
    Event::Shows(Shown { accepted: Some(accepted), passwords, followed_with: Some(accepted), link: None })
}

/// Uses the second password since then, and the first one before.
fn rotated(at: u64) -> Rotation<&'static str> {
    let mut rotation = rotation("first", &["first"]);
    rotation.handle(Millis(at), Event::Read("second"));
    let steps = rotation.handle(Millis(at), shows("first", 1));
    assert!(steps == [Step::Accept("second")]);
    let steps = rotation.handle(Millis(at), Event::Done(Step::Accept("second")));
    assert!(steps.contains(&Step::Use("second")));
    rotation
}

fn beside(rotation: &Rotation<&'static str>, now: u64, wanted: &'static str) -> Option<&'static str> {
    rotation.beside(Millis(now), &wanted).and_then(|overlap| overlap.former)
}

#[test]
fn the_former_password_is_accepted_over_a_restart_and_no_longer_than_without() {
    let changed = rotated(7);
    assert_eq!(beside(&changed, 7, "second"), Some("first"));
    assert_eq!(beside(&changed, 6 + OVERLAP, "second"), Some("first"));
    assert_eq!(beside(&changed, 7 + OVERLAP, "second"), None);
    // What stood in a file before this run was never seen to be accepted.
    assert_eq!(beside(&rotation("second", &["first"]), 0, "second"), None);
    let mut refused = rotation("second", &["first"]);
    refused.handle(Millis(0), Event::Refused { used: "second", wanted: Some("second") });
    assert_eq!((*refused.used(), beside(&refused, 0, "second")), ("first", None));
}

#[test]
fn a_change_that_nobody_has_noticed_yet_is_one() {
    assert_eq!(beside(&rotation("second", &["second"]), 0, "third"), Some("second"));
    // Its own time begins, whatever is left of the one before.
    assert_eq!(beside(&rotated(0), OVERLAP - 1, "third"), Some("second"));
    let mut settled = rotation("second", &["second"]);
    settled.handle(Millis(0), Event::Read("second"));
    assert!(settled.handle(Millis(0), shows("second", 1)).is_empty());
    assert_eq!(beside(&settled, 0, "third"), Some("second"));
    assert_eq!(beside(&settled, 0, "second"), None);
}

#[test]
fn a_password_that_was_taken_back_is_ended_too() {
    let mut back = rotated(0);
    back.handle(Millis(5_000), Event::Read("first"));
    let steps = back.handle(Millis(5_000), shows("first", 2));
    assert!(steps == [Step::Use("first")], "it shows the wanted one and accepts another");
    assert_eq!(beside(&back, 5_000, "first"), Some("second"));
    back.handle(Millis(5_000 + OVERLAP), Event::Read("first"));
    let steps = back.handle(Millis(5_000 + OVERLAP), shows("first", 2));
    assert!(steps == [Step::Keep("first"), Step::AcceptOnly("first")]);
}

#[test]
fn a_refusal_makes_no_password_forgotten() {
    let mut lost = rotation("third", &["second", "first"]);
    let mut tried = vec![*lost.used()];
    for _ in 0..3 {
        lost.handle(Millis(0), Event::Refused { used: lost.used, wanted: None });
        tried.push(*lost.used());
    }
    assert_eq!(tried, ["third", "second", "first", "third"]);
    assert!(lost.handle(Millis(0), Event::Refused { used: "first", wanted: None }).is_empty(), "a late one");
    lost.handle(Millis(0), Event::Refused { used: "third", wanted: Some("fourth") });
    assert_eq!(*lost.used(), "fourth", "a new one first");
}

#[test]
fn what_somebody_sets_by_hand_is_put_back_when_no_change_is_under_way() {
    let by_hand = || Event::ShowsConfiguration { accepted: Some("hand"), followed_with: Some("second") };
    assert!(rotated(0).handle(Millis(0), by_hand()).is_empty());
    let mut settled = rotation("second", &["second"]);
    settled.handle(Millis(0), Event::Read("second"));
    settled.handle(Millis(0), shows("second", 1));
    let put_back = Step::PutBack(vec![PasswordDirective::Accepts], "second");
    assert!(settled.handle(Millis(0), by_hand()) == [put_back.clone()]);
    let directives = vec!["requirepass".to_owned()];
    let instance = "c-0".parse().expect("a name");
    let recorded = settled.handle(Millis(0), Event::Done(put_back));
    assert!(recorded == [Step::Record(Happened::ConfigPutBack { instance, directives })]);
}

/// What may happen, in any order.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// The user writes another password.
    Change(u8),
    /// The password file cannot be read, or can again.
    Unreadable(bool),
    /// The agent looks: so many steps reach the server, and the reply to the last of them is lost.
    Look(usize),
    /// A look that was begun with another password is refused late.
    LateRefusal(u8),
    /// The server ends and its agent starts it anew; the user may write another password before the first look.
    ServerRestart(Option<u8>),
    /// The agent is replaced by another one. The server runs on.
    AgentRestart,
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0u8..5).prop_map(Deed::Change),
        1 => any::<bool>().prop_map(Deed::Unreadable),
        12 => prop_oneof![3 => Just(usize::MAX), 1 => 0usize..7].prop_map(Deed::Look),
        1 => (0u8..5).prop_map(Deed::LateRefusal),
        2 => proptest::option::of(0u8..5).prop_map(Deed::ServerRestart),
        2 => Just(Deed::AgentRestart),
        4 => prop_oneof![LOOK_EVERY_MS..30_000, OVERLAP / 2..OVERLAP * 2].prop_map(Deed::Wait),
    ]
}

/// A server with its agent and what they have on their disk.
struct World {
    now: Millis,
    wanted: u8,
    readable: bool,
    rotation: Rotation<u8>,
    /// The server's.
    accepted: BTreeSet<u8>,
    shown: u8,
    followed_with: u8,
    /// In its file, and beside it.
    file: u8,
    kept: Option<u8>,
    /// Of the first whole look after the last change, or the last start of the agent.
    noticed: Option<Millis>,
}

impl World {
    fn new() -> Self {
        let accepted = BTreeSet::from([0]);
        Self {
            now: Millis(0),
            wanted: 0,
            readable: true,
            rotation: Self::rotation(Some(0), vec![0], None),
            accepted,
            shown: 0,
            followed_with: 0,
            file: 0,
            kept: None,
            noticed: None,
        }
    }

    fn rotation(wanted: Option<u8>, may_accept: Vec<u8>, overlap: Option<Overlap<u8>>) -> Rotation<u8> {
        let instance = "c-0".parse().expect("a name");
        Rotation::new(instance, OVERLAP, wanted, may_accept, overlap).expect("a password is known")
    }

    fn read(&self) -> Option<u8> {
        self.readable.then_some(self.wanted)
    }

    fn change(&mut self, to: u8) {
        if self.wanted != to {
            (self.wanted, self.noticed) = (to, None);
        }
    }

    fn happens(&mut self, deed: Deed) {
        match deed {
            Deed::Change(to) => self.change(to),
            Deed::Unreadable(unreadable) => self.readable = !unreadable,
            Deed::Look(steps) => _ = self.look(steps),
            Deed::LateRefusal(used) => {
                let wanted = self.read();
                self.rotation.handle(self.now, Event::Refused { used, wanted });
            }
            Deed::ServerRestart(change) => {
                let Some(wanted) = self.read() else { return };
                let overlap = self.rotation.beside(self.now, &wanted);
                let former = overlap.as_ref().and_then(|overlap| overlap.former);
                self.accepted = former.into_iter().chain([wanted]).collect();
                self.file = former.unwrap_or(wanted);
                (self.shown, self.followed_with, self.kept) = (self.file, self.file, None);
                if let Some(to) = change {
                    self.change(to);
                }
                self.rotation = Self::rotation(self.read(), vec![self.file], overlap);
            }
            Deed::AgentRestart => {
                let may_accept = self.kept.into_iter().chain([self.file]).collect();
                self.rotation = Self::rotation(self.read(), may_accept, None);
                self.noticed = None;
            }
            Deed::Wait(ms) => self.now.0 += ms,
        }
    }

    /// Was everything carried out that was due?
    fn look(&mut self, mut left: usize) -> bool {
        let used = *self.rotation.used();
        if !self.accepted.contains(&used) {
            let wanted = self.read();
            self.rotation.handle(self.now, Event::Refused { used, wanted });
            return false;
        }
        let mut steps = self.rotation.handle(self.now, Event::Answers);
        if steps.is_empty() {
            return false;
        }
        while !steps.is_empty() {
            if left == 0 {
                return false;
            }
            left -= 1;
            let step = steps.remove(0);
            let Some(event) = self.carry_out(&step) else { return false };
            if left == 0 {
                return false;
            }
            let next = self.rotation.handle(self.now, event);
            steps.splice(0..0, next);
        }
        self.noticed.get_or_insert(self.now);
        true
    }

    fn carry_out(&mut self, step: &Step<u8>) -> Option<Event<u8>> {
        match step {
            Step::Read => return self.read().map(Event::Read),
            Step::AskServer => {
                return Some(Event::Shows(Shown {
                    accepted: Some(self.shown),
                    passwords: self.accepted.len(),
                    followed_with: Some(self.followed_with),
                    link: None,
                }));
            }
            Step::Accept(password) => _ = self.accepted.insert(*password),
            Step::AcceptOnly(password) => {
                (self.accepted, self.shown) = (BTreeSet::from([*password]), *password);
            }
            Step::FollowWith(password) => self.followed_with = *password,
            Step::Keep(password) => self.kept = Some(*password),
            Step::Use(_) | Step::PutBack(..) | Step::Record(_) => {}
        }
        Some(Event::Done(step.clone()))
    }

    /// Every password that is tried sooner or later.
    fn known(&self) -> BTreeSet<u8> {
        self.rotation.others.iter().copied().chain([self.rotation.used]).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens in which order, the agent is never locked out, and no former password is accepted for longer than its time.
    #[test]
    fn an_agent_is_never_locked_out_and_a_former_password_ends(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut world = World::new();
        for deed in deeds {
            world.happens(deed);
            prop_assert!(!world.accepted.is_disjoint(&world.known()), "the agent knows no password of its server");
        }
        world.readable = true;
        let mut refused = 0;
        for _ in 0..(OVERLAP / LOOK_EVERY_MS) + 20 {
            world.now.0 += LOOK_EVERY_MS;
            if !world.look(usize::MAX) {
                refused += 1;
                prop_assert!(refused <= 6, "it tries every one");
            }
            if world.noticed.is_some_and(|noticed| world.now.since(noticed) >= OVERLAP) {
                prop_assert_eq!(&world.accepted, &BTreeSet::from([world.wanted]));
            }
        }
        prop_assert_eq!(world.accepted, BTreeSet::from([world.wanted]));
        prop_assert_eq!(world.followed_with, world.wanted);
        prop_assert!(world.rotation.settled == Some(world.wanted));
    }
}
