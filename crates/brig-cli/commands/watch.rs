//! Looking into running containers: `top` and `stats`.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::Duration;

use brig_engine::blocking::Engine;
use brig_engine::{ContainerInfo, Error, Process, Result, Sample, State};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::format::Format;
use crate::list::{Fields, List};
use crate::table::{self, Table};
use crate::{output, terminal};

/// How long lies between two samples: docker's.
const PERIOD: Duration = Duration::from_secs(1);

/// Show the processes of a container
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Name or id
    container: String,
    /// Options for the host's ps(1), one of whose columns must be PID
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Top {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let processes = engine.processes(&self.container)?;
        let (titles, rows) = if self.options.is_empty() { full(&processes) } else { self.by_ps(&processes)? };
        let document = json!({ "Titles": titles, "Processes": rows });
        if Format::document(context.globals.format.as_ref(), &document)? {
            return Ok(ExitCode::SUCCESS);
        }
        let titles: Vec<_> = titles.iter().map(String::as_str).collect();
        let mut table = Table::new(&titles);
        rows.into_iter().for_each(|row| table.row(row));
        output::print(&table.render())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The host's program, never the container's (CVE-2022-1227), and of its lines those of the container.
    fn by_ps(&self, processes: &[Process]) -> Result<(Vec<String>, Vec<Vec<String>>)> {
        let failed = |source| Error::Io { action: "run the host's ps(1) for", path: None, source };
        let output = Command::new("ps").args(&self.options).output().map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let invalid = |problem: &str| {
            Err(Error::Invalid { what: "ps options", value: self.options.join(" "), problem: problem.into() })
        };
        if !output.status.success() {
            return invalid(&format!("ps(1) says: {}", said.lines().next().unwrap_or_default().trim()));
        }
        let mut lines = text.lines();
        let titles: Vec<String> =
            lines.next().unwrap_or_default().split_whitespace().map(Into::into).collect();
        let Some(column) = titles.iter().position(|title| title == "PID") else {
            return invalid("its output has no column PID, by which the container's processes are found");
        };
        let rows = lines.map(|line| columns(line, titles.len()));
        let ours = |row: &Vec<String>| {
            let pid = row.get(column).and_then(|pid| pid.parse().ok());
            processes.iter().any(|process| Some(process.pid) == pid)
        };
        let rows = rows.filter(ours).collect();
        Ok((titles, rows))
    }
}

/// The last column may have spaces in it.
fn columns(line: &str, count: usize) -> Vec<String> {
    let (mut rest, mut cells) = (line.trim(), Vec::new());
    while cells.len() + 1 < count
        && let Some((cell, behind)) = rest.split_once(char::is_whitespace)
    {
        cells.push(cell.to_owned());
        rest = behind.trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

/// The columns of `ps -ef`.
fn full(processes: &[Process]) -> (Vec<String>, Vec<Vec<String>>) {
    let users = users();
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let row = |process: &Process| {
        let used = process.cpu.as_secs_f64() / process.age.as_secs_f64().max(0.01) * 100.0;
        vec![
            users.get(&process.uid).cloned().unwrap_or_else(|| process.uid.to_string()),
            process.pid.to_string(),
            process.parent.to_string(),
            format!("{:.0}", used.min(99.0)),
            start_time(process.age),
            terminal_name(process.terminal),
            clock(process.cpu.as_secs()),
            process.command.clone(),
        ]
    };
    (titles.map(Into::into).to_vec(), processes.iter().map(row).collect())
}

/// The host's names of users, as ps(1) shows them.
fn users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(user).map(|(name, uid)| (uid, name)).collect()
}

/// The hour and minute of today; the day of what is older.
fn start_time(age: Duration) -> String {
    let now = jiff::Zoned::now();
    let Ok(started) = now.checked_sub(age) else { return "?".into() };
    let format = if started.date() == now.date() { "%H:%M" } else { "%b%d" };
    started.strftime(format).to_string()
}

/// `pts/3`, `tty1`, or `?`.
fn terminal_name(device: i32) -> String {
    // As in makedev(3) of the kernel's 32 bits.
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => "?".into(),
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Show what containers take, as it changes
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Show those that don't run, too
    #[arg(short, long)]
    all: bool,
    /// Print one result, and end
    #[arg(long)]
    no_stream: bool,
    /// Don't shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Names or ids [default: all that run]
    containers: Vec<String>,
}

impl Stats {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut before = self.samples(&engine)?;
        loop {
            std::thread::sleep(PERIOD);
            let now = self.samples(&engine)?;
            let rows: Vec<Row> =
                now.iter().map(|(container, sample)| self.row(container, sample, &before)).collect();
            self.show(context, &rows)?;
            if self.no_stream {
                return Ok(ExitCode::SUCCESS);
            }
            before = now;
        }
    }

    /// Named ones must be there; of all, those are shown that are.
    fn samples(&self, engine: &Engine) -> Result<Vec<(ContainerInfo, Option<Sample>)>> {
        let containers = match self.containers.as_slice() {
            [] => engine.containers()?,
            names => names.iter().map(|name| engine.container(name)).collect::<Result<_>>()?,
        };
        let mut samples = Vec::new();
        for container in containers {
            let runs = matches!(container.state.state, State::Running | State::Paused);
            let sample = match runs.then(|| engine.sample(&container.spec.id)).transpose() {
                // It has ended in this moment.
                Err(Error::WrongState { .. } | Error::ContainerNotFound { .. }) => None,
                sample => sample?,
            };
            if sample.is_some() || self.all || !self.containers.is_empty() {
                samples.push((container, sample));
            }
        }
        Ok(samples)
    }

    fn row(
        &self,
        container: &ContainerInfo,
        sample: &Option<Sample>,
        before: &[(ContainerInfo, Option<Sample>)],
    ) -> Row {
        let id = if self.no_trunc { container.spec.id.as_str() } else { container.short_id() };
        let earlier = before.iter().find(|(other, _)| other.spec.id == container.spec.id);
        let earlier = earlier.and_then(|(_, sample)| sample.as_ref());
        Row::new(id, &container.spec.name, sample.as_ref(), earlier)
    }

    fn show(&self, context: &Context, rows: &[Row]) -> Result<()> {
        let mut list = List::new(FIELDS, COLUMNS);
        rows.iter().for_each(|row| list.row(row.document()));
        if !self.no_stream && context.globals.is_table() && terminal::stdout_is_terminal() {
            output::print("\x1b[H\x1b[2J")?;
        }
        list.print(context, None)
    }
}

/// docker's, and what brig has beside.
const FIELDS: Fields = &[
    ("ID", "CONTAINER ID"),
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
    ("CPUSeconds", "CPU SECONDS"),
    ("Handles", "HANDLES"),
];
const COLUMNS: &[&str] = &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

/// What is shown of one container.
struct Row {
    id: String,
    name: String,
    cpu: String,
    memory: String,
    memory_share: String,
    network: String,
    block: String,
    tasks: String,
    cpu_seconds: Option<f64>,
    handles: Option<u64>,
}

impl Row {
    fn new(id: &str, name: &str, sample: Option<&Sample>, before: Option<&Sample>) -> Self {
        let or_dashes = |text: Option<String>| text.unwrap_or_else(|| "--".into());
        let pair = |(one, other): (u64, u64)| format!("{} / {}", table::size(one), table::size(other));
        let share = |sample: &Sample| sample.memory as f64 / sample.memory_limit.max(1) as f64 * 100.0;
        let memory = |sample: &Sample| {
            format!("{} / {}", table::binary_size(sample.memory), table::binary_size(sample.memory_limit))
        };
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            cpu: or_dashes(sample.map(|sample| format!("{:.2}%", cpu_share(sample, before)))),
            memory: sample.map_or_else(|| "-- / --".into(), memory),
            memory_share: or_dashes(sample.map(|sample| format!("{:.2}%", share(sample)))),
            network: or_dashes(sample.map(|sample| pair(sample.network))),
            block: or_dashes(sample.map(|sample| pair(sample.block))),
            tasks: or_dashes(sample.map(|sample| sample.tasks.to_string())),
            cpu_seconds: sample.map(|sample| sample.cpu.as_secs_f64()),
            handles: sample.map(|sample| sample.handles),
        }
    }

    /// docker's field names, and what brig has beside.
    fn document(&self) -> Value {
        json!({
            "BlockIO": self.block,
            "CPUPerc": self.cpu,
            "CPUSeconds": self.cpu_seconds,
            "Container": self.id,
            "Handles": self.handles,
            "ID": self.id,
            "MemPerc": self.memory_share,
            "MemUsage": self.memory,
            "Name": self.name,
            "NetIO": self.network,
            "PIDs": self.tasks,
        })
    }
}

/// In percent of one processor, as docker's.
fn cpu_share(now: &Sample, before: Option<&Sample>) -> f64 {
    let Some(before) = before else { return 0.0 };
    let wall = now.at.saturating_duration_since(before.at).as_secs_f64();
    // Less than before when the payload was started anew.
    let used = now.cpu.saturating_sub(before.cpu).as_secs_f64();
    if wall > 0.0 { used / wall * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_keeps_its_spaces() {
        assert_eq!(columns("  1  root   sh -c  x ", 3), ["1", "root", "sh -c  x"]);
        assert_eq!(columns("1", 2), ["1"]);
    }

    #[test]
    fn terminals_and_clocks() {
        assert_eq!(terminal_name(0), "?");
        assert_eq!(terminal_name(0x8803), "pts/3");
        assert_eq!(terminal_name(0x0401), "tty1");
        assert_eq!(clock(3661), "01:01:01");
    }
}
