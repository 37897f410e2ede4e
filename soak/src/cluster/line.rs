//! One connection through a proxy, and what the network does to it.

use std::{net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// A fault of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything comes later by this, in its order.
    Delay(Duration),
    /// The other end is gone and nobody is told: what is sent vanishes, and new connections are accepted and not answered.
    HalfOpen,
    /// Requests pass; answers and pushes vanish.
    NoAnswers,
    /// Answers and pushes pass; requests vanish, and new connections are accepted and not answered.
    NoRequests,
    /// The connection ends in the middle of what is sent next, either way.
    CutInside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// Pieces under way in one direction.
const UNDER_WAY: usize = 256;

/// The time after which the rest of a connection goes whose end nobody is told.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Passes a connection to the first server that takes it.
pub(super) async fn pass(
    client: TcpStream,
    servers: Vec<u16>,
    fault: watch::Receiver<Option<Fault>>,
    mut random: fastrand::Rng,
) {
    if fault.borrow().is_some_and(|fault| fault.loses(Way::ToServer)) {
        let (from, _to) = client.into_split();
        return swallow(from).await;
    }
    for server in servers {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (forth, back) = (random.fork(), random.fork());
        // Where one direction ends, so does the other.
        tokio::select! {
            () = one_way(Way::ToServer, from_client, to_server, fault.clone(), forth) => {}
            () = one_way(Way::ToClient, from_server, to_client, fault, back) => {}
        }
        return;
    }
}

impl Fault {
    fn loses(self, way: Way) -> bool {
        match self {
            Self::HalfOpen => true,
            Self::NoAnswers => way == Way::ToClient,
            Self::NoRequests => way == Way::ToServer,
            Self::Delay(_) | Self::CutInside => false,
        }
    }
}

/// Passes one direction to its end.
async fn one_way(
    way: Way,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    fault: watch::Receiver<Option<Fault>>,
    random: fastrand::Rng,
) {
    let (queue, under_way) = mpsc::channel(UNDER_WAY);
    tokio::join!(take(way, from, queue, fault, random), deliver(under_way, to));
}

/// Queues what comes, each piece with the time at which it arrives.
async fn take(
    way: Way,
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    fault: watch::Receiver<Option<Fault>>,
    mut random: fastrand::Rng,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let fault = *fault.borrow();
        if fault.is_some_and(|fault| fault.loses(way)) {
            // What comes behind bytes that are lost cannot be passed any more, nor the end.
            return if read == 0 { sleep(FORGOTTEN).await } else { swallow(from).await };
        }
        if read == 0 {
            return;
        }
        let (delay, read, is_cut) = match fault {
            Some(Fault::Delay(delay)) => (delay, read, false),
            Some(Fault::CutInside) => (Duration::ZERO, random.usize(..read), true),
            _ => (Duration::ZERO, read, false),
        };
        let piece = (Instant::now() + delay, buffer[..read].to_vec());
        if queue.send(piece).await.is_err() || is_cut {
            return;
        }
    }
}

/// Delivers pieces in their order, none before its time.
async fn deliver(mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, piece)) = under_way.recv().await {
        sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

/// Reads until the end, and tells nobody of it for a while.
async fn swallow(mut from: OwnedReadHalf) {
    let mut buffer = vec![0; 16 * 1024];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    sleep(FORGOTTEN).await;
}

#[cfg(test)]
mod tests {
    use super::{super::Door, *};
    use tokio::{net::TcpListener, runtime::Builder, time::timeout};

    const SOON: Duration = Duration::from_secs(5);

    fn run(test: impl Future<Output = ()>) {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// Returns a door, and both ends of a connection through it.
    async fn connected() -> (Door, TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let door = Door::open(vec![listener.local_addr().unwrap().port()], 1).await.unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (door, client, server)
    }

    async fn send(from: &mut TcpStream, to: &mut TcpStream, text: &str) -> String {
        from.write_all(text.as_bytes()).await.unwrap();
        let mut read = vec![0; text.len()];
        timeout(SOON, to.read_exact(&mut read)).await.unwrap().unwrap();
        String::from_utf8(read).unwrap()
    }

    async fn end(of: &mut TcpStream) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(SOON, of.read_to_end(&mut rest)).await.unwrap();
        rest
    }

    #[test]
    fn a_delay_keeps_the_order() {
        run(async {
            let (door, mut client, mut server) = connected().await;
            let begun = Instant::now();
            door.trouble(Fault::Delay(Duration::from_millis(80)), 1.0);
            client.write_all(b"a").await.unwrap();
            sleep(Duration::from_millis(40)).await;
            door.heal();
            assert_eq!(send(&mut client, &mut server, "b").await, "a");
            assert!(begun.elapsed() >= Duration::from_millis(80));
        });
    }

    #[test]
    fn a_deaf_connection_passes_one_way_and_stays_so() {
        run(async {
            let (door, mut client, mut server) = connected().await;
            for (fault, forth) in [(Fault::NoAnswers, true), (Fault::HalfOpen, false)] {
                door.trouble(fault, 1.0);
                if forth {
                    assert_eq!(send(&mut client, &mut server, "request").await, "request");
                }
                server.write_all(b"answer").await.unwrap();
                sleep(Duration::from_millis(50)).await;
                door.heal();
                server.write_all(b"answer").await.unwrap();
                let heard = timeout(Duration::from_millis(100), client.read_u8()).await;
                assert!(heard.is_err(), "{fault:?}: {heard:?}");
            }
        });
    }

    #[test]
    fn a_connection_is_cut_within_what_is_sent() {
        run(async {
            let (door, mut client, mut server) = connected().await;
            door.trouble(Fault::CutInside, 1.0);
            server.write_all(b"a reply").await.unwrap();
            let rest = end(&mut client).await;
            assert!(b"a reply".starts_with(&rest) && rest.len() < 7, "{rest:?}");
            end(&mut server).await;
        });
    }
}
