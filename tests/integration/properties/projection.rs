//! Any projection returns what projecting the full scan returns: nested fields and metadata columns included, in the order asked for.

use super::wide::Wide;
use super::{Row, Table, any_shape, failed, hold, request, same, scan};
use fastdata_testkit::table::{lines, project_row};
use fastdata_types::schema::{ListType, MapType, StructType};
use fastdata_types::{Field, ScanRequest, Schema, Type};
use proptest::prelude::*;
use proptest::sample::Index;
use std::cell::Cell;

/// Paths of every field at every depth: names for the request, ids for the model. Keys of maps come with their map.
fn paths(fields: &[Field], above: &(Vec<String>, Vec<i32>), out: &mut Vec<(Vec<String>, Vec<i32>)>) {
    for field in fields {
        let mut path = above.clone();
        path.0.push(field.name.clone());
        path.1.push(field.id);
        match &field.ty {
            Type::Primitive(_) => {}
            Type::Struct(s) => paths(&s.fields, &path, out),
            Type::List(l) => paths(std::slice::from_ref(&l.element), &path, out),
            Type::Map(m) => paths(std::slice::from_ref(&m.value), &path, out),
        }
        out.push(path);
    }
}

/// The field with nothing below it but what the paths (ids below this field) lead to; a path that ends here takes it whole.
fn pruned(field: &Field, below: &[&[i32]]) -> Field {
    if below.iter().any(|path| path.is_empty()) {
        return field.clone();
    }
    let within = |child: &Field| {
        let tails: Vec<&[i32]> = below.iter().filter(|path| path[0] == child.id).map(|path| &path[1..]).collect();
        (!tails.is_empty()).then(|| pruned(child, &tails))
    };
    let ty = match &field.ty {
        Type::Primitive(_) => field.ty.clone(),
        Type::Struct(s) => Type::Struct(StructType { fields: s.fields.iter().filter_map(within).collect() }),
        Type::List(l) => Type::List(Box::new(ListType { element: within(&l.element).expect("the path goes on") })),
        Type::Map(m) => Type::Map(Box::new(MapType { key: m.key.clone(), value: within(&m.value).expect("the path goes on") })),
    };
    Field { ty, ..field.clone() }
}

/// The schema that the paths select: columns in the order of their first mention.
fn selected(schema: &Schema, chosen: &[&[i32]]) -> Schema {
    let mut columns: Vec<i32> = vec![];
    for path in chosen {
        if !columns.contains(&path[0]) {
            columns.push(path[0]);
        }
    }
    let column = |id: i32| {
        let field = schema.fields.iter().find(|field| field.id == id).expect("a column");
        let below: Vec<&[i32]> = chosen.iter().filter(|path| path[0] == id).map(|path| &path[1..]).collect();
        pruned(field, &below)
    };
    Schema::new(schema.id, columns.into_iter().map(column).collect()).expect("ids are unique")
}

#[test]
fn any_projection_returns_the_full_scan_projected() {
    let nested = Cell::new(0);
    let cases = hold(16, (any_shape(), prop::collection::vec(prop::collection::vec(any::<Index>(), 1..6), 3)), |(shape, requests)| {
        let table = Table::make(&shape)?;
        let engine = table.engine(2, 64 << 20)?;
        let wide = Wide::current(&table);
        let full = scan(&engine, &ScanRequest { columns: wide.names(), ..request() }).map_err(failed)?;
        same("the full scan", &wide.lines(), &full.lines()?)?;
        let mut all = vec![];
        paths(&wide.schema.fields, &(vec![], vec![]), &mut all);
        for chosen in requests {
            let chosen: Vec<&(Vec<String>, Vec<i32>)> = chosen.iter().map(|index| &all[index.index(all.len())]).collect();
            let columns: Vec<String> = chosen.iter().map(|(names, _)| names.join(".")).collect();
            let ids: Vec<&[i32]> = chosen.iter().map(|(_, ids)| ids.as_slice()).collect();
            nested.set(nested.get() + ids.iter().filter(|path| path.len() > 1).count() as u64);
            let schema = selected(&wide.schema, &ids);
            let scanned = scan(&engine, &ScanRequest { columns: columns.clone(), ..request() }).map_err(failed)?;
            prop_assert_eq!(format!("{:?}", &schema.fields), format!("{:?}", &scanned.plan.projection.fields), "{:?}", columns);
            let wanted: Vec<Row> = wide.rows.iter().map(|row| project_row(row, &wide.schema, &schema)).collect();
            same(&format!("{columns:?}"), &lines(&wanted), &scanned.lines()?)?;
        }
        Ok(())
    });
    assert!(nested.get() * 2 > cases, "{} nested paths were tried in {cases} cases", nested.get());
}
