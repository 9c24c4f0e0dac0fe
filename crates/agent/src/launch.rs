//! One start of a server.

use crate::adoption;
use crate::data_dir::Marker;
use crate::handle::{Launched, Passwords, Run};
use crate::program::Program;
use crate::rotation::Carried;
use crate::server::ServerHome;
use crate::server_file::LetsIn;
use valkeeper_model::StartFailure;
use valkeeper_plan::agent::StartPlan;

/// Starts the server, unless it runs: who listens on its port may be a run of it that could not be seen before.
pub(crate) fn launch(
    home: &ServerHome,
    plan: &StartPlan,
    program: &Program,
    passwords: &Passwords,
    carried: Option<Carried>,
    marker: &Marker,
) -> Launched {
    let password = match passwords() {
        Ok(password) => password,
        Err(why) => return Launched::Failed(StartFailure::PasswordUnusable { why }),
    };
    let former = carried.and_then(|carried| carried.beside(&password));
    let lets_in = LetsIn { wanted: &password, former: former.as_ref().map(|former| &former.password) };
    match home.start(plan, program, lets_in, marker) {
        Ok((incarnation, process, child)) => {
            Launched::Started(Run { incarnation, process, started_with: home.started_with(), former }, child)
        }
        Err(failure @ StartFailure::PortTaken { .. }) => match adoption::running(home) {
            Ok(Some(run)) => Launched::Found(run),
            Ok(None) | Err(_) => Launched::Failed(failure),
        },
        Err(failure) => Launched::Failed(failure),
    }
}
