//! Every row once and in its lane's order, whatever the number of ranks, the place of the kill, the server.

use super::{Server, block_on, request, rows_of};
use crate::facts::catalogs;
use crate::support::{corpus, python};
use fastdata_client::Plan;
use fastdata_types::lanes::{Cursor, lanes_of_rank};
use rand::{Rng, SeedableRng};

/// What an undisturbed run yields, lane by lane.
async fn undisturbed(plan: &Plan) -> Vec<Vec<String>> {
    let all: Vec<u32> = (0..plan.lanes()).collect();
    rows_of(plan, &all, &plan.start(), usize::MAX).await.0
}

/// A run of some ranks until each has taken a random number of batches of each lane, and so on with the next number of ranks, to the end.
async fn disturbed(servers: [&Server; 2], json: &str, ranks: &[u32], random: &mut rand::rngs::SmallRng) -> Vec<Vec<String>> {
    let mut lanes: Vec<Vec<String>> = vec![];
    let mut cursor: Option<Cursor> = None;
    for (step, world) in ranks.iter().enumerate() {
        let last = step + 1 == ranks.len();
        // Each stage asks another server, and plans for itself.
        let plan = servers[step % 2].client().await.plan(&request(json)).await.unwrap();
        lanes.resize(plan.lanes() as usize, vec![]);
        let from = cursor.unwrap_or_else(|| plan.start());
        let mut reached = vec![];
        for rank in 0..*world {
            let own = lanes_of_rank(plan.lanes(), rank, *world).unwrap();
            let batches = if last { usize::MAX } else { random.random_range(0..4) };
            let (rows, at) = rows_of(&plan, &own, &from, batches).await;
            lanes.iter_mut().zip(rows).for_each(|(all, rows)| all.extend(rows));
            // Checkpoints are text.
            reached.push(serde_json::from_str(&serde_json::to_string(&at).unwrap()).unwrap());
        }
        cursor = Some(Cursor::merge(reached).unwrap());
    }
    lanes
}

async fn hold(servers: [&Server; 2], json: &str, rows: Option<u64>) {
    let plan = servers[0].client().await.plan(&request(json)).await.unwrap();
    let expected = undisturbed(&plan).await;
    if let Some(rows) = rows {
        assert_eq!(expected.iter().map(Vec::len).sum::<usize>() as u64, rows, "{json}");
    }
    let mut random = rand::rngs::SmallRng::seed_from_u64(11);
    for ranks in [&[1, 2][..], &[3, 8, 1], &[8, 3], &[2, 1, 8, 3]] {
        let ranks: Vec<u32> = ranks.iter().map(|world| (*world).min(plan.lanes())).collect();
        let seen = disturbed(servers, json, &ranks, &mut random).await;
        assert!(seen == expected, "{json} on {ranks:?} ranks");
    }
}

/// Two servers with other threads and budgets are one to a run.
#[test]
fn ranks_come_and_go_and_every_row_is_seen_once() {
    let folder = super::large();
    let servers = [
        Server::with(folder, &["--warehouse", "w", "--threads", "1", "--memory", "48MiB"]),
        Server::with(folder, &["--warehouse", "w", "--threads", "3"]),
    ];
    block_on(async {
        let servers = [&servers[0], &servers[1]];
        for (json, rows) in [
            (r#"{"table": "tpch.orders", "lanes": 8, "batchRows": 700, "columns": ["o_orderkey", "o_comment"]}"#, Some(45_000)),
            (
                r#"{"table": "tpch.orders", "lanes": 8, "batchRows": 700, "columns": ["o_orderkey"], "filter": "o_totalprice > 200000"}"#,
                None,
            ),
            (
                r#"{"table": "tpch.orders", "lanes": 8, "batchRows": 500, "shuffle": {"seed": "5", "epoch": "2", "windowRows": 2000}}"#,
                Some(45_000),
            ),
            (
                r#"{"table": "tpch.orders", "lanes": 9, "batchRows": 400, "shuffle": {"seed": "5", "windowRows": 1500}, "filter": "o_orderkey % 3 = 1"}"#,
                None,
            ),
            (r#"{"table": "demo.events", "lanes": 8, "batchRows": 200}"#, None),
            (r#"{"table": "demo.events", "lanes": 8, "batchRows": 200, "shuffle": {"seed": "1", "windowRows": 500}}"#, None),
        ] {
            hold(servers, json, rows).await;
        }
    });
}

/// Position deletes, equality deletes and deletion vectors, as other engines write them.
#[test]
fn deleted_rows_stay_deleted_however_a_run_is_cut() {
    let (Some(corpus), Some(python)) = (corpus(), python()) else { return };
    let (folder, tables) = catalogs(&corpus, &python);
    let servers = [Server::with(folder.path(), &["--threads", "1"]), Server::with(folder.path(), &["--memory", "64MiB"])];
    block_on(async {
        for (table, rows) in tables.iter().filter_map(|(table, rows)| Some((table, rows.as_u64()?))).filter(|(_, rows)| *rows > 0) {
            for shuffle in ["", r#", "shuffle": {"seed": "3", "windowRows": 10}"#] {
                let json = format!(r#"{{"table": "{table}", "lanes": 8, "batchRows": 2{shuffle}}}"#);
                hold([&servers[0], &servers[1]], &json, Some(rows)).await;
            }
        }
    });
}

/// The served lanes are the embedded ones.
#[test]
fn a_served_lane_is_the_embedded_lane_row_for_row() {
    use crate::support::succeed;
    let server = Server::of(super::large());
    let flags = ["--lanes", "5", "--shuffle-seed", "9", "--window-rows", "3000", "--select", "o_orderkey,o_clerk"];
    for lane in ["0", "3"] {
        let scan = |side: &[&str]| succeed(super::large(), &[&["scan", "tpch.orders", "--lane", lane], &flags[..], side].concat());
        let (embedded, served) = (scan(&["--warehouse", "w"]), scan(&["--server", &server.uri]));
        assert!(embedded.lines().count() > 5_000 && embedded == served, "lane {lane}");
    }
}
