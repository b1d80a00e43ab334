//! From text to tokens, by Go's rules.

/// What is wrong with a template, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// The byte.
    pub(super) at: usize,
    /// The problem, in Go's words.
    pub(super) problem: String,
}

/// A piece of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first byte.
    pub(super) start: usize,
    /// Behind the last one.
    pub(super) end: usize,
}

impl Span {
    /// From the beginning of this one to the end of the other.
    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions, trimmed.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space in an action.
    Space,
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`, with the sign.
    Variable(String),
    /// A keyword, function, `true`, `false` or `nil`.
    Word(String),
    /// `"…"` or a back-quoted one.
    Quoted(String),
    /// An integer.
    Integer(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Splits a template.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Span)>, Fault> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trim = false;
    loop {
        let open = lexer.rest().find("{{");
        lexer.text(open.unwrap_or(lexer.rest().len()), trim);
        if open.is_none() {
            return Ok(lexer.tokens);
        }
        trim = lexer.action()?;
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<(Token, Span)>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault<T>(&self, problem: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at, problem: problem.into() })
    }

    /// Takes so many bytes as this token.
    fn take(&mut self, length: usize, token: Token) {
        let span = Span { start: self.at, end: self.at + length };
        self.at = span.end;
        self.tokens.push((token, span));
    }

    fn text(&mut self, length: usize, trim: bool) {
        let (text, behind) = self.rest().split_at(length);
        let text = if trim { text.trim_start_matches(SPACES) } else { text };
        let text = if is_trimming(behind) { text.trim_end_matches(SPACES) } else { text };
        if text.is_empty() {
            self.at += length;
        } else {
            self.take(length, Token::Text(text.to_owned()));
        }
    }

    /// One action with its braces. Whether the text behind it is trimmed.
    fn action(&mut self) -> Result<bool, Fault> {
        let mark = if is_trimming(self.rest()) { 3 } else { 2 };
        let inside = &self.rest()[mark..];
        let trimmed = inside.trim_start_matches(SPACES);
        let spaces = if mark == 3 { inside.len() - trimmed.len() } else { 0 };
        if inside[spaces..].starts_with("/*") {
            self.at += mark + spaces;
            return self.comment();
        }
        self.take(mark, Token::Open);
        let mut parentheses = 0_usize;
        loop {
            if let Some((length, trim)) = end_of_action(self.rest()) {
                if parentheses > 0 {
                    return self.fault("unclosed left paren");
                }
                self.take(length, Token::Close);
                return Ok(trim);
            }
            self.token()?;
            match self.tokens.last() {
                Some((Token::Left, _)) => parentheses += 1,
                Some((Token::Right, _)) => match parentheses.checked_sub(1) {
                    Some(fewer) => parentheses = fewer,
                    None => return self.fault("unexpected right paren"),
                },
                _ => {}
            }
        }
    }

    fn comment(&mut self) -> Result<bool, Fault> {
        let Some(length) = self.rest().find("*/") else { return self.fault("unclosed comment") };
        self.at += length + 2;
        let Some((length, trim)) = end_of_action(self.rest()) else {
            return self.fault("comment ends before closing delimiter");
        };
        self.at += length;
        Ok(trim)
    }

    fn token(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return self.fault("unclosed action") };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.take(spaces_before_end(rest), Token::Space),
            '|' => self.take(1, Token::Pipe),
            '(' => self.take(1, Token::Left),
            ')' => self.take(1, Token::Right),
            ',' => self.take(1, Token::Comma),
            ':' if rest.starts_with(":=") => self.take(2, Token::Declare),
            ':' => return self.fault("expected :="),
            '=' => self.take(1, Token::Assign),
            '"' => return self.quoted(),
            '`' => match rest[1..].find('`') {
                Some(length) => self.take(length + 2, Token::Quoted(rest[1..=length].replace('\r', ""))),
                None => return self.fault("unterminated raw quoted string"),
            },
            '\'' => return self.character(),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.field(),
            '$' => {
                let length = 1 + word_length(&rest[1..]);
                self.take(length, Token::Variable(rest[..length].to_owned()));
                return self.terminated();
            }
            '+' | '-' | '.' | '0'..='9' => return self.number(),
            first if first == '_' || first.is_alphabetic() => {
                let length = word_length(rest);
                self.take(length, Token::Word(rest[..length].to_owned()));
                return self.terminated();
            }
            other if other.is_ascii_graphic() => {
                return self.fault(format!("unexpected {:?} in command", other.to_string()));
            }
            other => {
                let problem = format!("unrecognized character in action: {}", code_point(other));
                return self.fault(problem);
            }
        }
        Ok(())
    }

    fn field(&mut self) -> Result<(), Fault> {
        let length = word_length(&self.rest()[1..]);
        if length == 0 {
            self.take(1, Token::Dot);
        } else {
            self.take(length + 1, Token::Field(self.rest()[1..=length].to_owned()));
        }
        self.terminated()
    }

    /// A name ends where something else can begin.
    fn terminated(&self) -> Result<(), Fault> {
        let rest = self.rest();
        let ends = [' ', '\t', '\r', '\n', '.', ',', '|', ':', '=', ')', '('];
        match rest.chars().next() {
            Some(next) if !ends.contains(&next) && !rest.starts_with("}}") => {
                self.fault(format!("bad character {}", code_point(next)))
            }
            _ => Ok(()),
        }
    }

    fn quoted(&mut self) -> Result<(), Fault> {
        match unquote(&self.rest()[1..], '"') {
            Ok((text, length)) => self.take(length + 2, Token::Quoted(text)),
            Err(problem) => return self.fault(problem),
        }
        Ok(())
    }

    /// `'a'` is a number, as Go has it.
    fn character(&mut self) -> Result<(), Fault> {
        let (text, length) = match unquote(&self.rest()[1..], '\'') {
            Ok(found) => found,
            Err(problem) => return self.fault(problem.replace("quoted string", "character constant")),
        };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(only), None) => self.take(length + 2, Token::Integer(i64::from(u32::from(only)))),
            _ => return self.fault(format!("malformed character constant: '{text}'")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut length = usize::from(rest.starts_with(['+', '-']));
        let hexadecimal = rest[length..].starts_with("0x") || rest[length..].starts_with("0X");
        while let Some(next) = rest[length..].chars().next() {
            let sign = matches!(next, '+' | '-') && !hexadecimal && rest[..length].ends_with(['e', 'E']);
            if !sign && next != '.' && next != '_' && !next.is_alphanumeric() {
                break;
            }
            length += next.len_utf8();
        }
        match parse_number(&rest[..length]) {
            Some(token) => self.take(length, token),
            None => return self.fault(format!("bad number syntax: {:?}", &rest[..length])),
        }
        Ok(())
    }
}

/// `{{-` with a space behind it.
fn is_trimming(open: &str) -> bool {
    open.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(SPACES))
}

/// How long the end of an action is, if it is here, and whether it trims.
fn end_of_action(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with("}}") {
        return Some((2, false));
    }
    let mut characters = rest.chars();
    (characters.next().is_some_and(|first| SPACES.contains(&first)) && characters.as_str().starts_with("-}}"))
        .then_some((4, true))
}

/// White space, without the last one where that belongs to ` -}}`.
fn spaces_before_end(rest: &str) -> usize {
    let length = rest.len() - rest.trim_start_matches(SPACES).len();
    if rest[length..].starts_with("-}}") { length - 1 } else { length }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

/// Go's `%#U`.
fn code_point(character: char) -> String {
    format!("U+{:04X} '{character}'", u32::from(character))
}

fn parse_number(text: &str) -> Option<Token> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    if let Some((digits, radix)) = prefixed {
        return integer(sign, digits, radix);
    }
    if lower.contains(['.', 'e']) {
        let plain = lower.replace('_', "");
        let number: f64 = plain
            .bytes()
            .all(|b| b.is_ascii_digit() || b".e+-".contains(&b))
            .then(|| plain.parse().ok())??;
        return number.is_finite().then_some(Token::Float(if sign < 0 { -number } else { number }));
    }
    match lower.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => integer(sign, octal, 8),
        _ => integer(sign, &lower, 10),
    }
}

fn integer(sign: i64, digits: &str, radix: u32) -> Option<Token> {
    let plain = digits.replace('_', "");
    if plain.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(&plain, radix)
        .ok()
        .and_then(|number| i64::try_from(number * i128::from(sign)).ok())
        .map(Token::Integer)
}

/// A Go string up to its closing quote, and how many bytes of source it took.
fn unquote(source: &str, quote: char) -> Result<(String, usize), String> {
    let mut bytes = Vec::new();
    let mut characters = source.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' => break,
            character if character == quote => {
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), at));
            }
            '\\' => {
                let (found, length) = escape(&source[at + 1..]).ok_or("invalid syntax in quoted string")?;
                bytes.extend(found);
                for _ in 0..length {
                    characters.next();
                }
            }
            character => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err("unterminated quoted string".into())
}

/// What stands behind a backslash: the bytes meant, and how many characters it took.
fn escape(rest: &str) -> Option<(Vec<u8>, usize)> {
    let first = rest.chars().next()?;
    let plain = |byte: u8| Some((vec![byte], 1));
    let digits = |from: usize, count: usize, radix: u32| -> Option<u32> {
        let digits = rest.get(from..from + count)?;
        let valid = digits.chars().all(|digit| digit.is_digit(radix));
        valid.then(|| u32::from_str_radix(digits, radix).ok())?
    };
    let scalar = |count: usize| {
        let character = char::from_u32(digits(1, count, 16)?)?;
        Some((character.to_string().into_bytes(), count + 1))
    };
    match first {
        'a' => plain(7),
        'b' => plain(8),
        'f' => plain(12),
        'n' => plain(b'\n'),
        'r' => plain(b'\r'),
        't' => plain(b'\t'),
        'v' => plain(11),
        '\\' | '"' | '\'' => plain(u8::try_from(first).ok()?),
        'x' => Some((vec![u8::try_from(digits(1, 2, 16)?).ok()?], 3)),
        'u' => scalar(4),
        'U' => scalar(8),
        '0'..='7' => Some((vec![u8::try_from(digits(0, 3, 8)?).ok()?], 3)),
        _ => None,
    }
}
