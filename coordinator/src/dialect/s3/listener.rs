//! The S3 protocol's own listener: threads that accept connections and serve them by hyper, and their orderly end.
//!
//! Each thread is a home (nodes/home.rs): what it does for a request stays on it, as with the native doors' workers.
//!
//! What it keeps true: heads come in time, their size has a bound, and so has the number of connections; a stop lets requests under
//! way finish, for as long as the native doors do.

use super::front::Front;
use crate::dialect::{CONNECTIONS_PER_WORKER_MAX, HEAD_TIMEOUT, STOP_PATIENCE_S};
use crate::nodes::home;
use crate::object::COMPUTE_THREADS;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use process::tls::ServerConfig;
use protocol::{Error, Result};
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error};

/// Bytes that a connection reads ahead, and the most that a head may have.
const READ_BUFFER_BYTES_MAX: usize = 128 << 10;
/// The most headers of a request.
const HEADERS_MAX: usize = 128;
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener, while it serves.
pub struct S3Listener {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl S3Listener {
    /// Serves `listener` on so many threads until it is stopped.
    pub(super) fn start(
        front: Arc<Front>,
        listener: &TcpListener,
        threads: usize,
        tls: Option<ServerConfig>,
    ) -> Result<S3Listener> {
        let tls = tls.map(acceptor);
        let (stop, stopped) = watch::channel(false);
        let failed = |error: std::io::Error| Error::unavailable(format!("the S3 listener cannot be served: {error}"));
        listener.set_nonblocking(true).map_err(failed)?;
        let mut started = Vec::new();
        for number in 0..threads {
            let place = Place { front: front.clone(), tls: tls.clone() };
            let stopped = stopped.clone();
            let listener = listener.try_clone().map_err(failed)?;
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().max_blocking_threads(COMPUTE_THREADS).build().map_err(failed)?;
            let serve = move || {
                home::settle();
                LocalSet::new().block_on(&runtime, accept(place, listener, stopped));
            };
            started.push(thread::Builder::new().name(format!("s3-{number}")).spawn(serve).map_err(failed)?);
        }
        Ok(S3Listener { stop, threads: started })
    }

    /// Accepts no more, and returns when the requests under way have been answered, or have had their time.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let join = move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    error!("a thread of the S3 listener has panicked");
                }
            }
        };
        if let Err(failure) = tokio::task::spawn_blocking(join).await {
            error!(%failure, "the S3 listener did not end");
        }
    }
}

/// What a connection is served with.
#[derive(Clone)]
struct Place {
    front: Arc<Front>,
    tls: Option<TlsAcceptor>,
}

fn acceptor(mut tls: ServerConfig) -> TlsAcceptor {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

async fn accept(place: Place, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(failure) => return error!(%failure, "the S3 listener cannot be served"),
    };
    let graceful = GracefulShutdown::new();
    let seats = Arc::new(Semaphore::new(CONNECTIONS_PER_WORKER_MAX));
    loop {
        let seat = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            seat = seats.clone().acquire_owned() => seat,
        };
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => serve(place.clone(), stream, seat.ok(), graceful.watcher()),
            Err(failure) => {
                debug!(%failure, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The listener goes first: a client that comes now is refused instead of waiting for nobody.
    drop(listener);
    let patience = Duration::from_secs(STOP_PATIENCE_S);
    if timeout(patience, graceful.shutdown()).await.is_err() {
        debug!(seconds = STOP_PATIENCE_S, "requests under way did not end in time");
    }
}

fn serve(place: Place, stream: TcpStream, seat: Option<OwnedSemaphorePermit>, watcher: Watcher) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    // Small answers are sent at once; where that cannot be had they come later, and no harm is done.
    stream.set_nodelay(true).ok();
    let tasks = place.front.tasks().clone();
    let connection = async move {
        let (peer, local) = (peer.ip(), local.ip());
        match place.tls {
            None => speak(place.front, stream, peer, local, watcher).await,
            Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => speak(place.front, stream, peer, local, watcher).await,
                Ok(Err(failure)) => debug!(%failure, "a connection did not agree on TLS"),
                Err(_) => debug!("a connection did not agree on TLS in time"),
            },
        }
        drop(seat);
    };
    drop(tasks.spawn_here(connection));
}

async fn speak<S>(front: Arc<Front>, stream: S, peer: IpAddr, local: IpAddr, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request, peer, local).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(failure) = watcher.watch(connection).await {
        debug!(%failure, "a connection ended early");
    }
}
