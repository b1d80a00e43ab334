//! Tables for people: columns as wide as their widest cell, three spaces between, and ten wide at least, as docker's are.

/// Between two columns.
const GAP: usize = 3;
/// How wide a column is at least, with the gap behind it.
const LEAST: usize = 10;
/// How short a cell gets at most, where the terminal is narrow.
const SHORTEST: usize = 8;

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

    /// Shortens cells so that the table is no wider than this, in as few columns as will do: the widest first, of those
    /// that may be shortened. What is still too wide then stays.
    pub(crate) fn fit(&mut self, width: usize, may_be_shortened: &[bool]) {
        let widths = self.widths();
        let last = widths.last().copied().unwrap_or(0);
        let before: usize = widths.iter().rev().skip(1).map(|width| (width + GAP).max(LEAST)).sum();
        let mut excess = (before + last).saturating_sub(width);
        let mut columns: Vec<_> =
            (0..widths.len()).filter(|column| may_be_shortened.get(*column) == Some(&true)).collect();
        columns.sort_by_key(|column| std::cmp::Reverse(widths[*column]));
        for column in columns {
            let heading = self.rows[0].get(column).map_or(0, |heading| heading.chars().count());
            let saved = excess.min(widths[column].saturating_sub(heading.max(SHORTEST)));
            excess -= saved;
            self.shorten(column, widths[column] - saved);
        }
    }

    fn shorten(&mut self, column: usize, width: usize) {
        for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            if cell.chars().count() > width {
                *cell = ellipsis(cell, width);
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.rows[0].len()).map(width).collect()
    }

    /// The text, with a line end behind each row.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&padded(cell, (width + GAP).max(LEAST)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A cell and the spaces up to this width. Rust's own formatting goes no further than 65535.
fn padded(cell: &str, width: usize) -> String {
    format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
}

/// The beginning of a text, so wide at most, with `…` where something is left out.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Lines up text by its tabs. As in docker's tables, a column ends where a line has no cell in it: lines with other
/// columns between two don't widen each other's.
pub(crate) fn tabulate(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    for line in 0..lines.len() {
        for column in 0..lines[line].len().saturating_sub(1) {
            if widths[line][column] > 0 {
                continue;
            }
            let block = lines[line..].iter().take_while(|cells| cells.len() > column + 1);
            let cells: Vec<usize> = block.map(|cells| cells[column].chars().count()).collect();
            let width = (cells.iter().max().copied().unwrap_or(0) + GAP).max(LEAST);
            for below in &mut widths[line..line + cells.len()] {
                below[column] = width;
            }
        }
    }
    let mut table = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        let line: String = cells.iter().zip(widths).map(|(cell, width)| padded(cell, *width)).collect();
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
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

/// A size in docker's words: decimal units, three significant digits at most: `4.27MB`, `1.5kB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while bytes / divisor >= 1000 && unit < UNITS.len() - 1 {
        divisor *= 1000;
        unit += 1;
    }
    let places = match bytes / divisor {
        _ if unit == 0 => 0,
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    let number = format!("{:.places$}", bytes as f64 / divisor as f64);
    let number = if places > 0 { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{}", UNITS[unit])
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
        assert_eq!(table.render(), "ID        NAME\n1         a\n123\n");
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_column_first() {
        let table = |width: usize| {
            let mut table = Table::new(&["ID", "COMMAND", "NAMES"]);
            table.row(vec![
                "0123456789ab".into(),
                "a command that goes on".into(),
                "a-rather-long-name".into(),
            ]);
            table.fit(width, &[false, true, true]);
            table.render().lines().nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(table(58), "0123456789ab   a command that goes on   a-rather-long-name");
        assert_eq!(table(50), "0123456789ab   a command tha…   a-rather-long-name");
        assert_eq!(table(40), "0123456789ab   a comma…   a-rather-long…");
        assert_eq!(table(1), "0123456789ab   a comma…   a-rathe…");
    }

    #[test]
    fn cells_of_any_width_line_up() {
        let long = "x".repeat(70_000);
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![long.clone(), "b".into()]);
        assert!(table.render().ends_with(&format!("{long}   b\n")));
        assert!(tabulate(&format!("A\tB\n{long}\tb\n")).ends_with(&format!("{long}   b\n")));
    }

    #[test]
    fn text_lines_up_by_its_tabs() {
        for (text, expected) in [
            ("A\tB\n1\t2\n", "A         B\n1         2\n"),
            ("long-heading\tB\n1\t2", "long-heading   B\n1              2\n"),
            ("a\tb\nx\nlong-enough-cell\tb\n", "a         b\nx\nlong-enough-cell   b\n"),
            ("a\t\tc\n", "a                   c\n"),
            ("", ""),
        ] {
            assert_eq!(tabulate(text), expected, "{text:?}");
        }
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
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (4_270_000, "4.27MB"),
            (53_000_000, "53MB"),
            (1_500, "1.5kB"),
            (1_006_000, "1.01MB"),
            (999_999, "1000kB"),
            (100_000_000, "100MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
