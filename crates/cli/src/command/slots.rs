//! `slots move`, `slots cancel`, and the watching of slots that move.

use super::request::request;
use crate::args::{MoveArgs, SlotsCommand, Watching};
use crate::called::called;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::target::Platform;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use valkeeper_model::{Progress, ProgressUnit, Refusal, Request, SlotRefusal, SlotRequest};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two lines about a move that gets no further, at first and at most: what it waits for may have another name at each look.
const STILL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The last line about one operation.
struct Told {
    line: String,
    done: u64,
    at: Instant,
    pause: Duration,
}

impl Told {
    /// Is this worth a line after that one?
    fn is_outdated_by(&self, line: &str, done: u64) -> bool {
        self.line != line && (self.done != done || self.at.elapsed() >= self.pause)
    }

    fn next(before: Option<&Self>, line: String, done: u64) -> Self {
        let pause =
            before.filter(|told| told.done == done).map_or(STILL.0, |told| (told.pause * 2).min(STILL.1));
        Self { line, done, at: Instant::now(), pause }
    }
}

pub(super) async fn slots(
    platform: &dyn Platform,
    command: &SlotsCommand,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    match command {
        SlotsCommand::Move(args) => move_slots(platform, args, ending).await,
        SlotsCommand::Cancel => {
            request(platform, Request::Slots(SlotRequest::CancelSlotMoves), ending).await?;
            watch(platform, ending).await
        }
    }
}

async fn move_slots(platform: &dyn Platform, args: &MoveArgs, ending: &mut Ending) -> anyhow::Result<()> {
    request(platform, args.request(), ending).await?;
    watch_or_leave(platform, args.watching, ending).await
}

pub(super) async fn watch_or_leave(
    platform: &dyn Platform,
    watching: Watching,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    if watching.no_wait {
        eprintln!("`{} status` shows how it goes on", called());
        return Ok(());
    }
    watch(platform, ending).await
}

fn given_up(progress: &Progress) -> Option<Refusal> {
    let why = progress.waits_for.as_deref()?;
    matches!(why, Refusal::Slots(SlotRefusal::GivenUp { .. })).then(|| why.clone())
}

/// Tells how far it is, until no slots are on their way, or until whoever looks has had enough.
async fn watch(platform: &dyn Platform, ending: &mut Ending) -> anyhow::Result<()> {
    let cluster = platform.cluster().await?;
    let mut ended = Box::pin(ending.told()?);
    let mut told = BTreeMap::new();
    let mut any = false;
    loop {
        let status = cluster.status().await?;
        let moves: Vec<_> =
            status.progress.iter().filter(|one| one.unit == ProgressUnit::Slots).cloned().collect();
        for one in &moves {
            let line = one.to_string();
            let before: Option<&Told> = told.get(&one.operation);
            if before.is_none_or(|before| before.is_outdated_by(&line, one.done)) {
                eprintln!("{line}");
                let now = Told::next(before, line, one.done);
                told.insert(one.operation.clone(), now);
            }
        }
        if let Some(why) = moves.iter().find_map(given_up) {
            return Err(Failure::from(why).into());
        }
        any |= !moves.is_empty();
        if moves.is_empty() {
            if any {
                eprintln!("no slots are on their way any more");
            }
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = &mut ended => {
                eprintln!("the work goes on: `{} status` shows it, `{} slots cancel` ends it", called(), called());
                return Ok(());
            }
        }
    }
}
