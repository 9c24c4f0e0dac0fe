//! Taking agents' news, for all clusters on one port: by the name under which the operator is called it knows which cluster is
//! meant, and proves itself with that cluster's certificate.

use crate::wire::{
    Answered, CONNECTIONS, Credentials, HELLO_WITHIN, Handler, Home, News, Who, accept, converse, path,
};
use bytes::Bytes;
use hyper::StatusCode;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::LazyConfigAcceptor;
use valkeeper_model::InstanceName;

/// Where one cluster's news go.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) heard: mpsc::UnboundedSender<(InstanceName, Box<News>)>,
}

/// Who listens, by cluster.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<BTreeMap<Home, Listener>>);

impl Listeners {
    pub(crate) fn add(&self, home: Home, listener: Listener) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(home, listener);
    }
    pub(crate) fn remove(&self, home: &Home) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(home);
    }
    fn of(&self, home: &Home) -> Option<Listener> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(home).cloned()
    }
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, listeners: Arc<Listeners>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some((stream, permit)) = accept(&listener, &room).await {
        let listeners = Arc::clone(&listeners);
        tokio::spawn(async move {
            let _permit = permit;
            listen(stream, &listeners).await;
        });
    }
}

async fn listen(stream: TcpStream, listeners: &Listeners) {
    let hello = async {
        let started = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.ok()?;
        let home = Home::of_controller_name(started.client_hello().server_name()?)?;
        let listener = listeners.of(&home)?;
        let stream = started.into_stream(listener.credentials.settings().server).await.ok()?;
        Some((stream, home, listener))
    };
    let Ok(Some((stream, home, listener))) = tokio::time::timeout(HELLO_WITHIN, hello).await else {
        return tracing::debug!("news without proof of whose they are");
    };
    converse(stream, &home, Arc::new(listener)).await;
}

impl Handler for Listener {
    fn answer(
        self: Arc<Self>,
        from: Who,
        path: String,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
        Box::pin(async move {
            let (Who::Agent(name), path::NEWS) = (from, path.as_str()) else {
                return Answered::status(StatusCode::NOT_FOUND);
            };
            let news = match serde_json::from_slice::<Box<News>>(&body) {
                Ok(news) => news,
                Err(error) => {
                    // Of a newer agent: what it is about is looked at all the same.
                    tracing::debug!(%error, "news that cannot be understood");
                    return Answered::status(StatusCode::BAD_REQUEST);
                }
            };
            match self.heard.send((name, news)) {
                Ok(()) => Answered::json(&()),
                Err(_) => Answered::status(StatusCode::SERVICE_UNAVAILABLE),
            }
        })
    }
}
