//! A data file made ready to read: its footer, the deletes that apply to it, and its columns resolved for each decoding pass.

use crate::ahead::FooterRoom;
use crate::deletes::{AppliedDeletes, Opening};
use crate::eval::Predicate;
use crate::evolve::{FileProjection, ResolveContext};
use crate::footer::{Footer, TAIL_BYTES, Tail, chunk_range};
use crate::layout::{Layout, Source, deciding_schema, holds_strings};
use crate::metadata_columns::FileFacts;
use crate::scan::Scan;
use fastdata_types::plan::FileFormat;
use fastdata_types::request::StringEncoding;
use fastdata_types::schema::Field;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, Result, Schema, Stage, Value};
use parquet::arrow::FieldLevels;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// From a far store, files up to this size are read in one request: what is not wanted of them costs less than another round trip.
const SMALL_FILE: u64 = 1 << 20;

pub(crate) struct OpenFile {
    pub(crate) facts: FileFacts,
    pub(crate) footer: Footer,
    /// A small file's bytes, read with its footer.
    pub(crate) content: Option<Content>,
    pub(crate) deletes: Arc<AppliedDeletes>,
    /// Decides which rows survive; absent without a filter and equality deletes.
    pub(crate) deciding: Option<Deciding>,
    /// Reads what was asked for. Absent where the deciding pass has read it all.
    pub(crate) output: Option<Pass>,
}

/// All bytes of a small file, and the room that they take.
pub(crate) struct Content {
    pub(crate) bytes: Tail,
    _room: OwnedSemaphorePermit,
}

pub(crate) struct Deciding {
    pub(crate) pass: Pass,
    pub(crate) predicate: Option<Predicate>,
    /// Where the deciding pass is also the output: its columns in output order.
    pub(crate) emits: Option<Vec<usize>>,
}

/// One decoding pass over a file: a layout, and its columns in groups that are decoded side by side.
pub(crate) struct Pass {
    pub(crate) layout: Arc<Layout>,
    pub(crate) groups: Vec<ColumnGroup>,
}

/// Columns that one task decodes.
pub(crate) struct ColumnGroup {
    /// Positions in the layout's target.
    pub(crate) fields: Vec<usize>,
    pub(crate) projection: FileProjection,
    pub(crate) levels: FieldLevels,
}

/// Refuses what cannot be read before the first row of any file.
pub(crate) fn check_readable(file: &fastdata_types::plan::DataFile) -> Result<()> {
    if file.format != FileFormat::Parquet {
        return Err(Error::unsupported(
            Stage::Read,
            format!("data file '{}' has the format {}, which is not supported", file.path, file.format.name()),
        )
        .advice("rewrite the table's data as Parquet"));
    }
    if file.encrypted {
        return Err(Error::unsupported(Stage::Read, format!("data file '{}' is encrypted, which is not supported", file.path)));
    }
    Ok(())
}

impl OpenFile {
    /// `footer_room` is taken for the footer before it is parsed.
    pub(crate) async fn open(scan: &Scan, number: u32, opening: Opening, footer_room: &mut FooterRoom) -> Result<OpenFile> {
        let plan = &scan.plan;
        let file = plan.files.get(number as usize).ok_or_else(|| Error::internal(Stage::Read, "a block names no file"))?;
        let store = plan.table.store.as_ref();
        let is_small = store.is_far(&file.path) && (TAIL_BYTES..=SMALL_FILE).contains(&file.file_size);
        let room = if is_small { scan.small_file_room(file.file_size) } else { None };
        let first_read = if room.is_some() { file.file_size } else { TAIL_BYTES };
        let tail = scan.timers.storage(Tail::read(store, &file.path, first_read)).await?;
        footer_room.take(tail.parsed_at_most()).await;
        let footer = scan.timers.storage(Footer::read(store, &file.path, &scan.context.budget, &tail)).await?;
        footer_room.keep(footer.memory_bytes());
        let content = match tail.is_whole_file() {
            true => room.or_else(|| scan.small_file_room(tail.len())).map(|room| Content { bytes: tail, _room: room }),
            false => None,
        };
        let deletes = scan.deletes.for_file(number, opening).await?;

        let metadata = &plan.table.metadata;
        let facts = FileFacts::new(file, metadata);
        let constants = identity_constants(file, metadata);
        let resolver = Resolver { scan, file: &file.path, footer: &footer, constants: &constants };
        let deciding = match plan.filter.as_deref() {
            None if deletes.equality_field_ids().is_empty() => None,
            filter => {
                let schema = deciding_schema(metadata, &plan.schema, filter, deletes.equality_field_ids())
                    .map_err(|e| e.context(format!("data file '{}'", file.path)))?;
                let predicate = filter.map(|filter| Predicate::new(Arc::new(filter.clone()), &schema)).transpose()?;
                Some(resolver.deciding(schema, predicate)?)
            }
        };
        let output = match &deciding {
            Some(Deciding { emits: Some(_), .. }) => None,
            _ => Some(resolver.pass(Arc::clone(&scan.output))?),
        };
        Ok(OpenFile { facts, footer, content, deletes, deciding, output })
    }
}

/// Identity partition values by source field id: what columns that the file lacks hold (spec "Column Projection").
fn identity_constants(
    file: &fastdata_types::plan::DataFile,
    metadata: &fastdata_types::metadata::TableMetadata,
) -> HashMap<i32, Option<Value>> {
    let fields = metadata.partition_specs.get(&file.spec_id).map_or(&[][..], |spec| &spec.fields);
    let values = fields.iter().zip(file.partition.iter());
    values.filter(|(field, _)| field.transform == Transform::Identity).map(|(field, value)| (field.source_id, value.clone())).collect()
}

struct Resolver<'a> {
    scan: &'a Scan,
    file: &'a str,
    footer: &'a Footer,
    constants: &'a HashMap<i32, Option<Value>>,
}

impl Resolver<'_> {
    fn deciding(&self, schema: Schema, predicate: Option<Predicate>) -> Result<Deciding> {
        let output = &self.scan.output;
        let strings = schema.fields.iter().any(|field| holds_strings(&field.ty));
        // Views are the cheapest form to compare; where this pass also returns its columns they must have the form asked for.
        let mut layout = Layout::new(schema, StringEncoding::Utf8View)?;
        let covers = layout.covers(output) && !(strings && output.strings == StringEncoding::Dictionary);
        if covers && output.strings != StringEncoding::Utf8View {
            layout = Layout::new(layout.schema, output.strings)?;
        }
        let emits = covers.then(|| {
            let at = |field: &Field| layout.schema.fields.iter().position(|known| known.id == field.id);
            output.schema.fields.iter().filter_map(at).collect()
        });
        Ok(Deciding { pass: self.pass(Arc::new(layout))?, predicate, emits })
    }

    fn pass(&self, layout: Arc<Layout>) -> Result<Pass> {
        let whole = self.resolve(&layout.target, layout.strings)?;
        let bins = self.bins(&layout, &whole);
        let groups = match bins.len() {
            0 | 1 => vec![ColumnGroup { fields: (0..layout.target.fields.len()).collect(), levels: whole.levels()?, projection: whole }],
            _ => bins
                .into_iter()
                .map(|fields| {
                    let part = fields.iter().filter_map(|at| layout.target.fields.get(*at).cloned()).collect();
                    let projection = self.resolve(&Schema::new(layout.target.id, part)?, layout.strings)?;
                    Ok(ColumnGroup { fields, levels: projection.levels()?, projection })
                })
                .collect::<Result<Vec<_>>>()?,
        };
        Ok(Pass { layout, groups })
    }

    fn resolve(&self, target: &Schema, strings: StringEncoding) -> Result<FileProjection> {
        let metadata = &self.scan.plan.table.metadata;
        FileProjection::resolve(
            self.footer.metadata.file_metadata().schema_descr(),
            target,
            &ResolveContext {
                file: self.file,
                table_schema: &self.scan.plan.schema,
                name_mapping: metadata.name_mapping.as_deref(),
                constants: self.constants,
                strings,
                decode_views: true,
            },
        )
    }

    /// Splits the target's fields into groups of about equal bytes, several per thread, so that one row group keeps every thread busy.
    fn bins(&self, layout: &Layout, whole: &FileProjection) -> Vec<Vec<usize>> {
        const BINS_PER_THREAD: usize = 2;
        /// Less than this is not worth a task of its own.
        const LEAST_BYTES: u64 = 64 << 10;
        let Some(row_group) = self.footer.metadata.row_groups().first() else { return vec![] };
        let weigh = |leaf: usize| {
            let column = row_group.columns().get(leaf)?;
            let range = chunk_range(column);
            // Inflating costs by the compressed byte, decoding by the value.
            Some((range.end - range.start).saturating_add(column.num_values().max(0) as u64))
        };
        let mut weights: Vec<(u64, usize)> = Vec::new();
        for (at, field) in layout.target.fields.iter().enumerate() {
            weights.push((primitive_ids(field).into_iter().filter_map(|id| whole.leaf_of(id)).filter_map(weigh).sum(), at));
        }
        let total: u64 = weights.iter().map(|(weight, _)| *weight).sum();
        let bins = (self.scan.threads * BINS_PER_THREAD).min(weights.len()).min((total / LEAST_BYTES) as usize);
        if bins < 2 || self.scan.threads < 2 {
            return vec![];
        }
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let mut filled: Vec<(u64, Vec<usize>)> = vec![(0, vec![]); bins];
        for (weight, at) in weights {
            if let Some(lightest) = filled.iter_mut().min_by_key(|(load, _)| *load) {
                lightest.0 += weight;
                lightest.1.push(at);
            }
        }
        let mut bins: Vec<Vec<usize>> = filled.into_iter().map(|(_, fields)| fields).filter(|fields| !fields.is_empty()).collect();
        bins.iter_mut().for_each(|fields| fields.sort_unstable());
        bins
    }
}

fn primitive_ids(field: &Field) -> Vec<i32> {
    let children = field.ty.children();
    if children.is_empty() { vec![field.id] } else { children.into_iter().flat_map(primitive_ids).collect() }
}

impl Pass {
    /// Every leaf column that the pass reads.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().flat_map(|group| group.projection.leaves().iter().copied())
    }

    /// Bytes that computed columns and constants add to each row.
    pub(crate) fn computed_row_bytes(&self, facts: &FileFacts) -> u64 {
        let constants: u64 = self.groups.iter().map(|group| group.projection.constant_row_bytes()).sum();
        constants + self.layout.sources.iter().map(|source: &Source| facts.row_bytes(*source)).sum::<u64>()
    }
}
