use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    ops::Deref,
    sync::Arc,
};

/// The hashes of names, keyed at random: clients may choose names.
#[derive(Debug, Default)]
pub(crate) struct Names(RandomState);

impl Names {
    /// Hashes a name, once for the choice of a shard and for the map in it.
    #[inline]
    pub(crate) fn hashed<'a>(&self, name: &'a str) -> Hashed<&'a str> {
        Hashed { hash: self.0.hash_one(name), name }
    }
}

/// A map by names whose hashes are known.
pub(crate) type ByName<V> = HashMap<Hashed<Arc<str>>, V, BuildHasherDefault<KnownHash>>;

/// A name with its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed<N> {
    hash: u64,
    name: N,
}

impl<N: Deref<Target = str>> Hashed<N> {
    /// Returns the number of its shard. Maps use the lowest and the highest bits of the hash, this those between.
    #[inline]
    pub(crate) fn shard(&self, shards: usize) -> usize {
        (self.hash >> 32) as usize % shards
    }

    /// Returns the key to look it up by in a [`ByName`].
    #[inline]
    pub(crate) fn key(&self) -> &dyn Name {
        self
    }

    /// Returns the key to insert it by.
    pub(crate) fn owned(&self, name: Arc<str>) -> Hashed<Arc<str>> {
        debug_assert_eq!(*self.name, *name);
        Hashed { hash: self.hash, name }
    }
}

/// A key of a [`ByName`], whatever holds its text.
pub(crate) trait Name {
    fn parts(&self) -> (u64, &str);
}

impl<N: Deref<Target = str>> Name for Hashed<N> {
    #[inline]
    fn parts(&self) -> (u64, &str) {
        (self.hash, &self.name)
    }
}

impl<'a> Borrow<dyn Name + 'a> for Hashed<Arc<str>> {
    #[inline]
    fn borrow(&self) -> &(dyn Name + 'a) {
        self
    }
}

impl Hash for dyn Name + '_ {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.parts().0);
    }
}

impl PartialEq for dyn Name + '_ {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Name + '_ {}

impl Hash for Hashed<Arc<str>> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Hashed<Arc<str>> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Hashed<Arc<str>> {}

/// The hasher of keys that know their hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownHash(u64);

impl Hasher for KnownHash {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_text_and_by_nothing_else() {
        let names = Names::default();
        let mut map = ByName::default();
        for name in ["a", "b", ""] {
            map.insert(names.hashed(name).owned(name.into()), name);
        }
        for name in ["a", "b", ""] {
            assert_eq!(map.get(names.hashed(name).key()), Some(&name));
        }
        // Of one hash, and another name.
        let (a, b) = (names.hashed("a"), names.hashed("b"));
        assert_eq!(map.get(Hashed { name: "c", ..a }.key()), None);
        assert_eq!(map.get(Hashed { name: "a", ..b }.key()), None);
        assert_eq!(map.remove(a.key()), Some("a"));
        assert_eq!(map.len(), 2);
    }

    #[test]
    fn names_are_spread_over_the_shards_and_within_them() {
        let names = Names::default();
        let mut shards = [0; 64];
        for name in (0..64_000).map(|number| number.to_string()) {
            shards[names.hashed(&name).shard(64)] += 1;
        }
        assert!(shards.iter().all(|count| (500..2000).contains(count)), "{shards:?}");
    }
}
