//! The register of a cluster on hosts of their own: it renews leases, and says with its vote whose leases do not rest on it.

use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    ClusterId, Epoch, KnownVotes, NodeId, PrimaryTerm, RegisterLife, RegisterStage, Renewals,
};
use valkeeper_plan::mode::standalone::register::{RegisterAnswer, RegisterAsk, RegisterWish, asked};

const P: u8 = 1;
const C: u8 = 2;

fn node(of: u8) -> NodeId {
    NodeId::from_bytes([of; 20])
}

/// The register of two agents, of which P is the primary with term 1.
struct Register {
    stage: Option<RegisterStage>,
    made: u64,
}

impl Register {
    /// One that votes.
    fn new() -> Self {
        let mut register = Self { stage: None, made: 0 };
        register.make();
        register
    }

    fn make(&mut self) {
        self.stage = None;
        for of in [P, C, P, C] {
            self.ask(of, RegisterWish::Exchange);
        }
        assert!(matches!(self.stage, Some(RegisterStage::Voting(_))), "{:?}", self.stage);
    }

    fn ask(&mut self, of: u8, wish: RegisterWish) -> RegisterAnswer {
        let known = Some(PrimaryTerm { term: Epoch(1), primary: node(P) });
        let life = match &self.stage {
            Some(RegisterStage::Gathering { life, .. }) => Some(*life),
            _ => None,
        };
        let ask = RegisterAsk {
            cluster: ClusterId::from_bytes([7; 20]),
            from: node(of),
            agents: BTreeSet::from([node(P), node(C)]),
            votes: KnownVotes { known, ..KnownVotes::default() },
            life,
            wish,
        };
        self.made += 1;
        let (next, answer) = asked(self.stage.as_ref(), RegisterLife(self.made), &ask);
        self.stage = next.or(self.stage.take());
        answer
    }

    fn renews(&mut self) -> bool {
        match self.ask(P, RegisterWish::Renew(Epoch(1))) {
            RegisterAnswer::Renewed { counts, .. } => counts,
            other => panic!("{other:?}"),
        }
    }

    fn looked_at(&mut self) -> Option<Renewals> {
        self.ask(C, RegisterWish::Exchange).renewals().cloned()
    }

    /// C gets its vote. Does the vote say that no lease of P rests on the register?
    fn votes(&mut self, term: u64, unchanged: Option<Renewals>) -> bool {
        match self.ask(C, RegisterWish::Vote { term: Epoch(term), unchanged }) {
            RegisterAnswer::Vote { refused: None, may_be_primary, silent, .. } => {
                assert!(may_be_primary.contains(&node(P)), "{may_be_primary:?}");
                silent.contains(&node(P))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_number_that_stays_the_same_says_that_no_lease_rests_on_the_register() {
    let mut register = Register::new();
    assert!(register.renews());
    let seen = register.looked_at();
    assert!(register.votes(2, seen));
}

#[test]
fn a_renewal_after_the_look_keeps_the_vote_from_saying_so() {
    let mut register = Register::new();
    assert!(register.renews());
    let seen = register.looked_at();
    assert!(register.renews());
    assert!(!register.votes(2, seen));
    // It has voted: P is renewed no more, and what is seen from here on stays.
    assert!(!register.renews());
    let seen = register.looked_at();
    assert!(register.votes(3, seen));
}

#[test]
fn nothing_is_said_of_one_that_was_never_renewed() {
    let mut register = Register::new();
    let seen = register.looked_at();
    assert!(!register.votes(2, seen.clone()));
    let none = Renewals { life: RegisterLife(1), counts: BTreeMap::new() };
    assert!(!register.votes(3, seen.or(Some(none))));
}

#[test]
fn numbers_of_a_register_that_was_lost_do_not_compare() {
    let mut register = Register::new();
    assert!(register.renews());
    let seen = register.looked_at();
    register.make();
    assert!(register.renews());
    let anew = register.looked_at();
    assert_eq!(
        seen.as_ref().map(|renewals| &renewals.counts),
        anew.as_ref().map(|renewals| &renewals.counts)
    );
    assert!(!register.votes(2, seen));
}

#[test]
fn a_vote_is_as_good_as_a_renewal() {
    let mut register = Register::new();
    assert!(register.renews());
    let before = register.looked_at();
    assert!(!register.votes(2, None));
    let after = register.looked_at();
    let number = |seen: &Option<Renewals>| seen.as_ref().and_then(|seen| seen.counts.get(&node(C)).copied());
    assert_ne!(number(&before), number(&after));
}
