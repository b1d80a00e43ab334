//! runc's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::values::{parse_duration, parse_size_or_unlimited};

/// Runs OCI bundles as containers, with runc's command line
#[derive(Debug, Parser)]
#[command(name = "brig oci", disable_version_flag = true, disable_help_subcommand = true)]
#[command(
    max_term_width = 100,
    after_help = "Examples:
  brig oci spec && brig oci run box           a bundle is a directory with config.json and rootfs
  podman --runtime /usr/bin/brig-oci run …    a link to brig that is called brig-oci or runc is this command"
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// Flags of every verb, before it or after it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Where the state of containers is kept [default: /run/brig/oci, or $XDG_RUNTIME_DIR/brig/oci]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Where errors are written, too
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
    /// Accepted: errors are told whole without it
    #[arg(long, global = true, hide = true)]
    pub(super) debug: bool,
    /// A cgroupsPath is `slice:prefix:name` (which is seen without this flag)
    #[arg(long, global = true)]
    pub(super) systemd_cgroup: bool,
    /// Whether to ignore cgroups that can't be made; brig finds out by itself
    #[arg(id = "rootless-cgroups", long = "rootless", value_name = "BOOL", hide = true)]
    pub(super) rootless: Option<String>,
    /// crun's word for who makes cgroups
    #[arg(long, global = true, value_name = "MANAGER", hide = true)]
    pub(super) cgroup_manager: Option<CgroupManager>,
    /// Print the version
    #[arg(long, short = 'v')]
    pub(super) version: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a container, which waits to be started
    Create(Create),
    /// Start a created container
    Start(One),
    /// Create and start a container
    Run(Run),
    /// Print the state of a container
    State(One),
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Remove a container that has ended
    Delete(Delete),
    /// Run another process in a container
    Exec(Exec),
    /// List the processes of a container
    Ps(Ps),
    /// List containers
    List(List),
    /// Change a running container's limits
    Update(Box<Update>),
    /// Print what a container uses, and when it ran out of memory
    Events(Events),
    /// Freeze a container
    Pause(One),
    /// Let a frozen container go on
    Resume(One),
    /// Print a default config.json into the bundle
    Spec(NewSpec),
    /// Print what this runtime can do
    Features,
}

/// A container.
#[derive(Args, Debug)]
pub(super) struct One {
    /// The container
    pub(super) id: String,
}

/// What create and run have in common.
#[derive(Args, Debug)]
pub(super) struct Bundle {
    /// The container's new id
    pub(super) id: String,
    /// The directory with config.json [default: this one]
    #[arg(long, short = 'b', default_value = ".", hide_default_value = true, value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// The socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Where to write the pid of the first process
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// How many of this process's descriptors from 3 up the program gets, beside $LISTEN_FDS
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
    /// Accepted: the root is changed in a way that works on a RAM disk, too
    #[arg(long, hide = true)]
    pub(super) no_pivot: bool,
    /// Accepted: containers have the session keyring of whoever creates them
    #[arg(long, hide = true)]
    pub(super) no_new_keyring: bool,
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) bundle: Bundle,
}

#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) bundle: Bundle,
    /// Don't wait for the container's end
    #[arg(long, short = 'd')]
    pub(super) detach: bool,
    /// Don't delete the container when it has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Accepted: orphans are never adopted
    #[arg(long, hide = true)]
    pub(super) no_subreaper: bool,
}

#[derive(Args, Debug)]
pub(super) struct Kill {
    /// The container
    pub(super) id: String,
    /// The signal, as a name or number
    #[arg(default_value = "TERM")]
    pub(super) signal: String,
    /// To all processes of the container
    #[arg(long, short = 'a')]
    pub(super) all: bool,
}

#[derive(Args, Debug)]
pub(super) struct Delete {
    /// The container
    pub(super) id: String,
    /// Kill it first, if it runs; one that isn't there is no error
    #[arg(long, short = 'f')]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct Exec {
    /// The container
    pub(super) id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required_unless_present = "process")]
    pub(super) args: Vec<String>,
    /// The socket that gets the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// More of the environment
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short = 't')]
    pub(super) tty: bool,
    /// The user, by numbers
    #[arg(long, short = 'u', value_name = "UID[:GID]", value_parser = user)]
    pub(super) user: Option<(u32, Option<u32>)>,
    /// More groups
    #[arg(long, short = 'g', value_name = "GID")]
    pub(super) additional_gids: Vec<u32>,
    /// A file with the process, as in config.json
    #[arg(long, short = 'p', value_name = "FILE")]
    pub(super) process: Option<PathBuf>,
    /// Don't wait for its end
    #[arg(long, short = 'd')]
    pub(super) detach: bool,
    /// Where to write its pid
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    pub(super) process_label: Option<String>,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub(super) apparmor: Option<String>,
    /// It may gain no privileges
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// More capabilities
    #[arg(long, short = 'c', value_name = "CAP")]
    pub(super) cap: Vec<String>,
    /// How many of this process's descriptors from 3 up it gets
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
    /// Also in a paused container, where it waits
    #[arg(long)]
    pub(super) ignore_paused: bool,
    /// A cgroup below the container's, for some controllers (v1) or all
    #[arg(long, value_name = "[CONTROLLER,…:]PATH", value_parser = cgroup)]
    pub(super) cgroup: Vec<(Vec<String>, PathBuf)>,
}

#[derive(Args, Debug)]
pub(super) struct Ps {
    /// The container
    pub(super) id: String,
    /// How to print
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Options of ps(1) [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) options: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// How to print
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Ids alone
    #[arg(long, short = 'q')]
    pub(super) quiet: bool,
}

#[derive(Args, Debug)]
pub(super) struct Events {
    /// The container
    pub(super) id: String,
    /// Once, and now
    #[arg(long)]
    pub(super) stats: bool,
    /// How often
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub(super) interval: Duration,
}

#[derive(Args, Debug)]
pub(super) struct Update {
    /// The container
    pub(super) id: String,
    /// A file with `linux.resources` as in config.json, or - for standard input; the other flags are ignored then
    #[arg(long, short = 'r', value_name = "FILE")]
    pub(super) resources: Option<PathBuf>,
    /// Memory, in bytes or with a unit; -1 is no limit, as with the other flags
    #[arg(long, value_name = "BYTES", value_parser = parse_size_or_unlimited, allow_hyphen_values = true)]
    pub(super) memory: Option<i64>,
    /// Memory that is kept for it when there is little
    #[arg(long, value_name = "BYTES", value_parser = parse_size_or_unlimited, allow_hyphen_values = true)]
    pub(super) memory_reservation: Option<i64>,
    /// Memory and swap together
    #[arg(long, value_name = "BYTES", value_parser = parse_size_or_unlimited, allow_hyphen_values = true)]
    pub(super) memory_swap: Option<i64>,
    /// Processes and threads
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// Its share of busy processors
    #[arg(long, value_name = "N")]
    pub(super) cpu_share: Option<u64>,
    /// Processor time in a period, in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// That period, in microseconds
    #[arg(long, value_name = "US")]
    pub(super) cpu_period: Option<u64>,
    /// What it may use beyond its quota after an idle time, in microseconds
    #[arg(long, value_name = "US")]
    pub(super) cpu_burst: Option<u64>,
    /// Time of real-time processes in a period, in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// That period, in microseconds
    #[arg(long, value_name = "US")]
    pub(super) cpu_rt_period: Option<u64>,
    /// Whether it runs only when nobody else wants to
    #[arg(long, value_name = "0|1")]
    pub(super) cpu_idle: Option<i64>,
    /// Processors
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// Its share of busy block devices
    #[arg(long, value_name = "N")]
    pub(super) blkio_weight: Option<u16>,
}

#[derive(Args, Debug)]
pub(super) struct NewSpec {
    /// Where to write it [default: this directory]
    #[arg(long, short = 'b', default_value = ".", hide_default_value = true, value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// For an ordinary user
    #[arg(long)]
    pub(super) rootless: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

fn cgroup(text: &str) -> Result<(Vec<String>, PathBuf), String> {
    Ok(match text.split_once(':') {
        Some((controllers, path)) => (controllers.split(',').map(str::to_owned).collect(), path.into()),
        None => (Vec::new(), text.into()),
    })
}

/// Numbers only: a name is looked up nowhere (CVE-2026-30892).
fn user(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |part: &str| part.parse::<u32>().map_err(|_| format!("`{part}` isn't a number"));
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}
