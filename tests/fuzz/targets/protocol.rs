//! What comes by the supervisor's socket, at both ends, and the plans that the helper reads.
#![no_main]

use std::fmt::Debug;

use brig_fuzz::{seeds, target};
use brig_runtime::files::{FilesEnd, FilesPlan};
use brig_runtime::plan::Plan;
use brig_runtime::protocol::{
    Birth, CHANNEL_CONTROL, CHANNEL_STDIN, Decoder, EngineRequest, HEADER, MAX_FRAME, Request, Response,
    read_frame, write_frame,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

target!(start(), |data| {
    let Some((how, bytes)) = data.split_first() else { return };
    let pieces = decoded(bytes, usize::from(*how).max(1));
    let whole = decoded(bytes, usize::MAX);
    assert_eq!(pieces, whole, "frames depend on how they arrive");
    let mut blocking = Vec::new();
    let mut from = bytes;
    while let Ok(Some(frame)) = read_frame(&mut from) {
        blocking.push(frame);
    }
    assert_eq!(blocking, whole, "the blocking reader reads something else");
    for (channel, payload) in &whole {
        assert!(payload.len() <= MAX_FRAME);
        if *channel == CHANNEL_CONTROL {
            messages(payload);
        }
    }
    messages(bytes);
    if let Ok(plan) = Plan::decode(bytes) {
        plan.encode().expect("what was read can be written");
    }
    if let Ok(plan) = FilesPlan::decode(bytes) {
        plan.encode().expect("what was read can be written");
    }
});

fn decoded(bytes: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some((channel, payload))) => frames.push((channel, payload.to_vec())),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        assert!(decoder.buffered() <= MAX_FRAME + HEADER);
    }
    frames
}

fn messages(json: &[u8]) {
    if let Some(Request::Exec(request)) = stable::<Request>(json) {
        request.engine.as_ref().map(EngineRequest::input);
    }
    stable::<Response>(json);
    stable::<Birth>(json);
    stable::<FilesEnd>(json);
}

fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(again, value);
    Some(value)
}

fn start() -> Vec<Vec<u8>> {
    let messages = seeds::lines(
        r#"{"type":"status"}
        {"type":"stop","signal":15,"grace_ms":10000,"successor":{"pid":1,"starttime":2}}
        {"type":"attach","stdin":true}
        {"type":"resize","rows":24,"cols":80}
        {"type":"exec","args":["sh"],"env":["A=b"],"cwd":"/","uid":0,"gid":0,"groups":[1],"tty":true,"size":[24,80],"engine":{"program":"/p","input":"00ff"}}
        {"type":"reload","settings":[["/sys/fs/cgroup/a","1"]]}
        {"type":"of tomorrow"}
        {"type":"error","code":"busy","message":"m"}
        {"type":"failed","step":"mount","errno":1,"code":126}"#,
    );
    let mut all = Vec::new();
    let mut stream = Vec::new();
    for message in messages {
        write_frame(&mut stream, CHANNEL_CONTROL, &message).expect("memory");
        all.push(seeds::chosen(3, &message));
    }
    write_frame(&mut stream, CHANNEL_STDIN, b"input").expect("memory");
    all.push(seeds::chosen(7, &stream));
    all
}
