//! Whether an instance's server runs already, which is known before anything is decided about it. As long as it cannot be seen (its
//! disk hangs, no file descriptor is left) it may run, and nobody is told otherwise.

use crate::files::{ANSWERS_WITHIN, Files};
use crate::handle::{AgentSetup, Input, Run};
use crate::server::ServerHome;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use valkeeper_client::out_of_descriptors;
use valkeeper_model::{AskFailed, Unseen};

/// Before the next look.
const AGAIN: Duration = Duration::from_millis(500);

/// What was found, and what came meanwhile.
pub(crate) struct Found {
    pub(crate) running: Option<Run>,
    pub(crate) held: Vec<Input>,
}

/// The server that runs, if one does.
pub(crate) fn running(home: &ServerHome) -> io::Result<Option<Run>> {
    let found = home.running()?;
    Ok(found.map(|(incarnation, process)| Run::new(home, incarnation, process, None)))
}

/// Looks until it is known. `None` if nobody wants to know any more.
pub(crate) async fn look(
    setup: &AgentSetup,
    files: &Files,
    receiver: &mut mpsc::UnboundedReceiver<Input>,
) -> Option<Found> {
    let mut held = Vec::new();
    let mut unseen: Option<Unseen> = None;
    loop {
        let home = setup.home.clone();
        let looking = files.with(move || running(&home));
        tokio::pin!(looking);
        let seen = loop {
            tokio::select! {
                biased;
                seen = &mut looking => break seen.flatten(),
                input = receiver.recv() => held.push(input?),
                () = tokio::time::sleep(ANSWERS_WITHIN), if unseen.is_none() => {
                    unseen = Some(Unseen::DiskSilent);
                }
            }
            if let Some(unseen) = unseen {
                held = dismiss(held, unseen)?;
            }
        };
        match seen {
            Ok(running) => return Some(Found { running, held }),
            Err(error) => {
                tracing::warn!(%error, instance = %setup.name, "whether its server runs cannot be seen");
                let why = if out_of_descriptors(&error) { Unseen::NoDescriptors } else { Unseen::DiskSilent };
                unseen = Some(why);
                held = dismiss(held, why)?;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Answers those who ask, and keeps the orders. `None` if the agent is to end: it stops no server that it does not see.
fn dismiss(held: Vec<Input>, unseen: Unseen) -> Option<Vec<Input>> {
    let mut kept = Vec::new();
    for input in held {
        match input {
            Input::Ask(_, reply) => _ = reply.send(Err(AskFailed::Unseen(unseen))),
            Input::Stop(_) | Input::Retire(_) | Input::Leave(_) => return None,
            other @ (Input::Event(_) | Input::Looked(_) | Input::Launched(_)) => kept.push(other),
        }
    }
    Some(kept)
}
