//! What a profile takes: packed in memory with its entry in the map, and at
//! rest; how long it takes to make one of the other; each with the naive form,
//! structs and a Protocol Buffers message, beside it.
//!
//! ```text
//! cargo bench --bench profile
//! cargo bench --bench profile -- million          # under a limit; or: million mixed
//! ```

#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first thing that fails")]

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use prost::Message;
use rapport::{
    domain::Profile,
    store::{HotMap, codec},
};

mod counting;
#[path = "profile/plain.rs"]
mod plain;
#[path = "profile/sample.rs"]
mod sample;

use counting::{Counting, live_bytes};
use plain::{PlainProfile, plain};
use sample::{FULL, Size, hot, profile, random};

// the service's allocator
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

/// The limit of the map, bytes, and the most that the process may take over it.
const LIMIT_BYTES: u64 = 256 << 20;
const OVER_MAX: f64 = 1.15;
const MILLION: u64 = 1_000_000;
/// Repeats; of their times the median is told.
const REPEATS: usize = 4_001;
/// What sealing adds at rest, bytes: the nonce, the tag, and the row's key.
const SEAL_BYTES: usize = 24 + 16 + 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    if has("million") {
        million(has("mixed"));
    } else {
        sizes();
        times();
    }
}

fn encoded(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4_096);
    codec::encode_profile(profile, &mut bytes);
    bytes
}

/// The bytes that what `make` makes keeps.
fn heap_of<T>(make: impl FnOnce() -> T) -> i64 {
    let before = live_bytes();
    let made = black_box(make());
    let bytes = live_bytes() - before;
    drop(made);
    bytes
}

fn sizes() {
    println!("{} attributes, {} interactions, {} item touches", FULL.attributes, FULL.interactions, FULL.touches);
    let one = profile(0, FULL);
    let packed = encoded(&one).len();
    println!("at rest: {packed} bytes, {} sealed and with its key", packed + SEAL_BYTES);
    println!("at rest as a message: {} bytes", plain(&one).encoded_len());
    let bytes = encoded(&one);
    let heap = heap_of(|| Box::new(codec::decode_profile(&bytes).unwrap()));
    println!("heap of the structs: {heap} bytes, without an entry in a map");
    let message = plain(&one).encode_to_vec();
    let heap = heap_of(|| Box::new(PlainProfile::decode(&message[..]).unwrap()));
    println!("heap of the message: {heap} bytes, without an entry in a map");

    let before = live_bytes();
    let map = HotMap::new(LIMIT_BYTES);
    let mut number = 0;
    while map.evictions() == 0 {
        map.put(hot(number, FULL));
        number += 1;
    }
    let heap = (live_bytes() - before) as f64;
    println!(
        "heap in the map: {:.0} bytes with its entry and its share of the structs of who was asked for last",
        heap / map.len() as f64,
    );
    println!(
        "    {} profiles in {} MiB, {:.1} MiB of the heap; {:.0} bytes accounted",
        map.len(),
        LIMIT_BYTES >> 20,
        heap / (1 << 20) as f64,
        map.bytes() as f64 / map.len() as f64
    );
}

/// The median of times, microseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed<T>(into: &mut Vec<f64>, call: impl FnOnce() -> T) {
    let began = Instant::now();
    black_box(call());
    into.push(began.elapsed().as_secs_f64() * 1e6);
}

/// Each in turn, so that what disturbs one disturbs all.
fn times() {
    let map = HotMap::new(LIMIT_BYTES);
    let mut number = 0;
    while map.evictions() == 0 {
        map.put(hot(number, FULL));
        number += 1;
    }
    let one = hot(number / 2, FULL);
    let (bytes, message) = (encoded(&one.profile), plain(&one.profile));
    let (plain_bytes, mut buffer) = (message.encode_to_vec(), Vec::with_capacity(16_384));
    let mut seen: [Vec<f64>; 8] = Default::default();
    for repeat in 0..REPEATS as u64 {
        buffer.clear();
        timed(&mut seen[0], || codec::encode_profile(&one.profile, &mut buffer));
        timed(&mut seen[1], || codec::decode_profile(&bytes).unwrap());
        buffer.clear();
        timed(&mut seen[2], || message.encode(&mut buffer).unwrap());
        timed(&mut seen[3], || PlainProfile::decode(&plain_bytes[..]).unwrap());
        timed(&mut seen[4], || one.profile.clone());
        let far = profile(random(repeat, 9) % number, Size { attributes: 0, interactions: 0, touches: 0 }).key;
        timed(&mut seen[5], || map.get(far));
        timed(&mut seen[6], || map.get(far));
        let next = hot(random(repeat, 10) % number, FULL);
        timed(&mut seen[7], || map.put(next));
    }
    let names = [
        "encode",
        "decode",
        "encode the message",
        "decode the message",
        "clone the structs",
        "read, not asked for of late",
        "read again",
        "put, with its structs",
    ];
    for (name, times) in names.into_iter().zip(seen) {
        println!("{name:<28} p50 {:>6.2} us", median(times));
    }
    let (hits, misses, unpackings) = map.lookups();
    println!("of {hits} reads {unpackings} unpacked; {misses} misses, for they were evicted");
}

/// Bytes of the process in memory: now, and the most so far.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn size(number: u64, mixed: bool) -> Size {
    let part = |salt: u64, of: i64| if mixed { (random(number, salt) % (of as u64 + 1)) as i64 } else { of };
    Size {
        attributes: part(11, FULL.attributes),
        interactions: part(12, FULL.interactions),
        touches: part(13, FULL.touches),
    }
}

/// One thread writes, one reads customers of late and any.
fn million(mixed: bool) {
    let before = resident().0;
    let map = HotMap::new(LIMIT_BYTES);
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let key = |number: u64| profile(number, Size { attributes: 0, interactions: 0, touches: 0 }).key;
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut asked = 0_u64;
            while !done.load(Relaxed) {
                let known = written.load(Relaxed).max(1);
                let back = random(asked, 14) % known.min(if asked.is_multiple_of(4) { 100_000 } else { 1_000 });
                black_box(map.get(key(known - 1 - back)));
                asked += 1;
            }
        });
        for number in 0..MILLION {
            map.put(hot(number, size(number, mixed)));
            written.store(number, Relaxed);
        }
        done.store(true, Relaxed);
    });
    let (now, most) = resident();
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let what = if mixed { "of mixed size" } else { "of full size" };
    println!("{MILLION} profiles {what} put in {:.1} s, beside a reader", began.elapsed().as_secs_f64());
    let (hits, misses, unpackings) = map.lookups();
    println!("{hits} reads found them, {unpackings} of these unpacked; {misses} came after the eviction");
    println!(
        "{} in memory, {:.1} MiB accounted of {:.0}; {} evicted; structs dropped {}",
        map.len(),
        mib(map.bytes()),
        mib(LIMIT_BYTES),
        map.evictions(),
        map.unpacked_evictions()
    );
    let ratio = most as f64 / LIMIT_BYTES as f64;
    println!("resident: {:.1} MiB before, {:.1} now, {:.1} at most", mib(before), mib(now), mib(most));
    println!("at most over the limit: {ratio:.3}, goal <= {OVER_MAX}");
    assert!(ratio <= OVER_MAX, "over the goal");
}
