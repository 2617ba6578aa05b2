//! That the axes give many tables, that equal shapes give equal ones, and that the model agrees with what the writer counted.

use super::*;
use fastdata_write::Content;
use std::collections::BTreeMap;
use std::path::Path;

/// Every file below `folder` but the catalog, by its path below it. The folder's own name is taken out of the text files.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|e| e == "parquet" || e == "json") {
                let bytes = std::fs::read(&entry).unwrap();
                let text = String::from_utf8(bytes).map(|t| t.replace(folder.to_str().unwrap(), "").into_bytes());
                out.insert(entry.strip_prefix(folder).unwrap().display().to_string(), text.unwrap_or_else(|e| e.into_bytes()));
            }
        }
    }
    out
}

#[test]
fn equal_shapes_give_equal_tables() {
    for seed in 0..3 {
        // Delete files hold the folder's name, so they differ from folder to folder.
        let shape = Shape { deletes: Deletes::NONE, ..Shape::random(seed) };
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(&shape, a.path()).unwrap();
        build(&shape, b.path()).unwrap();
        assert!(contents(a.path()) == contents(b.path()), "{shape:?}");
    }
}

#[test]
fn every_shape_can_be_built_and_its_rows_are_counted() {
    let keep = std::env::var_os("FASTDATA_KEEP_TABLES");
    let named = Shape::one_at_a_time();
    let random = (0..40).map(|seed| (format!("random {seed}"), Shape::random(seed)));
    for (nth, (name, shape)) in named.into_iter().chain(random).enumerate() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = keep.as_ref().map_or(temporary.path().to_owned(), |k| Path::new(k).join(format!("{nth:03}")));
        let built = build(&shape, &folder).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let rows = built.current_rows();
        let files = built.table.files(built.table.current_snapshot_id().unwrap()).unwrap();
        let stored: u64 = files.iter().filter(|f| f.content == Content::Data).map(|f| f.record_count).sum();
        let has_deletes = files.iter().any(|f| f.content != Content::Data);
        assert!(rows.len() as u64 <= stored, "{name}");
        assert_eq!(has_deletes, built.shape.deletes.any(), "{name}");
        if !has_deletes {
            assert_eq!(rows.len() as u64, stored, "{name}");
        }
        let batch = built.current_batch().unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(differences(&built.current_values(), &[batch], built.schema(), true).unwrap(), None);
        if keep.is_some() {
            std::fs::write(folder.join("expected"), format!("{name}\n{}\n{}", rows.len(), lines(&built.current_values()).join("\n")))
                .unwrap();
        }
    }
}

#[test]
fn deletes_of_each_kind_take_rows_away() {
    let history = History { appends: 2, ..History::SINGLE };
    for deletes in [Deletes::POSITIONS, Deletes::EQUALITY, Deletes::VECTORS] {
        let shape = Shape { format: 3, history, deletes, ..Shape::default() };
        let shape = if deletes.vectors { Shape { first_format: 3, ..shape } } else { shape };
        let folder = tempfile::tempdir().unwrap();
        let built = build(&shape, folder.path()).unwrap();
        let rows = built.current_rows().len();
        assert!(rows < 400 && rows > 300, "{deletes:?}: {rows}");
        let first = built.model.snapshots[0].id;
        assert_eq!(built.model.rows(first, built.schema()).len(), 200);
        assert_eq!(built.model.appended_rows(Some(first), built.table.current_snapshot_id().unwrap(), built.schema()).len(), 200);
    }
}

#[test]
fn differences_name_what_is_missing_and_what_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(&Shape::default(), folder.path()).unwrap();
    let values = built.current_values();
    let batch = built.current_batch().unwrap();
    let reversed: Vec<_> = values.iter().rev().cloned().collect();
    assert_eq!(differences(&reversed, std::slice::from_ref(&batch), built.schema(), false).unwrap(), None);
    assert!(differences(&reversed, std::slice::from_ref(&batch), built.schema(), true).unwrap().unwrap().contains("at row 0"));
    let fewer = differences(&values[1..], &[batch], built.schema(), false).unwrap().unwrap();
    assert!(fewer.contains("199 rows wanted, 200 given") && fewer.contains("too much"), "{fewer}");
}
