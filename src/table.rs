//! A table of places that are used again: each entry is named by its place and a generation, so a
//! late word about an entry that is gone finds nothing. Flows, attempts and reply slots live in
//! such tables. Grows to its highest use and allocates nothing after that.

use std::fmt;

/// Names one entry of a `Table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The entry's place.
    pub slot: u32,
    /// Counts how often the place was used.
    pub generation: u32,
}

/// See the header of this file.
pub(crate) struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    count: usize,
}

struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            count: 0,
        }
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<T> Table<T> {
    /// How many entries there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Puts `entry` in a free place. The caller keeps the table's bound (I8).
    pub(crate) fn insert(&mut self, entry: T) -> Key {
        self.count = self.count.saturating_add(1);
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.place_mut(slot)
        {
            place.entry = Some(entry);
            return Key {
                slot,
                generation: place.generation,
            };
        }
        let slot = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place {
            generation: 0,
            entry: Some(entry),
        });
        Key {
            slot,
            generation: 0,
        }
    }

    /// Takes the entry out; its key names nothing from now on.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key.slot)?;
        if place.generation != key.generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.count = self.count.saturating_sub(1);
        Some(entry)
    }

    /// The entry that `key` names, unless it is gone.
    #[must_use]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(usize::try_from(key.slot).ok()?)?;
        (place.generation == key.generation)
            .then_some(place.entry.as_ref())
            .flatten()
    }

    /// The entry that `key` names, to change.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place_mut(key.slot)?;
        (place.generation == key.generation)
            .then_some(place.entry.as_mut())
            .flatten()
    }

    /// The key of the entry that stands at `slot` now.
    #[must_use]
    pub(crate) fn key_at(&self, slot: u32) -> Option<Key> {
        let place = self.places.get(usize::try_from(slot).ok()?)?;
        place.entry.as_ref().map(|_| Key {
            slot,
            generation: place.generation,
        })
    }

    /// Every entry with its key, in the order of places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().zip(0_u32..).filter_map(|(place, slot)| {
            let entry = place.entry.as_ref()?;
            Some((
                Key {
                    slot,
                    generation: place.generation,
                },
                entry,
            ))
        })
    }

    fn place_mut(&mut self, slot: u32) -> Option<&mut Place<T>> {
        self.places.get_mut(usize::try_from(slot).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing_after_its_place_is_used_again() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        assert_eq!(table.remove(first), None);
        let second = table.insert("second");
        assert_eq!(second.slot, first.slot);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.key_at(second.slot), Some(second));
        assert_eq!(table.iter().count(), 1);
        assert_eq!(table.len(), 1);
    }
}
