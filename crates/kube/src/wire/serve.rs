//! Being asked: who is not proven by its certificate gets no word.

use super::call::CLAIM;
use super::{Credentials, Home, Who, accept};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest request, bytes: a program.
const LONGEST: usize = 128 << 20;
/// Who connects must have proven who it is by then.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(3);
/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// Connections at a time. More wait: an attacker without a certificate must not use up memory.
pub(crate) const CONNECTIONS: usize = 512;

/// An answer.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answered {
    pub(crate) fn json<T: serde::Serialize>(value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self { status: StatusCode::OK, body: body.into() },
            Err(_) => Self::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
    pub(crate) fn status(status: StatusCode) -> Self {
        Self { status, body: Bytes::new() }
    }
}

/// Takes the requests of one side whose identity is certain.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one.
    fn answer(
        self: Arc<Self>,
        from: Who,
        path: String,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Answered> + Send>>;
}

/// Serves until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    home: Home,
    credentials: Arc<Credentials>,
    handler: Arc<impl Handler>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, permit)) = accept(&listener, &room).await {
        let (home, handler) = (home.clone(), Arc::clone(&handler));
        let acceptor = TlsAcceptor::from(credentials.settings().server);
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HELLO_WITHIN, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => converse(stream, &home, handler).await,
                Ok(Err(error)) => tracing::debug!(%error, "a connection without proof of who it is"),
                Err(_) => tracing::debug!("a connection that said nothing"),
            }
        });
    }
}

/// Answers what comes on a connection whose certificate was accepted.
pub(crate) async fn converse(stream: TlsStream<TcpStream>, home: &Home, handler: Arc<impl Handler>) {
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
    let Some(certificate) = certificate.map(CertificateDer::into_owned) else { return };
    // A connection is one sender's: its certificate is looked into once, not at each of five beats a second.
    let proven: OnceLock<(HeaderValue, Who)> = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let claim = request.headers().get(CLAIM);
        let known = proven.get().filter(|(said, _)| claim == Some(said)).map(|(_, who)| who.clone());
        let from = known.or_else(|| {
            let who = sender(claim?, home, &certificate)?;
            let _ = proven.set((claim?.clone(), who.clone()));
            Some(who)
        });
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(respond(request, from, handler).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(
    request: Request<Incoming>,
    from: Option<Who>,
    handler: Arc<impl Handler>,
) -> Response<Full<Bytes>> {
    let answered = match from {
        None => Answered::status(StatusCode::FORBIDDEN),
        Some(from) => {
            let path = request.uri().path().to_owned();
            match Limited::new(request.into_body(), LONGEST).collect().await {
                Ok(body) => handler.answer(from, path, body.to_bytes()).await,
                Err(_) => Answered::status(StatusCode::PAYLOAD_TOO_LARGE),
            }
        }
    };
    let mut response = Response::new(Full::new(answered.body));
    *response.status_mut() = answered.status;
    response
}

/// Who sends this: its claim, if the certificate is of that name.
fn sender(claim: &HeaderValue, home: &Home, certificate: &CertificateDer<'static>) -> Option<Who> {
    let claim = Who::of_claim(claim.to_str().ok()?)?;
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    rustls::client::verify_server_name(&parsed, &claim.server_name(home)?).ok()?;
    Some(claim)
}
