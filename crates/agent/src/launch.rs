//! One start of a server.

use crate::adoption;
use crate::data_dir::Marker;
use crate::handle::{Launched, Passwords, Run};
use crate::program::Program;
use crate::rotation::Rotation;
use crate::server::ServerHome;
use crate::server_file::LetsIn;
use crate::source_look::SourceLook;
use valkeeper_client::Password;
use valkeeper_model::{SourceFault, StartFailure};
use valkeeper_plan::agent::{Login, StartPlan};

/// Starts the server, after its last run, unless it runs: who listens on its port may be a run of it that could not be seen before.
pub(crate) fn launch(
    home: &ServerHome,
    plan: &StartPlan,
    program: &Program,
    passwords: &Passwords,
    source: &SourceLook,
    last: Option<&Rotation>,
    marker: &Marker,
) -> Launched {
    let password = match passwords() {
        Ok(password) => password,
        Err(why) => return Launched::Failed(StartFailure::PasswordUnusable { why }),
    };
    let overlap = last.and_then(|last| last.beside(&password));
    let former = overlap.as_ref().and_then(|overlap| overlap.former.as_ref());
    let of_source = match &plan.login {
        Login::Cluster => None,
        Login::Source(followed) => match source.password(followed) {
            Ok(password) => Some(password.unwrap_or_else(|| Password::new(""))),
            Err(SourceFault::PasswordUnusable { why, .. }) => {
                return Launched::Failed(StartFailure::PasswordUnusable { why });
            }
            Err(fault) => {
                return Launched::Failed(StartFailure::DataUnusable { detail: fault.to_string() });
            }
        },
    };
    let lets_in = LetsIn { wanted: &password, former, source: of_source.as_ref() };
    match home.start(plan, program, lets_in, marker) {
        Ok((incarnation, process, child)) => {
            Launched::Started(Run::new(home, incarnation, process, overlap), child)
        }
        Err(failure @ StartFailure::PortTaken { .. }) => match adoption::running(home) {
            Ok(Some(run)) => Launched::Found(run),
            Ok(None) | Err(_) => Launched::Failed(failure),
        },
        Err(failure) => Launched::Failed(failure),
    }
}
