//! Taking the log into the copy of it: loaded by pages, kept up by records, and checked by its proofs.

use super::{
    FeedState,
    entry::{Entry, Stored},
    reader::{Ask, End, Part, Reader, Stage, Turn},
    replica::{Means, Replica},
    state::frame_of,
};
use crate::{
    hub::members::Effects,
    seams::{Page, Record},
};
use realtime_protocol::Position;
use std::sync::Arc;

impl FeedState {
    /// Takes a record that the broker brings. Returns true if something is to be read.
    pub(super) fn take_record(&self, record: Record, means: &Means<'_>, effects: &mut Effects) -> bool {
        let Some(replica) = &self.replica else { return false };
        let _order = self.order.lock();
        let mut reader = replica.lock();
        match reader.stage {
            Stage::New => false,
            Stage::Loading | Stage::Catching => {
                reader.wait(record, means, &self.ledger);
                false
            }
            Stage::Live if reader.end.connects_now(&record) => {
                reader.heard = means.now;
                self.apply(&mut reader, record, means, effects);
                false
            }
            Stage::Live if self.has(&reader, &record) => false,
            Stage::Live => {
                reader.stage = Stage::Catching;
                reader.wait(record, means, &self.ledger);
                reader.asked += 1;
                reader.queue()
            }
        }
    }

    /// Returns the next thing to ask the broker; `None` if nothing is to be read any more.
    pub(super) fn next_read(&self) -> Option<Ask> {
        let mut reader = self.replica.as_ref()?.lock();
        if reader.stage == Stage::Live && reader.done < reader.asked {
            reader.stage = Stage::Catching;
        }
        match reader.stage {
            Stage::New | Stage::Live => {
                let past = if reader.stage == Stage::Live { self.next_wanted(&mut reader) } else { None };
                if past.is_none() {
                    reader.turn = Turn::Idle;
                }
                past.map(Ask::Past)
            }
            Stage::Loading if reader.end.epoch.is_empty() => {
                reader.begin_read();
                Some(Ask::Top)
            }
            Stage::Loading | Stage::Catching => {
                reader.begin_read();
                Some(Ask::Page(reader.end.offset))
            }
        }
    }

    /// Begins to read the newest part of a log that ends at `top`. Followers keep what they have until it is read.
    pub(super) fn begin_part(&self, top: &Position) {
        let Some(replica) = &self.replica else { return };
        let _order = self.order.lock();
        let mut reader = replica.lock();
        let start = top.offset.saturating_sub(self.tail.lock().log.entries as u64);
        let base = if start == top.offset { top.clone() } else { Position::new(&*top.epoch, start) };
        reader.written = 0;
        reader.end = End::of(&base);
        reader.part = Part { base, ..Part::default() };
    }

    /// Takes a page that was read behind the end.
    pub(super) fn take_page(&self, page: Page, means: &Means<'_>, effects: &mut Effects) {
        let Some(replica) = &self.replica else { return };
        let _order = self.order.lock();
        let mut reader = replica.lock();
        let is_whole = match reader.stage {
            Stage::Loading => self.load(&mut reader, &page, means, effects),
            _ => self.catch_up(&mut reader, &page, means, effects),
        };
        if !is_whole {
            replica.set_loaded(false);
            reader.load_anew();
            return reader.count(&self.ledger);
        }
        if reader.end.is_at(&page.top) {
            self.finish(replica, &mut reader, &page.top, means, effects);
        }
    }

    /// Adds a page to the part that is being read, and takes that over once it is whole. Returns false if the log is not the
    /// one that it was.
    fn load(&self, reader: &mut Reader, page: &Page, means: &Means<'_>, effects: &mut Effects) -> bool {
        let most = self.tail.lock().log.bytes;
        if page.records.is_empty() {
            let Some(skipped) = reader.end.gap_before_top(&page.top) else { return false };
            skipped.into_iter().for_each(|base| reader.begin_part(base));
        }
        for record in &page.records {
            let Some(skipped) = reader.end.gap_before(record) else { return false };
            skipped.into_iter().for_each(|base| reader.begin_part(base));
            reader.end = End::behind(record);
            reader.part.add(record.clone(), most);
        }
        reader.count(&self.ledger);
        if reader.end.is_at(&page.top) {
            let part = std::mem::take(&mut reader.part);
            // What was wanted before the copy is of the log that it was.
            reader.wants.clear();
            self.change(|tail| tail.begin_anew(part.base, page.top.clone()));
            self.followers.for_each(|follower| follower.interrupt(effects));
            part.records.into_iter().for_each(|record| self.apply(reader, record, means, effects));
        }
        true
    }

    /// Adds the records of a page to the copy. Returns false if the log is not the one that was copied.
    fn catch_up(&self, reader: &mut Reader, page: &Page, means: &Means<'_>, effects: &mut Effects) -> bool {
        if page.records.is_empty() {
            let skipped = reader.end.gap_before_top(&page.top);
            return self.skip(reader, skipped, effects);
        }
        for record in &page.records {
            let skipped = reader.end.gap_before(record);
            if !self.skip(reader, skipped, effects) {
                return false;
            }
            self.apply(reader, record.clone(), means, effects);
        }
        true
    }

    /// Goes on behind what the log does not have, if there is such. Returns false if it is not the one that was copied.
    fn skip(&self, reader: &mut Reader, skipped: Option<Option<Position>>, effects: &mut Effects) -> bool {
        let Some(skipped) = skipped else {
            let feed = &*self.name;
            tracing::warn!(feed, "the log is not the one that was followed: something of it was lost");
            return false;
        };
        if let Some(base) = skipped {
            reader.end = End::of(&base);
            self.change(|tail| tail.skip_to(base));
            self.followers.for_each(|follower| follower.interrupt(effects));
        }
        true
    }

    /// Goes on with the records that came meanwhile, once everything before them is there.
    fn finish(
        &self,
        replica: &Replica,
        reader: &mut Reader,
        top: &Position,
        means: &Means<'_>,
        effects: &mut Effects,
    ) {
        reader.heard = means.now;
        top.epoch.clone_into(&mut reader.end.epoch);
        replica.drafts.lock().forget_lost(&top.epoch);
        self.change(|tail| tail.set_epoch(&top.epoch));
        while let Some(record) = reader.take_waiting() {
            if reader.end.connects_now(&record) {
                self.apply(reader, record, means, effects);
            } else if !self.has(reader, &record) {
                reader.overflowed = true;
            }
        }
        if std::mem::take(&mut reader.overflowed) {
            reader.stage = Stage::Catching;
            reader.asked += 1;
        } else {
            reader.stage = Stage::Live;
        }
        reader.count(&self.ledger);
        replica.set_loaded(true);
        reader.done = reader.under_way.take().unwrap_or(reader.done);
        std::mem::take(&mut reader.wakers).for_each(|waker| effects.wake(Some(waker)));
    }

    /// Adds the entries of the next record, and sends them to the followers that are level.
    fn apply(&self, reader: &mut Reader, record: Record, means: &Means<'_>, effects: &mut Effects) {
        let (first, time) = (record.first, means.tick_of(record.body.time));
        let last = record.position(record.last());
        for (at, logged) in record.body.entries.into_iter().enumerate() {
            let position = Position { offset: first + at as u64, ..last.clone() };
            let written = Stored::logged(logged).and_then(|(mut value, key)| {
                let frame = frame_of(means.protocols, &self.name, &mut value, &position)?;
                Ok((value, key, frame))
            });
            match written {
                Ok((value, key, frame)) => {
                    let entry = Arc::new(Entry { position, value, key, time });
                    self.push(entry, frame, means.protocols, effects);
                }
                Err(error) => {
                    let offset = position.offset;
                    tracing::error!(feed = &*self.name, offset, ?error, "an entry cannot be sent to clients");
                    self.change(|tail| tail.skip_to(position));
                    self.followers.for_each(|follower| follower.interrupt(effects));
                }
            }
        }
        reader.end = End { epoch: last.epoch, offset: last.offset, proof: Some(record.proof) };
    }

    /// Returns true if the record has been copied already.
    fn has(&self, reader: &Reader, record: &Record) -> bool {
        if record.last() == reader.end.offset {
            return reader.end.proof == Some(record.proof);
        }
        let known = self.tail.lock().position(record.last());
        known.is_some_and(|known| known.proof == Some(record.proof.to_string()))
    }

    /// Returns true if the log does not end where the copy does.
    pub(super) fn differs(&self, top: &Position, now: u32) -> bool {
        let Some(replica) = &self.replica else { return false };
        let mut reader = replica.lock();
        if reader.stage == Stage::New {
            return false;
        }
        if reader.stage != Stage::Live || !reader.end.is_at(top) {
            return true;
        }
        reader.heard = now;
        top.epoch.clone_into(&mut reader.end.epoch);
        replica.drafts.lock().forget_lost(&top.epoch);
        self.change(|tail| tail.set_epoch(&top.epoch));
        false
    }
}
