//! What benches share: brig and its peers as commands, an image that both load, and lines of a table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brig_testing::is_root;

/// The name that brig and podman both read in the archive.
pub(crate) const IMAGE: &str = "localhost/busybox:latest";

/// Starts itself again below `unshare` where that is needed; `true` when that run has done the work.
pub(crate) fn enter_own_namespace() -> bool {
    const MARK: &str = "BRIG_BENCH_NAMESPACE";
    let unified = Path::new("/sys/fs/cgroup/unified");
    if std::env::var_os(MARK).is_some() || !is_root() || !unified.exists() {
        return false;
    }
    let script = "umount /sys/fs/cgroup/unified; exec \"$0\"";
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(MARK, "1")
        .status();
    status.is_ok_and(|status| status.success())
}

pub(crate) struct Bench {
    /// The binary that is measured: cargo's, or the one that BRIG_BENCH_BRIG names.
    pub(crate) brig: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) runs: usize,
}

impl Bench {
    /// A bench in a directory of its own. BRIG_BENCH_RUNS says another number of runs.
    pub(crate) fn new(dir: &Path, brig: &str, runs: usize) -> Self {
        let brig = std::env::var_os("BRIG_BENCH_BRIG").map_or_else(|| brig.into(), PathBuf::from);
        let asked = std::env::var("BRIG_BENCH_RUNS").ok().and_then(|text| text.parse().ok());
        Self { brig, dir: dir.to_owned(), runs: asked.unwrap_or(runs) }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub(crate) fn brig(&self, args: &[&str]) -> Run {
        Run::new(&self.brig, args).env("BRIG_ROOT", self.root())
    }

    /// Runs both sides in turn, and prints a line.
    pub(crate) fn compare(&self, name: &str, ours: Run, peer: Option<Run>) {
        self.compare_with(name, ours, peer, Run::time);
    }

    /// As [`Self::compare`], for what is more than one program.
    pub(crate) fn compare_with<T>(
        &self,
        name: &str,
        mut ours: T,
        peer: Option<T>,
        time: fn(&mut T) -> Option<Duration>,
    ) {
        let Some(mut peer) = peer else { return println!("{name:<34} skipped: the peer is not here") };
        // The first run of each fills caches.
        let (mine, theirs) = (time(&mut ours), time(&mut peer));
        if mine.is_none() || theirs.is_none() {
            let who = if mine.is_none() { "brig" } else { "the peer" };
            return println!("{name:<34} skipped: {who} fails");
        }
        let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            our_times.extend(time(&mut ours));
            peer_times.extend(time(&mut peer));
        }
        let (ours, theirs) = (Figures::of(our_times), Figures::of(peer_times));
        println!(
            "{name:<34} {:>9} {:>9} {:>9} {:>9} {:>7.2}",
            ms(ours.p50),
            ms(theirs.p50),
            ms(ours.p99),
            ms(theirs.p99),
            ours.p50.as_secs_f64() / theirs.p50.as_secs_f64()
        );
    }

    /// An archive of the image, which brig has loaded.
    pub(crate) fn archive(&self, rootfs: &Path) -> PathBuf {
        let archive = self.dir.join("busybox.tar");
        image(rootfs, &archive);
        assert!(self.brig(&["load", "--quiet", "--input", text(&archive)]).0.status().unwrap().success());
        archive
    }

    pub(crate) fn rootfs(&self, busybox: &Path) -> PathBuf {
        let rootfs = self.dir.join("rootfs");
        for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            fs::create_dir_all(rootfs.join(dir)).unwrap();
        }
        fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
        for name in ["true", "sh", "cat", "yes", "head"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        rootfs
    }

    /// podman with a store of its own, in which the image of this archive is.
    pub(crate) fn podman(&self, archive: &Path) -> Option<impl Fn(&[&str]) -> Run + use<>> {
        let podman = tool("podman")?;
        let config = self.dir.join("containers.conf");
        let limits = r#"default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]"#;
        let engine = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"";
        fs::write(&config, format!("[containers]\n{limits}\n{engine}\n")).unwrap();
        let (storage, run) = (self.dir.join("podman"), self.dir.join("podman-run"));
        let with = move |args: &[&str]| {
            let global = ["--root", text(&storage), "--runroot", text(&run)];
            Run::new(&podman, &[&global[..], args].concat()).env("CONTAINERS_CONF", &config)
        };
        with(&["load", "--input", text(archive)]).time()?;
        Some(with)
    }
}

/// What is measured: a program and its arguments, in an environment of the bench's own.
pub(crate) struct Run(pub(crate) Command);

impl Run {
    pub(crate) fn new(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn time(&mut self) -> Option<Duration> {
        let start = Instant::now();
        let status = self.0.status().ok()?;
        status.success().then(|| start.elapsed())
    }
}

/// The first line of the table.
pub(crate) fn heading() {
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "", "brig p50", "peer p50", "brig p99", "peer p99", "ratio"
    );
}

/// An image of one layer, as an archive that brig and podman load.
fn image(rootfs: &Path, archive: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    layer.append_dir_all(".", rootfs).unwrap();
    let layer = layer.into_inner().unwrap();
    let diff_id = brig_engine::Digest::sha256(&layer).to_string();
    let config = serde_json::json!({
        "architecture": brig_engine::Platform::host().architecture,
        "os": "linux",
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [IMAGE],
        "Layers": ["layer.tar"],
    }]);
    let mut tar = tar::Builder::new(fs::File::create(archive).unwrap());
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::to_vec(&manifest).unwrap();
    for (name, bytes) in [("config.json", &config), ("layer.tar", &layer), ("manifest.json", &manifest)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.finish().unwrap();
}

struct Figures {
    p50: Duration,
    p99: Duration,
}

impl Figures {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A program of PATH, or the one that `BRIG_BENCH_<NAME>` names.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(format!("BRIG_BENCH_{}", name.to_uppercase())) {
        return Some(path.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

pub(crate) fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.is_file())
}
