//! What the planner, the controller and the agents decide, seen from outside the crate. One program: each further one is linked anew.

mod annotations;
mod by_weight;
mod copies;
mod fleet;
mod founding;
mod hosts;
mod isolation;
mod joining;
mod ledger;
mod moves;
mod ordered;
mod orders;
mod placement;
mod register;
mod repairs;
mod resharding;
mod resizing;
mod restart_decision;
mod rolling;
mod silence;
mod stopping;
mod together;
mod trial;
