//! Options of a mount, read: all that runc and crun know, and the file system's own.

use brig_runtime::plan::LinksPlan;

use super::PlanError;

/// Of `linux/mount.h`, and not in every C library.
const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
/// What an option without an argument does to the mount; with an `r` before it, also to the mounts below.
const FLAGS: [(&str, Change); 18] = [
    ("ro", Change::Set(libc::MOUNT_ATTR_RDONLY)),
    ("rw", Change::Clear(libc::MOUNT_ATTR_RDONLY)),
    ("nosuid", Change::Set(libc::MOUNT_ATTR_NOSUID)),
    ("suid", Change::Clear(libc::MOUNT_ATTR_NOSUID)),
    ("nodev", Change::Set(libc::MOUNT_ATTR_NODEV)),
    ("dev", Change::Clear(libc::MOUNT_ATTR_NODEV)),
    ("noexec", Change::Set(libc::MOUNT_ATTR_NOEXEC)),
    ("exec", Change::Clear(libc::MOUNT_ATTR_NOEXEC)),
    ("nodiratime", Change::Set(libc::MOUNT_ATTR_NODIRATIME)),
    ("diratime", Change::Clear(libc::MOUNT_ATTR_NODIRATIME)),
    ("nosymfollow", Change::Set(ATTR_NOSYMFOLLOW)),
    ("symfollow", Change::Clear(ATTR_NOSYMFOLLOW)),
    ("noatime", Change::Time(libc::MOUNT_ATTR_NOATIME)),
    ("atime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    ("relatime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    // Without relatime the kernel does what it does without any word, which is relatime.
    ("norelatime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    ("strictatime", Change::Time(libc::MOUNT_ATTR_STRICTATIME)),
    ("nostrictatime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
];
const PROPAGATIONS: [(&str, u64); 4] = [
    ("private", libc::MS_PRIVATE),
    ("slave", libc::MS_SLAVE),
    ("shared", libc::MS_SHARED),
    ("unbindable", libc::MS_UNBINDABLE),
];
/// What a new file system is told, and no other mount of one that exists can change.
const OF_FILE_SYSTEM: [&str; 7] = ["sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"];
/// What changes nothing: the kernel's messages and its choices that went with mount(2)'s flags.
const NOTHING: [&str; 7] = ["defaults", "silent", "loud", "iversion", "noiversion", "acl", "noacl"];

#[derive(Clone, Copy, Debug)]
enum Change {
    Set(u64),
    Clear(u64),
    /// One of the access time modes.
    Time(u64),
}

/// `MOUNT_ATTR_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) set: u64,
    pub(super) clear: u64,
}

impl Attributes {
    fn change(&mut self, change: Change) {
        match change {
            Change::Set(bits) => (self.set, self.clear) = (self.set | bits, self.clear & !bits),
            Change::Clear(bits) => (self.set, self.clear) = (self.set & !bits, self.clear | bits),
            Change::Time(mode) => {
                self.set = self.set & !libc::MOUNT_ATTR__ATIME | mode;
                self.clear |= libc::MOUNT_ATTR__ATIME;
            }
        }
    }

    /// Without what `last` decides otherwise.
    fn before(self, last: Self) -> Self {
        Self { set: self.set & !last.clear, clear: self.clear & !last.set }
    }
}

/// Options, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Of the mount.
    pub(super) top: Attributes,
    /// Of the mount and all below it, and stronger.
    pub(super) all: Attributes,
    pub(super) bind: bool,
    /// Whether a bind mount comes with what is mounted below its source.
    pub(super) recursive: bool,
    pub(super) remount: bool,
    pub(super) copy_up: bool,
    pub(super) links: LinksPlan,
    pub(super) idmap: bool,
    pub(super) propagation: u32,
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    pub(super) fn parse(target: &str, options: &[String]) -> Result<Self, PlanError> {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(target, option)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, target: &str, option: &str) -> Result<(), PlanError> {
        let (plain, all) = match option.strip_prefix('r') {
            Some(rest) if has_recursive_form(rest) => (rest, true),
            _ => (option, false),
        };
        if let Some((_, change)) = FLAGS.iter().find(|(name, _)| *name == plain) {
            let attributes = if all { &mut self.all } else { &mut self.top };
            attributes.change(*change);
        } else if let Some((_, flag)) = PROPAGATIONS.iter().find(|(name, _)| *name == plain) {
            self.propagate(*flag, all);
        } else if OF_FILE_SYSTEM.contains(&plain) {
            self.data.push((plain.to_owned(), None));
        } else if !NOTHING.contains(&plain) {
            self.add_other(target, plain, all)?;
        }
        Ok(())
    }

    fn add_other(&mut self, target: &str, plain: &str, all: bool) -> Result<(), PlanError> {
        match plain {
            "bind" => (self.bind, self.recursive) = (true, self.recursive | all),
            "idmap" => (self.idmap, self.recursive) = (true, self.recursive | all),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            // crun's.
            "src-nofollow" => self.links.source = true,
            "dest-nofollow" => self.links.target = true,
            "copy-symlink" => self.links.copy = true,
            _ if plain.starts_with("X-") || plain.starts_with("x-") => {
                let reason = format!("`{plain}` is an option of mount(8), and no runtime's");
                return Err(PlanError::unsupported(format!("mounts `{target}`"), reason));
            }
            _ => self.data.push(match plain.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (plain.to_owned(), None),
            }),
        }
        Ok(())
    }

    /// The last one counts; but what is shared can be a slave of others, too.
    fn propagate(&mut self, flag: u64, all: bool) {
        let flag = flag | if all { libc::MS_REC } else { 0 };
        // Flags of mount(2) are 32 bits wide.
        let flag = u32::try_from(flag).unwrap_or(0);
        let slave = u32::try_from(libc::MS_SLAVE).unwrap_or(0);
        self.propagation = if self.is_shared(flag) { self.propagation & slave | flag } else { flag };
    }

    fn is_shared(&self, flag: u32) -> bool {
        u64::from(flag) & libc::MS_SHARED != 0
    }

    /// Takes what isn't for a mount of a file system that exists, as mount(2) does.
    pub(super) fn ignore_file_system(&mut self) {
        self.data.retain(|(key, value)| value.is_some() || !OF_FILE_SYSTEM.contains(&key.as_str()));
    }

    /// For one mount, which has none below it.
    pub(super) fn of_one(&self) -> Attributes {
        let top = self.top.before(self.all);
        Attributes { set: top.set | self.all.set, clear: top.clear | self.all.clear }
    }

    /// For a mount with others below it: what all get, and what it gets itself.
    pub(super) fn of_tree(&self) -> (Attributes, Attributes) {
        (self.all, self.top.before(self.all))
    }
}

/// `rbind`, `rro`, `rprivate`, …; `ro`, `rw` and `relatime` begin with the same letter.
fn has_recursive_form(rest: &str) -> bool {
    ["bind", "idmap"].contains(&rest)
        || PROPAGATIONS.iter().any(|(name, _)| *name == rest)
        || FLAGS.iter().any(|(name, _)| *name == rest)
        || (OF_FILE_SYSTEM.contains(&rest) && !rest.ends_with("lazytime"))
}

/// A propagation by its name, as mount(2) takes it.
pub(super) fn propagation(word: &str) -> Option<u32> {
    let find = |name: &str| PROPAGATIONS.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag);
    let flag = find(word).or_else(|| find(word.strip_prefix('r')?).map(|flag| flag | libc::MS_REC))?;
    u32::try_from(flag).ok()
}

/// The words that options may be, for those who ask what is understood.
pub(crate) fn mount_options() -> Vec<String> {
    let flags = FLAGS.iter().map(|(name, _)| *name).chain(PROPAGATIONS.iter().map(|(name, _)| *name));
    let others = ["bind", "idmap", "remount", "tmpcopyup"].into_iter().chain(OF_FILE_SYSTEM).chain(NOTHING);
    let mut words = Vec::new();
    for name in flags.chain(others) {
        words.push(name.to_owned());
        if has_recursive_form(name) {
            words.push(format!("r{name}"));
        }
    }
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Options {
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        Options::parse("/m", &options).unwrap()
    }

    #[test]
    fn every_option_of_other_runtimes_is_known() {
        // As `crun features` and runc list them.
        let known = "acl async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noacl noatime \
            nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
            ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime \
            rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap \
            ridmap rsync rasync rdirsync rmand rnomand copy-symlink src-nofollow dest-nofollow";
        for option in known.split_whitespace() {
            let mut options = read(&[option]);
            options.ignore_file_system();
            assert_eq!(options.data, vec![], "{option}");
        }
        assert_eq!(read(&["size=1m", "rotten"]).data.len(), 2);
    }

    #[test]
    fn what_is_recursive_is_stronger() {
        let options = read(&["rbind", "ro", "rnosuid", "nodev", "rdev", "noatime"]);
        let (all, top) = options.of_tree();
        assert_eq!(all, Attributes { set: libc::MOUNT_ATTR_NOSUID, clear: libc::MOUNT_ATTR_NODEV });
        assert_eq!(top.set, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOATIME);
        assert_eq!(top.clear, libc::MOUNT_ATTR__ATIME);
        let one = read(&["bind", "ro", "rrw"]).of_one();
        assert_eq!(one, Attributes { set: 0, clear: libc::MOUNT_ATTR_RDONLY });
    }

    #[test]
    fn the_last_propagation_counts_but_shared_things_can_be_slaves() {
        for (options, propagation) in [
            (&["rshared", "private"][..], libc::MS_PRIVATE),
            (&["private", "rslave"], libc::MS_SLAVE | libc::MS_REC),
            (&["slave", "rshared"], libc::MS_SLAVE | libc::MS_SHARED | libc::MS_REC),
        ] {
            assert_eq!(u64::from(read(options).propagation), propagation, "{options:?}");
        }
        assert_eq!(propagation("runbindable").map(u64::from), Some(libc::MS_UNBINDABLE | libc::MS_REC));
        assert_eq!(propagation("rrshared"), None);
    }

    #[test]
    fn options_of_mount_s_own_are_refused() {
        for option in ["X-mount.idmap=/proc/1/ns/user", "x-systemd.automount"] {
            assert!(Options::parse("/m", &[option.to_owned()]).is_err(), "{option}");
        }
    }
}
