use crate::util::sync::Mutex;
use std::{
    any::{Any, TypeId},
    sync::Arc,
};

/// The variables of a call, by their types. Without any, they take no memory of their own.
#[derive(Debug, Default)]
pub(crate) struct Variables(Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>);

impl Variables {
    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let variables = self.0.lock();
        let (_, found) = variables.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        let found = Arc::clone(found);
        drop(variables);
        found.downcast().ok()
    }

    pub(crate) fn set<T: Send + Sync + 'static>(&self, value: T) {
        let id = TypeId::of::<T>();
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut variables = self.0.lock();
        let previous = match variables.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => Some(std::mem::replace(known, value)),
            None => {
                variables.push((id, value));
                None
            }
        };
        drop(variables);
        // It runs code of the application.
        drop(previous);
    }
}

impl Clone for Variables {
    fn clone(&self) -> Self {
        let variables = self.0.lock().clone();
        Self(Mutex::new(variables))
    }
}
