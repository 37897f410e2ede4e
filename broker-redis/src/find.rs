use crate::{
    master::{Dialer, Master},
    names::{Names, SLOTS},
    settings::{Place, Redis},
    trouble::{self, Trouble},
};
use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use realtime_core::{Error, Result};
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, InfoDict, ProtocolVersion, Value,
    aio::MultiplexedConnection,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

/// A master, and the partitions on it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) info: ConnectionInfo,
    pub(crate) partitions: Vec<usize>,
}

/// Finds out which masters there are. `known` are addresses beside those of the settings.
pub(crate) async fn find(
    redis: &Redis,
    dialer: &Dialer,
    names: &Names,
    known: &[ConnectionInfo],
) -> Result<Vec<Found>> {
    let addresses = redis.addresses()?;
    match &redis.place {
        Place::Server(_) => Ok(vec![whole(addresses[0].clone(), names)]),
        Place::Sentinel { master, .. } => {
            let (host, port) = ask_sentinels(dialer, &addresses, master).await?;
            let redis = redis.login.settings();
            let info = at(&addresses[0], host, port).set_redis_settings(redis);
            Ok(vec![whole(info, names)])
        }
        Place::Cluster(_) => ask_cluster(dialer, &[known, &addresses].concat(), names).await,
    }
}

/// Returns true if both name the same masters, each with the same partitions.
pub(crate) fn are_same(some: &[Found], others: &[Found]) -> bool {
    let place = |found: &Found| (found.info.addr().to_string(), found.partitions.clone());
    let places = |found: &[Found]| found.iter().map(place).collect::<BTreeSet<_>>();
    places(some) == places(others)
}

fn whole(info: ConnectionInfo, names: &Names) -> Found {
    Found { info, partitions: (0..names.partitions()).collect() }
}

/// Returns the address that most Sentinels name; as soon as more than half of them do.
async fn ask_sentinels(dialer: &Dialer, sentinels: &[ConnectionInfo], master: &str) -> Result<(String, u16)> {
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("get-master-addr-by-name").arg(master);
    let mut replies: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| query::<Option<(String, u16)>>(dialer, sentinel, &ask)).collect();
    let mut votes: Vec<((String, u16), usize)> = Vec::new();
    let mut problem = Error::unavailable(format!("no Sentinel knows a master named {master}"));
    while let Some(reply) = replies.next().await {
        let address = match reply {
            Ok(Some(address)) => address,
            Ok(None) => continue,
            Err(error) => {
                problem = error;
                continue;
            }
        };
        let count = match votes.iter_mut().find(|(voted, _)| *voted == address) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                votes.push((address.clone(), 1));
                1
            }
        };
        if count > sentinels.len() / 2 {
            return Ok(address);
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address).ok_or(problem)
}

/// Servers of a cluster that are asked at once. They are chosen at random: one of them may know nothing new.
const ASKED: usize = 3;

/// The time that the others have once one has answered: servers that are up take milliseconds.
const OTHERS: Duration = Duration::from_millis(200);

/// Asks some servers for their views, and returns the newest. One that is parted from the rest has an old one, and may be the
/// first to answer.
async fn ask_cluster(dialer: &Dialer, known: &[ConnectionInfo], names: &Names) -> Result<Vec<Found>> {
    let mut known = distinct(known.to_vec());
    fastrand::shuffle(&mut known);
    let asked: FuturesUnordered<_> = known.iter().take(ASKED).map(|info| ask_node(dialer, info, names)).collect();
    newest(asked).await.map(|newest| newest.found)
}

/// Returns the newest of the views that come, or the last error.
async fn newest(mut answers: impl Stream<Item = Result<View>> + Unpin) -> Result<View> {
    let mut newest: Option<View> = None;
    let mut problem = Error::unavailable("no server of the cluster has answered");
    loop {
        let answer = match newest {
            None => answers.next().await,
            Some(_) => timeout(OTHERS, answers.next()).await.ok().flatten(),
        };
        match answer {
            None => return newest.ok_or(problem),
            Some(Ok(view)) if newest.as_ref().is_none_or(|newest| newest.epoch < view.epoch) => {
                newest = Some(view);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => problem = error,
        }
    }
}

/// The cluster as one of its servers sees it.
#[derive(Debug)]
struct View {
    /// The highest of all configurations that the server knows: a failover makes a higher one.
    epoch: u64,
    found: Vec<Found>,
}

async fn ask_node(dialer: &Dialer, info: &ConnectionInfo, names: &Names) -> Result<View> {
    let mut connection = connect(dialer, info).await?;
    let mut pipe = redis::pipe();
    pipe.cmd("CLUSTER").arg("INFO").add_command(slots());
    let answer = pipe.query_async::<(InfoDict, Vec<Value>)>(&mut connection).await;
    let (state, ranges) = trouble::read(answer, &info.addr().to_string()).map_err(Trouble::told)?;
    let epoch = state.get("cluster_current_epoch").unwrap_or_default();
    let mut found: Vec<((String, u16), Vec<usize>)> = Vec::new();
    for (partition, owner) in owners(ranges, info, names)?.into_iter().enumerate() {
        let Some((host, port)) = owner else {
            let slot = names.slot(partition);
            let text = format!("Redis at {}: no server of the cluster has slot {slot}", info.addr());
            return Err(Error::unavailable(text));
        };
        let address = (host.unwrap_or_else(|| host_of(info)), port);
        match found.iter_mut().find(|(other, _)| *other == address) {
            Some((_, partitions)) => partitions.push(partition),
            None => found.push((address, vec![partition])),
        }
    }
    let place = |((host, port), partitions)| Found { info: at(info, host, port), partitions };
    Ok(View { epoch, found: found.into_iter().map(place).collect() })
}

/// The address of a master in the words of a server: without a host where it is that of the server.
type Owner = (Option<String>, u16);

fn slots() -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

/// Returns the master of each partition.
fn owners(ranges: Vec<Value>, asked: &ConnectionInfo, names: &Names) -> Result<Vec<Option<Owner>>> {
    let mut owners = vec![None; SLOTS];
    for range in ranges {
        let (first, last, owner) = read_range(range).ok_or_else(|| {
            Error::unavailable(format!("Redis at {} names its slots in an unknown form", asked.addr()))
        })?;
        owners.get_mut(first..=last).into_iter().flatten().for_each(|known| *known = Some(owner.clone()));
    }
    Ok((0..names.partitions()).map(|partition| owners[usize::from(names.slot(partition))].clone()).collect())
}

/// Returns true if a master of a cluster says that some partitions are at other masters than these. One that says nothing, or not
/// where, does not.
pub(crate) async fn is_moved(asked: &Master, addresses: &[Option<String>], names: &Names) -> bool {
    let Ok(ranges) = slots().query_async(&mut asked.commands.clone()).await else { return false };
    let Ok(owners) = owners(ranges, &asked.info, names) else { return false };
    let is_other = |(owner, known): (Option<Owner>, &Option<String>)| {
        let Some((Some(host), port)) = owner else { return false };
        known.as_ref().is_some_and(|known| *known != at(&asked.info, host, port).addr().to_string())
    };
    owners.into_iter().zip(addresses).any(is_other)
}

/// Returns each address once.
pub(crate) fn distinct(mut known: Vec<ConnectionInfo>) -> Vec<ConnectionInfo> {
    let mut seen = BTreeSet::new();
    known.retain(|info| seen.insert(info.addr().to_string()));
    known
}

/// Reads `[first, last, [host, port, …], …]`.
fn read_range(range: Value) -> Option<(usize, usize, Owner)> {
    let mut parts = range.into_sequence().ok()?.into_iter();
    let mut number = || usize::from_redis_value(parts.next()?).ok();
    let (first, last) = (number()?, number()?);
    let mut master = parts.next()?.into_sequence().ok()?.into_iter();
    let host = Option::<String>::from_redis_value(master.next()?).ok()?;
    let port = u16::from_redis_value(master.next()?).ok()?;
    Some((first, last, (host.filter(|host| !host.is_empty() && host != "?"), port)))
}

fn host_of(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => "127.0.0.1".to_owned(),
    }
}

/// Returns the way to another server: as to this one.
fn at(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

/// Opens a connection for a question.
async fn connect(dialer: &Dialer, info: &ConnectionInfo) -> Result<MultiplexedConnection> {
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    dialer.connect(&info.clone().set_redis_settings(redis), None).await
}

/// Asks a server over a connection of its own.
async fn query<T: FromRedisValue>(dialer: &Dialer, info: &ConnectionInfo, command: &Cmd) -> Result<T> {
    let mut connection = connect(dialer, info).await?;
    trouble::read(command.query_async(&mut connection).await, &info.addr().to_string()).map_err(Trouble::told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights;
    use futures_util::stream;
    use redis::IntoConnectionInfo;
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
        sync::Arc,
        thread,
    };

    /// Reads a command of a client.
    fn command(from: &mut BufReader<TcpStream>) -> Option<String> {
        let line = |from: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            line.trim_end().get(1..)?.parse().ok()
        };
        let count: usize = line(from)?;
        let mut words = Vec::new();
        for _ in 0..count {
            let length: usize = line(from)?;
            let mut word = vec![0; length + 2];
            from.read_exact(&mut word).ok()?;
            words.push(String::from_utf8_lossy(&word[..length]).into_owned());
        }
        Some(words.join(" "))
    }

    /// A server of a cluster that says that it is the master of all slots.
    fn server() -> ConnectionInfo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut to, _) = listener.accept().unwrap();
            let mut from = BufReader::new(to.try_clone().unwrap());
            while let Some(command) = command(&mut from) {
                let reply = match &*command {
                    "CLUSTER INFO" => {
                        let info = "cluster_state:ok\r\ncluster_current_epoch:7\r\n";
                        format!("${}\r\n{info}\r\n", info.len())
                    }
                    "CLUSTER SLOTS" => {
                        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n")
                    }
                    _ => "+OK\r\n".to_owned(),
                };
                to.write_all(reply.as_bytes()).unwrap();
            }
        });
        format!("redis://127.0.0.1:{port}").into_connection_info().unwrap()
    }

    #[test]
    fn the_view_of_a_server_has_its_epoch() {
        let (info, names) = (server(), Names::new("app", 4));
        let dialer = Dialer {
            login: Redis::url("redis://127.0.0.1").login,
            is_cluster: true,
            time_limit: Duration::from_secs(2),
            rights: Arc::new(rights::ask(&names, true)),
        };
        let view = run(ask_node(&dialer, &info, &names)).unwrap();
        let found: Vec<_> = view.found.iter().map(|found| found.info.addr().to_string()).collect();
        assert_eq!((view.epoch, found), (7, vec![info.addr().to_string()]));
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// A master that is parted from the others, and does not know that it is replaced, may answer first.
    #[test]
    fn the_newest_view_of_a_cluster_is_taken() {
        let newest_of = |answers: &[Result<u64, &'static str>]| {
            let answers = answers.iter().map(|answer| {
                let view = answer.map(|epoch| View { epoch, found: Vec::new() });
                view.map_err(Error::unavailable)
            });
            let newest = run(newest(stream::iter(answers.collect::<Vec<_>>())));
            newest.map(|view| view.epoch).map_err(|error| error.message().to_owned())
        };
        assert_eq!(newest_of(&[Ok(6), Err("down"), Ok(7)]), Ok(7));
        assert_eq!(newest_of(&[Ok(7), Ok(6)]), Ok(7));
        assert_eq!(newest_of(&[Err("down"), Err("gone")]), Err("gone".to_owned()));
        // Those that do not answer are not waited for.
        let answers = stream::iter([Ok(View { epoch: 6, found: Vec::new() })]).chain(stream::pending());
        assert_eq!(run(newest(answers)).unwrap().epoch, 6);
    }

    fn range(host: Value) -> Value {
        let master = Value::Array(vec![host, Value::Int(7001), Value::SimpleString("id".into())]);
        Value::Array(vec![Value::Int(0), Value::Int(5460), master])
    }

    #[test]
    fn a_range_of_slots_is_read() {
        for (host, expected) in [
            (Value::BulkString(b"10.0.0.2".to_vec()), Some("10.0.0.2")),
            (Value::BulkString(Vec::new()), None),
            (Value::BulkString(b"?".to_vec()), None),
            (Value::Nil, None),
        ] {
            assert_eq!(read_range(range(host)), Some((0, 5460, (expected.map(str::to_owned), 7001))));
        }
        assert_eq!(read_range(Value::Int(1)), None);
        assert_eq!(read_range(Value::Array(vec![Value::Int(1)])), None);
    }
}
