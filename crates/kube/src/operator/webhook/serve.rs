//! Being asked by API servers. They show no certificate, so that anybody in the network may ask: a connection carries one question
//! and has little time for it.

use super::PATH;
use super::certificate::Certified;
use super::review;
use crate::wire::{Answered, CONNECTIONS, CredentialsError, HELLO_WITHIN, accept, open_server};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Longest question, bytes: two objects, of which the API server takes 3 MiB at most, and mostly far less.
const LONGEST: usize = 4 << 20;
/// A question must be asked and answered by then: the API server waits no longer.
const WITHIN: Duration = Duration::from_secs(5);

type InUse = (Certified, Arc<rustls::ServerConfig>);

/// The certificate in use, replaced when it is renewed.
#[derive(Debug, Default)]
pub(super) struct Serving(Mutex<Option<InUse>>);

impl Serving {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<InUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses this one from now on. One that does not work leaves the old one in use.
    pub(super) fn serve_as(&self, certified: Certified) -> Result<(), CredentialsError> {
        let mut current = self.current();
        if current.as_ref().is_none_or(|(before, _)| *before != certified) {
            let settings = open_server(&certified.issued)?;
            *current = Some((certified, Arc::new(settings)));
        }
        Ok(())
    }

    /// The one in use.
    pub(super) fn certified(&self) -> Option<Certified> {
        self.current().as_ref().map(|(certified, _)| certified.clone())
    }

    fn settings(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.current().as_ref().map(|(_, settings)| Arc::clone(settings))
    }
}

/// Serves until dropped. Who calls before there is a certificate is hung up on.
pub(super) async fn serve(listener: TcpListener, serving: Arc<Serving>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, permit)) = accept(&listener, &room).await {
        let Some(settings) = serving.settings() else { continue };
        tokio::spawn(async move {
            let _permit = permit;
            converse(stream, TlsAcceptor::from(settings)).await;
        });
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor) {
    let stream = match tokio::time::timeout(HELLO_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a question that does not trust us"),
        Err(_) => return tracing::debug!("a connection that said nothing"),
    };
    let service =
        service_fn(|request: Request<Incoming>| async { Ok::<_, Infallible>(respond(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a question ended early"),
        Err(_) => tracing::debug!("a question that took too long"),
    }
}

async fn respond(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let answered = if request.uri().path() != PATH {
        Answered::status(StatusCode::NOT_FOUND)
    } else if request.method() != Method::POST {
        Answered::status(StatusCode::METHOD_NOT_ALLOWED)
    } else if request.body().size_hint().lower() > LONGEST as u64 {
        Answered::status(StatusCode::PAYLOAD_TOO_LARGE)
    } else {
        match Limited::new(request.into_body(), LONGEST).collect().await {
            Ok(body) => answer(&body.to_bytes()),
            Err(_) => Answered::status(StatusCode::PAYLOAD_TOO_LARGE),
        }
    };
    let mut response = Response::new(Full::new(answered.body));
    *response.status_mut() = answered.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn answer(body: &[u8]) -> Answered {
    match review::answer(body) {
        Ok(review) => Answered::json(&review),
        Err(error) => {
            tracing::debug!(%error, "a question that cannot be understood");
            Answered::status(StatusCode::BAD_REQUEST)
        }
    }
}

#[cfg(test)]
mod tests;
