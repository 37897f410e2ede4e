#[cfg(feature = "schema")]
use crate::schema::{Side, side};
use crate::{
    error::{Error, Result},
    overflow::Overflow,
};
use std::{fmt, marker::PhantomData, time::Duration};

/// The name of a procedure that takes an `I` and returns an `O`: a constant that both ends share.
///
/// A server registers it with `Endpoint::procedure`, a client with `on_call`; the other end calls it. Dots in a name
/// group procedures: `users.me`.
///
/// # Examples
///
/// ```
/// use realtime_core::Procedure;
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// #[derive(Serialize, Deserialize)]
/// pub struct AddNumbers { a: i64, b: i64 }
///
/// pub const ADD: Procedure<AddNumbers, i64> = Procedure::new("add_numbers");
/// pub const ME: Procedure<(), String> = Procedure::query("users.me").with_timeout(Duration::from_secs(5));
/// assert!(ME.is_query());
/// ```
pub struct Procedure<I, O> {
    name: Name,
    query: bool,
    timeout: Duration,
    check: Option<Check<I>>,
    #[cfg(feature = "schema")]
    progress: Option<Side>,
    types: PhantomData<fn(I) -> O>,
}

/// Validates a received value before the application's code runs.
pub(crate) type Check<T> = fn(&T) -> Result;

impl<I, O> Procedure<I, O> {
    /// Creates a mutation: a procedure that changes something. Over HTTP it is called by POST.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Name::new(name),
            query: false,
            timeout: DEFAULT_TIMEOUT,
            check: None,
            #[cfg(feature = "schema")]
            progress: None,
            types: PhantomData,
        }
    }

    /// Creates a query: a procedure that changes nothing and may be repeated. Over HTTP it is called by GET or POST.
    pub const fn query(name: &'static str) -> Self {
        Self { query: true, ..Self::new(name) }
    }

    /// Sets the time limit of a call; 30 s by default. A caller may set a shorter one, but not a longer one.
    #[must_use = "the changed name is returned"]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a check that runs on each input before the procedure; its error is sent to the caller.
    #[must_use = "the changed name is returned"]
    pub const fn with_check(mut self, check: fn(&I) -> Result) -> Self {
        self.check = Some(check);
        self
    }

    /// Declares the type of the progress reports, those of `Call::progress`, for generated clients.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::Procedure;
    ///
    /// pub const IMPORT: Procedure<String, u32> = Procedure::new("import").progress::<f64>();
    /// ```
    #[cfg(feature = "schema")]
    #[must_use = "the changed name is returned"]
    pub const fn progress<P: schemars::JsonSchema>(mut self) -> Self {
        self.progress = Some(side::<P>);
        self
    }

    /// Returns the name of this procedure in an endpoint that is nested under `prefix`.
    #[must_use = "the changed name is returned"]
    pub const fn within(mut self, prefix: &'static str) -> Self {
        self.name.prefix = Some(prefix);
        self
    }

    /// Returns true for a query, which changes nothing.
    pub const fn is_query(&self) -> bool {
        self.query
    }

    /// Returns the time limit of a call.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the name as it is sent.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Runs the check on an input.
    ///
    /// # Errors
    ///
    /// Returns the error of the [check](Self::with_check).
    pub fn validate(&self, input: &I) -> Result {
        self.check.map_or(Ok(()), |check| check(input))
    }

    #[cfg(feature = "schema")]
    #[doc(hidden)]
    pub const fn progress_side(&self) -> Option<Side> {
        self.progress
    }
}

/// The name of a subscription that takes an `I` and yields a stream of `T`: a constant that both ends share.
///
/// It is served from a stream, or from a feed, whose items reach clients that were away; `docs/delivery.md` compares them.
///
/// # Examples
///
/// ```
/// use realtime_core::{Overflow, Subscription};
///
/// pub const EVENTS: Subscription<String, u64> = Subscription::new("events");
/// /// A client that falls behind receives only the newest price of each symbol.
/// pub const PRICES: Subscription<(), (String, f64)> =
///     Subscription::new("prices").with_overflow(Overflow::conflate(|price| price.0.clone()));
/// ```
pub struct Subscription<I, T> {
    name: Name,
    overflow: Overflow<T>,
    check: Option<Check<I>>,
    types: PhantomData<fn(I) -> T>,
}

impl<I, T> Subscription<I, T> {
    /// Creates a subscription that [blocks](Overflow::block): its stream is not polled while the client is behind.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Name::new(name), overflow: Overflow::block(), check: None, types: PhantomData }
    }

    /// Sets the policy for a client that falls behind.
    #[must_use = "the changed name is returned"]
    pub const fn with_overflow(mut self, overflow: Overflow<T>) -> Self {
        self.overflow = overflow;
        self
    }

    /// Adds a check that runs on each input before the subscription begins; its error is sent to the subscriber.
    #[must_use = "the changed name is returned"]
    pub const fn with_check(mut self, check: fn(&I) -> Result) -> Self {
        self.check = Some(check);
        self
    }

    /// Returns the name of this subscription in an endpoint that is nested under `prefix`.
    #[must_use = "the changed name is returned"]
    pub const fn within(mut self, prefix: &'static str) -> Self {
        self.name.prefix = Some(prefix);
        self
    }

    /// Returns the name as it is sent.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Runs the check on an input.
    ///
    /// # Errors
    ///
    /// Returns the error of the [check](Self::with_check).
    pub fn validate(&self, input: &I) -> Result {
        self.check.map_or(Ok(()), |check| check(input))
    }

    #[doc(hidden)]
    pub fn policy(&self) -> Overflow<T> {
        self.overflow
    }
}

/// The name of a one-way message with data of type `T`: a constant that both ends share.
///
/// # Examples
///
/// ```
/// use realtime_core::Event;
///
/// pub const TYPING: Event<bool> = Event::new("TYPING");
/// ```
pub struct Event<T> {
    name: &'static str,
    check: Option<Check<T>>,
    types: PhantomData<fn(T) -> T>,
}

impl<T> Event<T> {
    /// Creates an event. Nesting an endpoint does not prefix the names of its events, unlike those of procedures.
    pub const fn new(name: &'static str) -> Self {
        Self { name, check: None, types: PhantomData }
    }

    /// Adds a check that runs on the data before the event is handled; its error is sent to the sender.
    #[must_use = "the changed name is returned"]
    pub const fn with_check(mut self, check: fn(&T) -> Result) -> Self {
        self.check = Some(check);
        self
    }

    /// Returns the name as it is sent.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check on the data of an event.
    ///
    /// # Errors
    ///
    /// Returns the error of the [check](Self::with_check).
    pub fn validate(&self, data: &T) -> Result {
        self.check.map_or(Ok(()), |check| check(data))
    }
}

/// The default time limit of a call. Few callers still wait for an answer after 30 s.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A dotted name. It has two parts because a `const fn` cannot concatenate strings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    prefix: Option<&'static str>,
    name: &'static str,
}

impl Name {
    const fn new(name: &'static str) -> Self {
        Self { prefix: None, name }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            Some(prefix) => write!(f, "{prefix}.{}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// Checks the name of a procedure or subscription: 1 to 256 bytes, with no empty part between dots.
pub fn check_path(path: &str) -> Result {
    let valid = (1..=MAX_PATH_BYTES).contains(&path.len()) && path.split('.').all(|part| !part.is_empty());
    if valid {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{:?} is no name: 1 to {MAX_PATH_BYTES} bytes, with something between its dots",
        crate::text::clip(path, 80),
    )))
}

/// A bound for names that clients send: they are looked up in maps and repeated in errors.
const MAX_PATH_BYTES: usize = 256;

macro_rules! copy_and_debug {
    ($name:ident<$($types:ident),*>) => {
        impl<$($types),*> Clone for $name<$($types),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($types),*> Copy for $name<$($types),*> {}

        impl<$($types),*> fmt::Debug for $name<$($types),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.name)
            }
        }
    };
}

// A derive would require `Clone`, `Copy` and `Debug` of the type parameters.
copy_and_debug!(Procedure<I, O>);
copy_and_debug!(Subscription<I, T>);
copy_and_debug!(Event<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_comes_before_the_name() {
        const ME: Procedure<(), ()> = Procedure::query("me").within("admin.users");
        assert_eq!(ME.name(), "admin.users.me");
        assert_eq!(format!("{ME:?}"), "Procedure(admin.users.me)");
    }

    #[test]
    fn a_path_has_something_between_its_dots() {
        for path in ["a", "a.b", "žluť.x", &"x".repeat(256)] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in ["", ".", "a.", ".a", "a..b", &"x".repeat(257)] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
