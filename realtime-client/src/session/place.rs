use realtime_protocol::{Gap, Position};

/// The place of a subscription in its source. The offsets of a feed follow each other, so that what comes twice and what
/// is missing is seen here.
#[derive(Debug)]
pub(super) struct Place {
    /// The position behind which the subscription goes on. It stays where it was until a state that replaces it has come:
    /// the connection may be lost before.
    position: Option<Position>,
    /// The position behind which the next entry of a feed comes.
    seen: Option<Position>,
    /// The position of a state that may come.
    state: Option<Position>,
}

/// The relation of an item that comes to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    /// It has come before.
    Known,
    /// Something is missing before it.
    Hole,
}

impl Place {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self { position, seen: None, state: None }
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Returns true if nobody knows what comes next: there is no position, and no feed that has begun.
    pub(super) fn is_unknown(&self) -> bool {
        self.position.is_none() && self.seen.is_none()
    }

    /// The subscription of a feed begins, and a state may follow.
    pub(super) fn begin(&mut self, position: Position, resumed: Option<bool>, state: bool) {
        if resumed == Some(true) || self.position.is_none() && !state {
            return self.go_to(position);
        }
        self.seen = Some(position.clone());
        self.state = state.then_some(position);
    }

    /// Goes to an item, if it is the next.
    pub(super) fn take(&mut self, position: Option<&Position>) -> Step {
        let Some(position) = position else { return Step::Next };
        let step = self.step_to(position);
        if step == Step::Next && self.seen.is_some() {
            self.go_to(position.clone());
        } else if step == Step::Next {
            self.position = Some(position.clone());
        }
        step
    }

    /// Goes behind a gap, if it is the next.
    pub(super) fn skip(&mut self, gap: &Gap) -> Step {
        let Some(seen) = &self.seen else { return Step::Next };
        let next = match gap.from.zip(gap.to) {
            Some((_, to)) if to <= seen.offset => return Step::Known,
            Some((from, _)) if from.saturating_sub(1) > seen.offset => return Step::Hole,
            Some((_, to)) => Position::new(&*seen.epoch, to),
            None => seen.clone(),
        };
        self.go_to(next);
        Step::Next
    }

    fn go_to(&mut self, position: Position) {
        self.position = Some(position.clone());
        self.seen = Some(position);
        self.state = None;
    }

    fn step_to(&self, next: &Position) -> Step {
        let is_state = self.state.as_ref().is_some_and(|state| is_at(state, next));
        let seen = self.seen.as_ref().filter(|seen| seen.epoch == next.epoch && !is_state);
        match seen.map(|seen| next.offset.checked_sub(seen.offset)) {
            None | Some(Some(1)) => Step::Next,
            Some(None | Some(0)) => Step::Known,
            Some(Some(_)) => Step::Hole,
        }
    }
}

fn is_at(position: &Position, other: &Position) -> bool {
    (&position.epoch, position.offset) == (&other.epoch, other.offset)
}
