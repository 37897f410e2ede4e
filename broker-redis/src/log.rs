use crate::{
    link::Link,
    master::Master,
    names::{Kind, Names},
    record,
    scripts::{APPEND, READ},
    trouble::{self, Outcome, Trouble},
};
use bytes::Bytes;
use futures_util::future::join_all;
use realtime_core::{
    AppendError, Error, Position, Result,
    broker::{Draft, Page, Proof},
};
use realtime_protocol::Code;
use redis::{Cmd, RedisResult};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The time by which the oldest record of a log must be older than a draft, so that all attempts of that must be behind
/// it: more than clocks differ and an append is tried for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shortest life of the end of a log, after which a client that was away is told that the log diverged.
const END_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The life of an end below which asking for it prolongs it: the log of a feed that is followed stays, however quiet.
const SHORT_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Ends of logs that are asked for in one request.
const TOPS: usize = 512;

/// Returns the command that appends a draft.
pub(crate) fn append(names: &Names, draft: &Draft, again_since: Option<&Position>, publish: &str) -> Result<Cmd> {
    let birth = format!("{:08x}", getrandom::u32().map_err(Error::internal)?);
    let stream_life = draft.keep.within.saturating_mul(2).max(Duration::from_secs(1));
    let end_life = END_LIFE.max(stream_life.saturating_mul(2));
    let (end, stream) = (names.of(Kind::End, &draft.topic), names.of(Kind::Stream, &draft.topic));
    let mut command = APPEND.on(&[&end, &stream]);
    command
        .arg(format!("{:016x}", draft.tag))
        .arg(draft.body.entries.len())
        .arg(&*draft.body.encode())
        .arg(birth)
        .arg(draft.keep.entries)
        .arg(milliseconds(end_life))
        .arg(milliseconds(stream_life))
        .arg(names.of(Kind::Log, &draft.topic))
        .arg(publish)
        .arg(draft.body.time);
    if let Some(since) = again_since {
        let writer = [draft.body.writer.node.to_le_bytes(), draft.body.writer.number.to_le_bytes()].concat();
        let proof = since.proof.clone().unwrap_or_else(|| Proof::NONE.to_string());
        command.arg(since.offset).arg(proof).arg(writer).arg(milliseconds(PATIENCE));
    }
    Ok(command)
}

/// A length of time as a server takes it: at most a hundred years.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    const MOST: u64 = 100 * 365 * 24 * 3600 * 1000;
    time.as_millis().try_into().unwrap_or(MOST).clamp(1, MOST)
}

impl Link {
    pub(crate) async fn append(&self, topic: &str, command: &Cmd, since: u64) -> Result<Position, AppendError> {
        let partition = self.names.partition(topic);
        let (reply, master) =
            self.request::<Vec<u8>>(partition, command).await.map_err(|trouble| not_appended(topic, trouble))?;
        if reply == b"?" {
            let text = format!("entries behind offset {since} are gone, and the append may be among them");
            return Err(unknown(text));
        }
        record::read_end(&reply, &master.reign).map_err(|error| unknown(error.message().to_owned()))
    }

    pub(crate) async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        let (end, stream) = (self.names.of(Kind::End, topic), self.names.of(Kind::Stream, topic));
        let mut command = READ.on(&[&end, &stream]);
        command.arg(after.saturating_add(1)).arg(limit);
        let (replies, master) = self.request::<Vec<Vec<u8>>>(self.names.partition(topic), &command).await?;
        record::read_page(topic, &master.reign, replies.into_iter().map(Bytes::from).collect())
    }

    pub(crate) async fn tops(&self, topics: &[String]) -> Result<Vec<Position>> {
        let until = Instant::now() + self.redis.time_limit;
        loop {
            let trouble = match self.try_tops(topics, until).await {
                Ok(tops) => return tops.into_iter().collect(),
                Err(trouble) => trouble,
            };
            if trouble.outcome != Outcome::Elsewhere || Instant::now() >= until {
                return Err(trouble.into());
            }
            self.pause().await;
        }
    }

    async fn try_tops(&self, topics: &[String], until: Instant) -> Result<Vec<Result<Position>>, Trouble> {
        let mut asked: Vec<(Arc<Master>, Vec<usize>)> = Vec::new();
        for (at, topic) in topics.iter().enumerate() {
            let master = self.master(self.names.partition(topic), until).await?;
            match asked.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &master)) {
                Some((_, asked)) => asked.push(at),
                None => asked.push((master, vec![at])),
            }
        }
        let mut tops: Vec<_> = topics.iter().map(|_| Ok(Page::empty().top)).collect();
        let replies = join_all(asked.iter().map(|(master, asked)| self.ends(master, topics, asked))).await;
        for ((master, asked), ends) in asked.iter().zip(replies) {
            for (at, end) in asked.iter().zip(ends?) {
                if let Some(end) = end {
                    tops[*at] = record::read_end(&end, &master.reign);
                }
            }
        }
        Ok(tops)
    }

    async fn ends(
        &self,
        master: &Master,
        topics: &[String],
        asked: &[usize],
    ) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        let mut ends = Vec::with_capacity(asked.len());
        for asked in asked.chunks(TOPS) {
            let keys: Vec<_> = asked.iter().map(|at| self.names.of(Kind::End, &topics[*at])).collect();
            let mut pipe = redis::pipe();
            for key in &keys {
                pipe.cmd("GET").arg(key).cmd("PTTL").arg(key);
            }
            let replies: RedisResult<Vec<(Option<Vec<u8>>, i64)>> =
                pipe.query_async(&mut master.commands.clone()).await;
            let found = trouble::read(replies, &master.address).map_err(|trouble| master.noted(trouble))?;
            let is_short = |life: i64| u64::try_from(life).is_ok_and(|life| life < milliseconds(SHORT_LIFE));
            let short = keys.iter().zip(&found).filter(|(_, (_, life))| is_short(*life)).map(|(key, _)| key);
            prolong(master, short).await;
            ends.extend(found.into_iter().map(|(end, _)| end));
        }
        Ok(ends)
    }
}

/// Has the ends of logs live for a day from now on. If that fails, it is done when they are asked for again.
async fn prolong(master: &Master, keys: impl Iterator<Item = &String>) {
    let mut pipe = redis::pipe();
    for key in keys {
        pipe.cmd("PEXPIRE").arg(key).arg(milliseconds(END_LIFE)).ignore();
    }
    if !pipe.is_empty()
        && let Err(trouble) = trouble::read(pipe.exec_async(&mut master.commands.clone()).await, &master.address)
    {
        let trouble = master.noted(trouble);
        tracing::debug!("the ends of logs are not prolonged: {}", trouble.text);
    }
}

fn not_appended(topic: &str, mut trouble: Trouble) -> AppendError {
    if trouble.outcome == Outcome::Foreign {
        trouble.text = format!("{}: the log of {topic}: an operator has to remove it", trouble.text);
    }
    if trouble.is_unsure() {
        let error = Error::new(Code::DEADLINE_EXCEEDED, "the broker did not answer");
        return AppendError::Unknown(error.with_source(trouble.text));
    }
    AppendError::Refused(trouble.into())
}

fn unknown(text: String) -> AppendError {
    AppendError::Unknown(Error::new(Code::DEADLINE_EXCEEDED, text))
}
