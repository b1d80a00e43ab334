//! What a command said, and how it ended.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

/// The end of a command.
#[must_use = "a test that doesn't look at the end of a command doesn't test it"]
#[derive(Clone, Debug)]
pub struct Output {
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    /// Standard output; bytes that aren't UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The directory that [`Self::normalized`] calls `$ENV`.
    pub(crate) dir: PathBuf,
}

impl Output {
    /// The exit status as a shell shows it: 128 and the signal for a process that a signal ended.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The signal that ended the command itself.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Expects status 0.
    ///
    /// # Panics
    /// Otherwise, with all that the command said.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Expects this status.
    ///
    /// # Panics
    /// Otherwise, with all that the command said.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code() == code, "expected status {code} of `{}`:\n{}", self.command, self.transcript());
        self
    }

    /// Expects any status but 0.
    ///
    /// # Panics
    /// When the command succeeded.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(self.code() != 0, "expected `{}` to fail:\n{}", self.command, self.transcript());
        self
    }

    /// Expects a text in standard error.
    ///
    /// # Panics
    /// When it isn't there.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "expected `{text}` from `{}`:\n{}",
            self.command,
            self.transcript()
        );
        self
    }

    /// Expects exactly this standard output.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout == text, "expected `{}` to print {text:?}:\n{}", self.command, self.transcript());
        self
    }

    /// Expects a text in standard output.
    ///
    /// # Panics
    /// When it isn't there.
    #[track_caller]
    pub fn shows(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "expected `{}` to show {text:?}:\n{}",
            self.command,
            self.transcript()
        );
        self
    }

    /// Standard output without white space around it.
    pub fn line(&self) -> &str {
        self.stdout.trim()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it isn't JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}`: {error}:\n{}", self.command, self.transcript()))
    }

    /// Standard output as JSON, one document a line.
    ///
    /// # Panics
    /// When a line isn't JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("`{}`: {error}:\n{}", self.command, self.transcript()))
        };
        self.stdout.lines().map(read).collect()
    }

    /// Status, output and errors in one text, as they came.
    pub fn transcript(&self) -> String {
        let mut text = format!("status: {}\n", self.code());
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let newline = if stream.is_empty() || stream.ends_with('\n') { "" } else { "\n" };
            write!(text, "--- {name} ---\n{stream}{newline}").expect("write to a string");
        }
        text
    }

    /// [`Self::transcript`] with what differs from run to run replaced: for snapshots.
    pub fn normalized(&self) -> String {
        normalize(&self.transcript().replace(&*self.dir.to_string_lossy(), "$ENV"))
    }
}

/// Replaces what differs from run to run: digests, ids, times, durations, sizes of time, loopback ports.
pub fn normalize(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        result.push_str(&normalize_word(word));
        let between = tail.find(is_word).unwrap_or(tail.len());
        result.push_str(&tail[..between]);
        rest = &tail[between..];
    }
    result
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '+' | '_')
}

fn normalize_word(word: &str) -> String {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(hex) = word.strip_prefix("sha256:")
        && hex.len() == 64
        && is_hex(hex)
    {
        return "[digest]".into();
    }
    if matches!(word.len(), 12 | 64) && is_hex(word) {
        return "[id]".into();
    }
    if word.strip_prefix("127.0.0.1:").is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return "[registry]".into();
    }
    if is_time(word) {
        return "[time]".into();
    }
    if is_duration(word) {
        return "[duration]".into();
    }
    word.into()
}

/// `2026-11-24T06:00:00…`
fn is_time(word: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let shaped: Vec<u8> = word.bytes().take(19).map(shape).collect();
    shaped == b"0000-00-00T00:00:00"
}

/// `1.5ms`, `12s`, `300us`
fn is_duration(word: &str) -> bool {
    let number = ["ms", "us", "ns", "s"].iter().find_map(|unit| word.strip_suffix(unit));
    number.is_some_and(|number| {
        number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        let hex = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let text =
            format!("sha256:{hex} {hex} 0123456789ab at 2026-11-24T06:00:00.5Z in 1.5ms, 127.0.0.1:5000/a\n");
        assert_eq!(normalize(&text), "[digest] [id] [id] at [time] in [duration], [registry]/a\n");
    }

    #[test]
    fn the_rest_stays() {
        let text = "status: 0\nsha256:short, deadbeef, v1.2.3, 12 apples\n";
        assert_eq!(normalize(text), text);
    }
}
