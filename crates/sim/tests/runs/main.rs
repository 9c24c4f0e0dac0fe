//! Runs of the simulator. One program: each further one is linked anew.

mod hosts;
mod kept;
mod sabotage;
mod scripts;
mod seeds;
mod terms;
