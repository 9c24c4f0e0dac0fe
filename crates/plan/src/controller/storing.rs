//! A layout is stored, with the generation that it needs.

use super::Command;
use super::machine::{Controller, Stage, Wish};
use valkeeper_model::{Generation, Layout};

impl Controller {
    pub(super) fn commit(&mut self, layout: Layout, request: Option<Wish>) {
        let after = self.layout.as_ref().map(|layout| layout.generation);
        self.commit_after(layout, after, request);
    }

    pub(super) fn commit_after(&mut self, layout: Layout, after: Option<Generation>, request: Option<Wish>) {
        self.out.push(Command::Commit { layout: Box::new(layout.clone()), after });
        self.stage = Stage::Committing { layout: Box::new(layout), request };
    }

    /// What was loaded, or the same with a generation that agents take orders of. They obey a newer one than is stored only when the
    /// store was lost and the layout put together again: a layout is stored before anybody is told of it.
    pub(super) fn beyond_what_agents_obey(&mut self, layout: Layout) -> Layout {
        match self.outrun_by.take() {
            Some(obeyed) if obeyed > layout.generation => Layout { generation: obeyed.next(), ..layout },
            _ => layout,
        }
    }
}
