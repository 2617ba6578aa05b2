//! The axes. Any value of one goes with nearly any value of another; [`Shape::settled`] gives way where the specification forbids it.

use fastdata_types::transform::Transform;
use fastdata_write::{Codec, Encodings, MetricsMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[derive(Debug, Clone)]
pub struct Shape {
    pub seed: u64,
    /// The format the table is made in, and the one it ends in.
    pub first_format: u8,
    pub format: u8,
    pub columns: Columns,
    pub partitioning: Partitioning,
    pub layout: Layout,
    pub deletes: Deletes,
    pub evolution: Evolution,
    pub history: History,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Eight columns of common types.
    Flat,
    /// And one of each primitive type that the format has.
    Primitives,
    /// And structs, lists and maps in one another.
    Nested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    None,
    Identity,
    IdentityDate,
    Bucket,
    TruncateString,
    TruncateLong,
    Year,
    Month,
    Day,
    Hour,
    /// Partitioned once, by a field that is void now.
    Void,
    /// A transform that nobody knows.
    Unknown,
    /// Two fields.
    Two,
    /// A field in a struct in a struct; needs nested columns.
    NestedIdentity,
}

impl Partitioning {
    pub const ALL: [Partitioning; 14] = [
        Partitioning::None,
        Partitioning::Identity,
        Partitioning::IdentityDate,
        Partitioning::Bucket,
        Partitioning::TruncateString,
        Partitioning::TruncateLong,
        Partitioning::Year,
        Partitioning::Month,
        Partitioning::Day,
        Partitioning::Hour,
        Partitioning::Void,
        Partitioning::Unknown,
        Partitioning::Two,
        Partitioning::NestedIdentity,
    ];

    /// Source columns, by their first names, and transforms.
    pub fn fields(self) -> Vec<(&'static str, Transform)> {
        match self {
            Partitioning::None => vec![],
            Partitioning::Identity => vec![("category", Transform::Identity)],
            Partitioning::IdentityDate => vec![("day", Transform::Identity)],
            Partitioning::Bucket => vec![("id", Transform::Bucket(3))],
            Partitioning::TruncateString => vec![("category", Transform::Truncate(2))],
            Partitioning::TruncateLong => vec![("id", Transform::Truncate(40))],
            Partitioning::Year => vec![("at", Transform::Year)],
            Partitioning::Month => vec![("day", Transform::Month)],
            Partitioning::Day => vec![("at", Transform::Day)],
            Partitioning::Hour => vec![("at", Transform::Hour)],
            Partitioning::Void => vec![("category", Transform::Void)],
            Partitioning::Unknown => vec![("category", Transform::Unknown("rot13[4]".to_owned()))],
            Partitioning::Two => vec![("category", Transform::Identity), ("id", Transform::Bucket(2))],
            Partitioning::NestedIdentity => vec![("user.address.city", Transform::Identity)],
        }
    }
}

/// How files are laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Rows of one append, over all its files.
    pub rows: usize,
    pub files_per_partition: usize,
    pub row_group_rows: usize,
    pub page_rows: usize,
    pub codec: Codec,
    pub page_v2: bool,
    pub dictionary: bool,
    /// Of what no dictionary takes.
    pub encodings: Encodings,
    /// Parquet statistics; without them there are no bounds in the manifests either.
    pub statistics: bool,
    pub metrics: MetricsMode,
    pub splits: Splits,
    pub field_ids: FieldIds,
    /// Lists and maps with the inner names of old Hive files.
    pub hive_lists: bool,
    /// Identity partition columns are in the metadata only.
    pub omit_identity_columns: bool,
    pub gzip_metadata: bool,
    /// `v<N>.metadata.json` and a version hint, as tables without a catalog have them.
    pub file_system_names: bool,
    /// v1 without manifest lists.
    pub inline_manifests: bool,
    /// What locations in the metadata begin with, instead of the folder the table is written to.
    pub location: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splits {
    RowGroups,
    Absent,
    /// Not the starts of row groups, but ascending and within the file.
    Elsewhere,
    /// Descending, and beyond the end.
    Nonsense,
}

/// Where readers find the field ids of the files of the first append; later files carry theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldIds {
    InFile,
    /// Only names, and a name mapping in the table.
    NameMapping,
    /// Neither: column i has id i.
    Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletes {
    pub positions: bool,
    /// One position delete file per data file, instead of one per partition.
    pub file_scoped: bool,
    /// Bounds of the paths in the manifest.
    pub path_bounds: bool,
    /// Rows without a path, and of a file that is no longer there.
    pub odd_rows: bool,
    pub equality: bool,
    /// Deletion vectors; the format must be 3.
    pub vectors: bool,
}

/// What changes between the appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evolution {
    /// Columns added (with an initial default in format 3), renamed, moved and dropped.
    pub columns: bool,
    /// int to long, float to double, a wider decimal.
    pub promote: bool,
    /// A column dropped and another one added under its name.
    pub readd: bool,
    /// Fields added, renamed, moved and dropped inside structs, list elements and map values; needs nested columns.
    pub nested: bool,
    /// Another partition spec.
    pub spec: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub appends: usize,
    /// A snapshot that takes one data file out and puts another in.
    pub overwrite: bool,
    /// A compaction: the rows of the oldest files in new ones.
    pub replace: bool,
    /// A tag on the first snapshot.
    pub tag: bool,
    /// A branch with a snapshot that `main` does not have.
    pub branch: bool,
    /// The last append was undone and done again.
    pub rollback: bool,
    /// The first snapshot is gone.
    pub expire: bool,
}

impl Default for Shape {
    /// The plainest table: format 2, unpartitioned, one append of one file, nothing deleted.
    fn default() -> Self {
        Shape {
            seed: 0,
            first_format: 2,
            format: 2,
            columns: Columns::Flat,
            partitioning: Partitioning::None,
            layout: Layout::default(),
            deletes: Deletes::NONE,
            evolution: Evolution::NONE,
            history: History::SINGLE,
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            rows: 200,
            files_per_partition: 1,
            row_group_rows: 64,
            page_rows: 20,
            codec: Codec::Zstd,
            page_v2: false,
            dictionary: true,
            encodings: Encodings::Usual,
            statistics: true,
            metrics: MetricsMode::Truncate(16),
            splits: Splits::RowGroups,
            field_ids: FieldIds::InFile,
            hive_lists: false,
            omit_identity_columns: false,
            gzip_metadata: false,
            file_system_names: false,
            inline_manifests: false,
            location: None,
        }
    }
}

impl Deletes {
    pub const NONE: Deletes =
        Deletes { positions: false, file_scoped: false, path_bounds: false, odd_rows: false, equality: false, vectors: false };
    pub const POSITIONS: Deletes = Deletes { positions: true, ..Deletes::NONE };
    pub const EQUALITY: Deletes = Deletes { equality: true, ..Deletes::NONE };
    pub const VECTORS: Deletes = Deletes { vectors: true, ..Deletes::NONE };

    pub fn any(self) -> bool {
        self.positions || self.equality || self.vectors
    }
}

impl Evolution {
    pub const NONE: Evolution = Evolution { columns: false, promote: false, readd: false, nested: false, spec: false };
    pub const ALL: Evolution = Evolution { columns: true, promote: true, readd: true, nested: true, spec: true };

    pub fn any_column(self) -> bool {
        self.columns || self.promote || self.readd || self.nested
    }
}

impl History {
    pub const SINGLE: History =
        History { appends: 1, overwrite: false, replace: false, tag: false, branch: false, rollback: false, expire: false };
    pub const LONG: History =
        History { appends: 4, overwrite: true, replace: true, tag: true, branch: true, rollback: true, expire: false };
}

impl Shape {
    /// A point anywhere on the axes.
    pub fn random(seed: u64) -> Shape {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut coin = |chance: f64| rng.random_bool(chance);
        let deletes = Deletes {
            positions: coin(0.4),
            file_scoped: coin(0.5),
            path_bounds: coin(0.5),
            odd_rows: coin(0.3),
            equality: coin(0.4),
            vectors: coin(0.4),
        };
        let evolution = Evolution { columns: coin(0.4), promote: coin(0.4), readd: coin(0.3), nested: coin(0.4), spec: coin(0.3) };
        let (page_v2, dictionary, statistics) = (coin(0.5), coin(0.7), coin(0.8));
        let (hive_lists, omit_identity_columns, gzip_metadata) = (coin(0.2), coin(0.4), coin(0.2));
        let (file_system_names, inline_manifests) = (coin(0.2), coin(0.5));
        let (overwrite, replace, tag, branch) = (coin(0.3), coin(0.2), coin(0.4), coin(0.3));
        let (rollback, expire) = (coin(0.2), coin(0.15));
        let mut pick = |below: usize| rng.random_range(0..below);
        let format = [1, 2, 2, 3, 3, 3][pick(6)];
        let layout = Layout {
            rows: [1, 30, 100, 250][pick(4)],
            files_per_partition: 1 + pick(3),
            row_group_rows: [7, 50, 1000][pick(3)],
            page_rows: [3, 20, 1000][pick(3)],
            codec: [Codec::Zstd, Codec::Snappy, Codec::Uncompressed, Codec::Gzip, Codec::Brotli, Codec::Lz4Raw][pick(6)],
            metrics: [MetricsMode::Truncate(16), MetricsMode::Full, MetricsMode::Counts, MetricsMode::None, MetricsMode::Truncate(1)]
                [pick(5)],
            splits: [Splits::RowGroups, Splits::Absent, Splits::Elsewhere, Splits::Nonsense][pick(4)],
            field_ids: [FieldIds::InFile, FieldIds::InFile, FieldIds::NameMapping, FieldIds::Position][pick(4)],
            page_v2,
            dictionary,
            encodings: [Encodings::Usual, Encodings::Usual, Encodings::Delta, Encodings::ByteStreamSplit][pick(4)],
            statistics,
            hive_lists,
            omit_identity_columns,
            gzip_metadata,
            file_system_names,
            inline_manifests,
            location: None,
        };
        Shape {
            seed,
            first_format: 1 + pick(usize::from(format)) as u8,
            format,
            columns: [Columns::Flat, Columns::Primitives, Columns::Nested][pick(3)],
            partitioning: Partitioning::ALL[pick(Partitioning::ALL.len())],
            layout,
            deletes,
            evolution,
            history: History { appends: 1 + pick(4), overwrite, replace, tag, branch, rollback, expire },
        }
        .settled()
    }

    /// Each axis at each of its values, all others plain: the shapes to begin with, and to name in a report.
    pub fn one_at_a_time() -> Vec<(String, Shape)> {
        let plain = Shape { columns: Columns::Nested, history: History { appends: 3, ..History::SINGLE }, ..Shape::default() };
        let mut out = vec![("plain".to_owned(), Shape::default()), ("nested".to_owned(), plain.clone())];
        let mut add = |name: String, shape: Shape| out.push((name, shape.settled()));
        for format in 1..=3 {
            for columns in [Columns::Flat, Columns::Primitives, Columns::Nested] {
                add(format!("format {format}, {columns:?}"), Shape { first_format: format, format, columns, ..plain.clone() });
            }
        }
        add("format 1 to 3".to_owned(), Shape { first_format: 1, format: 3, ..plain.clone() });
        for partitioning in Partitioning::ALL {
            add(format!("partitioned: {partitioning:?}"), Shape { partitioning, ..plain.clone() });
            let evolution = Evolution { spec: true, ..Evolution::NONE };
            add(
                format!("partitioned: {partitioning:?}, evolved"),
                Shape { partitioning, evolution, deletes: Deletes::EQUALITY, ..plain.clone() },
            );
        }
        let deletes = [
            ("positions", 2, Deletes::POSITIONS),
            ("positions, file-scoped", 2, Deletes { file_scoped: true, path_bounds: true, ..Deletes::POSITIONS }),
            ("positions, bounds", 2, Deletes { path_bounds: true, ..Deletes::POSITIONS }),
            ("positions, odd rows", 2, Deletes { odd_rows: true, ..Deletes::POSITIONS }),
            ("equality", 2, Deletes::EQUALITY),
            ("positions and equality", 2, Deletes { positions: true, ..Deletes::EQUALITY }),
            ("vectors", 3, Deletes::VECTORS),
            ("vectors over positions", 3, Deletes { positions: true, ..Deletes::VECTORS }),
            ("all deletes", 3, Deletes { positions: true, equality: true, ..Deletes::VECTORS }),
        ];
        for (name, format, deletes) in deletes {
            for partitioning in [Partitioning::None, Partitioning::Identity] {
                let shape = Shape { first_format: 2, format, deletes, partitioning, ..plain.clone() };
                add(format!("deletes: {name}, {partitioning:?}"), shape);
            }
        }
        let evolutions = [
            ("columns", Evolution { columns: true, ..Evolution::NONE }),
            ("promotion", Evolution { promote: true, ..Evolution::NONE }),
            ("dropped and added again", Evolution { readd: true, ..Evolution::NONE }),
            ("nested", Evolution { nested: true, ..Evolution::NONE }),
            ("everything", Evolution::ALL),
        ];
        for (name, evolution) in evolutions {
            for format in [2, 3] {
                let shape = Shape { first_format: format, format, evolution, deletes: Deletes::EQUALITY, ..plain.clone() };
                add(format!("evolution: {name}, format {format}"), shape);
            }
        }
        let layouts = [
            ("no statistics", Layout { statistics: false, ..Layout::default() }),
            ("counts only", Layout { metrics: MetricsMode::Counts, ..Layout::default() }),
            ("one-character bounds", Layout { metrics: MetricsMode::Truncate(1), ..Layout::default() }),
            ("no split offsets", Layout { splits: Splits::Absent, ..Layout::default() }),
            ("split offsets elsewhere", Layout { splits: Splits::Elsewhere, ..Layout::default() }),
            ("nonsense split offsets", Layout { splits: Splits::Nonsense, ..Layout::default() }),
            ("pages v2", Layout { page_v2: true, ..Layout::default() }),
            ("no dictionary", Layout { dictionary: false, ..Layout::default() }),
            ("no dictionary, pages v2", Layout { page_v2: true, dictionary: false, ..Layout::default() }),
            ("delta encodings", Layout { dictionary: false, encodings: Encodings::Delta, ..Layout::default() }),
            ("tiny row groups", Layout { row_group_rows: 1, page_rows: 1, rows: 40, ..Layout::default() }),
            ("hive names", Layout { hive_lists: true, field_ids: FieldIds::NameMapping, ..Layout::default() }),
            ("name mapping", Layout { field_ids: FieldIds::NameMapping, ..Layout::default() }),
            ("gzip metadata", Layout { gzip_metadata: true, ..Layout::default() }),
            ("file system names", Layout { file_system_names: true, ..Layout::default() }),
        ];
        for (name, layout) in layouts {
            let evolution = Evolution { columns: true, nested: true, promote: true, ..Evolution::NONE };
            add(format!("layout: {name}"), Shape { layout, evolution, ..plain.clone() });
        }
        for codec in [Codec::Uncompressed, Codec::Snappy, Codec::Gzip, Codec::Brotli, Codec::Lz4Raw] {
            add(format!("codec: {codec:?}"), Shape { layout: Layout { codec, ..Layout::default() }, ..plain.clone() });
        }
        for encodings in [Encodings::Usual, Encodings::Delta, Encodings::ByteStreamSplit] {
            let layout = Layout { dictionary: false, encodings, ..Layout::default() };
            add(format!("encodings: {encodings:?}, every type"), Shape { layout, columns: Columns::Primitives, ..plain.clone() });
        }
        let by_position = Layout { field_ids: FieldIds::Position, ..Layout::default() };
        add("layout: ids by position".to_owned(), Shape { layout: by_position, columns: Columns::Flat, ..plain.clone() });
        let omitted = Layout { omit_identity_columns: true, ..Layout::default() };
        for partitioning in [Partitioning::Identity, Partitioning::Two, Partitioning::IdentityDate] {
            add(format!("layout: {partitioning:?} column absent"), Shape { layout: omitted.clone(), partitioning, ..plain.clone() });
        }
        let inline = Layout { inline_manifests: true, ..Layout::default() };
        add("layout: inline manifests".to_owned(), Shape { layout: inline, first_format: 1, format: 1, ..plain.clone() });
        add("history: long".to_owned(), Shape { history: History::LONG, evolution: Evolution::ALL, ..plain.clone() });
        add("history: expired".to_owned(), Shape { history: History { expire: true, ..History::LONG }, ..plain });
        out
    }

    /// The nearest shape that the specification allows.
    pub fn settled(mut self) -> Shape {
        self.format = self.format.clamp(1, 3);
        self.first_format = self.first_format.clamp(1, self.format);
        if self.format == 1 {
            self.deletes = Deletes::NONE;
        }
        if self.format < 3 {
            self.deletes.vectors = false;
        }
        // Format 3 takes no new position delete files: those it has were written before.
        if self.deletes.positions && self.format == 3 {
            self.first_format = 2;
        }
        self.layout.inline_manifests &= self.format == 1;
        if self.columns != Columns::Nested {
            self.evolution.nested = false;
            if self.partitioning == Partitioning::NestedIdentity {
                self.partitioning = Partitioning::Identity;
            }
        }
        // Ids by position reach the top level only, and need every column to be in the file.
        if self.layout.field_ids == FieldIds::Position {
            if self.columns == Columns::Nested {
                self.layout.field_ids = FieldIds::NameMapping;
            } else {
                self.layout.omit_identity_columns = false;
            }
        }
        self.history.appends = self.history.appends.max(1);
        if self.history.tag {
            self.history.expire = false;
        }
        self.history.expire &= self.history.appends > 1;
        self
    }
}
