//! The power fails: what was not synced is gone, in part or whole. What was
//! acknowledged as `disk` is there all the same, and a torn tail is noticed.
//!
//! A library loaded before the C library notes how long each file was when it
//! was last synced; copies of the data directory lose bytes beyond that.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rapport::{proto::AckStrength, store::log::HEADER_BYTES};
use tempfile::TempDir;

use super::{
    ledger::{Ledger, told},
    load::{Load, Plan, RULES, create_customers},
    replica::{Replica, rapport, until},
    sized,
};
use crate::harness::{Place, repository};

/// What the service says when it cut a torn tail.
const NOTICE: &str = "torn tail";
/// How long the load may take to get so far.
const LOADED_WITHIN: Duration = Duration::from_secs(60);

/// Most scenes, by how many there should be.
const SCENES_MAX: u64 = 5;

/// The library that notes syncs.
fn library(dir: &Path) -> PathBuf {
    let (source, library) = (repository().join("tests/it/replicas/synced.c"), dir.join("synced.so"));
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compile.status().expect("running `cc`").success(), "compiling synced.c");
    library
}

/// How long each file was when it was last synced.
fn synced(notes: &Path) -> HashMap<PathBuf, u64> {
    let mut synced = HashMap::new();
    for line in fs::read_to_string(notes).expect("notes of syncs").lines() {
        // the last line may be torn
        let Some((bytes, path)) = line.split_once(' ') else { continue };
        let known = synced.entry(PathBuf::from(path)).or_insert(0_u64);
        *known = (*known).max(bytes.parse().expect("a length"));
    }
    synced
}

/// A number by a fixed stride, for places to cut at: splitmix64.
fn random(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The places where records of a segment begin, and its end.
fn boundaries(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).expect("a segment");
    let (mut at, mut found) = (0, vec![0]);
    // a header begins with the length of the payload
    while let Some(len) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        at += HEADER_BYTES + u32::from_le_bytes(*len) as usize;
        found.push(at as u64);
    }
    found
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &to),
            false => assert!(fs::copy(entry.path(), to).is_ok(), "a copy"),
        }
    }
}

/// A data directory as it was when the process was killed.
struct Scene {
    place: Arc<Place>,
    ledger: Ledger,
    /// The last segment of the log.
    segment: PathBuf,
    /// How much of it was on the disk.
    synced: u64,
}

/// Runs a service that notes its syncs, kills it under load.
async fn scene(seed: u64) -> Scene {
    let tools = TempDir::new().expect("a directory");
    let notes = tools.path().join("notes");
    let mut command = rapport();
    command.env("LD_PRELOAD", library(tools.path())).env("SYNCED_NOTES", &notes);
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", RULES);
    let mut replica = Replica::start_by(command, &place, &[]);
    let ledger = Arc::new(Ledger::default());
    let plan = Plan { rate: 400, ..Plan::default() };
    let first = create_customers(&replica, &ledger, plan.customers).await;
    let mut load = Load::start(&[replica.address], plan, &ledger, first);
    let wanted = 60 + (random(seed) % 60) as usize;
    until("events are acknowledged", LOADED_WITHIN, || ledger.acknowledged_with(AckStrength::Disk) >= wanted);
    replica.kill();
    load.end();
    drop(load);
    let mut segments: Vec<PathBuf> =
        fs::read_dir(place.data().join("log")).expect("the log").map(|entry| entry.expect("an entry").path()).collect();
    segments.sort();
    let segment = segments.pop().expect("a segment");
    let synced =
        synced(&notes).get(&segment.canonicalize().expect("a path")).copied().expect("a segment that was synced");
    let ledger = Arc::into_inner(ledger).expect("the load has ended");
    Scene { place, ledger, segment, synced }
}

/// Starts on a copy whose log lost what is beyond a place. Answers whether a
/// record was torn.
async fn survives(scene: &Scene, cut: u64) -> bool {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", RULES);
    copy_dir(&scene.place.data(), &place.data());
    let segment = place.data().join("log").join(scene.segment.file_name().expect("a name"));
    let torn = !boundaries(&segment).contains(&cut);
    File::options().write(true).open(&segment).expect("the segment").set_len(cut).expect("a shorter segment");
    let replica = Replica::start_by(rapport(), &place, &[]);
    let noticed = replica.server().log().contains(NOTICE);
    assert_eq!(noticed, torn, "cut at {cut}, synced to {}:\n{}", scene.synced, replica.server().log());
    let told = told(replica.server()).await;
    let promised = scene.ledger.promised(|ack| ack == AckStrength::Disk);
    let lost = told.lost(&promised);
    assert!(lost.is_empty(), "cut at {cut}, synced to {}: lost {lost:?}", scene.synced);
    assert!(told.twice().is_empty(), "{:?}", told.twice());
    scene.ledger.counts_at_least(&replica, &told).await;
    torn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_disk_survives_the_loss_of_what_is_not() {
    let (scenes, cuts) = sized((2, 4), (20, 10));
    let (mut torn, mut drops, mut dropped) = (0, 0, 0);
    for seed in 0..SCENES_MAX * scenes {
        // on a slow machine all may be synced when the kill comes
        if seed >= scenes && torn > 0 {
            break;
        }
        let scene = scene(seed).await;
        let len = fs::metadata(&scene.segment).expect("the segment").len();
        assert!(scene.synced <= len, "synced {} of {len}", scene.synced);
        for cut in 0..cuts {
            let at = scene.synced + random(seed * 1_000 + cut) % (len - scene.synced + 1);
            dropped += len - at;
            drops += 1;
            torn += u64::from(survives(&scene, at).await);
        }
    }
    println!("{drops} drops, {dropped} bytes in all, {torn} torn records, none of them unnoticed");
    assert!(torn > 0 && dropped > HEADER_BYTES as u64, "nothing was torn");
}
