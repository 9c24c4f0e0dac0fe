//! How controller and agents talk: HTTP with JSON over TLS, both sides with a certificate of the cluster's own CA.
//!
//! | file | what |
//! | --- | --- |
//! | `who.rs` | who somebody is, by the name in its certificate |
//! | `credentials.rs` | a certificate, its key and whom it trusts, as TLS settings |
//! | `call.rs` | asking somebody |
//! | `serve.rs` | being asked |
//! | `message.rs` | what is said beyond [`valkeeper_model::Ask`] |

mod call;
mod credentials;
mod message;
mod serve;
mod who;

pub(crate) use call::{Caller, Repeat};
pub use credentials::CredentialsError;
pub(crate) use credentials::{Credentials, Identity, open_server};
pub(crate) use message::{About, AskOf, News, SourcePassword, path};
pub(crate) use serve::{Answered, CONNECTIONS, HELLO_WITHIN, Handler, converse, serve};
pub(crate) use valkeeper_agent::plain_http::accept;
pub(crate) use who::{Home, Who};
