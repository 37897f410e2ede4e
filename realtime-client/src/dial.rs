use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpStream, lookup_host},
    time::sleep,
};

/// Connects to the first address of a host that answers (RFC 8305, "happy eyeballs").
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?.collect();
    let socket = race(interleave(addresses), TcpStream::connect).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Alternates the two families, as long as both have addresses left. The first address stays first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// Tries the addresses in order, each when the one before it has failed or has not answered for a while, and returns
/// the first that answers. The other attempts are dropped.
async fn race<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = connect(address);
            attempts.push(async move { (address, attempt.await) });
        }
        tokio::select! {
            biased;
            attempt = attempts.next() => match attempt {
                Some((_, Ok(connected))) => return Ok(connected),
                Some((address, Err(error))) => failures.push((address, error)),
                None => return Err(combined(failures)),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

fn combined(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match failures.len() {
        0 => io::Error::new(io::ErrorKind::NotFound, "the host has no address"),
        1 => failures.remove(0).1,
        _ => {
            let told: Vec<_> = failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
            io::Error::new(failures[0].1.kind(), told.join("; "))
        }
    }
}

/// The delay between two attempts that RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::pending, io::ErrorKind, sync::Mutex};
    use tokio::{
        net::{TcpListener, TcpSocket},
        time::Instant,
    };

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = interleave(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]));
        assert_eq!(mixed, addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        let mixed = interleave(addresses(&["1.1.1.1:1", "[::1]:1"]));
        assert_eq!(mixed, addresses(&["1.1.1.1:1", "[::1]:1"]));
        assert!(interleave(Vec::new()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_after_a_failure_at_once_and_after_silence_in_a_while() {
        let begin = Instant::now();
        let tried = Mutex::new(Vec::new());
        let connect = |address: SocketAddr| {
            tried.lock().unwrap().push((address.port(), begin.elapsed().as_millis()));
            async move {
                match address.port() {
                    1 => Err(ErrorKind::ConnectionRefused.into()),
                    2 | 3 => pending().await,
                    port => Ok(port),
                }
            }
        };
        let all = addresses(&["[::1]:1", "1.1.1.1:2", "[::1]:3", "1.1.1.1:4", "[::1]:5"]);
        assert_eq!(race(all, connect).await.unwrap(), 4);
        assert_eq!(*tried.lock().unwrap(), [(1, 0), (2, 0), (3, 250), (4, 500)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_late_may_still_be_the_first() {
        let connect = |address: SocketAddr| async move {
            sleep(Duration::from_millis(100 * u64::from(address.port()))).await;
            Ok(address.port())
        };
        assert_eq!(race(addresses(&["[::1]:4", "1.1.1.1:3"]), connect).await.unwrap(), 4);
        assert_eq!(race(addresses(&["[::1]:6", "1.1.1.1:3"]), connect).await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told() {
        let connect = |address: SocketAddr| async move {
            let kind =
                if address.is_ipv6() { ErrorKind::NetworkUnreachable } else { ErrorKind::ConnectionRefused };
            Err::<(), _>(io::Error::from(kind))
        };
        let error = race(addresses(&["[::1]:1", "1.1.1.1:1"]), connect).await.unwrap_err();
        assert_eq!(error.to_string(), "[::1]:1: network unreachable; 1.1.1.1:1: connection refused");
        let error = race(addresses(&["1.1.1.1:1"]), connect).await.unwrap_err();
        assert_eq!(error.to_string(), "connection refused");
        assert_eq!(race(Vec::new(), connect).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    /// Uses real sockets: an address that drops packets because its queue is full, then one that refuses, then a live
    /// one.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_live_one() {
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap();
        let _waits_in_its_queue = TcpStream::connect(silent_address).await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live_address = live.local_addr().unwrap();
        let dialed = race(vec![silent_address, refusing, live_address], TcpStream::connect);
        let dialed = tokio::time::timeout(Duration::from_secs(30), dialed).await.expect("it hangs").unwrap();
        assert_eq!(dialed.peer_addr().unwrap(), live_address);
    }
}
