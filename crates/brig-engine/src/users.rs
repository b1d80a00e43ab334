//! Users and groups by name, from an image's own `/etc/passwd` and `/etc/group` (image-spec `config.md`, `User`).

use brig_store::LayerStack;

use crate::error::{Error, Result};

/// The most that is read of `/etc/passwd` or `/etc/group`: images are untrusted.
const MAX_FILE: u64 = 1024 * 1024;

/// A user as the kernel knows it, and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Resolves groups by name or number, by the file of a root file system.
pub(crate) fn groups_from_stack(stack: &LayerStack, wanted: &[String]) -> Result<Vec<u32>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let file = stack.read("/etc/group", MAX_FILE)?.unwrap_or_default();
    wanted.iter().map(|name| group_id(&file, name)).collect()
}

/// Resolves `user[:group]` by the files of a root file system.
pub(crate) fn from_stack(stack: &LayerStack, wanted: &str) -> Result<User> {
    let read = |path| Ok::<_, Error>(stack.read(path, MAX_FILE)?.unwrap_or_default());
    resolve(wanted, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// Resolves `user[:group]`, names or numbers, as docker does: without a group it is the user's own from `passwd`,
/// with the supplementary groups that `group` lists the user in; a number that `passwd` doesn't know is taken as it is.
pub(crate) fn resolve(wanted: &str, passwd: &[u8], group: &[u8]) -> Result<User> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd_entry(passwd, user);
    let mut found = match (&entry, user.parse()) {
        (Some(entry), _) => entry.user.clone(),
        (None, Ok(uid)) => User { uid, gid: 0, groups: Vec::new(), home: "/".into() },
        (None, Err(_)) => {
            return Err(Error::UserNotFound { what: "user", name: user.into(), file: "/etc/passwd" });
        }
    };
    match wanted_group.filter(|group| !group.is_empty()) {
        Some(wanted) => found.gid = group_id(group, wanted)?,
        None => found.groups = entry.map(|entry| supplementary(group, &entry.name)).unwrap_or_default(),
    }
    Ok(found)
}

/// Resolves the second half of `--user`.
fn group_id(group: &[u8], wanted: &str) -> Result<u32> {
    let by_name = lines(group).find_map(|fields| {
        let gid = fields.get(2)?.parse().ok()?;
        (fields[0] == wanted).then_some(gid)
    });
    by_name.or_else(|| wanted.parse().ok()).ok_or_else(|| Error::UserNotFound {
        what: "group",
        name: wanted.into(),
        file: "/etc/group",
    })
}

struct Entry {
    name: String,
    user: User,
}

fn passwd_entry(passwd: &[u8], wanted: &str) -> Option<Entry> {
    let number: Option<u32> = wanted.parse().ok();
    let parsed = || {
        lines(passwd).filter_map(|fields| {
            let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            let home = fields.get(5).filter(|home| !home.is_empty()).map_or("/", String::as_str).to_owned();
            Some(Entry { name: fields[0].clone(), user: User { uid, gid, groups: Vec::new(), home } })
        })
    };
    // A name that is a number is a name first, as in docker.
    parsed()
        .find(|entry| entry.name == wanted)
        .or_else(|| parsed().find(|entry| number == Some(entry.user.uid)))
}

fn supplementary(group: &[u8], name: &str) -> Vec<u32> {
    lines(group)
        .filter(|fields| fields.get(3).is_some_and(|members| members.split(',').any(|member| member == name)))
        .filter_map(|fields| fields.get(2)?.parse().ok())
        .collect()
}

fn lines(file: &[u8]) -> impl Iterator<Item = Vec<String>> + '_ {
    file.split(|b| *b == b'\n')
        .map(|line| String::from_utf8_lossy(line).trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(':').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# no\nwww:x:33:34::/var/www:/bin/false\n1234:x:77:78::/n:\nbad\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:34:\naudio:x:29:www,other\nvideo:x:44:other\n";

    #[test]
    fn names_numbers_and_groups() {
        let user = |wanted| resolve(wanted, PASSWD, GROUP).unwrap();
        assert_eq!(user(""), User { uid: 0, gid: 0, groups: vec![], home: "/root".into() });
        assert_eq!(user("www"), User { uid: 33, gid: 34, groups: vec![29], home: "/var/www".into() });
        assert_eq!(user("33"), user("www"));
        assert_eq!(user("www:video"), User { uid: 33, gid: 44, groups: vec![], home: "/var/www".into() });
        assert_eq!(user("5:6"), User { uid: 5, gid: 6, groups: vec![], home: "/".into() });
        assert_eq!(user("1234").uid, 77);
        assert_eq!(user(":29").gid, 29);
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = resolve("nobody-here", PASSWD, GROUP).unwrap_err();
        assert!(error.to_string().contains("nobody-here"), "{error}");
        assert!(resolve("www:nope", PASSWD, GROUP).is_err());
        assert!(resolve("-1", PASSWD, GROUP).is_err());
    }
}
