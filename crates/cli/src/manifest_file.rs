//! The manifest as a file: what is wrong with it, and where. Some of it only shows beside the zones, the cluster that exists, or
//! the server program; it is told with file and line all the same.

use crate::args::Common;
use crate::failure::{Failure, Kind};
use crate::{manifest_text, program};
use std::path::Path;
use valkeeper_agent::Program;
use valkeeper_engine::RandomIds;
use valkeeper_local::{ClusterDir, StateDir};
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{
    ClusterName, ClusterSpec, InvalidDirective, Refusal, ReplicaModeRefusal, Report, RollRefusal, Trial,
    ZoneName,
};
use valkeeper_plan::controller::change;
use valkeeper_plan::placement::{self, Placing};

/// Reads a manifest for a place; says what in it has no effect there.
pub(crate) fn read_for(target: Target, file: &Path) -> anyhow::Result<Manifest> {
    let name = manifest_text::name(file);
    let text = manifest_text::read(file).map_err(|error| {
        Failure::new(
            Kind::Usage,
            format!("{name}: {error}"),
            "give the path of a manifest, like examples/cluster.yaml",
        )
    })?;
    let manifest = match valkeeper_model::manifest::parse_for(target, &name, &text) {
        Ok(manifest) => manifest,
        Err(errors) => return Err(Failure { kind: Kind::Usage, what: errors.to_string(), hint: None }.into()),
    };
    for note in manifest.without_effect.iter().chain(&manifest.warnings) {
        eprintln!("note: {name}:{}: {note}", note.line);
    }
    Ok(manifest)
}

/// A manifest is of one cluster: it must not change another than the one that was named.
pub(crate) fn refuse_another(common: &Common, manifests: &ClusterName) -> Result<(), Failure> {
    match common.cluster.as_ref().filter(|named| *named != manifests) {
        None => Ok(()),
        Some(named) => {
            let what = format!("the manifest is of cluster `{manifests}`, not of `{named}`");
            Err(Failure::new(Kind::Usage, what, "leave --cluster out, or give the manifest of that cluster"))
        }
    }
}

/// Would the controller follow this spec? The same functions that it uses itself. `report` is what was seen of the cluster, if anything was.
pub(crate) fn check(
    file: &Path,
    dir: &ClusterDir,
    spec: &ClusterSpec,
    zones: &[ZoneName],
    report: Option<&Report>,
) -> anyhow::Result<()> {
    let followed = match dir.layout()? {
        Some(layout) => {
            let zones = placement::resize::zones_of(&layout, zones);
            let mut placing = Placing { zones: &zones, ids: &mut RandomIds };
            change::follow(&layout, spec, report, &mut placing).map(drop)
        }
        None => placement::found(spec, zones, &mut RandomIds).map(drop).map_err(Into::into),
    };
    followed.map_err(|refusal| refused(file, refusal).into())
}

/// A refusal, with the place in the manifest that it is about.
pub(crate) fn refused(file: &Path, refusal: Refusal) -> Failure {
    if let Refusal::ConfigInvalid { directives } = &refusal {
        let told: Vec<String> = directives.iter().map(|one| told(file, one)).collect();
        return Failure { what: told.join("\n"), ..Failure::from(refusal) };
    }
    let field = match &refusal {
        Refusal::CannotChange { field } | Refusal::CannotShrink { field, .. } => field.clone(),
        Refusal::Impossible(_) => "spec.zones".to_owned(),
        Refusal::PasswordSecretChanged { .. } => "spec.authSecret".to_owned(),
        Refusal::Roll(RollRefusal::CannotRead { .. }) => "spec.imageName".to_owned(),
        Refusal::ReplicaMode(ReplicaModeRefusal::TokenRefused { .. }) => "spec.replicaMode.token".to_owned(),
        _ => return refusal.into(),
    };
    let place = place(file, &field);
    let failure = Failure::from(refusal);
    let what =
        if failure.what.starts_with(&field) { failure.what } else { format!("{field}: {}", failure.what) };
    Failure { what: format!("{place}: {what}"), ..failure }
}

/// A failure that is about a field, with its place.
pub(crate) fn about(file: &Path, field: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => {
            let what = format!("{}: {field}: {}", place(file, field), failure.what);
            Failure { what, ..failure }.into()
        }
        Err(other) => other,
    }
}

/// A directive that the server program refuses, with its place.
fn told(file: &Path, invalid: &InvalidDirective) -> String {
    let Some(name) = &invalid.name else { return format!("{}: {}", file.display(), invalid.why) };
    let field = match name.as_str() {
        "maxmemory" if place_of(file, name).is_none() => "spec.memory.maxMemory".to_owned(),
        _ => format!("spec.redis.{name}"),
    };
    format!("{}: {field}: {}", place(file, &field), invalid.why)
}

/// A configuration that the server program refuses would keep every instance from starting.
pub(crate) fn refuse_invalid_config(
    file: &Path,
    spec: &ClusterSpec,
    state: &StateDir,
    program: &Program,
) -> anyhow::Result<()> {
    match program::try_config(state, program, &placement::server_config(spec)) {
        Trial::Starts => Ok(()),
        Trial::Refuses { directives } => {
            let failure = refused(file, Refusal::ConfigInvalid { directives });
            let hint = format!(
                "correct it, or name another server than {} {} with --server",
                program.engine, program.version
            );
            Err(Failure { hint: Some(hint), ..failure }.into())
        }
        Trial::Failed { why } => {
            eprintln!("note: the configuration could not be tried with the server program: {why}");
            Ok(())
        }
    }
}

/// File and line of a field that the manifest parser has accepted. A field that has its default stands nowhere: then the line
/// of what would hold it.
fn place(file: &Path, field: &str) -> String {
    let line = field.rsplit('.').find_map(|key| place_of(file, key));
    let name = manifest_text::name(file);
    line.map_or_else(|| name.clone(), |line| format!("{name}:{}", line + 1))
}

/// The line, from 0, that gives this key a value.
fn place_of(file: &Path, key: &str) -> Option<usize> {
    let text = manifest_text::read(file).unwrap_or_default();
    text.lines().position(|line| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    })
}
