//! What a container is given beside its limits: what of it there is for its kind, and in the words of the OCI runtime
//! specification.

use std::path::PathBuf;

use brig_linux::{Tmpfs, capability};
use brig_oci::Kind;
use brig_runtime::{Tuning, Ulimit};
use oci_spec::runtime::{Capability, PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use super::options::CreateOptions;
use crate::error::{Error, Result};

/// Options of a tmpfs that are words.
const WORDS: [&str; 12] = [
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
];
/// Options of a tmpfs with a value.
const KEYS: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// Everything that was asked for, or the error that it can't be had.
pub(crate) fn checked(kind: Kind, options: &CreateOptions) -> Result<Tuning> {
    let tuning = &options.tuning;
    if kind == Kind::Wasm {
        refuse_for_wasm(tuning)?;
    }
    if let Some(score) = tuning.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        let problem = "the range for oom score adj is [-1000, 1000]";
        return Err(Error::invalid("value", score.to_string(), problem));
    }
    for (target, words) in &tuning.tmpfs {
        check_tmpfs(target, words)?;
        if options.volumes.iter().any(|volume| volume.target == *target) {
            return Err(Error::invalid("tmpfs", target, "something else is mounted there already"));
        }
    }
    capabilities(tuning, Vec::new)?;
    Ok(tuning.clone())
}

/// What a wasm container has nothing for, and would not notice.
fn refuse_for_wasm(tuning: &Tuning) -> Result<()> {
    let no_files = "a wasm container has no file systems in memory: mount a directory with --volume";
    for (flag, asked, reason) in [
        ("--tmpfs", !tuning.tmpfs.is_empty(), no_files),
        ("--shm-size", tuning.shm_size.is_some(), "a wasm container has no shared memory"),
        ("--domainname", tuning.domainname.is_some(), "a wasm container sees no domain name"),
        ("--group-add", !tuning.group_add.is_empty(), "a wasm container has no groups"),
        ("--cap-add", !tuning.cap_add.is_empty(), "a wasm container has no capabilities"),
    ] {
        if asked {
            return Err(Error::Unsupported { what: flag.into(), reason: reason.into() });
        }
    }
    Ok(())
}

fn check_tmpfs(target: &str, options: &str) -> Result<()> {
    if !target.starts_with('/') {
        return Err(Error::invalid("tmpfs", target, "the path in the container must be absolute"));
    }
    if target.trim_matches('/').is_empty() {
        return Err(Error::invalid("tmpfs", target, "the container's root itself can't be mounted over"));
    }
    for option in split(options) {
        let known = match option.split_once('=') {
            Some((key, value)) => KEYS.contains(&key) && !value.is_empty(),
            None => WORDS.contains(&option),
        };
        if !known {
            let problem = format!("the options are {} and {}=", WORDS.join(", "), KEYS.join("=, "));
            return Err(Error::invalid("tmpfs option", option, problem));
        }
    }
    Ok(())
}

fn split(options: &str) -> impl Iterator<Item = &str> {
    options.split(',').filter(|option| !option.is_empty())
}

/// File systems in memory.
pub(crate) fn tmpfs(tuning: &Tuning) -> Vec<Tmpfs> {
    let one = |(target, options): (&String, &String)| Tmpfs {
        target: PathBuf::from(target),
        options: split(options).map(str::to_owned).collect(),
    };
    tuning.tmpfs.iter().map(one).collect()
}

/// Capabilities to add to docker's, and to take from them. `all` is what `ALL` stands for where it is added.
pub(crate) fn capabilities(
    tuning: &Tuning,
    all: impl Fn() -> Vec<Capability>,
) -> Result<(Vec<Capability>, Vec<Capability>)> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let named = |what, names: &[String]| {
        let known = |name: &String| {
            let unknown = || Error::invalid(what, name, "there is no such capability");
            capability(name).ok_or_else(unknown)
        };
        names.iter().filter(|name| !is_all(name)).map(known).collect::<Result<Vec<_>>>()
    };
    let (mut add, mut drop) = (named("--cap-add", &tuning.cap_add)?, named("--cap-drop", &tuning.cap_drop)?);
    // docker's order: of all, but the dropped ones; else what is added by name to what is left.
    if tuning.cap_add.iter().any(is_all) {
        add.extend(all());
        add.retain(|capability| !drop.contains(capability));
    } else if tuning.cap_drop.iter().any(is_all) {
        drop = brig_linux::all_capabilities().to_vec();
    }
    Ok((add, drop))
}

/// Resource limits.
pub(crate) fn rlimits(tuning: &Tuning) -> Vec<PosixRlimit> {
    tuning.ulimits.iter().filter_map(rlimit).collect()
}

fn rlimit(limit: &Ulimit) -> Option<PosixRlimit> {
    let typ = match limit.name.as_str() {
        "core" => PosixRlimitType::RlimitCore,
        "cpu" => PosixRlimitType::RlimitCpu,
        "data" => PosixRlimitType::RlimitData,
        "fsize" => PosixRlimitType::RlimitFsize,
        "locks" => PosixRlimitType::RlimitLocks,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "nofile" => PosixRlimitType::RlimitNofile,
        "nproc" => PosixRlimitType::RlimitNproc,
        "rss" => PosixRlimitType::RlimitRss,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        "stack" => PosixRlimitType::RlimitStack,
        _ => return None,
    };
    let (soft, hard) = limit.values();
    // Every field has a value, so there is a limit.
    PosixRlimitBuilder::default().typ(typ).soft(soft).hard(hard).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(add: &[&str], drop: &[&str]) -> Tuning {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Tuning { cap_add: names(add), cap_drop: names(drop), ..Tuning::default() }
    }

    #[test]
    fn capabilities_as_docker_adds_and_drops_them() {
        use Capability::{Chown, NetAdmin, SysAdmin};
        let all = || vec![Chown, NetAdmin, SysAdmin];
        let sets = |add: &[&str], drop: &[&str]| capabilities(&given(add, drop), all).unwrap();
        assert_eq!(sets(&["net_admin"], &["CAP_CHOWN"]), (vec![NetAdmin], vec![Chown]));
        assert_eq!(sets(&["ALL"], &["SYS_ADMIN"]), (vec![Chown, NetAdmin], vec![SysAdmin]));
        let (add, drop) = sets(&["SYS_ADMIN"], &["all"]);
        assert_eq!((add, drop.len()), (vec![SysAdmin], 41));
        for (add, drop) in [("NOPE", "CHOWN"), ("CHOWN", "")] {
            assert!(capabilities(&given(&[add], &[drop]), all).is_err());
        }
    }

    #[test]
    fn every_ulimit_is_the_kernels() {
        let all = ["core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"];
        let more = ["rss", "rtprio", "rttime", "sigpending", "stack"];
        for name in all.iter().chain(&more) {
            let limit: Ulimit = format!("{name}=1:-1").parse().unwrap();
            let limit = rlimit(&limit).unwrap();
            assert_eq!((limit.soft(), limit.hard()), (1, u64::MAX), "{name}");
        }
    }

    fn check(kind: Kind, tuning: Tuning) -> Result<Tuning> {
        checked(kind, &CreateOptions { tuning, ..CreateOptions::default() })
    }

    fn in_memory(target: &str, options: &str) -> Tuning {
        Tuning { tmpfs: [(target.to_owned(), options.to_owned())].into(), ..Tuning::default() }
    }

    #[test]
    fn options_of_a_tmpfs() {
        for options in ["", "size=64m,mode=1777", "exec,ro,uid=5,,gid=6", "nr_inodes=5"] {
            assert!(check(Kind::Linux, in_memory("/run", options)).is_ok(), "{options}");
        }
        for (target, options) in [
            ("run", ""),
            ("/", ""),
            ("/run", "size"),
            ("/run", "size="),
            ("/run", "huge=always"),
            ("/run", "bind"),
        ] {
            assert!(check(Kind::Linux, in_memory(target, options)).is_err(), "{target} {options}");
        }
    }

    #[test]
    fn what_wasm_has_nothing_for_is_refused() {
        let one = || vec!["x".to_owned()];
        for tuning in [
            in_memory("/run", ""),
            Tuning { shm_size: Some(1), ..Tuning::default() },
            Tuning { domainname: Some("x".into()), ..Tuning::default() },
            Tuning { group_add: one(), ..Tuning::default() },
            Tuning { cap_add: vec!["ALL".into()], ..Tuning::default() },
        ] {
            let error = check(Kind::Wasm, tuning.clone()).unwrap_err();
            assert!(error.to_string().contains("a wasm container"), "{tuning:?}: {error}");
        }
        let fine = Tuning { oom_score_adj: Some(5), cap_drop: vec!["ALL".into()], ..Tuning::default() };
        assert!(check(Kind::Wasm, fine).is_ok());
        assert!(check(Kind::Wasm, Tuning { oom_score_adj: Some(1001), ..Tuning::default() }).is_err());
    }
}
