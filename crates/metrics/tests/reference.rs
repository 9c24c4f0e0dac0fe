//! docs/metrics.md has the table of the code. `UPDATE=1 cargo test -p valkeeper-metrics --test reference` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use std::path::Path;

const BEGIN: &str = "<!-- metrics: made from crates/metrics/src/metric.rs -->\n";
const END: &str = "<!-- end of metrics -->\n";

#[test]
fn the_documentation_has_all_metrics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let wanted = valkeeper_metrics::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert!(table == wanted, "docs/metrics.md is old; UPDATE=1 writes its table anew");
    }
}
