//! Tables for people: columns as wide as their widest cell, three spaces between, as docker's are.

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text, with a line end behind each row.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}   "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `3 seconds ago`, in docker's words.
pub(crate) fn ago(elapsed: std::time::Duration) -> String {
    format!("{} ago", duration(elapsed))
}

/// A duration in docker's words: `Less than a second`, `5 minutes`, `About an hour`.
pub(crate) fn duration(elapsed: std::time::Duration) -> String {
    let seconds = elapsed.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// A size in docker's words: decimal units, three significant digits: `4.27MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while bytes / divisor >= 1000 && unit < UNITS.len() - 1 {
        divisor *= 1000;
        unit += 1;
    }
    let whole = bytes / divisor;
    let thousandths = bytes % divisor * 1000 / divisor;
    match (unit, whole) {
        (0, _) => format!("{bytes}B"),
        (_, 0..10) => format!("{whole}.{:02}{}", thousandths / 10, UNITS[unit]),
        (_, 10..100) => format!("{whole}.{}{}", thousandths / 100, UNITS[unit]),
        _ => format!("{whole}{}", UNITS[unit]),
    }
}

/// A size in docker's words for memory: binary units, four significant digits: `1.5MiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut size) = (0, bytes as f64);
    while size >= 1024.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size {
        size if size < 10.0 => 3,
        size if size < 100.0 => 2,
        size if size < 1000.0 => 1,
        _ => 0,
    };
    let text = format!("{size:.decimals$}");
    // As Go's %.4g: no zeroes behind the point.
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["ID", "NAME"]);
        table.row(vec!["1".into(), "a".into()]);
        table.row(vec!["123".into(), String::new()]);
        assert_eq!(table.render(), "ID    NAME\n1     a\n123\n");
    }

    #[test]
    fn memory_in_dockers_words() {
        for (bytes, text) in [
            (0, "0B"),
            (512, "512B"),
            (1536, "1.5KiB"),
            (1 << 20, "1MiB"),
            (7_654_321, "7.3MiB"),
            (1000 << 20, "1000MiB"),
            (23 << 30, "23GiB"),
        ] {
            assert_eq!(binary_size(bytes), text);
        }
    }

    #[test]
    fn durations_and_sizes_in_dockers_words() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (300, "5 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (4_270_000, "4.27MB"), (53_000_000, "53.0MB"), (1_500, "1.50kB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
