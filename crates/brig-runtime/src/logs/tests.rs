use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::lines::MAX_LINE;
use super::*;

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new(lines: impl IntoIterator<Item = u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Self { _dir: dir, path };
        lines.into_iter().for_each(|number| log.append(number));
        log
    }

    fn append(&self, number: u32) {
        let second = number % 60;
        let line = format!(
            "{{\"log\":\"line {number}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:{second:02}.5Z\"}}\n"
        );
        self.append_raw(line.as_bytes());
    }

    fn append_raw(&self, bytes: &[u8]) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn read(&self, options: &LogOptions) -> (Vec<String>, u64) {
        let mut texts = Vec::new();
        let damaged = read_log(
            &self.path,
            options,
            || false,
            |record| {
                texts.push(record.text.trim_end().to_owned());
                ControlFlow::Continue(())
            },
        );
        (texts, damaged.unwrap())
    }
}

fn at(second: u32) -> Option<Timestamp> {
    Some(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap())
}

#[test]
fn everything_or_the_tail_of_it() {
    let log = Log::new(0..20);
    assert_eq!(log.read(&LogOptions::default()).0.len(), 20);
    for (tail, first) in [(3, Some("line 17")), (20, Some("line 0")), (100, Some("line 0")), (0, None)] {
        let options = LogOptions { tail: Some(tail), ..LogOptions::default() };
        assert_eq!(log.read(&options).0.first().map(String::as_str), first, "tail {tail}");
    }
}

#[test]
fn the_tail_of_a_log_larger_than_a_block() {
    let log = Log::new(0..5000);
    let options = LogOptions { tail: Some(3000), ..LogOptions::default() };
    let (texts, damaged) = log.read(&options);
    assert_eq!((texts.len(), texts[0].as_str(), damaged), (3000, "line 2000", 0));
}

#[test]
fn between_two_times() {
    let log = Log::new(0..20);
    let options = LogOptions { since: at(5), until: at(8), ..LogOptions::default() };
    assert_eq!(log.read(&options).0, ["line 5", "line 6", "line 7"]);
}

#[test]
fn a_missing_log_is_empty() {
    let log = Log::new([]);
    assert_eq!(log.read(&LogOptions::default()), (vec![], 0));
}

#[test]
fn damaged_and_overlong_lines_are_passed_over_and_counted() {
    let log = Log::new([1]);
    log.append_raw(b"{\"log\":\"half\n");
    log.append_raw(&vec![b'x'; MAX_LINE * 2 + 17]);
    log.append_raw(b"\n");
    log.append(2);
    log.append_raw(b"{\"log\":\"not yet whole");
    assert_eq!(log.read(&LogOptions::default()), (vec!["line 1".into(), "line 2".into()], 2));
}

#[test]
fn shown_with_and_without_time() {
    let record = LogRecord {
        text: "a\n".into(),
        attrs: BTreeMap::new(),
        stream: LogStream::Stdout,
        time: "2026-01-01T00:00:00.5Z".parse().unwrap(),
    };
    let mut shown = Vec::new();
    record.show(&mut shown, true).unwrap();
    record.show(&mut shown, false).unwrap();
    assert_eq!(shown, b"2026-01-01T00:00:00.500000000Z a\na\n");
}

#[test]
fn following_sees_what_comes_and_ends_with_the_container() {
    let log = Log::new(0..3);
    let running = AtomicBool::new(true);
    let options = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
    let mut texts = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 3..6 {
                std::thread::sleep(Duration::from_millis(20));
                log.append(number);
            }
            log.append_raw(b"{\"log\":\"6\",\"stream\":\"std");
            std::thread::sleep(Duration::from_millis(20));
            log.append_raw(b"err\",\"time\":\"2026-01-01T00:01:00Z\"}\n");
            running.store(false, Ordering::SeqCst);
            fs::rename(&log.path, log.path.with_extension("x")).unwrap();
            fs::rename(log.path.with_extension("x"), &log.path).unwrap();
        });
        let sink = |record: &LogRecord<'_>| {
            texts.push(record.text.trim_end().to_owned());
            ControlFlow::Continue(())
        };
        read_log(&log.path, &options, || running.load(Ordering::SeqCst), sink).unwrap();
    });
    assert_eq!(texts, ["line 2", "line 3", "line 4", "line 5", "6"]);
}

#[test]
fn following_stops_at_until_and_when_the_reader_has_enough() {
    let log = Log::new(0..10);
    let options = LogOptions { follow: true, until: at(4), ..LogOptions::default() };
    let mut seen = 0;
    read_log(
        &log.path,
        &options,
        || true,
        |_| {
            seen += 1;
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(seen, 4);
    let options = LogOptions { follow: true, ..LogOptions::default() };
    read_log(&log.path, &options, || true, |_| ControlFlow::Break(())).unwrap();
}

impl Log {
    fn all(&self) -> Vec<String> {
        self.read(&LogOptions::default()).0
    }

    /// What the supervisor does, step by step; the last one makes the new file.
    fn rotate(&self, keep: u32, steps: usize) {
        let moves = (1..keep).rev().map(|number| {
            let from = if number == 1 { self.path.clone() } else { rotated(&self.path, number - 1) };
            (from, rotated(&self.path, number))
        });
        for (from, to) in moves.filter(|(from, _)| from.exists()).take(steps) {
            fs::rename(from, to).unwrap();
        }
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

#[test]
fn rotated_files_are_read_in_their_order_wherever_a_rotation_was_killed() {
    for killed_after in 0..=3 {
        let log = Log::new(0..3);
        log.rotate(4, 9);
        (3..5).for_each(|number| log.append(number));
        log.rotate(4, 9);
        (5..9).for_each(|number| log.append(number));
        log.rotate(4, killed_after);
        assert_eq!(log.all(), numbers(0..9), "{killed_after}");
        (9..11).for_each(|number| log.append(number));
        assert_eq!(log.all(), numbers(0..11), "{killed_after}");
        for tail in 0..13 {
            let options = LogOptions { tail: Some(tail), ..LogOptions::default() };
            let first = 11_u32.saturating_sub(u32::try_from(tail).unwrap());
            assert_eq!(log.read(&options).0, numbers(first..11), "{killed_after} {tail}");
        }
    }
}

#[test]
fn other_files_beside_the_log_are_none_of_it() {
    let log = Log::new(0..2);
    for name in
        ["log.x", "log.1.gz.new", "log.gz", "log.1.xz", "log.", "log.99999", "log.new", "logs", "log.-1"]
    {
        fs::write(log.path.with_file_name(name), "x\n").unwrap();
    }
    assert_eq!(log.read(&LogOptions::default()), (numbers(0..2), 0));
}

/// What the supervisor makes of a file that was rotated away.
fn pack(log: &Log, number: u32) {
    let plain = rotated(&log.path, number);
    let origin = Origin::of(&fs::metadata(&plain).unwrap()).to_extra_field();
    let mut packed = flate2::GzBuilder::new().extra(origin).write(Vec::new(), flate2::Compression::fast());
    packed.write_all(&fs::read(&plain).unwrap()).unwrap();
    fs::write(compressed(&log.path, number), packed.finish().unwrap()).unwrap();
    fs::remove_file(plain).unwrap();
}

/// Files of ten lines, of which `packed` are compressed.
fn of_tens(tens: u32, packed: &[u32]) -> Log {
    let log = Log::new(0..10);
    for ten in 1..tens {
        log.rotate(9, 9);
        (ten * 10..ten * 10 + 10).for_each(|number| log.append(number));
    }
    packed.iter().for_each(|&number| pack(&log, number));
    log
}

#[test]
fn compressed_files_are_read_as_the_others() {
    for packed in [&[1][..], &[2, 3], &[1, 2, 3]] {
        let log = of_tens(4, packed);
        assert_eq!(log.read(&LogOptions::default()), (numbers(0..40), 0), "{packed:?}");
        for tail in 0..45 {
            let options = LogOptions { tail: Some(tail), ..LogOptions::default() };
            let first = 40_u32.saturating_sub(u32::try_from(tail).unwrap());
            assert_eq!(log.read(&options), (numbers(first..40), 0), "{packed:?} {tail}");
        }
        let options = LogOptions { since: at(5), until: at(33), ..LogOptions::default() };
        assert_eq!(log.read(&options).0, numbers(5..33));
    }
}

#[test]
fn a_compressed_file_beside_its_plain_one_isnt_read() {
    let log = of_tens(3, &[]);
    fs::write(compressed(&log.path, 1), "half").unwrap();
    assert_eq!(log.read(&LogOptions::default()), (numbers(0..30), 0));
}

#[test]
fn a_damaged_compressed_file_is_counted() {
    let log = of_tens(3, &[1]);
    let path = compressed(&log.path, 1);
    let bytes = fs::read(&path).unwrap();
    for (damaged, at_least) in [(&bytes[..bytes.len() - 8], 20), (&b"half"[..], 20), (&b""[..], 20)] {
        fs::write(&path, damaged).unwrap();
        let (texts, damaged) = log.read(&LogOptions::default());
        assert!(texts.len() >= at_least && damaged <= 1, "{texts:?} {damaged}");
        let options = LogOptions { tail: Some(15), ..LogOptions::default() };
        assert!(log.read(&options).0.len() >= 10);
    }
}

#[test]
fn a_follower_knows_a_file_that_was_compressed_meanwhile() {
    let log = of_tens(3, &[]);
    let options = LogOptions { follow: true, tail: Some(25), ..LogOptions::default() };
    let (mut texts, mut rounds) = (Vec::new(), 0);
    let runs = || {
        rounds += 1;
        if rounds == 2 {
            log.append(30);
            for number in 31..34 {
                log.rotate(9, 9);
                log.append(number);
            }
            // The one that was the last, and one that came since.
            pack(&log, 3);
            pack(&log, 2);
        }
        rounds < 3
    };
    let sink = |record: &LogRecord<'_>| {
        texts.push(record.text.trim_end().to_owned());
        ControlFlow::Continue(())
    };
    read_log(&log.path, &options, runs, sink).unwrap();
    assert_eq!(texts, numbers(5..34));
}

#[test]
fn times_are_looked_for_in_all_files() {
    let log = Log::new(0..10);
    log.rotate(2, 9);
    (10..20).for_each(|number| log.append(number));
    let options = LogOptions { since: at(5), until: at(13), ..LogOptions::default() };
    assert_eq!(log.read(&options).0, numbers(5..13));
}

#[test]
fn a_half_line_at_the_end_of_a_rotated_file_is_damaged() {
    let log = Log::new(0..2);
    log.append_raw(b"{\"log\":\"half");
    log.rotate(2, 9);
    log.append(2);
    assert_eq!(log.read(&LogOptions::default()), (numbers(0..3), 1));
}

#[test]
fn a_follower_reads_every_record_once_through_rotations() {
    let log = Log::new(0..1);
    let running = AtomicBool::new(true);
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let mut texts = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..2000 {
                log.append(number);
                if number % 50 == 0 {
                    log.rotate(100, 200);
                }
            }
            running.store(false, Ordering::SeqCst);
        });
        let sink = |record: &LogRecord<'_>| {
            texts.push(record.text.trim_end().to_owned());
            ControlFlow::Continue(())
        };
        read_log(&log.path, &options, || running.load(Ordering::SeqCst), sink).unwrap();
    });
    assert_eq!(texts, numbers(0..2000));
}

#[test]
fn a_follower_that_is_overtaken_misses_whole_files_and_doubles_nothing() {
    let log = Log::new(0..1);
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let (mut texts, mut rounds) = (Vec::new(), 0);
    let runs = || {
        rounds += 1;
        if rounds == 2 {
            for number in 1..50 {
                if number % 10 == 0 {
                    log.rotate(3, 9);
                }
                log.append(number);
            }
        }
        rounds < 3
    };
    let sink = |record: &LogRecord<'_>| {
        texts.push(record.text.trim_end().to_owned());
        ControlFlow::Continue(())
    };
    read_log(&log.path, &options, runs, sink).unwrap();
    // The file that it has open, to its end, and the three that there are.
    assert_eq!(texts, [numbers(0..10), numbers(20..50)].concat());
    assert_eq!(log.all(), numbers(20..50));
}

#[test]
fn who_doesnt_follow_gets_an_end() {
    let log = Log::new(0..3);
    let mut seen = 0;
    let sink = |_: &LogRecord<'_>| {
        seen += 1;
        log.append(seen);
        ControlFlow::Continue(())
    };
    read_log(&log.path, &LogOptions::default(), || false, sink).unwrap();
    assert_eq!(seen, 3);
}
