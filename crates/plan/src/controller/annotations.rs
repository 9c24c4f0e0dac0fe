//! What the annotations of a cluster ask for, the next step of it at a time.

use super::requests::Decision;
use super::{fencing, hibernation};
use crate::view::cluster_view::ClusterView;
use valkeeper_model::manifest::Annotated;
use valkeeper_model::{HibernationWish, Layout, Refusal};

/// What annotations ask of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// It is so already.
    Nothing,
    /// Something is to be done.
    Something,
}

/// Is something to be done for them? What cannot be followed as a whole is not begun.
pub fn asks(layout: &Layout, annotated: &Annotated) -> Result<Asks, Refusal> {
    if hibernation::asks(layout, annotated.hibernation) == Asks::Something {
        return Ok(Asks::Something);
    }
    // A cluster that hibernates has nobody to fence: who is named stays down when it runs again.
    match annotated.hibernation {
        HibernationWish::On => Ok(Asks::Nothing),
        HibernationWish::Off => Ok(fencing::asks(layout, &annotated.fenced)?),
    }
}

/// The next of what they ask for. Hibernation comes first, and ends first.
pub(super) fn follow(cluster_view: &ClusterView<'_>, annotated: &Annotated) -> Result<Decision, Refusal> {
    if hibernation::asks(cluster_view.layout, annotated.hibernation) == Asks::Something {
        return hibernation::follow(cluster_view, annotated.hibernation);
    }
    match annotated.hibernation {
        HibernationWish::On => Ok(Decision::Done),
        HibernationWish::Off => fencing::follow(cluster_view, &annotated.fenced),
    }
}
