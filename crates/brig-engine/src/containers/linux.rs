//! The Linux half of create: an OCI runtime `Spec` from image and flags (invariant 6).

use std::fs;
use std::path::{Path, PathBuf};

use brig_linux::{Bind, ContainerOptions, Host, SeccompChoice, default_spec};
use brig_runtime::{ContainerPaths, ContainerSpec};

use super::command;
use super::create::Source;
use super::tuning;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::users;

impl Engine {
    /// Fills in what a Linux container has beyond the common record: users are numbers, the environment is whole, the
    /// spec is made.
    pub(crate) fn linux_spec(
        &self,
        paths: &ContainerPaths,
        spec: &mut ContainerSpec,
        source: &Source,
    ) -> Result<()> {
        let user = users::from_stack(&source.stack, &spec.user)?;
        default_env(spec);
        // Not in the record: a process that exec runs as another user lives elsewhere.
        let mut env = spec.env.clone();
        command::set_default(&mut env, format!("HOME={}", user.home));
        let mut binds = host_files(paths, spec)?;
        binds.extend(spec.mounts.iter().map(|mount| Bind {
            source: mount.source.clone(),
            target: PathBuf::from(&mount.target),
            read_only: mount.read_only,
            propagation: mount.propagation.clone(),
        }));
        let security = Security::parse(&spec.security_opt)?;
        let mut groups = user.groups;
        groups.extend(self.more_groups(spec, source)?);
        let (add_capabilities, drop_capabilities) =
            tuning::capabilities(&spec.tuning, || brig_linux::own_capabilities(self.host().rootless))?;
        let defaults = ContainerOptions::default();
        let options = ContainerOptions {
            args: spec.args.clone(),
            env,
            cwd: PathBuf::from(&spec.cwd),
            uid: user.uid,
            gid: user.gid,
            groups,
            hostname: spec.hostname.clone(),
            domainname: spec.tuning.domainname.clone(),
            terminal: spec.tty,
            read_only: spec.read_only,
            network: match spec.network.as_str() {
                "host" => brig_linux::Network::Host,
                _ => brig_linux::Network::Loopback,
            },
            binds,
            tmpfs: tuning::tmpfs(&spec.tuning),
            add_capabilities,
            drop_capabilities,
            no_new_privileges: security.no_new_privileges,
            seccomp: security.seccomp,
            limits: spec.limits.clone(),
            rlimits: tuning::rlimits(&spec.tuning),
            shm_size: spec.tuning.shm_size.unwrap_or(defaults.shm_size),
            oom_score_adj: spec.tuning.oom_score_adj,
            annotations: spec.tuning.annotations.clone().into_iter().collect(),
        };
        let oci = default_spec(&options, self.host());
        let value =
            serde_json::to_value(&oci).map_err(|error| Error::io("write", paths.spec())(error.into()))?;
        spec.linux = Some(value);
        Ok(())
    }

    /// `--group-add`. The plan leaves out groups that an ordinary user can't have, which is fine for those of an image's
    /// user alone.
    fn more_groups(&self, spec: &ContainerSpec, source: &Source) -> Result<Vec<u32>> {
        let wanted = &spec.tuning.group_add;
        if self.host().rootless && !wanted.is_empty() {
            let reason = "the containers of an ordinary user have that user's group alone".into();
            return Err(Error::Unsupported { what: "--group-add".into(), reason });
        }
        users::groups_from_stack(&source.stack, wanted)
    }

    /// Whether this user can make namespaces here; tried once an engine, where it isn't root. Without them no Linux
    /// container starts, and a wasm container runs behind landlock and seccomp alone, without the image's own files.
    pub fn can_make_namespaces(&self) -> bool {
        self.host().can_make_namespaces()
    }

    /// What this machine allows, looked at once an engine.
    pub(crate) fn host(&self) -> &Host {
        self.host_cell().get_or_init(Host::probe)
    }
}

/// docker's variables, where neither the image nor the caller set them.
fn default_env(spec: &mut ContainerSpec) {
    let hostname = format!("HOSTNAME={}", spec.hostname);
    command::set_default(&mut spec.env, format!("PATH={}", command::DEFAULT_PATH));
    command::set_default(&mut spec.env, hostname);
    if spec.tty {
        command::set_default(&mut spec.env, "TERM=xterm".into());
    }
}

/// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, unless a volume takes their place.
fn host_files(paths: &ContainerPaths, spec: &ContainerSpec) -> Result<Vec<Bind>> {
    let name = &spec.hostname;
    let host_network = spec.network == "host";
    let resolv_conf = if host_network { "/etc/resolv.conf".into() } else { paths.dir().join("resolv.conf") };
    let mut files = vec![("/etc/resolv.conf", resolv_conf.clone())];
    if !host_network {
        // A private loopback has nobody to ask, but programs want the file.
        write(&resolv_conf, "")?;
        let hostname = paths.dir().join("hostname");
        write(&hostname, &format!("{name}\n"))?;
        let hosts = paths.dir().join("hosts");
        let loopback = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
        let domain = spec.tuning.domainname.as_ref();
        let own = domain.map_or_else(|| name.clone(), |domain| format!("{name}.{domain} {name}"));
        write(&hosts, &format!("{loopback}127.0.0.1\t{own}\n"))?;
        files.extend([("/etc/hostname", hostname), ("/etc/hosts", hosts)]);
    } else {
        files.push(("/etc/hosts", "/etc/hosts".into()));
    }
    let taken = |target: &str| {
        spec.mounts.iter().any(|mount| mount.target == target) || spec.tuning.tmpfs.contains_key(target)
    };
    let binds = files.into_iter().filter(|(target, source)| !taken(target) && source.exists());
    Ok(binds
        .map(|(target, source)| Bind { source, target: target.into(), read_only: false, ..Bind::default() })
        .collect())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}

/// What `--security-opt` asks for.
#[derive(Debug, Default, PartialEq)]
struct Security {
    no_new_privileges: bool,
    seccomp: SeccompChoice,
}

impl Security {
    fn parse(options: &[String]) -> Result<Self> {
        let mut security = Self::default();
        for option in options {
            let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (key, value) {
                ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
                ("no-new-privileges", "false") => security.no_new_privileges = false,
                ("seccomp", "unconfined") => security.seccomp = SeccompChoice::Unconfined,
                ("seccomp", "" | "builtin" | "default") => security.seccomp = SeccompChoice::Default,
                ("seccomp", file) => security.seccomp = policy(Path::new(file))?,
                _ => {
                    let problem = "the options are `no-new-privileges` and `seccomp=unconfined|FILE`";
                    return Err(Error::invalid("security option", option, problem));
                }
            }
        }
        Ok(security)
    }
}

/// A policy in the OCI runtime specification's form.
fn policy(path: &Path) -> Result<SeccompChoice> {
    let bytes = fs::read(path).map_err(Error::io("read the seccomp policy", path))?;
    let policy = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid("seccomp policy", path.display().to_string(), error.to_string()))?;
    Ok(SeccompChoice::Policy(Box::new(policy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Security> {
        Security::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn security_options_in_both_spellings() {
        assert!(parse(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(parse(&["no-new-privileges:true"]).unwrap().no_new_privileges);
        assert_eq!(parse(&["seccomp=unconfined"]).unwrap().seccomp, SeccompChoice::Unconfined);
        assert!(parse(&["apparmor=x"]).is_err());
        assert!(parse(&["seccomp=/does/not/exist"]).is_err());
    }
}
