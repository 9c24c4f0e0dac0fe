//! What happened, as Kubernetes keeps it.

use crate::boxed::Boxed;
use crate::document::event::{Event, What};
use crate::failure::Failure;
use crate::target::Feed;
use valkeeper_kube::remote::{EventSeen, EventsFollowed};

pub(super) fn event(seen: EventSeen) -> Event {
    let what = What::Named { event: seen.event, happened: seen.happened };
    Event { at: seen.at, what, message: seen.message, count: Some(seen.count) }
}

/// Events as they come; those that are kept come first.
pub(super) struct News(pub(super) EventsFollowed);

impl Feed<Vec<Event>> for News {
    fn next(&mut self) -> Boxed<'_, Vec<Event>> {
        Box::pin(async {
            let new = self.0.next().await.map_err(Failure::from)?;
            Ok(new.into_iter().map(event).collect())
        })
    }
}
