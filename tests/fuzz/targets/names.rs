//! Words of the command line that become a value of their own: what a value prints as is read as the same value.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use brig_engine::{MountFlag, Volume};
use brig_fuzz::{seeds, target, text};
use brig_oci::{Digest, Platform, Reference};
use brig_runtime::{RestartPolicy, Timestamp, Ulimit};

target!(start(), |data| {
    let Some(text) = text(data) else { return };
    stable::<Digest>(text);
    stable::<Platform>(text);
    stable::<Timestamp>(text);
    stable::<RestartPolicy>(text);
    if let Some(reference) = stable::<Reference>(text) {
        named(&reference);
    }
    read::<Volume>(text);
    read::<MountFlag>(text);
    if let Some(limit) = read::<Ulimit>(text) {
        limit.values();
    }
    brig_engine::signal(text);
    brig_engine::familiar(text);
});

fn named(reference: &Reference) {
    let familiar: Reference = reference.familiar_name().parse().expect("a familiar name is a name");
    assert_eq!(familiar.registry(), reference.registry());
    assert_eq!(familiar.repository(), reference.repository());
    assert!(!reference.manifest_key().contains('/'));
    assert!(!reference.repository().split('/').any(|part| matches!(part, "" | "." | "..")));
}

fn read<T: FromStr<Err: Display>>(text: &str) -> Option<T> {
    text.parse().map_err(|error: T::Err| error.to_string()).ok()
}

fn stable<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = read(text)?;
    let again: Option<T> = read(&value.to_string());
    assert_eq!(again.as_ref(), Some(&value), "{text:?} is {value}");
    Some(value)
}

fn start() -> Vec<Vec<u8>> {
    let hex = "0123456789abcdef".repeat(4);
    let mut all = seeds::lines(
        "busybox
        docker.io/library/busybox:1.36
        localhost:5000/a/b__c-d.e:tag
        linux/arm64/v8
        wasi/wasm
        2026-01-02T03:04:05.000000006Z
        2026-01-02T03:04:05+01:00
        on-failure:5
        unless-stopped
        volume:/data:ro,nocopy
        /host:/data:rslave,U
        type=bind,source=/a,target=/b,readonly,bind-propagation=rshared
        type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1777
        \"type=volume\",\"source=a,b\",dst=/v,volume-nocopy
        nofile=1024:2048
        core=-1
        SIGTERM
        SIGRTMIN+3",
    );
    all.push(format!("sha256:{hex}").into_bytes());
    all.push(format!("quay.io/a/b:c@sha256:{hex}").into_bytes());
    all
}
