//! Lanes at the command line.

use crate::command_line::warehouse;
use crate::support::{fail, succeed};

#[test]
fn lanes_and_shuffles_give_the_same_rows_in_an_order_of_their_own() {
    let lines = |arguments: &[&str]| -> Vec<String> {
        let common = ["scan", "tpch.orders", "--warehouse", "w", "--select", "o_orderkey"];
        succeed(warehouse(), &[&common[..], arguments].concat()).lines().map(str::to_owned).collect()
    };
    let plain = lines(&["--order", "stable"]);
    let shuffled = ["--lanes", "3", "--shuffle-seed", "5", "--window-rows", "1000"];
    let once = lines(&shuffled);
    assert_eq!(once, lines(&[&shuffled[..], &["--threads", "1", "--memory", "64MiB"]].concat()), "the same on one thread");
    let epoch = lines(&[&shuffled[..], &["--epoch", "1"]].concat());
    let by_lane: Vec<String> = ["0", "1", "2"].iter().flat_map(|lane| lines(&[&shuffled[..], &["--lane", lane]].concat())).collect();
    assert_eq!(by_lane, once, "without --lane they come one after the other");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert!(once != plain && once != epoch);
    let expected = sorted(plain);
    for rows in [once, epoch, lines(&["--lanes", "7"])] {
        assert_eq!(sorted(rows), expected);
    }
    let (status, message) = fail(warehouse(), &["scan", "tpch.orders", "--warehouse", "w", "--lanes", "2", "--lane", "2"]);
    assert!(status == 2 && message.contains("lane 2 of a plan of 2 lanes"), "{message}");
    let (status, message) = fail(warehouse(), &["scan", "tpch.orders", "--warehouse", "w", "--lanes", "1000000"]);
    assert!(status == 2 && message.contains("1000000 lanes"), "{message}");
}
