//! What may happen in each exploration, so that each ends.

use super::{Election, Writes, orders};
use stateright::{Checker as _, Model as _};
use std::sync::Arc;

fn check(model: Election) {
    model.checker().threads(2).spawn_dfs().join().assert_properties();
}

fn budget(stands: u8, deaths: u8, handovers: u8, crashes: u8, writes: Writes) -> Election {
    let (failed_writes, restarts) = (0, 0);
    Election {
        order: Arc::new(orders()),
        stands,
        deaths,
        handovers,
        crashes,
        failed_writes,
        restarts,
        writes,
    }
}

#[test]
fn two_elections_while_writings_take_their_time() {
    check(budget(2, 1, 0, 0, Writes::Slow));
}

#[test]
fn two_deaths_and_a_handover() {
    check(budget(2, 2, 1, 0, Writes::AtOnce));
}

#[test]
fn an_agent_that_forgets_what_was_not_on_its_disk() {
    check(budget(2, 1, 0, 1, Writes::Slow));
}

/// The disk of the dead primary may take nothing; and the supervisor, in which all agents are, may die as well.
#[test]
fn a_vote_that_is_not_kept() {
    check(Election { failed_writes: 1, restarts: 1, ..budget(2, 1, 0, 0, Writes::Slow) });
}

#[test]
fn a_handover_beside_a_death() {
    check(budget(2, 1, 1, 0, Writes::Slow));
}

#[test]
#[ignore = "long: two million states"]
fn three_elections() {
    check(budget(3, 2, 0, 0, Writes::AtOnce));
}
