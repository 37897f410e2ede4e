use crate::error::{Error, Result};
use crate::overflow::Overflow;
#[cfg(feature = "schema")]
use crate::schema::{Side, side};
use std::{fmt, marker::PhantomData, time::Duration};

/// The name of a procedure that takes an `I` and returns an `O`: a constant that both ends share.
///
/// Registered with `Endpoint::procedure`, or on a client with its `on_call`, and called by its name. Dots in a name group procedures: `users.me`.
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

/// Looks at a value that was received, before the application's code does.
pub(crate) type Check<T> = fn(&T) -> Result;

impl<I, O> Procedure<I, O> {
    /// A procedure that changes something: over HTTP it is called by POST.
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

    /// A procedure that changes nothing and may be repeated: over HTTP it is called by GET too.
    pub const fn query(name: &'static str) -> Self {
        Self { query: true, ..Self::new(name) }
    }

    /// Sets the time that a call may take; 30 s by default. A caller may allow less, and no more.
    #[must_use = "the changed name is returned"]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks each input before the procedure is called; the error is the answer.
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

    /// The same procedure in an endpoint that is nested under `prefix`.
    #[must_use = "the changed name is returned"]
    pub const fn within(mut self, prefix: &'static str) -> Self {
        self.name.prefix = Some(prefix);
        self
    }

    /// Whether it changes nothing.
    pub const fn is_query(&self) -> bool {
        self.query
    }

    /// The time that a call may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The name that goes over the wire.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Checks an input.
    ///
    /// # Errors
    ///
    /// Those of its [check](Self::with_check).
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
/// # Examples
///
/// ```
/// use realtime_core::{Overflow, Subscription};
///
/// pub const EVENTS: Subscription<String, u64> = Subscription::new("events");
/// /// Of each symbol only the newest price waits for a client that does not keep up.
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
    /// A subscription that [blocks](Overflow::block) its stream while the client does not keep up.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Name::new(name), overflow: Overflow::block(), check: None, types: PhantomData }
    }

    /// Sets what happens when the client does not keep up.
    #[must_use = "the changed name is returned"]
    pub const fn with_overflow(mut self, overflow: Overflow<T>) -> Self {
        self.overflow = overflow;
        self
    }

    /// Checks each input before the subscription begins; the error is the answer.
    #[must_use = "the changed name is returned"]
    pub const fn with_check(mut self, check: fn(&I) -> Result) -> Self {
        self.check = Some(check);
        self
    }

    /// The same subscription in an endpoint that is nested under `prefix`.
    #[must_use = "the changed name is returned"]
    pub const fn within(mut self, prefix: &'static str) -> Self {
        self.name.prefix = Some(prefix);
        self
    }

    /// The name that goes over the wire.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Checks an input.
    ///
    /// # Errors
    ///
    /// Those of its [check](Self::with_check).
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
    /// An event. Unlike the names of procedures, an event's is the same wherever it is handled: nesting does not
    /// change it.
    pub const fn new(name: &'static str) -> Self {
        Self { name, check: None, types: PhantomData }
    }

    /// Checks the data before the event is handled; the error is the answer.
    #[must_use = "the changed name is returned"]
    pub const fn with_check(mut self, check: fn(&T) -> Result) -> Self {
        self.check = Some(check);
        self
    }

    /// The name that goes over the wire.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the data of one.
    ///
    /// # Errors
    ///
    /// Those of its [check](Self::with_check).
    pub fn validate(&self, data: &T) -> Result {
        self.check.map_or(Ok(()), |check| check(data))
    }
}

/// A call that takes longer is given up: 30 s, after which nobody who waits for an answer still expects one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A dotted name, in two parts because constants cannot be joined.
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

/// Names of procedures and subscriptions have 1 to 256 bytes, and no part between dots is empty.
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

/// Paths are looked up in maps, and told back in errors.
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

// Derived, these would ask the same of the types.
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
