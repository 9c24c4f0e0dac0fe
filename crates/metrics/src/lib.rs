//! Metrics: which there are, what an agent's report becomes as samples, and the text that Prometheus reads. Pure: whoever serves the text
//! hands in what agents know, and no server is asked for a scrape.
//!
//! | file | what |
//! | --- | --- |
//! | `metric.rs` | the table of all metrics: the only place where one is named, explained and given its labels |
//! | `exposition.rs` | samples, and their text in Prometheus' format 0.0.4 |
//! | `sampling.rs` | which samples a report is worth |
//! | `reference.rs` | the table as documentation |

mod exposition;
mod metric;
mod reference;
mod sampling;

pub use exposition::{CONTENT_TYPE, Exposition, Labels, Value};
pub use metric::{Kind, Metric};
pub use reference::reference;
pub use sampling::{Instance, sample};
