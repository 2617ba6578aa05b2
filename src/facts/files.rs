//! The data files that a scan would read.

use super::actions::{self, Answer};
use super::integer;
use crate::engine::Engine;
use fastdata_types::plan::DataFile;
use fastdata_types::{Result, ScanPlan, ScanRequest};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFacts {
    /// As it stands in the manifest.
    pub path: String,
    pub format: String,
    /// By the manifest, before filters and deletes.
    #[serde(with = "integer")]
    pub rows: u64,
    #[serde(with = "integer")]
    pub bytes: u64,
    pub spec_id: i32,
    /// `field=value, field=value`, the values as their transforms mean them: a month is `2024-03`.
    pub partition: String,
    #[serde(with = "integer")]
    pub sequence_number: i64,
    pub position_delete_files: u64,
    pub equality_delete_files: u64,
    pub deletion_vector: bool,
}

impl FileFacts {
    fn of(plan: &ScanPlan, file: &DataFile) -> FileFacts {
        FileFacts {
            path: file.path.clone(),
            format: file.format.name().to_owned(),
            rows: file.record_count,
            bytes: file.file_size,
            spec_id: file.spec_id,
            partition: partition_text(plan, file),
            sequence_number: file.sequence_number,
            position_delete_files: file.deletes.positions.len() as u64,
            equality_delete_files: file.deletes.equality.len() as u64,
            deletion_vector: file.deletes.vector.is_some(),
        }
    }

    /// Delete files and vectors that apply.
    pub fn deletes(&self) -> u64 {
        self.position_delete_files + self.equality_delete_files + u64::from(self.deletion_vector)
    }
}

fn partition_text(plan: &ScanPlan, file: &DataFile) -> String {
    let Some(spec) = plan.table.metadata.partition_specs.get(&file.spec_id) else { return String::new() };
    let parts: Vec<String> = spec
        .fields
        .iter()
        .zip(file.partition.iter())
        .map(|(field, value)| match value {
            Some(value) => format!("{}={}", field.name, field.transform.text_of(value)),
            None => format!("{}=NULL", field.name),
        })
        .collect();
    parts.join(", ")
}

impl Answer for Vec<FileFacts> {
    const ACTION: &'static str = actions::FILES;
    type Request = ScanRequest;

    /// In table order.
    async fn of(engine: &Engine, request: &ScanRequest) -> Result<Self> {
        let plan = engine.plan(request).await?;
        plan.check_files_may_be_listed()?;
        Ok(plan.files.iter().map(|file| FileFacts::of(&plan, file)).collect())
    }
}
