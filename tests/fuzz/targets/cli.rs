//! Whole command lines, and what `run` makes of its flags: sizes, times, mounts, files of variables, health, limits.
#![no_main]
#![allow(dead_code, unused_imports, reason = "a part of a whole program is called")]

#[path = "../../../crates/brig-cli/args.rs"]
mod args;
#[path = "../../../crates/brig-cli/attach.rs"]
mod attach;
#[path = "../../../crates/brig-cli/commands/mod.rs"]
mod commands;
#[path = "../../../crates/brig-cli/complete/mod.rs"]
mod complete;
#[path = "../../../crates/brig-cli/error.rs"]
mod error;
#[path = "../../../crates/brig-cli/examples.rs"]
mod examples;
#[path = "../../../crates/brig-cli/format.rs"]
mod format;
#[path = "../../../crates/brig-cli/list.rs"]
mod list;
#[path = "../../../crates/brig-cli/output.rs"]
mod output;
#[path = "../../../crates/brig-cli/parse.rs"]
mod parse;
#[path = "../../../crates/brig-cli/progress.rs"]
mod progress;
#[path = "../../../crates/brig-cli/table.rs"]
mod table;
#[path = "../../../crates/brig-cli/template/mod.rs"]
mod template;
#[path = "../../../crates/brig-cli/terminal.rs"]
mod terminal;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use brig_fuzz::sandbox::Sandbox;
use brig_fuzz::{seeds, target, text, told};
use clap::Parser;
use commands::flags::{FileFlags, LimitFlags, LogFlags, MountFlags, TuningFlags};
use commands::supervision::SupervisionFlags;
use commands::values;

#[derive(Parser)]
#[command(name = "run")]
struct Flags {
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    tuning: TuningFlags,
    #[command(flatten)]
    mounts: MountFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    supervision: SupervisionFlags,
}

static PLACE: OnceLock<Sandbox> = OnceLock::new();

target!(start(), |data| {
    let Some((how, rest)) = data.split_first() else { return };
    match how % 4 {
        0 => line(rest),
        1 => flags(rest),
        2 => file(rest),
        _ => text(rest).map_or((), words),
    }
});

fn line(rest: &[u8]) {
    let words = rest.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    let arguments: Vec<_> = std::iter::once("brig".into()).chain(words).collect();
    parse::version(&arguments);
    if let Err(error) = parse::parse(&arguments) {
        assert!(!error.to_string().is_empty());
    }
}

fn flags(rest: &[u8]) {
    let words = rest.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    let words: Vec<_> = std::iter::once("run".into()).chain(words).collect();
    let Ok(flags) = Flags::try_parse_from(words) else { return };
    let changes = flags.limits.changes();
    let limits = changes.apply(&brig_engine::Limits::default());
    drop(changes);
    let machine = brig_runtime::limits::Machine::look();
    tell(limits.check(&machine));
    tell(flags.tuning.tuning());
    tell(flags.tuning.swappiness());
    tell(flags.tuning.stop_signal());
    flags.tuning.stop_timeout();
    flags.supervision.health();
    tell(flags.mounts.mounts());
    if let Ok(config) = flags.log.config() {
        tell(config.plan());
    }
}

fn file(rest: &[u8]) {
    let path = PLACE.get_or_init(|| Sandbox::new("cli")).input(rest);
    let option = |name: &str| OsString::from(format!("--{name}={}", path.display()));
    let words = [OsString::from("run"), option("env-file"), option("label-file")];
    let flags = Flags::try_parse_from(words).expect("two files");
    tell(flags.files.labels(&[]));
    if let Ok(variables) = flags.files.env(Vec::new()) {
        assert!(variables.iter().all(|line| !line.is_empty() && !line.starts_with('=')));
    }
}

fn words(text: &str) {
    drop(values::parse_size(text));
    drop(values::parse_size_or_unlimited(text));
    drop(values::parse_cpus(text));
    drop(values::parse_time(text));
    if let Ok(duration) = values::parse_duration(text) {
        assert!(!duration.is_zero());
    }
    if let Ok(time) = values::moment(text) {
        values::docker_time(time);
        time.elapsed();
    }
    table::tabulate(text);
    table::ellipsis(text, 10);
}

fn tell<T>(result: Result<T, impl std::error::Error>) {
    if let Err(error) = result {
        told(&error);
    }
}

fn start() -> Vec<Vec<u8>> {
    let words = |how: u8| {
        move |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line).split(' ').collect::<Vec<_>>().join("\n");
            seeds::chosen(how, text.as_bytes())
        }
    };
    let lines = seeds::lines(
        "run --rm -it -e A=b -v /a:/b:ro --name x --platform linux/arm64 --network host debian:12 sh -c exit
        ps -a --filter label=a=b --filter status=exited --filter exited=1 --format {{.ID}}
        images --filter dangling=true --filter reference=a*/b? --no-trunc
        events --since 10m --until 2026-01-02T03:04:05Z --filter type=container --filter event=die
        system prune --filter until=24h --filter label!=a -af
        import --change CMD --platform wasi/wasm - a:b
        --root /r container ls --format table\\t{{.Names}}
        update --memory 1g --cpus 1.5 x
        logs -f --tail 3 --since 5 x
        volume create --opt type=tmpfs --label a=b v
        generate systemd --new x",
    );
    let flags = seeds::lines(
        "--memory 64m --memory-swap -1 --cpus 1.5 --pids-limit 10 --cpu-shares 512 --cpuset-cpus 0-1,3
        --ulimit nofile=1:2 --tmpfs /t:size=1m --shm-size 64m --cap-add ALL --annotation a=b --stop-signal TERM
        -v a:/b --mount type=bind,source=/a,target=/b --volumes-from x:ro
        --log-driver json-file --log-opt max-size=10m --log-opt max-file=3
        --restart on-failure:5 --health-cmd true --health-interval 5s --health-retries 3 --init",
    );
    let values =
        seeds::lines("64m\n1.5GiB\n1.5\n1h30m5s\n500us\n1136073845.5\n2026-01-02T03:04Z\n2026-01-02");
    let mut all: Vec<_> = lines.iter().map(words(0)).collect();
    all.extend(flags.iter().map(words(1)));
    all.push(seeds::chosen(2, b"\xef\xbb\xbfA=b\r\n# c\nD\n E = f\n=x\n"));
    all.extend(values.iter().map(|line| seeds::chosen(3, line)));
    all
}
