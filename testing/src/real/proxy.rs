//! A TCP proxy in front of one server, which can be made slow, silent, one-way or rude while connections are open.
//!
//! What it keeps true:
//! - With [`Toxic::None`] every byte passes, in order, and an end of stream passes, too.
//! - A change of toxic reaches connections that are open, and bytes held back meanwhile are passed on when it is healed.
//! - Nothing outlives the proxy: its tasks end when it is dropped.

use super::body::mix;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes read at once.
const PIECE_BYTES: usize = 16 << 10;
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// What is done to the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Toxic {
    /// Nothing.
    None,
    /// Each piece is late by about so many milliseconds, each way.
    Delay(u64),
    /// Nothing passes, either way; connections are accepted.
    Blackhole,
    /// Requests pass, answers do not.
    AnswersLost,
    /// Answers pass, requests do not.
    RequestsLost,
    /// A connection is reset once about so many bytes of requests have passed on it.
    ResetAfter(u64),
    /// So many bytes a second pass on each connection, each way.
    Drip(u64),
    /// New connections are closed at once, and open ones, too.
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

/// A proxy that runs.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    toxic: watch::Sender<Toxic>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub async fn to(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let own = listener.local_addr().expect("a bound socket has an address").port();
        let (toxic, seen) = watch::channel(Toxic::None);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), seen));
        Proxy { port: own, toxic, _tasks: tasks }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A handle that changes what is done to the connections, now and to come.
    pub fn valve(&self) -> Valve {
        Valve(self.toxic.clone())
    }
}

/// What a nemesis holds of a proxy.
#[derive(Clone, Debug)]
pub struct Valve(watch::Sender<Toxic>);

impl Valve {
    /// Does this to the connections from now on.
    pub fn set(&self, toxic: Toxic) {
        self.0.send_replace(toxic);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, toxic: watch::Receiver<Toxic>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let Ok((client, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        if *toxic.borrow() != Toxic::Refuse {
            connections.spawn(connection(client, server, toxic.clone()));
        }
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr, toxic: watch::Receiver<Toxic>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let chance = mix(server.local_addr().map_or(0, |address| u64::from(address.port())));
    let mut request = Pump { way: Way::Request, toxic: toxic.clone(), passed: 0, chance };
    let mut answer = Pump { way: Way::Answer, toxic, passed: 0, chance: mix(chance) };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let both =
        tokio::try_join!(request.run(&mut from_client, &mut to_server), answer.run(&mut from_server, &mut to_client));
    if both.is_err() {
        // Both sides see a reset, not an end: neither must take what came so far for all.
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

/// A connection that must not end cleanly.
struct Broken;

/// One direction of one connection.
struct Pump {
    way: Way,
    toxic: watch::Receiver<Toxic>,
    passed: u64,
    chance: u64,
}

/// What becomes of a piece.
enum Fate {
    Pass,
    Hold,
    Wait(Duration),
    Reset,
}

impl Pump {
    /// Passes pieces on until the stream ends.
    async fn run(&mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<(), Broken> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            // A refusal ends connections on which nothing moves, too.
            let read = tokio::select! {
                read = from.read(&mut piece) => read,
                () = self.ended() => return Err(Broken),
            };
            match read.map_err(|_| Broken)? {
                0 => return to.shutdown().await.map_err(|_| Broken),
                count if self.permitted(count).await => to.write_all(&piece[..count]).await.map_err(|_| Broken)?,
                _ => return Err(Broken),
            }
        }
    }

    /// Waits until the connection must end.
    async fn ended(&self) {
        let mut toxic = self.toxic.clone();
        if toxic.wait_for(|toxic| *toxic == Toxic::Refuse).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until a piece may pass; `false` if the connection is to be reset.
    async fn permitted(&mut self, count: usize) -> bool {
        loop {
            let toxic = *self.toxic.borrow_and_update();
            match self.fate(toxic, count as u64) {
                Fate::Pass => break,
                Fate::Reset => return false,
                Fate::Wait(time) => {
                    tokio::time::sleep(time).await;
                    break;
                }
                Fate::Hold => {
                    if self.toxic.changed().await.is_err() {
                        return false;
                    }
                }
            }
        }
        self.passed += count as u64;
        true
    }

    fn fate(&mut self, toxic: Toxic, count: u64) -> Fate {
        match (toxic, self.way) {
            (Toxic::None, _) | (Toxic::AnswersLost, Way::Request) | (Toxic::RequestsLost, Way::Answer) => Fate::Pass,
            (Toxic::Blackhole | Toxic::AnswersLost | Toxic::RequestsLost, _) => Fate::Hold,
            (Toxic::Refuse, _) => Fate::Reset,
            (Toxic::ResetAfter(bytes), Way::Request) if self.passed + count > bytes => Fate::Reset,
            (Toxic::ResetAfter(_), _) => Fate::Pass,
            (Toxic::Drip(bytes_per_s), _) => Fate::Wait(Duration::from_micros(count * 1_000_000 / bytes_per_s.max(1))),
            (Toxic::Delay(ms), _) => {
                self.chance = mix(self.chance);
                Fate::Wait(Duration::from_millis(ms / 2 + self.chance % (ms + 1)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(300);
    const SURELY: Duration = Duration::from_secs(20);

    /// A server that sends back what it gets.
    async fn echo() -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        (port, tasks)
    }

    async fn talk(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"hello").await?;
        let mut back = [0; 5];
        stream.read_exact(&mut back).await?;
        assert_eq!(&back, b"hello");
        Ok(())
    }

    #[tokio::test]
    async fn what_is_held_back_passes_when_it_is_healed() {
        let (port, _server) = echo().await;
        let proxy = Proxy::to(port).await;
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        talk(&mut stream).await.unwrap();
        for toxic in [Toxic::Blackhole, Toxic::AnswersLost, Toxic::RequestsLost] {
            proxy.valve().set(toxic);
            let mut held = Box::pin(talk(&mut stream));
            assert!(timeout(SOON, &mut held).await.is_err(), "{toxic:?} lets an answer pass");
            proxy.valve().set(Toxic::None);
            timeout(SURELY, held).await.unwrap().unwrap();
        }
        for toxic in [Toxic::Delay(5), Toxic::Drip(10_000)] {
            proxy.valve().set(toxic);
            timeout(SURELY, talk(&mut stream)).await.unwrap().unwrap();
        }
        stream.shutdown().await.unwrap();
        assert_eq!(timeout(SURELY, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0, "the end passes");
    }

    #[tokio::test]
    async fn resets_and_refusals_are_no_clean_ends() {
        let (port, _server) = echo().await;
        let proxy = Proxy::to(port).await;
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        talk(&mut stream).await.unwrap();
        proxy.valve().set(Toxic::ResetAfter(12));
        talk(&mut stream).await.unwrap();
        assert!(timeout(SURELY, talk(&mut stream)).await.unwrap().is_err());
        proxy.valve().set(Toxic::None);
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        talk(&mut stream).await.unwrap();
        proxy.valve().set(Toxic::Refuse);
        assert!(timeout(SURELY, stream.read(&mut [0; 1])).await.unwrap().is_err(), "an open connection is reset");
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert!(timeout(SURELY, talk(&mut stream)).await.unwrap().is_err());
    }
}
