//! What the annotations of a cluster ask for is handed to its controller, a step at a time, until the layout is as they say.

use super::Aborting;
use super::requests::Wish;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use valkeeper_model::manifest::Annotated;
use valkeeper_model::{KubernetesWaiting, Layout, Refusal, Request, Waiting};
use valkeeper_plan::controller::annotations::{Asks, asks};

/// Before the next step of what goes on: the layout that this one has led to is on its way.
const NEXT_STEP: Duration = Duration::from_millis(200);
/// Before the next try of what was refused.
const REFUSED: Duration = Duration::from_secs(5);

/// What became of a step.
pub(super) enum StepNews {
    /// The controller has answered.
    Answered(Result<(), Refusal>),
    /// It is time for another.
    Due,
}

/// The annotations that are followed.
pub(super) struct Annotations {
    /// As read last; none while no manifest could be read: then nothing of them is touched.
    wanted: Option<Annotated>,
    /// Why they are not followed, or not yet.
    refused: Option<Refusal>,
    /// The step that is under way, or the pause after it.
    step: Option<Aborting>,
    tell: mpsc::UnboundedSender<StepNews>,
}

impl Annotations {
    pub(super) fn new(tell: mpsc::UnboundedSender<StepNews>) -> Self {
        Self { wanted: None, refused: None, step: None, tell }
    }

    /// The user's word. Another one ends the wait for what was asked before.
    pub(super) fn read(&mut self, annotated: &Annotated) {
        if self.wanted.as_ref() != Some(annotated) {
            self.wanted = Some(annotated.clone());
            self.refused = None;
            self.step = None;
        }
    }

    pub(super) fn heard(&mut self, news: StepNews) {
        match news {
            StepNews::Answered(result) => self.refused = result.err(),
            StepNews::Due => self.step = None,
        }
    }

    /// Asks for the next step, if one is due by that layout.
    pub(super) fn look(&mut self, layout: &Layout, wish: &Wish) {
        let (Some(wanted), None) = (&self.wanted, &self.step) else { return };
        match asks(layout, wanted) {
            Err(refusal) => self.refused = Some(refusal),
            Ok(Asks::Nothing) => self.refused = None,
            Ok(Asks::Something) => {
                let (reply, replied) = oneshot::channel();
                let _ = wish.send((Request::FollowAnnotations { annotated: wanted.clone() }, reply));
                let tell = self.tell.clone();
                self.step = Some(super::spawn(async move {
                    // Without an answer the controller is another one meanwhile, and is asked again.
                    let answered = replied.await.ok();
                    let pause = if matches!(answered, Some(Ok(()))) { NEXT_STEP } else { REFUSED };
                    if let Some(result) = answered {
                        let _ = tell.send(StepNews::Answered(result));
                    }
                    tokio::time::sleep(pause).await;
                    let _ = tell.send(StepNews::Due);
                }));
            }
        }
    }

    /// What people are told of them.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let why = Box::new(self.refused.clone()?);
        Some(Waiting::Kubernetes(KubernetesWaiting::AnnotationsWait { why }))
    }
}
