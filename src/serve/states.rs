//! The states of tables that kept plans are of: each in memory once, and weighed once.
//!
//! Contract: plans of one state of a table, however often it was loaded, share one copy of its metadata, and all such copies together are bounded.
//! Where they would be more, those that were used longest ago are given up: who keeps plans of them must forget these. Nothing is held here: metadata
//! lives as long as a plan or a stream does that is made of it.

use super::weights;
use fastdata_types::TableState;
use fastdata_types::metadata::TableMetadata;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes that the metadata of kept plans may take, about.
pub const MOST_BYTES: u64 = 128 << 20;

/// The states in use. A state is weighed for itself and not in each of its plans: a dozen plans of a table with 20 000 snapshots, some 50 MB,
/// would drive one another out.
pub struct States {
    most: u64,
    listed: Mutex<Listed>,
}

/// The copy of a state's metadata that its plans share.
pub struct Held {
    pub metadata: Arc<TableMetadata>,
    /// States that are too many now, by address, which stays theirs as long as they are here.
    pub given_up: HashMap<usize, Weak<TableMetadata>>,
}

#[derive(Default)]
struct Listed {
    states: HashMap<Key, State>,
    /// Of all of them.
    bytes: u64,
    /// How often any was used.
    uses: u64,
}

struct State {
    metadata: Weak<TableMetadata>,
    bytes: u64,
    /// When, in uses, it was used last.
    used: u64,
}

/// Where two loads bring the same.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// A metadata file is written once; the time tells a table without uuid from one that was there before it.
    File { location: String, uuid: Option<String>, updated_ms: i64 },
    /// A catalog that names no file: each load by its address.
    Unnamed(usize),
}

impl States {
    pub fn new(most: u64) -> States {
        States { most, listed: Mutex::default() }
    }

    /// The state of a table comes into use, or is used again.
    pub fn hold(&self, table: &TableState) -> Held {
        self.hold_at(&table.metadata_location, &table.metadata)
    }

    fn hold_at(&self, location: &str, metadata: &Arc<TableMetadata>) -> Held {
        let key = Key::of(location, metadata);
        if let Some(metadata) = self.listed().find(&key) {
            return Held { metadata, given_up: HashMap::new() };
        }
        // Weighed without the lock, as it looks at every snapshot. One state alone must not leave no room for others: it would be given up and
        // loaded again in turn with each of them.
        let bytes = (weights::of_metadata(metadata) as u64).min(self.most / 2);
        let mut listed = self.listed();
        let metadata = listed.find(&key).unwrap_or_else(|| listed.add(key, metadata, bytes));
        Held { given_up: listed.shrink(self.most), metadata }
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// The copy in use, if there is one.
    fn find(&mut self, key: &Key) -> Option<Arc<TableMetadata>> {
        let state = self.states.get_mut(key)?;
        self.uses += 1;
        state.used = self.uses;
        state.metadata.upgrade()
    }

    fn add(&mut self, key: Key, metadata: &Arc<TableMetadata>, bytes: u64) -> Arc<TableMetadata> {
        self.uses += 1;
        self.bytes += bytes;
        let state = State { metadata: Arc::downgrade(metadata), bytes, used: self.uses };
        if let Some(gone) = self.states.insert(key, state) {
            self.bytes -= gone.bytes;
        }
        Arc::clone(metadata)
    }

    /// Takes states off the list until the rest is small enough: those that nobody holds any more, then those used longest ago, but never the last one used.
    fn shrink(&mut self, most: u64) -> HashMap<usize, Weak<TableMetadata>> {
        let mut given_up = HashMap::new();
        if self.bytes <= most {
            return given_up;
        }
        self.states.retain(|_, state| state.metadata.strong_count() > 0);
        let mut uses: Vec<(u64, u64)> = self.states.values().map(|state| (state.used, state.bytes)).collect();
        uses.sort_unstable();
        self.bytes = uses.iter().map(|(_, bytes)| bytes).sum();
        let mut until = 0;
        for (used, bytes) in uses {
            if self.bytes <= most || used == self.uses {
                break;
            }
            self.bytes -= bytes;
            until = used;
        }
        for (_, state) in self.states.extract_if(|_, state| state.used <= until) {
            given_up.insert(state.metadata.as_ptr() as usize, state.metadata);
        }
        given_up
    }
}

impl Key {
    fn of(location: &str, metadata: &Arc<TableMetadata>) -> Key {
        match location {
            "" => Key::Unnamed(Arc::as_ptr(metadata) as usize),
            location => Key::File { location: location.to_owned(), uuid: metadata.uuid.clone(), updated_ms: metadata.last_updated_ms },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastdata_types::metadata::{ManifestSource, Snapshot};
    use fastdata_types::{Field, PrimitiveType, Schema};

    /// Each call is another load.
    fn loaded(uuid: &str, snapshots: usize) -> Arc<TableMetadata> {
        let schema = Schema::new(0, vec![Field::required(1, "id", PrimitiveType::Long)]).unwrap();
        let snapshot = |id| Snapshot {
            id,
            parent_id: None,
            sequence_number: id,
            timestamp_ms: id,
            manifests: ManifestSource::List(format!("s3://bucket/table/metadata/snap-{id}.avro")),
            operation: Some("append".to_owned()),
            summary: [("added-records".to_owned(), "1000".to_owned())].into(),
            schema_id: Some(0),
            first_row_id: None,
            key_id: None,
        };
        Arc::new(TableMetadata {
            format_version: 2,
            uuid: Some(uuid.to_owned()),
            location: "s3://bucket/table".to_owned(),
            last_updated_ms: 0,
            last_sequence_number: 0,
            schemas: [(0, Arc::new(schema))].into(),
            current_schema_id: 0,
            partition_specs: Default::default(),
            default_spec_id: 0,
            sort_orders: Default::default(),
            default_sort_order_id: 0,
            properties: Default::default(),
            current_snapshot_id: None,
            snapshots: (0..snapshots as i64).map(|id| Arc::new(snapshot(id))).collect(),
            snapshot_index: Default::default(),
            snapshot_log: vec![],
            refs: Default::default(),
            next_row_id: None,
            name_mapping: None,
        })
    }

    #[test]
    fn each_state_is_weighed_and_one_that_is_loaded_again_is_the_same() {
        let states = States::new(1 << 30);
        let (first, again, other) = (loaded("u", 1000), loaded("u", 1000), loaded("v", 3000));
        let weight = |metadata: &Arc<TableMetadata>| weights::of_metadata(metadata) as u64;
        assert!(Arc::ptr_eq(&states.hold_at("/1.json", &first).metadata, &first));
        assert!(Arc::ptr_eq(&states.hold_at("/1.json", &again).metadata, &first));
        assert_eq!(states.listed().bytes, weight(&first));
        assert!(weight(&first) > 1000 * 200 && weight(&other) > 3000 * 200, "{}, {}", weight(&first), weight(&other));
        assert!(Arc::ptr_eq(&states.hold_at("/1.json", &other).metadata, &other), "a table in the place of another");
        assert!(Arc::ptr_eq(&states.hold_at("/2.json", &again).metadata, &again));
        assert_eq!(states.listed().bytes, 2 * weight(&first) + weight(&other));
    }

    #[test]
    fn what_names_no_file_is_shared_with_nothing_and_weighed_all_the_same() {
        let states = States::new(1 << 30);
        let (first, again) = (loaded("u", 10), loaded("u", 10));
        assert!(Arc::ptr_eq(&states.hold_at("", &first).metadata, &first));
        assert!(Arc::ptr_eq(&states.hold_at("", &again).metadata, &again));
        assert!(Arc::ptr_eq(&states.hold_at("", &first).metadata, &first));
        assert_eq!(states.listed().bytes, 2 * weights::of_metadata(&first) as u64);
    }

    #[test]
    fn states_that_are_too_many_are_given_up_in_the_order_of_their_use() {
        let all: Vec<_> = (0..5).map(|at| loaded(&format!("u{at}"), 10)).collect();
        let states = States::new(3 * weights::of_metadata(&all[0]) as u64);
        let hold = |at: usize| {
            let given_up = states.hold_at("/1.json", &all[at]).given_up;
            (0..all.len()).filter(|at| given_up.contains_key(&(Arc::as_ptr(&all[*at]) as usize))).collect::<Vec<_>>()
        };
        assert!([0, 1, 2, 0].into_iter().all(|at| hold(at).is_empty()));
        assert_eq!((hold(3), hold(4)), (vec![1], vec![2]));
        assert_eq!(hold(1), [0], "it came into use anew");
    }

    #[test]
    fn what_nobody_holds_makes_room_first_and_one_state_has_room_however_large_it_is() {
        let states = States::new(2);
        let first = loaded("u", 10);
        states.hold_at("/1.json", &first);
        states.hold_at("/2.json", &loaded("u", 10));
        assert!(states.hold_at("/3.json", &first).given_up.is_empty());
        let listed = states.listed();
        assert_eq!((listed.states.len(), listed.bytes), (2, 2));
    }
}
