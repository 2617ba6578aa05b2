//! `count` and `shards`: how much a scan would return, in all and by lane.

use super::args::{Common, Listing, PlanArgs, ShardsArgs};
use super::output::print;
use super::{remote, text};
use crate::facts::{self, Count, Shards, ShardsRequest};
use fastdata_types::Result;

pub async fn count(common: &Common, args: &PlanArgs) -> Result<()> {
    let count: Count = remote::facts(common, &args.server, &args.selection.request()?).await?;
    match args.format {
        Listing::Json => print(&format!("{}\n", facts::json(&count)?)),
        // For scripts as much as for people: nothing but the figure.
        Listing::Table => print(&format!("{}\n", count.rows)),
    }
}

pub async fn shards(common: &Common, args: &ShardsArgs) -> Result<()> {
    let request = ShardsRequest { request: args.plan.selection.request()?, shards: args.shards, exact: args.exact };
    let shards: Shards = remote::facts(common, &args.plan.server, &request).await?;
    match args.plan.format {
        Listing::Json => print(&format!("{}\n", facts::json(&shards)?)),
        Listing::Table => print(&shards_text(&shards)),
    }
}

fn shards_text(shards: &Shards) -> String {
    let snapshot = shards.snapshot_id.map_or("none: the table is empty".to_owned(), |id| id.to_string());
    let counted = shards.shards.iter().any(|shard| shard.exact_rows.is_some());
    let mut rows = text::table(&["lane", if counted { "rows, counted" } else { "rows" }, "bytes", "files", "blocks"]);
    let told = |figure: String| if shards.rows_hidden { text::HIDDEN.to_owned() } else { figure };
    for shard in &shards.shards {
        rows.add_row(vec![
            shard.lane.to_string(),
            shard.exact_rows.map_or_else(|| told(text::count(shard.rows)), text::count),
            told(text::bytes(shard.bytes)),
            told(text::count(shard.files)),
            told(text::count(shard.blocks)),
        ]);
    }
    format!("plan       {}\nsnapshot   {snapshot}\n{}\n", shards.plan_digest, rows.trim_fmt())
}
