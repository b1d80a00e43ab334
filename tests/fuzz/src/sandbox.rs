//! A directory to write to, with a canary beside it that nothing may touch.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest file that a target may make, in bytes: a few bytes of zstd become gigabytes.
const MAX_FILE: u64 = 64 << 20;
const CANARY: &str = "untouched";
/// Where the seeds' absolute names lead.
const ELSEWHERE: [&str; 2] = ["/brig-canary", "/tmp/brig-canary"];

/// `<base>/inside` to write to, and `<base>/canary`, which stays as it is.
pub struct Sandbox {
    base: PathBuf,
    before: [i64; 7],
}

impl Sandbox {
    /// A new one, in memory where that is possible.
    pub fn new(name: &str) -> Self {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let base = dir.join(format!("brig-fuzz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(base.join("inside")).expect("the sandbox can be made");
        fs::create_dir(base.join("canary")).expect("the canary can be made");
        fs::write(base.join("canary/file"), CANARY).expect("the canary can be made");
        let mut made = Self { base, before: [0; 7] };
        made.before = made.look();
        made
    }

    /// The directory to write to.
    pub fn inside(&self) -> PathBuf {
        self.base.join("inside")
    }

    /// A file beside it, for what the target reads.
    pub fn input(&self, bytes: &[u8]) -> PathBuf {
        let path = self.base.join("input");
        fs::write(&path, bytes).expect("the input can be written");
        path
    }

    /// Empties the directory.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.inside());
        fs::create_dir_all(self.inside()).expect("the sandbox can be made");
    }

    /// Panics where something outside of the directory was touched.
    pub fn check(&self) {
        assert_eq!(self.look(), self.before, "the canary was touched");
        let content = fs::read_to_string(self.base.join("canary/file")).unwrap_or_default();
        assert_eq!(content, CANARY, "the canary was written to");
        assert_eq!(names(&self.base.join("canary")), ["file"], "beside the canary");
        assert!(names(&self.base).iter().all(|name| ["canary", "input", "inside"].contains(&name.as_str())));
        for path in ELSEWHERE {
            assert!(fs::symlink_metadata(path).is_err(), "{path} was made");
        }
    }

    fn look(&self) -> [i64; 7] {
        let file = fs::symlink_metadata(self.base.join("canary/file")).expect("the canary is there");
        let dir = fs::symlink_metadata(self.base.join("canary")).expect("the canary is there");
        let number = |number: u64| i64::try_from(number).unwrap_or_default();
        [
            file.mode().into(),
            file.uid().into(),
            number(file.nlink()),
            file.mtime_nsec(),
            dir.mode().into(),
            dir.mtime_nsec(),
            dir.uid().into(),
        ]
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Makes writes beyond [`MAX_FILE`] errors.
pub fn bound_files() {
    let limit = libc::rlimit { rlim_cur: MAX_FILE, rlim_max: MAX_FILE };
    // SAFETY: the pointer is to a local; the signal's disposition is no function.
    unsafe {
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
