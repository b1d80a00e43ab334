//! The json-file log: the end of it is the end of all of it, and times bound what is shown.
#![no_main]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use brig_fuzz::sandbox::Sandbox;
use brig_fuzz::{target, told};
use brig_runtime::Timestamp;
use brig_runtime::logs::{LogOptions, read_log, rotated};

static PLACE: OnceLock<Sandbox> = OnceLock::new();

target!(start(), |data| {
    let [tail, second, bytes @ ..] = data else { return };
    let sandbox = PLACE.get_or_init(|| Sandbox::new("logs"));
    let path = sandbox.inside().join("log");
    let mut files = bytes.split(|byte| *byte == 0);
    std::fs::write(&path, files.next().unwrap_or_default()).expect("a log");
    for number in 1..=3 {
        let older = rotated(&path, number);
        match files.next() {
            Some(bytes) => std::fs::write(older, bytes).expect("a log"),
            None => drop(std::fs::remove_file(older)),
        }
    }
    let all = read(&path, LogOptions::default());
    let end = read(&path, LogOptions { tail: Some((*tail).into()), ..LogOptions::default() });
    assert!(end.len() <= usize::from(*tail));
    assert!(all.ends_with(&end) || *tail == 0, "the end is something else");
    let moment: Timestamp = format!("2026-01-02T03:04:{:02}Z", second % 60).parse().expect("a time");
    let since = read(&path, LogOptions { since: Some(moment), ..LogOptions::default() });
    assert!(since.iter().all(|(_, time)| *time >= moment));
    let until = read(&path, LogOptions { until: Some(moment), ..LogOptions::default() });
    assert!(until.iter().all(|(_, time)| *time <= moment));
});

fn read(path: &Path, options: LogOptions) -> Vec<(String, Timestamp)> {
    let mut records = Vec::new();
    let mut shown = Vec::new();
    let damaged = read_log(
        path,
        &options,
        || false,
        |record| {
            record.show(&mut shown, true).expect("memory");
            records.push((record.text.clone().into_owned(), record.time));
            ControlFlow::Continue(())
        },
    );
    if let Err(error) = damaged {
        told(&error);
    }
    records
}

fn start() -> Vec<Vec<u8>> {
    let line = |text: &str, second: u8| {
        format!(r#"{{"log":"{text}","stream":"stdout","time":"2026-01-02T03:04:{second:02}.000000001Z"}}"#)
            + "\n"
    };
    let newest = line(r"a\n", 5) + &line(r"\u001b\ud83d\ude00 half", 6);
    let older = line(r"b\n", 3) + "damaged\n" + &line("", 4);
    [newest.clone(), older.clone(), format!("{newest}\0{older}"), format!("{{\"log\"\0{older}\0{newest}")]
        .iter()
        .map(|text| [&[2, 5][..], text.as_bytes()].concat())
        .collect()
}
