use crate::{
    context::{Context, Peer},
    util::{TICK, sync::Mutex},
};
use realtime_protocol::{ConnectionId, Error, Result};
use serde_json::json;
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash},
    time::Duration,
};

/// A rate limit by token buckets: one for each connection, each user, each client's address, or for all clients.
///
/// A bucket starts full. A call takes one token, or the cost set by [`with_cost`](Self::with_cost); tokens refill
/// evenly over time. If there are too few, no token is taken and the answer is `RESOURCE_EXHAUSTED`, retryable, with
/// the time until there are enough and the details `{"cost":…,"capacity":…,"remaining":…}`. A call that costs more
/// than the bucket holds is answered with `FAILED_PRECONDITION`.
///
/// # Examples
///
/// ```
/// use realtime_core::RateLimit;
/// use std::time::Duration;
///
/// // 10 a second for each client's address, and 50 at once after a quiet time; an export counts as 20.
/// let limit = RateLimit::new(10, Duration::from_secs(1))
///     .with_burst(50)
///     .by_peer()
///     .with_cost(|procedure| if procedure == "reports.export" { 20 } else { 1 });
/// ```
pub struct RateLimit {
    capacity: u32,
    tokens: u32,
    /// Milliseconds in which `tokens` are refilled. Levels are counted in this fraction of a token, so that a tick
    /// refills a whole number of them.
    per: u32,
    scope: Scope,
    by_name: bool,
    cost: fn(&str) -> u32,
    /// The most buckets that a shard holds.
    places: usize,
    hashes: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Shared by the keys for which there is no room.
    overflow: Mutex<Option<Bucket>>,
}

enum Scope {
    Connection,
    Peer,
    Key(Box<KeyFn>),
    All,
}

/// Hashes the key of a request, if it has one.
type KeyFn = dyn Fn(&Context, &RandomState) -> Option<u64> + Send + Sync;

impl RateLimit {
    /// Allows `tokens` in each `per`, rounded to whole milliseconds. The bucket holds `tokens`, and there is one for
    /// each connection.
    ///
    /// # Panics
    ///
    /// If `tokens` or `per` is 0, or `per` is longer than 49 days.
    #[track_caller]
    pub fn new(tokens: u32, per: Duration) -> Self {
        let millis = per.as_nanos().div_ceil(1_000_000);
        assert!(tokens > 0, "RateLimit::new: with 0 tokens nothing would ever be allowed");
        assert!(millis > 0, "RateLimit::new: the time in which tokens come back is 0");
        let per =
            u32::try_from(millis).unwrap_or_else(|_| panic!("RateLimit::new: {per:?} is longer than 49 days"));
        let limit = Self {
            capacity: tokens,
            tokens,
            per,
            scope: Scope::Connection,
            by_name: false,
            cost: |_| 1,
            places: 0,
            hashes: RandomState::new(),
            shards: Box::default(),
            overflow: Mutex::default(),
        };
        limit.with_keys(DEFAULT_KEYS)
    }

    /// Sets the capacity of a bucket: the calls allowed at once after a quiet time.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    #[must_use = "the changed limit is returned"]
    #[track_caller]
    pub fn with_burst(mut self, capacity: u32) -> Self {
        assert!(capacity > 0, "RateLimit::with_burst: an empty bucket would never allow anything");
        self.capacity = capacity;
        self
    }

    /// Uses a bucket for each connection, the default. A client that reconnects gets a new one, so this slows down busy
    /// clients rather than hostile ones. Requests without a connection are counted by address.
    #[must_use = "the changed limit is returned"]
    pub fn by_connection(mut self) -> Self {
        self.scope = Scope::Connection;
        self
    }

    /// Uses a bucket for each [client's address](crate::Context::client_ip); for IPv6 for each /64, the network of one
    /// client. Clients whose address is unknown share one.
    #[must_use = "the changed limit is returned"]
    pub fn by_peer(mut self) -> Self {
        self.scope = Scope::Peer;
        self
    }

    /// Uses a bucket for each [`Principal`](crate::Principal), over all its connections and its calls by HTTP. Clients without
    /// one are counted by address.
    #[must_use = "the changed limit is returned"]
    pub fn by_principal(mut self) -> Self {
        self.scope = Scope::Key(Box::new(|context, hashes| context.principal().map(|name| hashes.hash_one(name))));
        self
    }

    /// Uses a bucket for each key that the function returns for a request: a tenant, or an API key. Requests for which it
    /// returns `None` are counted by address.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::RateLimit;
    /// use std::time::Duration;
    ///
    /// #[derive(Clone, Hash)]
    /// struct Tenant(u32); // set by middleware
    ///
    /// let limit = RateLimit::new(100, Duration::from_secs(1)).by_key(|context| context.var::<Tenant>().cloned());
    /// ```
    #[must_use = "the changed limit is returned"]
    pub fn by_key<K: Hash>(mut self, key: impl Fn(&Context) -> Option<K> + Send + Sync + 'static) -> Self {
        self.scope = Scope::Key(Box::new(move |context, hashes| key(context).map(|key| hashes.hash_one(key))));
        self
    }

    /// Uses one bucket for all clients.
    #[must_use = "the changed limit is returned"]
    pub fn for_all(mut self) -> Self {
        self.scope = Scope::All;
        self
    }

    /// Uses separate buckets for each procedure, in addition to the connection or address.
    #[must_use = "the changed limit is returned"]
    pub fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    /// Sets the cost of each procedure, by its name. Calls with a cost of 0 are always allowed.
    #[must_use = "the changed limit is returned"]
    pub fn with_cost(mut self, cost: fn(&str) -> u32) -> Self {
        self.cost = cost;
        self
    }

    /// Sets how many buckets may be in use at a time: 100 000 by default, which is up to 6 MB. A bucket in use takes
    /// up to 60 bytes of the table; a full bucket is not stored. Keys for which there is no room share one bucket;
    /// existing buckets are kept.
    ///
    /// # Panics
    ///
    /// If `keys` is 0.
    #[must_use = "the changed limit is returned"]
    #[track_caller]
    pub fn with_keys(mut self, keys: usize) -> Self {
        assert!(keys > 0, "RateLimit::with_keys: without buckets all clients would share one; `for_all` says so");
        // A few places for each shard would be full long before all are.
        let shards = if keys < SHARDS * 256 { 1 } else { SHARDS };
        self.places = keys / shards;
        self.shards = (0..shards).map(|_| Mutex::default()).collect();
        self
    }

    /// Returns the cost of a procedure.
    pub(crate) fn cost_of(&self, procedure: &str) -> u32 {
        (self.cost)(procedure)
    }

    /// Takes `cost` tokens at the tick `now`. A tick before the last one seen counts as the last one.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if there are too few now, `FAILED_PRECONDITION` if there never are enough.
    pub(crate) fn take(&self, now: u32, key: Key<'_>, cost: u32) -> Result {
        if cost == 0 {
            return Ok(());
        }
        let capacity = self.capacity;
        if cost > capacity {
            let text =
                format!("this request costs {cost}, and the rate limit never allows more than {capacity} at once");
            return Err(
                Error::failed_precondition(text).with_details(json!({ "cost": cost, "capacity": capacity }))
            );
        }
        let taken = self.take_from_bucket(now, self.hash(key), cost);
        taken.map_err(|Short { remaining, ticks }| {
            let text = format!("too many requests: this one costs {cost}, and {remaining} of {capacity} are left");
            let details = json!({ "cost": cost, "capacity": capacity, "remaining": remaining });
            Error::resource_exhausted(text).with_details(details).with_retry_after(TICK * ticks)
        })
    }

    fn take_from_bucket(&self, now: u32, hash: u64, cost: u32) -> Result<(), Short> {
        let mut shard = self.shards[hash as usize % self.shards.len()].lock();
        if let Some(bucket) = shard.buckets.get_mut(&hash) {
            return bucket.take(self, now, cost);
        }
        if shard.buckets.len() >= self.places {
            shard.sweep(self, now);
        }
        if shard.buckets.len() >= self.places {
            drop(shard);
            return self.overflow.lock().get_or_insert(Bucket::full(now)).take(self, now, cost);
        }
        shard.buckets.entry(hash).or_insert(Bucket::full(now)).take(self, now, cost)
    }

    /// Hashes a key, so that an entry has a fixed size however long the name is. Clients cannot find two keys with the
    /// same hash, and a collision by chance is too unlikely to matter.
    fn hash(&self, key: Key<'_>) -> u64 {
        let own = match &self.scope {
            Scope::Connection => key.connection.map(|connection| self.hashes.hash_one(connection)),
            Scope::Key(of) => key.context.and_then(|context| of(context, &self.hashes)),
            Scope::Peer | Scope::All => None,
        };
        let by_peer = own.is_none() && !matches!(self.scope, Scope::All);
        let peer = key.peer.filter(|_| by_peer);
        self.hashes.hash_one((own, peer, self.by_name.then_some(key.name)))
    }

    /// Returns the fractions of a token that are refilled in `ticks`.
    fn refill(&self, ticks: u32) -> u64 {
        (u64::from(self.tokens) * TICK_MILLIS).saturating_mul(ticks.into())
    }
}

const DEFAULT_KEYS: usize = 100_000;
const SHARDS: usize = 16;
const TICK_MILLIS: u64 = TICK.as_millis() as u64;

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("capacity", &self.capacity)
            .field("tokens", &self.tokens)
            .field("per", &Duration::from_millis(self.per.into()))
            .field("by", &self.scope.name())
            .field("by_name", &self.by_name)
            .finish_non_exhaustive()
    }
}

impl Scope {
    fn name(&self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Peer => "peer",
            Self::Key(_) => "key",
            Self::All => "all",
        }
    }
}

/// The caller and procedure that a bucket is looked up by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) peer: Option<Peer>,
    /// The request, for a key of the application.
    pub(crate) context: Option<&'a Context>,
    /// The procedure.
    pub(crate) name: &'a str,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<u64, Bucket>,
    /// The tick of the last sweep.
    swept: Option<u32>,
}

impl Shard {
    /// Drops full buckets. They fill with the ticks, so a second sweep in the same tick would find nothing.
    fn sweep(&mut self, limit: &RateLimit, now: u32) {
        if self.swept.is_some_and(|swept| ticks_between(swept, now) == 0) {
            return;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| {
            bucket.refill(limit, now);
            bucket.spent > 0
        });
    }
}

#[derive(Debug)]
struct Bucket {
    /// Fractions of tokens not refilled by the tick `at`; at most `capacity * per`, which fits.
    spent: u64,
    at: u32,
}

/// There are too few tokens, but enough after `ticks`.
struct Short {
    remaining: u32,
    ticks: u32,
}

impl Bucket {
    fn full(now: u32) -> Self {
        Self { spent: 0, at: now }
    }

    fn take(&mut self, limit: &RateLimit, now: u32, cost: u32) -> Result<(), Short> {
        self.refill(limit, now);
        let part = u64::from(limit.per);
        let left = u64::from(limit.capacity) * part - self.spent;
        let cost = u64::from(cost) * part;
        if cost <= left {
            self.spent += cost;
            return Ok(());
        }
        let ticks = (cost - left).div_ceil(limit.refill(1)) + u64::from(ticks_between(now, self.at));
        Err(Short { remaining: (left / part) as u32, ticks: u32::try_from(ticks).unwrap_or(u32::MAX) })
    }

    fn refill(&mut self, limit: &RateLimit, now: u32) {
        let ticks = ticks_between(self.at, now);
        if ticks > 0 {
            self.spent = self.spent.saturating_sub(limit.refill(ticks));
            self.at = now;
        }
    }
}

/// Returns how many ticks `to` is after `from`; 0 if it is not. The clock may wrap between them.
fn ticks_between(from: u32, to: u32) -> u32 {
    let ticks = to.wrapping_sub(from);
    if ticks > u32::MAX / 2 { 0 } else { ticks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Principal;
    use proptest::{collection::vec, prelude::*};
    use realtime_protocol::Code;

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    fn connection(number: u64) -> Key<'static> {
        Key { connection: Some(ConnectionId { node: 1, number }), peer: None, context: None, name: "a" }
    }

    fn peer(address: &str) -> Key<'static> {
        Key { peer: Some(address.parse::<std::net::IpAddr>().unwrap().into()), ..connection(1) }
    }

    /// Takes single tokens until there is none.
    fn drain(limit: &RateLimit, now: u32, key: Key<'_>) -> u32 {
        (0..).take_while(|_| limit.take(now, key, 1).is_ok()).count() as u32
    }

    #[test]
    fn a_bucket_is_full_at_first_and_fills_evenly() {
        let limit = RateLimit::new(8, second()).with_burst(20);
        assert_eq!(drain(&limit, 1, connection(1)), 20);
        assert_eq!(drain(&limit, 2, connection(1)), 2);
        assert_eq!(drain(&limit, 6, connection(1)), 8);
        assert_eq!(drain(&limit, 1000, connection(1)), 20);
    }

    #[test]
    fn parts_of_a_token_are_not_lost() {
        let limit = RateLimit::new(3, second());
        assert_eq!(drain(&limit, 1, connection(1)), 3);
        let by_tick = [2, 3, 4, 5, 6].map(|now| drain(&limit, now, connection(1)));
        assert_eq!(by_tick, [0, 1, 1, 1, 0]);
        let slow = RateLimit::new(1, Duration::from_secs(86_400));
        assert_eq!(drain(&slow, 1, connection(1)), 1);
        let day = 4 * 86_400;
        assert_eq!(drain(&slow, day, connection(1)), 0);
        assert_eq!(drain(&slow, day + 1, connection(1)), 1);
    }

    #[test]
    fn a_refusal_says_when_there_are_enough() {
        let limit = RateLimit::new(2, second()).with_burst(4);
        limit.take(1, connection(1), 3).unwrap();
        let error = limit.take(1, connection(1), 3).unwrap_err();
        assert_eq!(error.code(), &Code::RESOURCE_EXHAUSTED);
        assert!(error.is_retryable());
        assert_eq!(error.retry_after(), Some(second()));
        assert_eq!(error.message(), "too many requests: this one costs 3, and 1 of 4 are left");
        assert_eq!(error.details(), Some(&json!({ "cost": 3, "capacity": 4, "remaining": 1 })));
        assert!(limit.take(4, connection(1), 3).is_err());
        assert!(limit.take(5, connection(1), 3).is_ok());
    }

    #[test]
    fn what_costs_more_than_there_can_be_is_never_possible() {
        let limit = RateLimit::new(2, second());
        let error = limit.take(1, connection(1), 3).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (&Code::FAILED_PRECONDITION, false));
        assert_eq!(error.message(), "this request costs 3, and the rate limit never allows more than 2 at once");
        assert_eq!(drain(&limit, 1, connection(1)), 2);
    }

    #[test]
    fn what_costs_nothing_is_always_allowed() {
        let limit = RateLimit::new(1, second()).with_cost(|procedure| u32::from(procedure != "free"));
        assert_eq!(drain(&limit, 1, connection(1)), 1);
        assert!(limit.take(1, connection(1), limit.cost_of("free")).is_ok());
        assert!(limit.take(1, connection(1), limit.cost_of("other")).is_err());
    }

    #[test]
    fn the_largest_numbers_fit() {
        let limit = RateLimit::new(u32::MAX, Duration::from_millis(u32::MAX.into()));
        assert!(limit.take(1, connection(1), u32::MAX).is_ok());
        let error = limit.take(1, connection(1), u32::MAX).unwrap_err();
        assert_eq!(error.retry_after(), Some(TICK * u32::MAX.div_ceil(250)));
        assert!(limit.take(1 + u32::MAX.div_ceil(250), connection(1), u32::MAX).is_ok());
        let slow = RateLimit::new(1, Duration::from_millis(u32::MAX.into())).with_burst(u32::MAX);
        slow.take(1, connection(1), u32::MAX).unwrap();
        assert!(slow.take(1, connection(1), u32::MAX).is_err());
    }

    #[test]
    fn each_scope_has_buckets_of_its_own() {
        let keys = [(1, "10.0.0.1", "a"), (1, "10.0.0.1", "b"), (2, "10.0.0.1", "a"), (3, "10.0.0.2", "a")];
        let allowed = |limit: RateLimit| {
            let key = |(number, address, name)| Key { peer: peer(address).peer, name, ..connection(number) };
            keys.map(|parts| limit.take(1, key(parts), 1).is_ok())
        };
        let one = || RateLimit::new(1, second());
        assert_eq!(allowed(one()), [true, false, true, true]);
        assert_eq!(allowed(one().by_name()), [true, true, true, true]);
        assert_eq!(allowed(one().by_peer()), [true, false, false, true]);
        assert_eq!(allowed(one().by_peer().by_name()), [true, true, false, true]);
        assert_eq!(allowed(one().for_all()), [true, false, false, false]);
        assert_eq!(allowed(one().for_all().by_name()), [true, true, false, false]);
        assert_eq!(allowed(one().by_peer().by_connection()), [true, false, true, true]);
    }

    #[test]
    fn a_principal_or_a_key_has_one_bucket_wherever_it_comes_from() {
        let context = |name: &str| {
            let mut context = Context::from_parts(http::Request::new(()).into_parts().0, None, false);
            if !name.is_empty() {
                context.set(Principal(name.into()));
            }
            context
        };
        let contexts = ["ann", "ann", "bob", "", ""].map(context);
        let allowed = |limit: RateLimit| {
            let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"].into_iter();
            let keys = addresses.zip(&contexts).zip(1..);
            let key = |((address, context), number)| Key {
                peer: peer(address).peer,
                context: Some(context),
                ..connection(number)
            };
            keys.map(|parts| limit.take(1, key(parts), 1).is_ok()).collect::<Vec<_>>()
        };
        let one = || RateLimit::new(1, second());
        assert_eq!(allowed(one().by_principal()), [true, false, true, true, false]);
        let length = |context: &Context| context.principal().map(|name| name.0.len());
        assert_eq!(allowed(one().by_key(length)), [true, false, false, true, false]);
    }

    #[test]
    fn a_request_without_a_connection_counts_by_address() {
        let limit = RateLimit::new(1, second());
        let request = |address| limit.take(1, Key { connection: None, ..peer(address) }, 1).is_ok();
        assert_eq!(["10.0.0.1", "10.0.0.1", "10.0.0.2"].map(request), [true, false, true]);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let limit = RateLimit::new(1, second()).by_peer();
        let request = |address| limit.take(1, peer(address), 1).is_ok();
        assert_eq!(["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(request), [true, false, true]);
        assert_eq!(["10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.2"].map(request), [true, false, true]);
        let unknown = Key { peer: None, ..connection(1) };
        assert_eq!([(); 2].map(|()| limit.take(1, unknown, 1).is_ok()), [true, false]);
    }

    #[test]
    fn keys_without_a_place_share_a_bucket_and_the_others_keep_theirs() {
        let limit = RateLimit::new(4, second()).with_keys(2);
        assert!(limit.take(1, connection(1), 1).is_ok());
        assert!(limit.take(1, connection(2), 1).is_ok());
        assert_eq!([3, 4, 5].map(|number| drain(&limit, 1, connection(number))), [4, 0, 0]);
        assert_eq!([1, 2].map(|number| drain(&limit, 1, connection(number))), [3, 3]);
    }

    #[test]
    fn full_buckets_make_place() {
        let limit = RateLimit::new(4, second()).with_keys(2);
        limit.take(1, connection(1), 4).unwrap();
        limit.take(1, connection(2), 1).unwrap();
        // The second is full again, the first is not.
        assert_eq!([3, 4].map(|number| drain(&limit, 2, connection(number))), [4, 4]);
        assert_eq!(drain(&limit, 2, connection(1)), 1);
        assert_eq!(drain(&limit, 2, connection(5)), 0);
        assert_eq!(limit.shards[0].lock().buckets.len(), 2);
    }

    #[test]
    fn there_are_never_more_buckets_than_allowed() {
        let limit = RateLimit::new(4, second()).with_keys(SHARDS * 256);
        for number in 0..20_000 {
            let _ = limit.take(number as u32 / 1000, connection(number), 3);
        }
        let places: usize = limit.shards.iter().map(|shard| shard.lock().buckets.len()).sum();
        assert!((SHARDS * 128..=SHARDS * 256).contains(&places), "{places}");
    }

    #[test]
    fn a_bucket_takes_as_many_bytes_as_is_said() {
        // An entry has a byte of control. A table that has just grown is at least 7/16 full.
        let entry = size_of::<(u64, Bucket)>() + 1;
        assert!(entry * 16 / 7 * DEFAULT_KEYS <= 6_000_000, "{entry}");
    }

    #[test]
    fn time_that_goes_back_stands_still() {
        let limit = RateLimit::new(4, second());
        assert_eq!(drain(&limit, 10, connection(1)), 4);
        assert_eq!(drain(&limit, 5, connection(1)), 0);
        let error = limit.take(5, connection(1), 1).unwrap_err();
        assert_eq!(error.retry_after(), Some(TICK * 6));
        assert_eq!([10, 11].map(|now| drain(&limit, now, connection(1))), [0, 1]);
    }

    #[test]
    fn the_clock_may_wrap() {
        let limit = RateLimit::new(4, second());
        assert_eq!(drain(&limit, u32::MAX - 1, connection(1)), 4);
        assert_eq!(drain(&limit, 1, connection(1)), 3);
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let limit = RateLimit::new(1000, second());
        let taken: u32 = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| drain(&limit, 1, connection(1))));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    #[should_panic(expected = "with 0 tokens nothing would ever be allowed")]
    fn a_limit_of_nothing_is_refused() {
        let _ = RateLimit::new(0, second());
    }

    #[test]
    #[should_panic(expected = "is longer than 49 days")]
    fn a_time_that_cannot_be_counted_is_refused() {
        let _ = RateLimit::new(1, Duration::from_secs(50 * 86_400));
    }

    /// A reference model of a token bucket: from each allowed request on, at most the capacity and the refill since.
    #[derive(Default)]
    struct Model {
        now: u32,
        allowed: Vec<(u32, u32)>,
    }

    impl Model {
        fn allows(&self, now: u32, cost: u32, limit: &RateLimit) -> bool {
            let mut sum = u64::from(cost);
            self.allowed.iter().rev().all(|(at, cost)| {
                sum += u64::from(*cost);
                let over = sum.saturating_sub(limit.capacity.into());
                over * u64::from(limit.per) <= u64::from(limit.tokens) * 250 * u64::from(now - at)
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exactly_what_the_limit_promises_is_allowed(
            (tokens, capacity, millis) in (1..10_u32, 1..10_u32, 1..5000_u64),
            requests in vec((-2..12_i32, 0..3_u64, 1..10_u32), 1..80),
        ) {
            let limit = RateLimit::new(tokens, Duration::from_millis(millis)).with_burst(capacity);
            let mut models: [Model; 3] = Default::default();
            let mut clock = 100_i32;
            for (ticks, number, cost) in requests {
                clock += ticks;
                let now = clock as u32;
                let cost = cost.min(capacity);
                let model = &mut models[number as usize];
                model.now = model.now.max(now);
                let allowed = model.allows(model.now, cost, &limit);
                match limit.take(now, connection(number), cost) {
                    Ok(()) => {
                        prop_assert!(allowed, "allowed {cost} at {now}");
                        model.allowed.push((model.now, cost));
                    }
                    Err(error) => {
                        prop_assert!(!allowed, "refused {cost} at {now}");
                        let after = (error.retry_after().unwrap().as_millis() / 250) as u32;
                        prop_assert!(model.allows(now + after, cost, &limit), "{after} ticks are too few");
                        let before = now + after - 1;
                        prop_assert!(before < model.now || !model.allows(before, cost, &limit), "{after} are too many");
                    }
                }
            }
        }
    }
}
