use std::{borrow::Cow, fmt, marker::PhantomData};

/// A name to which messages of type `T` are published.
///
/// # Examples
///
/// ```
/// use realtime_core::Topic;
///
/// const NEWS: Topic<String> = Topic::fixed("news");
/// let room: Topic<String> = Topic::new(format!("room:{}", 7));
/// assert_eq!((NEWS.name(), room.name()), ("news", "room:7"));
/// ```
///
/// A name has 1 to 256 bytes; others are refused where they are used, with `INVALID_ARGUMENT`,
/// so that a name may be made from what a client sent.
pub struct Topic<T> {
    name: Cow<'static, str>,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Topic<T> {
    /// A topic whose name is known when the code is compiled.
    pub const fn fixed(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), message: PhantomData }
    }

    /// A topic whose name is made as it goes.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), message: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Names are keys of the hub's map: a peer must not choose their size.
pub(crate) const MAX_NAME_BYTES: usize = 256;

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), message: PhantomData }
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}
