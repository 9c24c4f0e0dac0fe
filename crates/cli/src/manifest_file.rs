//! The manifest as a file: what is wrong with it, and where. Some of it only shows beside the zones, the cluster that exists, or
//! the server program; it is told with file and line all the same.

use crate::failure::{Failure, Kind};
use crate::manifest_text;
use std::path::Path;
use valkeeper_agent::Program;
use valkeeper_engine::RandomIds;
use valkeeper_local::ClusterDir;
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{ClusterSpec, Refusal, ZoneName};
use valkeeper_plan::controller::change;
use valkeeper_plan::placement;

/// Reads a manifest for this machine; says what in it has no effect here.
pub(crate) fn read(file: &Path) -> anyhow::Result<ClusterSpec> {
    Ok(read_for(Target::Local, file)?.spec)
}

/// The same for any place.
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

/// Would the controller follow this spec? The same functions that it uses itself.
pub(crate) fn check(
    file: &Path,
    dir: &ClusterDir,
    spec: &ClusterSpec,
    zones: &[ZoneName],
) -> anyhow::Result<()> {
    let followed = match dir.layout()? {
        Some(layout) => change::follow(&layout, spec).map(drop),
        None => placement::found(spec, zones, &mut RandomIds).map(drop).map_err(Into::into),
    };
    followed.map_err(|refusal| refused(file, refusal).into())
}

/// A refusal, with the place in the manifest that it is about.
pub(crate) fn refused(file: &Path, refusal: Refusal) -> Failure {
    let field = match &refusal {
        Refusal::CannotChange { field } | Refusal::CannotShrink { field, .. } => field.clone(),
        Refusal::Impossible(_) => "spec.zones".to_owned(),
        _ => return refusal.into(),
    };
    let place = place(file, &field);
    let failure = Failure::from(refusal);
    let what =
        if failure.what.starts_with(&field) { failure.what } else { format!("{field}: {}", failure.what) };
    Failure { what: format!("{place}: {what}"), ..failure }
}

/// A directive that this server does not know would keep every instance from starting.
pub(crate) fn refuse_unknown_directives(
    file: &Path,
    spec: &ClusterSpec,
    program: &Program,
) -> anyhow::Result<()> {
    let Some(unknown) = spec.directives.keys().find(|name| !program.knows(name)) else { return Ok(()) };
    let field = format!("spec.redis.{unknown}");
    let (place, engine, version) = (place(file, &field), &program.engine, &program.version);
    let what = format!("{place}: {field}: {engine} {version} does not know this directive");
    Err(Failure::new(Kind::Usage, what, "correct its name, or name another server with --server").into())
}

/// File and line of a field that the manifest parser has accepted. A field that has its default stands nowhere: then the line
/// of what would hold it.
fn place(file: &Path, field: &str) -> String {
    let text = manifest_text::read(file).unwrap_or_default();
    let line_of = |key: &str| {
        text.lines().position(|line| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
        })
    };
    let line = field.rsplit('.').find_map(line_of);
    let name = manifest_text::name(file);
    line.map_or_else(|| name.clone(), |line| format!("{name}:{}", line + 1))
}
