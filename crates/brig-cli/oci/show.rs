//! runc's tables and documents.

use std::fs;
use std::path::Path;
use std::process::Command;

use brig_engine::bundle::{BundleError, ContainerState};

/// The name of a user, from this host's list; a number that nobody has, as runc writes it.
fn user_name(uid: &str) -> String {
    // Without a list nobody has a name.
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

/// A state with its owner's name.
pub(super) fn named(state: ContainerState) -> ContainerState {
    ContainerState { owner: user_name(&state.owner), ..state }
}

/// runc's list.
pub(super) fn list(states: &[ContainerState]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = states.iter().map(|state| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    table(&rows)
}

/// Columns of at least twelve characters, as runc's are.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 1).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The lines of ps(1) that are about these processes, under its header.
pub(super) fn ps(pids: &[u32], options: &[String]) -> Result<String, BundleError> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default } else { options };
    let path = Path::new("ps");
    let failed = |source| BundleError::Io { what: "run", path: path.to_owned(), source };
    let output = Command::new(path).args(options).output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|word| word == "PID");
    let Some(column) = column else {
        let reason = "these options of ps print no column PID";
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, reason)));
    };
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let mut told = vec![header];
    told.extend(lines.filter(ours));
    Ok(format!("{}\n", told.join("\n")))
}
