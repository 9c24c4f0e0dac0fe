//! The admission webhook: what users write is judged before it is stored, by the reader that the command line and the operator use.
//! Every operator answers, whether it acts or not.
//!
//! | file | what |
//! | --- | --- |
//! | `judge.rs` | what is allowed, and why not. Pure |
//! | `review.rs` | the API server's question and the answer to it, as JSON |
//! | `serve.rs` | being asked |
//! | `certificate.rs` | what the operators prove with that it is they who answer. Pure |
//! | `webhook_cert.rs` | keeps that certificate, and its CA in the webhook's configuration |

mod certificate;
mod judge;
mod review;
mod serve;
mod webhook_cert;

use crate::ca::Lifetimes;
use crate::operator::metrics::Phases;
use kube::Client;
use serve::Serving;
use std::sync::Arc;
use tokio::net::TcpListener;
use webhook_cert::WebhookCert;

/// The Service, and the Secret with the certificate.
pub(crate) const SERVICE: &str = "valkeeper-webhook";
/// The object that tells the API server of the webhook of the install in that namespace. It is in no namespace itself.
pub(crate) fn configuration_name(namespace: &str) -> String {
    if namespace == crate::install::NAMESPACE {
        "valkeeper".to_owned()
    } else {
        format!("valkeeper-{namespace}")
    }
}
/// The webhook in it.
pub(crate) const WEBHOOK: &str = "validate.redis.io";
/// Where it is asked.
pub(crate) const PATH: &str = "/validate";
/// The only version of the questions that is understood.
pub(crate) const REVIEW_VERSION: &str = "v1";

/// Answers until the program ends.
pub(crate) fn start(
    client: Client,
    namespace: String,
    life: Lifetimes,
    listener: TcpListener,
    phases: Arc<Phases>,
) {
    let serving = Arc::new(Serving::default());
    tokio::spawn(serve::serve(listener, Arc::clone(&serving)));
    tokio::spawn(WebhookCert { client, namespace, life, serving, phases }.run());
}
