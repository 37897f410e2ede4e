use crate::{
    master::{Dialer, Master},
    names::{Names, SLOTS},
    settings::{Place, Redis},
    trouble::{self, Trouble},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, select_ok},
    stream::FuturesUnordered,
};
use realtime_core::{Error, Result};
use redis::{Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, ProtocolVersion, Value};
use std::collections::BTreeSet;

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

async fn ask_cluster(dialer: &Dialer, known: &[ConnectionInfo], names: &Names) -> Result<Vec<Found>> {
    let mut known = distinct(known.to_vec());
    fastrand::shuffle(&mut known);
    let asked: Vec<BoxFuture<'_, _>> =
        known.iter().take(ASKED).map(|info| ask_node(dialer, info, names).boxed()).collect();
    select_ok(asked).await.map(|(found, _)| found)
}

async fn ask_node(dialer: &Dialer, info: &ConnectionInfo, names: &Names) -> Result<Vec<Found>> {
    let ranges: Vec<Value> = query(dialer, info, &slots()).await?;
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
    Ok(found.into_iter().map(place).collect())
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

/// Asks a server over a connection of its own.
async fn query<T: FromRedisValue>(dialer: &Dialer, info: &ConnectionInfo, command: &Cmd) -> Result<T> {
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    let info = info.clone().set_redis_settings(redis);
    let mut connection = dialer.connect(&info, None).await?;
    trouble::read(command.query_async(&mut connection).await, &info.addr().to_string()).map_err(Trouble::told)
}

#[cfg(test)]
mod tests {
    use super::*;

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
