//! `secret`: passwords by the names that manifests give them.

use crate::args::{Output, SecretCommand};
use crate::failure::{Failure, Kind};
use crate::output;
use crate::target::local::LocalPlatform;
use std::io::{IsTerminal as _, Read as _};
use valkeeper_client::Password;

/// No password is longer; a file that is none is not read whole.
const LONGEST: u64 = 64 << 10;

pub(super) fn secret(platform: &LocalPlatform, command: &SecretCommand) -> anyhow::Result<()> {
    let state = platform.state_dir()?;
    match command {
        SecretCommand::Set { name, from_file } => {
            check_name(name)?;
            let password = read(from_file.as_deref())?;
            state.set_secret(name, &password)?;
            eprintln!("secret {name} is set");
        }
        SecretCommand::List { output: Output { format } } => {
            let names = state.secrets()?;
            output::value(*format, &names, || output::lines(&names))?;
        }
        SecretCommand::Delete { name } => {
            check_name(name)?;
            if !state.delete_secret(name)? {
                let what = format!("there is no secret `{name}` that was set");
                let hint = "`valkeeper secret list` names all; the password of a cluster goes with it";
                return Err(Failure::new(Kind::Usage, what, hint).into());
            }
            eprintln!("secret {name} is gone");
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Failure> {
    if valkeeper_model::spec::is_dns_subdomain(name) {
        return Ok(());
    }
    let what = format!("`{}` cannot be the name of a secret", name.escape_debug());
    Err(Failure::new(Kind::Usage, what, "use lower-case letters, digits, '-' and '.'"))
}

fn read(from_file: Option<&str>) -> anyhow::Result<Password> {
    let mut bytes = Vec::new();
    let unreadable = |place: &str, error: &std::io::Error| {
        Failure::new(
            Kind::Usage,
            format!("{place} cannot be read: {error}"),
            "`--from-file password=FILE` reads a file",
        )
    };
    match from_file {
        None => {
            if std::io::stdin().is_terminal() {
                eprintln!("the password, ended by Ctrl-D:");
            }
            let read = std::io::stdin().take(LONGEST).read_to_end(&mut bytes);
            read.map_err(|error| unreadable("stdin", &error))?;
        }
        Some(pair) => {
            let Some(path) = pair.strip_prefix("password=").filter(|path| !path.is_empty()) else {
                let what = format!("`{}` is not password=FILE", pair.escape_debug());
                return Err(
                    Failure::new(Kind::Usage, what, "the only key of a secret here is password").into()
                );
            };
            let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
            file.take(LONGEST).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        }
    }
    Password::written(&bytes).map_err(|fault| {
        Failure::new(Kind::Usage, format!("the password cannot be used: {fault}"), "nothing was changed")
            .into()
    })
}
