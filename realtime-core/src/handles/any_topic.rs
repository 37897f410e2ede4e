use super::{Feed, Topic};

pub(super) use sealed::Name;

/// A [`Topic`] or a [`Feed`], for what is done to both alike.
pub trait AnyTopic: sealed::Named {}

impl<T> AnyTopic for Topic<T> {}

impl<T> AnyTopic for Feed<T> {}

mod sealed {
    use super::{Feed, Topic};

    /// The name, in the namespace of its kind.
    #[derive(Clone, Copy, Debug)]
    pub enum Name<'a> {
        Topic(&'a str),
        Feed(&'a str),
    }

    pub trait Named {
        fn in_kind(&self) -> Name<'_>;
    }

    impl<T> Named for Topic<T> {
        fn in_kind(&self) -> Name<'_> {
            Name::Topic(self.name())
        }
    }

    impl<T> Named for Feed<T> {
        fn in_kind(&self) -> Name<'_> {
            Name::Feed(self.name())
        }
    }
}
