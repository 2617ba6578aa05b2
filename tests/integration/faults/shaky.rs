//! A network that loses some of everything: scans succeed, are right, and take hardly longer.

use super::{Bay, latency, many_files, read};
use crate::support::soak;
use fastdata_testkit::proxy::{Conditions, Fault, Faults, Logged};
use fastdata_types::stats::ScanStats;
use std::ops::Range;
use std::time::{Duration, Instant};

/// 5 % of 503, 1 % of resets, 1 % of bodies that break off.
fn shaky(seed: u64) -> Conditions {
    let faults = Faults { seed, unavailable_per_mille: 50, reset_per_mille: 10, truncate_per_mille: 10, ..Faults::default() };
    Conditions { faults, ..latency(30) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn broken(log: &[Logged]) -> u64 {
    log.iter().filter(|logged| matches!(logged.fault, Some(Fault::Truncate(_) | Fault::Reset(_)))).count() as u64
}

/// Every request that the proxy saw is counted, and every one that was made again. A few more may be counted: those that were sent on a connection whose
/// end, after a body that was to break off in this scan or the one `before`, crossed them on the way.
fn assert_counted(stats: &ScanStats, log: &[Logged], before: u64) {
    let answered = log.iter().filter(|logged| (200..300).contains(&logged.status)).count() as u64;
    let seen = log.len() as u64;
    let broken = broken(log) + before;
    assert!((seen..=seen + broken).contains(&stats.requests), "{seen} requests, {broken} broken connections: {stats:?}");
    assert!(stats.requests - stats.retries - stats.hedges <= answered, "{stats:?}: {answered} answered");
    let refused = log.iter().filter(|logged| logged.status == 503).count() as u64;
    assert!(stats.retries + stats.hedges >= refused, "{stats:?}: {refused} refused");
}

/// Scans in turn without and with faults, one of each for each seed: the median times.
async fn compared(bay: &Bay, seeds: Range<u64>) -> (Duration, Duration) {
    let scans = seeds.end - seeds.start;
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), &[]);
    let (mut calm, mut stormy, mut failed) = (vec![], vec![], 0);
    // Of the scans of the shaky network.
    let (mut faults, mut requests) = ([0_usize; 3], 0);
    let mut sums = ScanStats::default();
    let mut before = 0;
    for seed in seeds {
        for conditions in [latency(30), shaky(seed)] {
            let is_shaky = conditions.faults.unavailable_per_mille > 0;
            bay.proxy.set(conditions);
            bay.proxy.take_log();
            let began = Instant::now();
            let scanned = read(&engine, "").await;
            let took = began.elapsed();
            let log = bay.proxy.take_log();
            match (scanned, is_shaky) {
                (Ok((rows, stats)), _) => {
                    assert_eq!(rows, truth, "seed {seed}");
                    assert!(log.len() >= 200, "{} requests", log.len());
                    assert_counted(&stats, &log, before);
                    let times = if is_shaky { &mut stormy } else { &mut calm };
                    times.push(took);
                    sums.retries += stats.retries;
                    sums.hedges += stats.hedges;
                }
                (Err(error), true) => {
                    eprintln!("seed {seed}: {error}");
                    failed += 1;
                }
                (Err(error), false) => panic!("without a fault: {error}"),
            }
            before = broken(&log);
            if is_shaky {
                requests += log.len();
            }
            for fault in log.iter().filter_map(|logged| logged.fault.as_ref()) {
                match fault {
                    Fault::Unavailable | Fault::RetryAfter(503, _) => faults[0] += 1,
                    Fault::Reset(_) => faults[1] += 1,
                    Fault::Truncate(_) => faults[2] += 1,
                    other => panic!("nobody asked for {other:?}"),
                }
            }
        }
    }
    let (calm, stormy) = (median(calm), median(stormy));
    eprintln!(
        "{scans} scans of a shaky network: {failed} failed; {faults:?} times 503, a reset and a body that broke off in {requests} requests, {} retries, {} hedges; median {stormy:?}, {calm:?} without faults",
        sums.retries, sums.hedges
    );
    // A few scans draw few of the rare ones.
    let (least, most) = if soak() { (0.9, 1.1) } else { (0.5, 1.6) };
    let per_mille = faults.map(|count| 1_000.0 * count as f64 / requests as f64);
    for (rate, promised) in per_mille.into_iter().zip([50.0, 10.0, 10.0]) {
        assert!((promised * least..promised * most).contains(&rate), "the network was not as shaky as promised: {per_mille:?} per mille");
    }
    assert!(failed * 1_000 <= scans, "{failed} of {scans} failed");
    (calm, stormy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shaky_network_costs_a_little_time_and_no_scan() {
    let Some(bay) = Bay::shared(many_files(330), latency(30)).await else { return };
    // The promise is a fifth, and the long form holds it. The median of a few scans scatters, and more so where other programs want the cores: then a
    // few others are looked at.
    let (scans, most, attempts) = if soak() { (1_000, 1.2, 1) } else { (16, 1.3, 3) };
    let mut medians = vec![];
    for attempt in 0..attempts {
        let (calm, stormy) = compared(&bay, attempt * scans..(attempt + 1) * scans).await;
        if stormy <= calm.mul_f64(most) {
            return;
        }
        medians.push((calm, stormy));
    }
    panic!("the medians without and with faults: {medians:?}");
}
