//! Locks that a panic in user code does not poison, since no lock is ever held while it runs.
//!
//! With `--cfg interleavings` they and the atomics are those of shuttle, whose scheduler decides at each use which
//! thread runs next (`tests/interleavings.rs`).

#[cfg(interleavings)]
use shuttle::sync as imp;
#[cfg(not(interleavings))]
use std::sync as imp;

#[cfg(interleavings)]
pub(crate) use shuttle::thread::yield_now as yield_thread;
#[cfg(not(interleavings))]
pub(crate) use std::thread::yield_now as yield_thread;

pub(crate) use imp::{MutexGuard, RwLockReadGuard, RwLockWriteGuard, atomic};
use std::sync::PoisonError;

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
