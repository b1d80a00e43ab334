//! Go's `fmt` for JSON values: `print`, `println`, `printf`.

use serde_json::Value;

use super::evaluate::Steps;
use super::value::{Item, kind};

/// The greatest width and precision, which is Go's.
const MAX_WIDTH: usize = 1_000_000;
/// More decimal places than any number has that aren't zero.
const MAX_PLACES: usize = 1100;

/// `%v`
pub(super) fn plain(value: &Value) -> String {
    let mut text = String::new();
    write_plain(value, &mut text);
    text
}

fn write_plain(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&plain_number(number)),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => write_list(out, "[", items.iter().map(|item| (None, item))),
        Value::Object(map) => {
            write_list(out, "map[", map.iter().map(|(key, item)| (Some(key.as_str()), item)));
        }
    }
}

fn write_list<'v>(out: &mut String, open: &str, items: impl Iterator<Item = (Option<&'v str>, &'v Value)>) {
    out.push_str(open);
    for (index, (key, item)) in items.enumerate() {
        if index > 0 {
            out.push(' ');
        }
        if let Some(key) = key {
            out.push_str(key);
            out.push(':');
        }
        write_plain(item, out);
    }
    out.push(']');
}

fn plain_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => shortest(float),
        _ => number.to_string(),
    }
}

/// `fmt.Sprint`: a space between two of which neither is text.
pub(super) fn sprint(items: &[Item<'_>]) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        let texts = |item: &Item<'_>| item.value().is_string();
        if index > 0 && !texts(item) && !texts(&items[index - 1]) {
            text.push(' ');
        }
        text.push_str(&plain(item.value()));
    }
    text
}

/// `fmt.Sprintln`: a space between any two, and a line end.
pub(super) fn sprintln(items: &[Item<'_>]) -> String {
    let words: Vec<_> = items.iter().map(|item| plain(item.value())).collect();
    format!("{}\n", words.join(" "))
}

/// `fmt.Sprintf`, with Go's marks for arguments that don't fit.
pub(super) fn sprintf(format: &str, items: &[Item<'_>], steps: &mut Steps) -> Result<String, String> {
    let mut printer = Printer { items, next: 0, reordered: false, out: String::new(), steps };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let before = printer.out.len();
        printer.out.push_str(&rest[..at]);
        rest = printer.directive(&rest[at + 1..])?;
        printer.steps.take(printer.out.len().saturating_sub(before))?;
    }
    printer.out.push_str(rest);
    printer.extra();
    Ok(printer.out)
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'i, 'a> {
    items: &'i [Item<'a>],
    next: usize,
    reordered: bool,
    out: String,
    steps: &'i mut Steps,
}

impl<'i> Printer<'i, '_> {
    /// One directive, from behind its `%`. What is left.
    fn directive<'f>(&mut self, format: &'f str) -> Result<&'f str, String> {
        let mut spec = Spec::default();
        let mut rest = flags(format, &mut spec);
        self.argument_index(&mut rest);
        spec.width = self.size(&mut rest, "%!(BADWIDTH)", &mut spec.minus);
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            self.argument_index(&mut rest);
            let precision = self.size(&mut rest, "%!(BADPREC)", &mut false);
            spec.precision = Some(precision.unwrap_or(0));
        }
        self.argument_index(&mut rest);
        if spec.minus {
            spec.zero = false;
        }
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return Ok(rest);
        };
        let behind = &rest[verb.len_utf8()..];
        match (verb, self.items.get(self.next)) {
            ('%', _) => self.out.push('%'),
            (_, None) => self.out.push_str(&format!("%!{verb}(MISSING)")),
            (_, Some(item)) => {
                self.next += 1;
                // Each element of a list gets the whole width.
                let size = spec.width.unwrap_or(0).max(spec.precision.unwrap_or(0));
                self.steps.take(size.saturating_mul(leaves(item.value())))?;
                let text = formatted(item.value(), verb, spec);
                self.out.push_str(&text);
            }
        }
        Ok(behind)
    }

    /// `[2]`: the next argument is the second.
    fn argument_index(&mut self, rest: &mut &str) {
        let Some((inside, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            return;
        };
        if let Some(index) = inside.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
            (self.next, self.reordered) = (index, true);
            *rest = behind;
        }
    }

    /// A width or precision: a number, or `*` for that of the next argument.
    fn size(&mut self, rest: &mut &str, bad: &str, minus: &mut bool) -> Option<usize> {
        if let Some(behind) = rest.strip_prefix('*') {
            *rest = behind;
            let given = self.items.get(self.next).and_then(|item| item.value().as_i64());
            self.next += 1;
            let size = given.and_then(|number| {
                *minus |= number < 0;
                usize::try_from(number.unsigned_abs()).ok().filter(|size| *size <= MAX_WIDTH)
            });
            if size.is_none() {
                self.out.push_str(bad);
            }
            return size;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        *rest = behind;
        if number.is_empty() {
            return None;
        }
        let size = number.parse().ok().filter(|size| *size <= MAX_WIDTH);
        if size.is_none() {
            self.out.push_str(bad);
        }
        size
    }

    /// What the format had no directive for.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.items.len() {
            return;
        }
        let shown = |item: &'i Item<'_>| match item.value() {
            Value::Null => "<nil>".to_owned(),
            value => format!("{}={}", kind(value), plain(value)),
        };
        let rest: Vec<_> = self.items[self.next..].iter().map(shown).collect();
        self.out.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
}

fn flags<'f>(format: &'f str, spec: &mut Spec) -> &'f str {
    let mut rest = format;
    loop {
        let flag = match rest.as_bytes().first() {
            Some(b'-') => &mut spec.minus,
            Some(b'+') => &mut spec.plus,
            Some(b'#') => &mut spec.sharp,
            Some(b' ') => &mut spec.space,
            Some(b'0') => &mut spec.zero,
            _ => return rest,
        };
        *flag = true;
        rest = &rest[1..];
    }
}

/// A value by a verb; of a list, each element.
fn formatted(value: &Value, verb: char, spec: Spec) -> String {
    match (value, verb) {
        (value, 'T') => pad(kind(value), spec),
        (Value::Null, 'v') => pad("<nil>", spec),
        (Value::Array(items), verb) if verb != 'v' || !spec.sharp => {
            let items: Vec<_> = items.iter().map(|item| formatted(item, verb, spec)).collect();
            format!("[{}]", items.join(" "))
        }
        (Value::Object(map), 'v' | 's') => {
            let item = |(key, item): (&String, &Value)| format!("{key}:{}", formatted(item, verb, spec));
            format!("map[{}]", map.iter().map(item).collect::<Vec<_>>().join(" "))
        }
        (Value::Bool(value), 'v' | 't') => pad(if *value { "true" } else { "false" }, spec),
        (Value::String(text), _) => of_text(text, verb, spec),
        (Value::Number(number), _) => match (number.as_f64(), integer(number)) {
            (Some(float), _) if number.is_f64() => of_float(float, verb, spec),
            (_, Some(integer)) => of_integer(integer, verb, spec),
            _ => wrong(verb, value),
        },
        _ => wrong(verb, value),
    }
}

/// How many values a value has in it, which isn't a list or a map.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(leaves).sum(),
        Value::Object(map) => map.values().map(leaves).sum(),
        _ => 1,
    }
}

fn integer(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Go's mark for a verb that the value has no use for.
fn wrong(verb: char, value: &Value) -> String {
    match value {
        Value::Null => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", kind(value), plain(value)),
    }
}

fn of_text(text: &str, verb: char, spec: Spec) -> String {
    let cut = |text: &str| match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    match verb {
        'v' if spec.sharp => pad(&quote(text), spec),
        'v' | 's' => pad(&cut(text), spec),
        'q' => pad(&quote(&cut(text)), spec),
        'x' | 'X' => {
            let bytes = text.bytes().take(spec.precision.unwrap_or(usize::MAX));
            let hex: Vec<_> = bytes.map(|byte| format!("{byte:02x}")).collect();
            let hex = hex.join(if spec.space { " " } else { "" });
            pad(&if verb == 'X' { hex.to_uppercase() } else { hex }, spec)
        }
        _ => wrong(verb, &Value::from(text)),
    }
}

fn of_integer(number: i128, verb: char, spec: Spec) -> String {
    let absolute = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", absolute.to_string()),
        'b' => ("0b", format!("{absolute:b}")),
        'o' => ("0", format!("{absolute:o}")),
        'O' => ("0o", format!("{absolute:o}")),
        'x' => ("0x", format!("{absolute:x}")),
        'X' => ("0X", format!("{absolute:X}")),
        'c' | 'q' | 'U' => return of_character(number, verb, spec),
        _ => return format!("%!{verb}(int={number})"),
    };
    let prefix = if verb == 'O' || (spec.sharp && verb != 'v') { prefix } else { "" };
    let digits = with_zeros(&digits, spec.precision.unwrap_or(0));
    signed(number < 0, prefix, &digits, Spec { zero: spec.zero && spec.precision.is_none(), ..spec })
}

fn of_character(number: i128, verb: char, spec: Spec) -> String {
    let character = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}');
    let text = match verb {
        'c' => character.to_string(),
        'q' => format!("'{character}'"),
        _ => format!("U+{:04X}", u32::from(character)),
    };
    pad(&text, spec)
}

fn of_float(number: f64, verb: char, spec: Spec) -> String {
    let absolute = number.abs();
    let text = match verb {
        'f' | 'F' => {
            let (precision, zeros) = places(spec.precision.unwrap_or(6));
            format!("{absolute:.precision$}{zeros}")
        }
        'e' | 'E' => {
            let (precision, zeros) = places(spec.precision.unwrap_or(6));
            let digits = format!("{absolute:.precision$e}");
            exponent(&digits.replace('e', &format!("{zeros}e")))
        }
        'v' | 'g' | 'G' => match spec.precision {
            None => shortest(absolute),
            Some(precision) => significant(absolute, precision.clamp(1, MAX_PLACES)),
        },
        _ => return format!("%!{verb}(float64={})", shortest(number)),
    };
    let text = if verb.is_ascii_uppercase() { text.to_uppercase() } else { text };
    signed(number.is_sign_negative(), "", &text, spec)
}

/// Sign, prefix and digits, with zeros between where they fill the width.
fn signed(negative: bool, prefix: &str, digits: &str, spec: Spec) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    };
    let taken = sign.len() + prefix.len();
    let zeros = if spec.zero { spec.width.unwrap_or(0).saturating_sub(taken) } else { 0 };
    pad(&format!("{sign}{prefix}{}", with_zeros(digits, zeros)), spec)
}

/// Zeros before digits, up to this width. Rust's own formatting goes no further than 65535.
fn with_zeros(digits: &str, width: usize) -> String {
    format!("{}{digits}", "0".repeat(width.saturating_sub(digits.len())))
}

/// So many decimal places, as Rust formats them, and the zeros behind them.
fn places(precision: usize) -> (usize, String) {
    (precision.min(MAX_PLACES), "0".repeat(precision.saturating_sub(MAX_PLACES)))
}

/// To the width, with spaces.
fn pad(text: &str, spec: Spec) -> String {
    let width = spec.width.unwrap_or(0);
    let (left, right) = match width.saturating_sub(text.chars().count()) {
        missing if spec.minus => (0, missing),
        missing => (missing, 0),
    };
    format!("{}{text}{}", " ".repeat(left), " ".repeat(right))
}

/// The shortest digits that are this number, as `%v` has them: with an exponent from a million on.
fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    let power: i32 = scientific.rsplit('e').next().and_then(|power| power.parse().ok()).unwrap_or(0);
    if (-4..6).contains(&power) { number.to_string() } else { exponent(&scientific) }
}

/// `%.3g`
fn significant(number: f64, precision: usize) -> String {
    let scientific = format!("{number:.*e}", precision - 1);
    let power: i32 = scientific.rsplit('e').next().and_then(|power| power.parse().ok()).unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || usize::try_from(power).is_ok_and(|power| power >= precision) {
        let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", without_zeros(digits)));
    }
    let places = i32::try_from(precision).unwrap_or(i32::MAX).saturating_sub(1).saturating_sub(power);
    without_zeros(&format!("{number:.*}", usize::try_from(places).unwrap_or(0)))
}

/// An exponent with sign and two digits: `1e+06`.
fn exponent(scientific: &str) -> String {
    let (digits, power) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

/// `strconv.Quote`
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if control < ' ' || control == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
