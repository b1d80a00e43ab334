//! Containers of bundles, by a program with threads; and what is on their root directory that nobody has put there.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics with the place, and says what it skips"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use brig_linux::Host;
use brig_linux::bundle::{
    BundleError, CreateOptions, ExecOptions, ExecProcess, Made, Runtime, Status, default_config,
};
use serde_json::{Value, json};

const BUSYBOX: &str = "/bin/busybox";
/// How long something may take that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long all threads may take together, on a machine that is busy with other things.
const HANG: Duration = Duration::from_secs(50);
/// Set in the process that has a mount namespace of its own.
const MARK: &str = "BRIG_TEST_OWN_MOUNTS";

/// Tests take turns: one of them counts the descriptors and the children of this process.
static TURN: Mutex<()> = Mutex::new(());

/// A root directory and a root file system with busybox in it.
struct Place {
    dir: tempfile::TempDir,
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

/// A place for root's containers. `None` where there is no root or no busybox, with a word about it.
fn place() -> Option<Place> {
    if Host::probe().rootless {
        eprintln!("skipped: needs root");
        return None;
    }
    if !Path::new(BUSYBOX).exists() {
        eprintln!("skipped: needs {BUSYBOX}, of Debian's busybox-static");
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let rootfs = dir.path().join("rootfs");
    for name in ["bin", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "true"] {
        symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
    let runtime = Runtime::new(dir.path().join("root"));
    Some(Place { dir, runtime, _turn: turn })
}

/// What a test that fails leaves would have its output open for ever.
impl Drop for Place {
    fn drop(&mut self) {
        for id in self.left() {
            let _ = self.runtime.delete(&id, true);
        }
    }
}

impl Place {
    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn entry(&self, id: &str, name: &str) -> PathBuf {
        self.root().join(id).join(name)
    }

    /// A bundle whose program is this one.
    fn bundle(&self, name: &str, args: &[&str]) -> CreateOptions {
        let bundle = self.dir.path().join(name);
        fs::create_dir_all(&bundle).unwrap();
        let mut spec = serde_json::to_value(default_config(false)).unwrap();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(args);
        spec["root"]["path"] = self.dir.path().join("rootfs").to_str().unwrap().into();
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        CreateOptions { bundle, ..CreateOptions::default() }
    }

    /// A created container, which waits.
    fn created(&self, id: &str) -> Made {
        self.runtime.create(id, &self.bundle("waits", &["sleep", "1000"])).unwrap()
    }

    fn status(&self, id: &str) -> Status {
        self.runtime.state(id).unwrap().status
    }

    fn record(&self, id: &str) -> Value {
        serde_json::from_slice(&fs::read(self.entry(id, "state.json")).unwrap()).unwrap()
    }

    /// Changes what is written down of a container.
    fn change_record(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.record(id);
        change(&mut record);
        fs::write(self.entry(id, "state.json"), record.to_string()).unwrap();
    }

    fn ids(&self) -> Vec<String> {
        self.runtime.list().unwrap().into_iter().map(|state| state.id).collect()
    }

    /// What is in the root directory beside the helper.
    fn left(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "@programs").collect()
    }
}

#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The open descriptors of this process.
fn descriptors() -> BTreeSet<String> {
    let describe = |entry: io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        // The one that reads the directory is gone by now.
        let target = fs::read_link(&path).ok()?;
        Some(format!("{} -> {}", path.file_name()?.display(), target.display()))
    };
    let own = format!("/proc/{}/fd", std::process::id());
    let all: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().collect();
    all.into_iter().filter_map(describe).filter(|text| !text.ends_with(&own)).collect()
}

/// The children of this process, living or not.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), 0, prefix, &mut found);
    found
}

fn find(dir: &Path, depth: usize, prefix: &str, found: &mut Vec<PathBuf>) {
    // Others make and remove cgroups meanwhile.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        } else if depth < 4 {
            find(&entry.path(), depth + 1, prefix, found);
        }
    }
}

const THREADS: u32 = 8;
const CONTAINERS: u32 = 500;

#[test]
fn a_program_with_threads_has_five_hundred_containers_and_keeps_nothing() {
    let Some(place) = place() else { return };
    let prefix = format!("threads-{}-", std::process::id());
    let ends = place.bundle("ends", &["sh", "-c", "exit 7"]);
    let waits = place.bundle("waits", &["sleep", "1000"]);
    let missing = place.bundle("missing", &["no-such-program"]);
    // What is made once is made now.
    assert_eq!(place.runtime.run(&format!("{prefix}first"), &ends, true).unwrap().wait().unwrap(), 7);
    assert_eq!(place.runtime.delete(&format!("{prefix}first"), false).unwrap().len(), 0);
    let before = descriptors();
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let (done, finished) = mpsc::channel();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let forks = scope.spawn(|| fork_meanwhile(&over));
        for _ in 0..THREADS {
            let (done, place, prefix, next) = (done.clone(), &place, &prefix, &next);
            let (ends, waits, missing) = (&ends, &waits, &missing);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CONTAINERS {
                        break;
                    }
                    let id = format!("{prefix}{number}");
                    match number % 5 {
                        0 | 1 => runs(&place.runtime, &id, ends),
                        2 => is_killed(&place.runtime, &id, waits),
                        3 => is_entered(&place.runtime, &id, waits),
                        _ => isnt_made(&place.runtime, &id, missing),
                    }
                }
                done.send(()).unwrap();
            });
        }
        drop(done);
        for _ in 0..THREADS {
            // A scope waits for its threads: one that hangs would hang this, and its panic is told by the scope.
            match finished.recv_timeout(HANG.saturating_sub(began.elapsed())) {
                Err(mpsc::RecvTimeoutError::Timeout) => hangs(),
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(forks.join().unwrap() > 10, "it forked meanwhile");
    });
    assert_eq!(place.ids(), Vec::<String>::new());
    assert_eq!(place.left(), Vec::<String>::new());
    assert_eq!(children(), Vec::<String>::new(), "no child is left, living or not");
    assert_eq!(descriptors(), before);
    assert_eq!(cgroups(&prefix), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = place.dir.path().to_str().unwrap();
    assert_eq!(mounts.lines().filter(|line| line.contains(ours)).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// Nothing can be done about a thread that hangs, but to say so.
fn hangs() -> ! {
    eprintln!("a thread hangs: not all containers within {HANG:?}");
    std::process::abort()
}

/// A process with a good deal of memory that changes, and forks in earnest: with a user id to set, the standard library
/// doesn't use `posix_spawn`.
fn fork_meanwhile(over: &AtomicBool) -> u32 {
    let mut forks = 0;
    while !over.load(Ordering::Relaxed) {
        let memory = vec![1_u8; 8 << 20];
        let status = Command::new("/bin/true").uid(0).status().unwrap();
        assert!(status.success());
        forks += u32::from(memory[memory.len() / 2]);
        std::thread::sleep(Duration::from_millis(5));
    }
    forks
}

fn runs(runtime: &Runtime, id: &str, bundle: &CreateOptions) {
    assert_eq!(runtime.run(id, bundle, true).unwrap().wait().unwrap(), 7, "{id}");
    assert_eq!(runtime.state(id).unwrap().status, Status::Stopped, "{id}");
    assert!(runtime.delete(id, false).unwrap().is_empty(), "{id}");
}

fn is_killed(runtime: &Runtime, id: &str, bundle: &CreateOptions) {
    let made = runtime.create(id, bundle).unwrap();
    assert_eq!(runtime.state(id).unwrap().pid, made.process.pid, "{id}");
    assert!(runtime.start(id).unwrap().is_empty(), "{id}");
    assert_eq!(runtime.state(id).unwrap().status, Status::Running, "{id}");
    runtime.kill(id, libc::SIGKILL, false).unwrap();
    eventually("it has ended", || runtime.state(id).unwrap().status == Status::Stopped);
    assert!(runtime.delete(id, false).unwrap().is_empty(), "{id}");
}

fn is_entered(runtime: &Runtime, id: &str, bundle: &CreateOptions) {
    let _ = runtime.run(id, bundle, false).unwrap();
    let follow = ExecOptions { follow: true, ..ExecOptions::default() };
    assert_eq!(runtime.exec(id, process(&["sh", "-c", "exit 3"]), &follow).unwrap().wait().unwrap(), 3);
    let error = runtime.exec(id, process(&["no-such-program"]), &follow).unwrap_err();
    assert!(matches!(error, BundleError::Step { .. }), "{id}: {error:?}");
    assert!(runtime.delete(id, true).unwrap().is_empty(), "{id}");
}

fn isnt_made(runtime: &Runtime, id: &str, bundle: &CreateOptions) {
    let error = runtime.run(id, bundle, true).unwrap_err();
    assert!(matches!(error, BundleError::Step { .. }), "{id}: {error:?}");
    assert!(matches!(runtime.state(id), Err(BundleError::NotFound { .. })), "{id}");
}

fn process(args: &[&str]) -> ExecProcess {
    ExecProcess::Changed {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: Vec::new(),
        cwd: None,
        user: None,
        groups: Vec::new(),
        capabilities: Vec::new(),
        no_new_privileges: false,
        tty: false,
        apparmor: None,
        selinux: None,
    }
}

#[test]
fn a_detached_container_isnt_waited_for() {
    let Some(place) = place() else { return };
    let mut made = place.created("box");
    let error = made.wait().unwrap_err();
    assert!(matches!(error, BundleError::Helpless { .. }), "{error:?}");
    assert_eq!(place.status("box"), Status::Created);
    assert!(place.runtime.delete("box", false).unwrap().is_empty());
}

#[test]
fn ids_stay_below_the_root() {
    let Some(place) = place() else { return };
    let bundle = place.bundle("waits", &["sleep", "1000"]);
    let long = "x".repeat(201);
    for id in ["", ".", "..", "a/b", "/", "../rootfs", "@programs", "a b", "a\n", "ä", "a\0b", &long] {
        let errors = [
            place.runtime.create(id, &bundle).unwrap_err(),
            place.runtime.run(id, &bundle, true).unwrap_err(),
            place.runtime.start(id).unwrap_err(),
            place.runtime.state(id).unwrap_err(),
            place.runtime.kill(id, libc::SIGTERM, false).unwrap_err(),
            place.runtime.kill(id, libc::SIGTERM, true).unwrap_err(),
            place.runtime.exec(id, process(&["true"]), &ExecOptions::default()).unwrap_err(),
            place.runtime.pause(id, true).unwrap_err(),
            place.runtime.pids(id).unwrap_err(),
            place.runtime.delete(id, false).unwrap_err(),
            place.runtime.delete(id, true).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, BundleError::InvalidId { .. }), "{id:?}: {error:?}");
        }
    }
    assert!(place.dir.path().join("rootfs/bin/busybox").exists());
}

#[test]
fn an_id_may_be_as_long_as_a_file_s_name_and_have_its_characters() {
    let Some(place) = place() else { return };
    for id in ["x".repeat(200), "-a+b_c.d".to_owned(), "...".to_owned()] {
        let _ = place.created(&id);
        assert_eq!(place.ids(), [id.as_str()]);
        assert!(place.runtime.start(&id).unwrap().is_empty());
        assert_eq!(place.status(&id), Status::Running);
        assert!(place.runtime.delete(&id, true).unwrap().is_empty());
        assert_eq!(place.left(), Vec::<String>::new());
    }
}

#[test]
fn a_record_of_another_version_is_read() {
    let Some(place) = place() else { return };
    let _ = place.created("box");
    place.change_record("box", |record| {
        record["version"] = 2.into();
        record["something new"] = json!({ "a": ["b"] });
    });
    assert_eq!(place.status("box"), Status::Created);
    assert_eq!(place.ids(), ["box"]);
    assert!(place.runtime.start("box").unwrap().is_empty());
    // What the first version hadn't.
    place.change_record("box", |record| {
        record["version"] = 1.into();
        assert!(record.as_object_mut().unwrap().remove("resctrl").is_some());
    });
    assert_eq!(place.status("box"), Status::Running);
    assert!(place.runtime.delete("box", true).unwrap().is_empty());
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn a_pid_that_is_another_process_s_now_is_left_alone() {
    let Some(place) = place() else { return };
    let made = place.created("box");
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    // Not its start time, which would be the same if both were started in one hundredth of a second.
    place.change_record("box", |record| record["init"] = json!({ "pid": other.id(), "start_time": 1 }));
    let state = place.runtime.state("box").unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, 0));
    assert!(matches!(place.runtime.kill("box", libc::SIGKILL, false), Err(BundleError::NotRunning)));
    assert!(matches!(place.runtime.start("box"), Err(BundleError::Status { .. })));
    // Its own is in its cgroups, and goes with them.
    assert!(place.runtime.delete("box", true).unwrap().is_empty());
    eventually("its first process is gone", || !made.process.exists());
    assert!(other.try_wait().unwrap().is_none(), "the other one wasn't killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_first_process_that_cant_be_one_has_ended() {
    let Some(place) = place() else { return };
    for pid in [0, -1, i32::MIN, i32::MAX] {
        let _ = place.created("box");
        place.change_record("box", |record| record["init"] = json!({ "pid": pid, "start_time": 1 }));
        assert_eq!(place.status("box"), Status::Stopped, "{pid}");
        let error = place.runtime.kill("box", libc::SIGKILL, false).unwrap_err();
        assert!(matches!(error, BundleError::NotRunning), "{pid}: {error:?}");
        assert!(place.runtime.delete("box", false).unwrap().is_empty(), "{pid}");
    }
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn what_a_killed_creator_leaves_is_removed() {
    let Some(place) = place() else { return };
    let _ = place.created("other");
    fs::create_dir(place.root().join("box")).unwrap();
    for file in ["config.json", "state.json.123", "created"] {
        fs::write(place.entry("box", file), "{").unwrap();
    }
    // It is shown, since it has to be seen to be removed.
    assert_eq!(place.ids(), ["box", "other"]);
    assert_eq!(place.runtime.list().unwrap()[0].status, Status::Creating);
    assert!(matches!(place.runtime.state("box"), Err(BundleError::NotFound { .. })));
    assert!(matches!(place.runtime.delete("box", false), Err(BundleError::NotFound { .. })));
    assert!(place.runtime.delete("box", true).unwrap().is_empty());
    assert_eq!(place.left(), ["other"]);
    assert!(place.runtime.delete("other", true).unwrap().is_empty());
}

/// With no first process written down it is being made, or its creator was killed.
#[test]
fn what_was_recorded_before_its_process_is_removed() {
    let Some(place) = place() else { return };
    let made = place.created("box");
    place.change_record("box", |record| record["init"] = Value::Null);
    let state = place.runtime.state("box").unwrap();
    assert_eq!((state.status, state.pid), (Status::Creating, 0));
    assert!(matches!(place.runtime.delete("box", false), Err(BundleError::Status { .. })));
    assert!(matches!(place.runtime.start("box"), Err(BundleError::Status { .. })));
    assert!(place.runtime.delete("box", true).unwrap().is_empty());
    eventually("its process is gone", || !made.process.exists());
    assert_eq!(place.left(), Vec::<String>::new());
}

/// Runs a test of this program in a mount namespace of its own; `true` in there.
fn in_own_mounts(name: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // A container has its output open for as long as it is there.
    let text = tempfile::NamedTempFile::new().unwrap();
    let output = || text.as_file().try_clone().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .stdout(output())
        .stderr(output())
        .status()
        .unwrap();
    let text = fs::read_to_string(text.path()).unwrap();
    assert!(status.success() && text.contains("1 passed"), "{text}");
    false
}

fn mount(args: &[&str], place: &Path) {
    assert!(Command::new("mount").args(args).arg(place).status().unwrap().success());
}

#[test]
fn a_root_that_cant_be_written_has_no_new_containers() {
    if Host::probe().rootless || !in_own_mounts("a_root_that_cant_be_written_has_no_new_containers") {
        return;
    }
    let Some(place) = place() else { return };
    fs::create_dir(place.root()).unwrap();
    mount(&["-t", "tmpfs", "-o", "ro", "none"], &place.root());
    let bundle = place.bundle("waits", &["sleep", "1000"]);
    let error = place.runtime.create("box", &bundle).unwrap_err();
    assert!(
        matches!(&error, BundleError::Io { what: "make", source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem),
        "{error:?}"
    );
    assert_eq!(place.ids(), Vec::<String>::new());
    assert!(matches!(place.runtime.state("box"), Err(BundleError::NotFound { .. })));
    assert!(place.runtime.delete("box", true).unwrap().is_empty());

    // One that came to be so while a container was in it.
    mount(&["-o", "remount,rw"], &place.root());
    let made = place.created("box");
    assert!(place.runtime.start("box").unwrap().is_empty());
    mount(&["-o", "remount,ro"], &place.root());
    assert_eq!(place.status("box"), Status::Running);
    let _ = place.runtime.delete("box", true).unwrap_err();
    eventually("its process is gone", || !made.process.exists());
    assert_eq!(place.status("box"), Status::Stopped);
    mount(&["-o", "remount,rw"], &place.root());
    assert!(place.runtime.delete("box", false).unwrap().is_empty());
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn a_damaged_record_is_in_nobody_s_way_and_can_be_removed() {
    let Some(place) = place() else { return };
    let _ = place.created("other");
    for text in ["", "{", "[]", "{\"version\":1}", "null", "\0\0\0\0"] {
        let made = place.created("box");
        fs::write(place.entry("box", "state.json"), text).unwrap();
        assert_eq!(place.ids(), ["box", "other"], "{text:?}");
        assert_eq!(place.runtime.list().unwrap()[0].status, Status::Stopped, "{text:?}");
        assert!(place.runtime.state("box").is_err(), "{text:?}");
        assert!(place.runtime.delete("box", true).unwrap().is_empty(), "{text:?}");
        assert_eq!(place.left(), ["other"], "{text:?}");
        // It isn't known any more.
        let _ = brig_linux::bundle::signal_process(made.process, libc::SIGKILL);
    }
}

/// A deletion that was killed before its last step.
#[test]
fn a_container_without_its_spec_is_removed() {
    let Some(place) = place() else { return };
    for (text, force) in [(None, false), (None, true), (Some(""), true), (Some("{"), true)] {
        let _ = place.created("box");
        match text {
            None => fs::remove_file(place.entry("box", "config.json")).unwrap(),
            Some(text) => fs::write(place.entry("box", "config.json"), text).unwrap(),
        }
        assert!(place.runtime.delete("box", force).unwrap().is_empty(), "{text:?}");
        assert_eq!(place.left(), Vec::<String>::new(), "{text:?}");
    }
}

#[test]
fn what_isnt_a_directory_isnt_a_container() {
    let Some(place) = place() else { return };
    let _ = place.created("box");
    fs::write(place.root().join("file"), "").unwrap();
    symlink("box", place.root().join("link")).unwrap();
    assert_eq!(place.ids(), ["box"]);
    fs::remove_file(place.root().join("file")).unwrap();
    fs::remove_file(place.root().join("link")).unwrap();
}
