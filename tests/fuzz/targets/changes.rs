//! `--change` of commit and import, and users by the files of an image.
#![no_main]

use brig_engine::fuzzing;
use brig_fuzz::{seeds, target, text, told};
use serde_json::json;

target!(start(), |data| {
    let Some((how, rest)) = data.split_first() else { return };
    if how & 1 == 0 {
        let Some(text) = text(rest) else { return };
        let changes: Vec<_> = text.split('\0').map(str::to_owned).collect();
        let mut config =
            json!({ "Env": ["A=b", "PATH=/bin"], "WorkingDir": "/x", "Labels": null, "OnBuild": 1 });
        match fuzzing::apply_changes(&mut config, &changes) {
            // What was made of it is what an image's config may be.
            Ok(()) => drop(serde_json::from_value::<brig_oci::RunConfig>(config)),
            Err(error) => drop(told(&error)),
        }
        return;
    }
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let Some(wanted) = text(next()) else { return };
    if let Err(error) = fuzzing::user(wanted, next(), next()) {
        told(&error);
    }
});

fn start() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = seeds::lines(
        r#"CMD ["sh", "-c", "true"]
        ENTRYPOINT exec sh
        ENV A=b "C=d e" F=\ g
        ENV A b c
        LABEL a=b "c d"='e f'
        EXPOSE 80 53/udp 8000-8010/tcp
        VOLUME ["/a", "/b"]
        VOLUME /a /b
        USER 1:1
        WORKDIR ../a
        STOPSIGNAL SIGTERM
        HEALTHCHECK --interval=5s --timeout=1m30s --retries=3 CMD ["true"]
        HEALTHCHECK NONE
        ONBUILD RUN true"#,
    )
    .iter()
    .map(|line| seeds::chosen(0, line))
    .collect();
    all.push(seeds::chosen(0, b"WORKDIR /a\0WORKDIR b\0ENV X=$A"));
    all.push(seeds::chosen(
        1,
        b"www:audio\0root:x:0:0::/root:/bin/sh\nwww:x:33:34::/w:\n\0audio:x:29:www,root\n",
    ));
    all.push(seeds::chosen(1, b"1000\0root:x:0:0\n\0"));
    all
}
