use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::*;
use crate::{domain::Timestamp, store::StoreError};

const BIG: u64 = 1 << 30;
type Owned = (u64, i64, RecordKind, Vec<u8>);

fn open(dir: &Path) -> (EventLog, Opened) {
    EventLog::open(dir, BIG).unwrap()
}

/// Appends and writes records with these payload lengths, one write each.
fn fill(log: &mut EventLog, lengths: &[usize]) -> Vec<(Position, Owned)> {
    let mut made = Vec::new();
    for length in lengths {
        let sequence = log.next_sequence();
        let kind = RecordKind::ALL[sequence as usize % RecordKind::ALL.len()];
        let payload = vec![sequence as u8; *length];
        let time = sequence as i64 * 10;
        let position = log.append(kind, Timestamp(time), &payload);
        log.write().unwrap();
        made.push((position, (sequence, time, kind, payload)));
    }
    made
}

fn owned(record: &LogRecord<'_>) -> Owned {
    (record.sequence, record.time.0, record.kind, record.payload.to_vec())
}

fn drain(reader: &mut LogReader) -> Result<Vec<Owned>, StoreError> {
    let mut all = Vec::new();
    while let Some(record) = reader.next()? {
        all.push(owned(&record));
    }
    Ok(all)
}

fn read(dir: &Path, from: u64) -> Vec<Owned> {
    drain(&mut LogReader::open(dir, from).unwrap()).unwrap()
}

fn only(made: &[(Position, Owned)]) -> Vec<Owned> {
    made.iter().map(|m| m.1.clone()).collect()
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

#[test]
fn gives_back_what_was_written_in_order_from_any_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, opened) = open(dir.path());
    assert_eq!((opened.next_sequence, opened.cut_bytes, opened.bytes), (1, 0, 0));
    let made = fill(&mut log, &[0, 1, 300, 70_000, 600_000, 3]);
    assert_eq!(log.last_sequence(), 6);
    for from in 0..8 {
        let wanted: Vec<Owned> = only(&made).into_iter().filter(|m| m.0 >= from).collect();
        assert_eq!(read(dir.path(), from), wanted);
    }
    let mut buffer = Vec::new();
    for (position, wanted) in &made {
        let record = read_at(dir.path(), *position, &mut buffer).unwrap();
        assert_eq!(&owned(&record), wanted);
        assert_eq!(record.position, *position);
        let mut reader = LogReader::open_at(dir.path(), *position).unwrap();
        assert_eq!(&owned(&reader.next().unwrap().unwrap()), wanted);
    }
    let beyond = Position { segment: 1, offset: log.bytes() };
    assert!(read_at(dir.path(), beyond, &mut buffer).is_err());
    let between = Position { segment: 1, offset: made[3].0.offset + 1 };
    assert!(read_at(dir.path(), between, &mut buffer).is_err());
}

#[test]
fn nothing_is_in_the_log_before_write() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.append(RecordKind::Event, Timestamp(1), b"one");
    log.append(RecordKind::Event, Timestamp(2), b"two");
    assert_eq!(read(dir.path(), 0), []);
    let written = log.write().unwrap();
    assert_eq!((written.records, written.last_sequence, written.rolled), (2, 2, false));
    assert_eq!(written.bytes, log.bytes());
    assert_eq!(read(dir.path(), 0).len(), 2);
    assert_eq!(log.write().unwrap(), Written { last_sequence: 2, ..Written::default() });
    log.append(RecordKind::Event, Timestamp(3), b"dropped");
    log.discard();
    assert_eq!(log.write().unwrap().records, 0);
    assert_eq!(log.next_sequence(), 4);
}

#[test]
fn goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = fill(&mut open(dir.path()).0, &[5, 6]);
    let (mut log, opened) = open(dir.path());
    assert_eq!((opened.next_sequence, opened.cut_bytes), (3, 0));
    log.skip_to(100);
    log.skip_to(7);
    made.extend(fill(&mut log, &[7]));
    assert_eq!(made[2].1.0, 100);
    assert_eq!(read(dir.path(), 0), only(&made));
    assert_eq!(open(dir.path()).1.next_sequence, 101);
}

#[test]
fn a_segment_is_closed_at_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 200).unwrap();
    let first_file = log.sync_handle();
    let made = fill(&mut log, &[100, 100, 100, 100, 100]);
    let names: Vec<u64> = log.segments().iter().map(|s| s.first_sequence).collect();
    assert_eq!(names, [1, 3, 5]);
    assert!(!Arc::ptr_eq(&first_file, &log.sync_handle()));
    assert_eq!(log.segments()[1].first_time, Some(Timestamp(30)));
    assert_eq!(log.segments()[1].last_time, Some(Timestamp(40)));
    assert_eq!(read(dir.path(), 0), only(&made));
    assert_eq!(read(dir.path(), 4), only(&made)[3..]);
    let mut buffer = Vec::new();
    for (position, wanted) in &made {
        assert_eq!(&owned(&read_at(dir.path(), *position, &mut buffer).unwrap()), wanted);
    }

    let kept = log.segments().to_vec();
    let bytes = log.bytes();
    drop(log);
    let (mut log, opened) = EventLog::open(dir.path(), 200).unwrap();
    assert_eq!(opened.bytes, bytes);
    let facts = |s: &[Segment]| s.iter().map(|s| (s.first_sequence, s.first_time, s.bytes)).collect::<Vec<_>>();
    assert_eq!(facts(&opened.segments), facts(&kept));
    // The stand-in: the time of the first record of the next segment.
    assert_eq!(opened.segments[0].last_time, Some(Timestamp(30)));

    assert_eq!(log.remove_oldest().unwrap().map(|s| s.first_sequence), Some(1));
    assert_eq!(log.remove_oldest().unwrap().map(|s| s.first_sequence), Some(3));
    assert_eq!(log.remove_oldest().unwrap(), None);
    assert_eq!(read(dir.path(), 0), only(&made)[4..]);
    assert_eq!(EventLog::open(dir.path(), 200).unwrap().1.next_sequence, 6);
}

#[test]
fn one_buffer_stays_in_one_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 100).unwrap();
    let positions: Vec<Position> = (0..4).map(|n| log.append(RecordKind::Event, Timestamp(n), &[7; 90])).collect();
    log.write().unwrap();
    assert!(positions.iter().all(|p| p.segment == 1));
    let next = log.append(RecordKind::Event, Timestamp(9), &[7; 90]);
    assert_eq!(next, Position { segment: 5, offset: 0 });
    assert!(log.write().unwrap().rolled);
    assert_eq!(read(dir.path(), 0).len(), 5);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let source = tempfile::tempdir().unwrap();
    let made = fill(&mut open(source.path()).0, &[40, 10, 30]);
    let bytes = std::fs::read(segment_path(source.path(), 1)).unwrap();
    let last = made[2].0.offset as usize;
    for cut in last + 1..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(segment_path(dir.path(), 1), &bytes[..cut]).unwrap();
        assert_eq!(read(dir.path(), 0), only(&made)[..2], "cut at {cut}");
        let (mut log, opened) = open(dir.path());
        assert_eq!(opened.cut_bytes, (cut - last) as u64);
        assert_eq!(opened.next_sequence, 3 + SEQUENCE_SKIP, "no sequence that was on disk is given again");
        let more = fill(&mut log, &[3]);
        let wanted: Vec<Owned> = only(&made)[..2].iter().cloned().chain(only(&more)).collect();
        assert_eq!(read(dir.path(), 0), wanted, "cut at {cut}");
    }
}

#[test]
fn any_damaged_byte_of_the_last_record_cuts_it() {
    let source = tempfile::tempdir().unwrap();
    let made = fill(&mut open(source.path()).0, &[40, 10, 30]);
    let bytes = std::fs::read(segment_path(source.path(), 1)).unwrap();
    for at in made[2].0.offset as usize..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        std::fs::write(segment_path(dir.path(), 1), bad).unwrap();
        assert_eq!(read(dir.path(), 0), only(&made)[..2], "byte {at}");
        assert!(read_at(dir.path(), made[2].0, &mut Vec::new()).is_err(), "byte {at}");
        let (_, opened) = open(dir.path());
        assert_eq!(opened.cut_bytes, (bytes.len() as u64) - made[2].0.offset, "byte {at}");
    }
}

#[test]
fn a_tail_of_zeros_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let made = fill(&mut open(dir.path()).0, &[4, 5]);
    let path = segment_path(dir.path(), 1);
    let length = std::fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(length + 5_000).unwrap();
    assert_eq!(read(dir.path(), 0), only(&made));
    assert_eq!(open(dir.path()).1.cut_bytes, 5_000);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn damage_before_sound_records_is_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let made = fill(&mut open(dir.path()).0, &[40, 2_000, 2_000, 10]);
    let path = segment_path(dir.path(), 1);
    let good = std::fs::read(&path).unwrap();
    for at in [3, 30, made[1].0.offset as usize + 4, made[2].0.offset as usize + 1_000] {
        let mut bad = good.clone();
        bad[at] ^= 8;
        std::fs::write(&path, &bad).unwrap();
        let error = EventLog::open(dir.path(), BIG).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "byte {at}: {error}");
        assert!(std::fs::read(&path).unwrap() == bad, "byte {at}: the file is left as it was");
    }
}

#[test]
fn a_sector_lost_with_the_power_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let made = fill(&mut open(dir.path()).0, &[40, 2_000, 2_000, 10]);
    let path = segment_path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_024..1_536].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let (_, opened) = open(dir.path());
    assert_eq!(opened.cut_bytes, bytes.len() as u64 - made[1].0.offset);
    assert_eq!(read(dir.path(), 0), only(&made)[..1]);
}

#[test]
fn damage_before_the_last_segment_is_an_error_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 200).unwrap();
    let made = fill(&mut log, &[100, 100, 100]);
    let path = segment_path(dir.path(), 1);
    let good = std::fs::read(&path).unwrap();
    let at = made[1].0.offset;
    let mut bad = good.clone();
    bad[at as usize + 30] ^= 4;
    let torn = good[..good.len() - 1].to_vec();
    for damaged in [bad, torn] {
        std::fs::write(&path, damaged).unwrap();
        let mut reader = LogReader::open(dir.path(), 0).unwrap();
        assert_eq!(owned(&reader.next().unwrap().unwrap()), made[0].1);
        let error = reader.next().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
        assert!(text.contains("00000000000000000001.log") && text.contains(&format!("offset `{at}`")), "{text}");
    }
    // What comes after it can still be read.
    assert_eq!(read(dir.path(), 3), only(&made)[2..]);
    let mut headless = good;
    headless[5] ^= 1;
    std::fs::write(&path, headless).unwrap();
    assert!(matches!(EventLog::open(dir.path(), 200), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_reader_goes_on_while_the_writer_appends() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 300).unwrap();
    let mut reader = LogReader::open(dir.path(), 0).unwrap();
    let mut read_back = Vec::new();
    let mut made = Vec::new();
    for length in 0..60 {
        read_back.extend(drain(&mut reader).unwrap());
        assert_eq!(read_back, only(&made));
        made.extend(fill(&mut log, &[length]));
    }
    assert!(log.segments().len() > 5);
    read_back.extend(drain(&mut reader).unwrap());
    assert_eq!(read_back, only(&made));
}

#[test]
fn a_reader_in_another_thread_sees_every_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 4_000).unwrap();
    let mut reader = LogReader::open(dir.path(), 0).unwrap();
    let lengths: Vec<usize> = (0..400).map(|n| n * 37 % 500).collect();
    let count = lengths.len();
    let writer = std::thread::spawn(move || fill(&mut log, &lengths));
    let mut read_back = Vec::new();
    while read_back.len() < count {
        read_back.extend(drain(&mut reader).unwrap());
    }
    assert_eq!(read_back, only(&writer.join().unwrap()));
}

#[test]
fn a_reader_survives_the_removal_of_segments_before_and_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 100).unwrap();
    let made = fill(&mut log, &[100; 6]);
    let mut reader = LogReader::open(dir.path(), 0).unwrap();
    assert_eq!(owned(&reader.next().unwrap().unwrap()), made[0].1);
    for _ in 0..3 {
        log.remove_oldest().unwrap();
    }
    assert_eq!(drain(&mut reader).unwrap(), only(&made)[3..]);
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let mut made = fill(&mut log, &[10, 20]);
    let length = log.bytes();
    log.append(RecordKind::Event, Timestamp(1), b"refused");
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let file = log.swap_file(Arc::new(full));
    let error = log.write().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!((log.buffered_bytes(), log.bytes(), log.last_sequence()), (0, length, 2));
    log.swap_file(file);
    made.extend(fill(&mut log, &[30]));
    assert_eq!(made[2].1.0, 4, "a failed record's sequence is not given again");
    assert_eq!(read(dir.path(), 0), only(&made));
    assert_eq!(open(dir.path()).1.cut_bytes, 0);
}

#[test]
fn what_a_failed_write_left_behind_is_cut_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let mut made = fill(&mut log, &[10]);
    log.append(RecordKind::Event, Timestamp(1), b"refused");
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let file = log.swap_file(Arc::new(full));
    log.write().unwrap_err();
    log.swap_file(file);
    // As a disk that filled up half-way: two whole records and half of one.
    let stale = std::fs::read(segment_path(dir.path(), 1)).unwrap();
    let stale = [&stale[..], &stale[..], &stale[..9]].concat();
    std::os::unix::fs::FileExt::write_all_at(&*log.sync_handle(), &stale, log.bytes()).unwrap();
    made.extend(fill(&mut log, &[2]));
    assert_eq!(read(dir.path(), 0), only(&made));
    assert_eq!(std::fs::metadata(segment_path(dir.path(), 1)).unwrap().len(), log.bytes());
    assert_eq!(open(dir.path()).1.cut_bytes, 0);
}

#[test]
fn a_segment_that_cannot_be_begun_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 50).unwrap();
    let mut made = fill(&mut log, &[60]);
    // The name is taken, by a directory.
    std::fs::create_dir(segment_path(dir.path(), 2)).unwrap();
    let refused = log.append(RecordKind::Event, Timestamp(1), b"refused");
    assert_eq!(refused.segment, 2);
    log.write().unwrap_err();
    std::fs::remove_dir(segment_path(dir.path(), 2)).unwrap();
    assert_eq!(log.segments().len(), 1);
    made.extend(fill(&mut log, &[5]));
    assert_eq!(made[1].0, Position { segment: 3, offset: 0 });
    assert_eq!(read(dir.path(), 0), only(&made));
}

#[test]
fn a_segment_without_records_is_written_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path(), 50).unwrap();
    let mut made = fill(&mut log, &[60, 60]);
    drop(log);
    std::fs::write(segment_path(dir.path(), 9), b"").unwrap();
    let (mut log, opened) = EventLog::open(dir.path(), 50).unwrap();
    assert_eq!((opened.next_sequence, opened.cut_bytes), (9, 0));
    assert_eq!(opened.segments[1].last_time, Some(Timestamp(20)));
    made.extend(fill(&mut log, &[1]));
    assert_eq!(made[2].0, Position { segment: 9, offset: 0 });
    assert_eq!(read(dir.path(), 0), only(&made));
}

#[test]
fn a_record_that_is_too_long_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.append(RecordKind::Ruleset, Timestamp(1), &vec![0; RECORD_BYTES_MAX + 1]);
    log.append(RecordKind::Event, Timestamp(1), b"with it");
    assert_eq!(log.write().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(log.bytes(), 0);
    let made = fill(&mut log, &[1]);
    assert_eq!(read(dir.path(), 0), only(&made));
}

#[test]
fn the_directory_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("data/log");
    let made = fill(&mut open(&deep).0, &[1]);
    assert_eq!(read(&deep, 0), only(&made));
    assert!(LogReader::open(&dir.path().join("nowhere"), 0).is_err());
}

#[test]
fn kinds_keep_their_numbers() {
    let numbers: Vec<u8> = RecordKind::ALL.iter().map(|k| *k as u8).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    for kind in RecordKind::ALL {
        assert_eq!(RecordKind::from_number(kind as u8), Some(kind));
    }
    assert_eq!((RecordKind::from_number(0), RecordKind::from_number(13)), (None, None));
}
