use super::{Call, Endpoint, functions::read};
use crate::{
    calls::{CallCore, Start, Starts, Streaming},
    describe::{Gives, Sides, Takes},
    handles::Join,
    seams::BoxFuture,
};
use realtime_protocol::{Result, Subscription, format::Value, internal::Policy};
use serde::{Serialize, de::DeserializeOwned};
use std::{marker::PhantomData, sync::Arc};

impl<S: Send + Sync + 'static, D> Endpoint<S, D> {
    /// Registers a subscription by which clients join a topic: the function decides whether this one may, and returns which
    /// topic. Its items are the topic's messages, from then on; with a broker, those of other nodes too. Events of the topic
    /// are for [members](crate::AnyConnection::subscribe) alone.
    ///
    /// For a topic whose messages clients must not miss there is [`feed`](Self::feed).
    ///
    /// # Panics
    ///
    /// As [`procedure`](Self::procedure), and if the subscription has an overflow policy: the topic's applies.
    ///
    /// # Examples
    ///
    /// A room of a chat: who may join it, who is in it, and who may speak there.
    ///
    /// ```
    /// use realtime_core::{Call, Endpoint, Error, Join, Presence, Procedure, Result, Subscription, Topic};
    ///
    /// const ROOM: Subscription<String, String> = Subscription::new("room");
    /// const SAY: Procedure<(String, String), ()> = Procedure::new("say");
    ///
    /// fn room(name: &str) -> Topic<String> {
    ///     Topic::new(format!("room:{name}"))
    /// }
    ///
    /// async fn join(call: Call<()>, name: String) -> Result<Join<String>> {
    ///     let user = call.context().principal().ok_or_else(Error::unauthenticated)?;
    ///     Ok(room(&name).join().present(&Presence::new(name).by_principal(), &user.0))
    /// }
    ///
    /// async fn say(call: Call<()>, (name, text): (String, String)) -> Result {
    ///     let room = room(&name);
    ///     if !call.connection()?.has_joined(&room) {
    ///         return Err(Error::permission_denied("join the room first"));
    ///     }
    ///     call.to(&room).send(&text)
    /// }
    ///
    /// let endpoint = Endpoint::new(()).topic(ROOM, join).procedure(SAY, say);
    /// ```
    #[track_caller]
    pub fn topic<I, T, F, R, J>(self, subscription: Subscription<I, T>, function: F) -> Self
    where
        I: Takes<D>,
        T: Gives<D>,
        F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J>> + Send + 'static,
        J: Into<Join<T>> + Send + 'static,
    {
        let name = subscription.name();
        assert!(
            matches!(subscription.policy().0, Policy::Block),
            "the subscription {name:?} has an overflow policy, and is served from a topic: set it with `Topic::with_overflow`"
        );
        let starts = TopicFn { state: Arc::clone(&self.state), subscription, function, joins: PhantomData };
        self.add(name, Starts::Subscription(Box::new(starts)), Sides::both::<D, I, T>())
    }
}

struct TopicFn<S, I, T, F, J> {
    state: Arc<S>,
    subscription: Subscription<I, T>,
    function: F,
    joins: PhantomData<fn() -> J>,
}

impl<S, I, T, F, R, J> Start<Streaming> for TopicFn<S, I, T, F, J>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    T: Serialize + Send + Sync + 'static,
    F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<J>> + Send + 'static,
    J: Into<Join<T>> + Send + 'static,
{
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<Streaming>>> {
        let input = read(input)?;
        self.subscription.validate(&input)?;
        let running = (self.function)(Call::new(call, &self.state), input);
        Ok(Box::pin(async move {
            let join: Join<T> = running.await?.into();
            Ok(Streaming::Topic(join.into_erased()?))
        }))
    }
}
