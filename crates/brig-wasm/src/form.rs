//! What a WebAssembly binary is: read once, from its bytes, never from a file name.
//!
//! ```text
//! bytes 0-3  00 61 73 6d   `\0asm`
//! bytes 4-7  01 00 00 00   a core module       0d 00 01 00   a component
//! then       sections; only imports and exports at the top level are looked at, everything else is stepped over
//! ```
//!
//! This is not a validation: whether the code is well-formed is found out by the compiler, in a child with limits.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmparser::{Chunk, Imports, Parser, Payload};

/// The largest binary that is looked at, in bytes. Python with its packages takes tens of megabytes.
pub const MAX_BYTES: usize = 512 << 20;
/// How many names of unserved imports are kept for the error message.
const MAX_UNSERVED: usize = 8;
/// How many characters of a name from a binary are kept.
const MAX_NAME: usize = 200;
/// How far into a text file the first parenthesis may be, in bytes.
const MAX_PREAMBLE: usize = 64 << 10;

/// The two binary encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A core module.
    Module,
    /// A component (component model, binary layer 1).
    Component,
}

impl Encoding {
    /// Decides from the first eight bytes of a file; `None` if they aren't WebAssembly.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head.get(..8)? {
            [0, b'a', b's', b'm', 1, 0, 0, 0] => Some(Self::Module),
            [0, b'a', b's', b'm', 0x0d, 0, 1, 0] => Some(Self::Component),
            _ => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Module => "module",
            Self::Component => "component",
        })
    }
}

/// What a binary offers to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It runs once, from start to end: `_start`, or `wasi:cli/run`.
    Command,
    /// It answers HTTP requests: `wasi:http/incoming-handler`, or `wasi:http/handler`.
    Http,
    /// It has functions that somebody calls: a reactor, a plugin.
    Library,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Http => "http handler",
            Self::Library => "library",
        })
    }
}

/// The version of WASI that a binary is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wasi {
    /// None: it imports nothing of WASI.
    None,
    /// `wasi_unstable`, the snapshot before p1.
    P0,
    /// `wasi_snapshot_preview1`.
    P1,
    /// `wasi:*@0.2`.
    P2,
    /// `wasi:*@0.3`.
    P3,
}

impl fmt::Display for Wasi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no WASI",
            Self::P0 => "WASI p0",
            Self::P1 => "WASI p1",
            Self::P2 => "WASI p2",
            Self::P3 => "WASI p3",
        })
    }
}

/// What a binary is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// Module or component.
    pub encoding: Encoding,
    /// What it offers.
    pub role: Role,
    /// The WASI that it was written for.
    pub wasi: Wasi,
    /// The first imports that brig doesn't serve, as `module::name` or as a component's import name. A binary that
    /// has any can't be run, but it may be stored, moved and linked.
    #[serde(default)]
    pub unserved: Vec<String>,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {}", self.encoding, self.role, self.wasi)
    }
}

/// Why bytes have no form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// They don't begin with the magic.
    #[error("not WebAssembly: the file begins with {head}, not with `\\0asm` and a known version")]
    NotWasm {
        /// The first bytes, in hexadecimal.
        head: String,
    },
    /// There are too many.
    #[error("the WebAssembly binary has {size} bytes; brig takes up to {MAX_BYTES}")]
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// The sections make no sense.
    #[error("corrupt WebAssembly {encoding}, at byte {offset}: {message}")]
    Corrupt {
        /// What the header says that it is.
        encoding: Encoding,
        /// Where.
        offset: u64,
        /// What is wrong there.
        message: String,
    },
}

/// Why a binary of this form can't be run as a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRunnable {
    /// It isn't a command.
    #[error("it is a {form}: only a command (with `_start` or `wasi:cli/run`) can be run")]
    NotCommand {
        /// What it is.
        form: String,
    },
    /// It needs a newer WASI.
    #[error("it is written for {wasi}, which brig doesn't serve yet; build it for WASI p2 (0.2)")]
    Wasi {
        /// What it needs.
        wasi: Wasi,
    },
    /// It has imports that nobody serves.
    #[error("it imports {imports}, which brig doesn't serve")]
    Imports {
        /// The first of them, each in backticks.
        imports: String,
    },
}

impl Form {
    /// Reads the form from the whole binary. The work is bounded by the number of bytes outside of code and data.
    pub fn detect(bytes: &[u8]) -> Result<Self, FormError> {
        if bytes.len() > MAX_BYTES {
            return Err(FormError::TooLarge { size: bytes.len() });
        }
        let Some(encoding) = Encoding::sniff(bytes) else {
            return Err(FormError::NotWasm { head: hex_head(bytes) });
        };
        let mut names = Names::default();
        names.read(bytes).map_err(|Bad { offset, message }| FormError::Corrupt {
            encoding,
            offset,
            message,
        })?;
        Ok(names.into_form(encoding))
    }

    /// Whether it can be run as a container, and why not.
    pub fn check_runnable(&self) -> Result<(), NotRunnable> {
        if self.wasi == Wasi::P3 {
            return Err(NotRunnable::Wasi { wasi: self.wasi });
        }
        if self.role != Role::Command {
            return Err(NotRunnable::NotCommand { form: self.to_string() });
        }
        if !self.unserved.is_empty() {
            let quoted: Vec<_> = self.unserved.iter().map(|name| format!("`{name}`")).collect();
            return Err(NotRunnable::Imports { imports: quoted.join(", ") });
        }
        Ok(())
    }
}

/// Whether this looks like WebAssembly text: after white space and comments it begins with `(module` or `(component`.
pub fn is_text(bytes: &[u8]) -> bool {
    let mut rest = &bytes[..bytes.len().min(MAX_PREAMBLE)];
    loop {
        rest = rest.trim_ascii_start();
        let after = if rest.starts_with(b";;") {
            rest.iter().position(|&byte| byte == b'\n')
        } else if rest.starts_with(b"(;") {
            block_comment(rest)
        } else {
            break;
        };
        let Some(after) = after else { return false };
        rest = &rest[after..];
    }
    let Some(word) = rest.strip_prefix(b"(") else { return false };
    let word = word.trim_ascii_start();
    [&b"module"[..], b"component"]
        .iter()
        .any(|name| word.strip_prefix(*name).is_some_and(|end| end.first().is_none_or(is_word_end)))
}

fn is_word_end(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'(' | b')' | b';' | b'$')
}

/// The length of the block comment at the start; they nest.
fn block_comment(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2)? {
            b"(;" => (depth, at) = (depth + 1, at + 2),
            b";)" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn hex_head(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing (it is empty)".into();
    }
    let head: Vec<_> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    head.join(" ")
}

/// Where the sections stop making sense, and why.
struct Bad {
    offset: u64,
    message: String,
}

impl Bad {
    fn new(offset: usize, message: &str) -> Self {
        // No machine has more bytes than that.
        Self { offset: u64::try_from(offset).unwrap_or(u64::MAX), message: message.into() }
    }
}

impl From<wasmparser::BinaryReaderError> for Bad {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::new(error.offset(), error.message())
    }
}

/// What the imports and exports say, while they are read.
#[derive(Default)]
struct Names {
    command: bool,
    http: bool,
    wasi: Option<Wasi>,
    unserved: Vec<String>,
}

impl Names {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        let mut parser = Parser::new(0);
        let mut rest = bytes;
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
                // With `eof` the parser never asks for more: it fails.
                return Ok(());
            };
            rest = &rest[consumed..];
            // Nested modules and components are stepped over: what they import is the outer component's business.
            let skip = match payload {
                Payload::CodeSectionStart { size, .. } => {
                    parser.skip_section();
                    u64::from(size)
                }
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => {
                    u64::try_from(unchecked_range.len()).unwrap_or(u64::MAX)
                }
                Payload::End(_) => return Ok(()),
                payload => self.section(payload).map(|()| 0)?,
            };
            let after = usize::try_from(skip).ok().and_then(|skip| rest.get(skip..));
            rest = after.ok_or_else(|| Bad::new(bytes.len(), "unexpected end"))?;
        }
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Bad> {
        match payload {
            Payload::ImportSection(section) => {
                for group in section {
                    self.core_imports(group?)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.command |= export.name == "_start" && export.kind == wasmparser::ExternalKind::Func;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.component_import(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    self.component_export(export?.name.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn core_imports(&mut self, group: Imports<'_>) -> Result<(), Bad> {
        match group {
            Imports::Single(_, import) => self.core_import(import.module, import.name),
            Imports::Compact1 { module, items } => {
                for item in items {
                    self.core_import(module, item?.name);
                }
            }
            Imports::Compact2 { module, names, .. } => {
                for name in names {
                    self.core_import(module, name?);
                }
            }
        }
        Ok(())
    }

    fn core_import(&mut self, module: &str, name: &str) {
        match module {
            "wasi_snapshot_preview1" => self.seen(Wasi::P1),
            "wasi_unstable" => self.seen(Wasi::P0),
            _ => self.unserved(format!("{}::{}", shown(module), shown(name))),
        }
    }

    fn component_import(&mut self, name: &str) {
        match wasi_interface(name) {
            Some((interface, wasi)) => {
                self.seen(wasi);
                if wasi != Wasi::P2 || !is_served(interface) {
                    self.unserved(shown(name));
                }
            }
            None => self.unserved(shown(name)),
        }
    }

    fn component_export(&mut self, name: &str) {
        let Some((interface, wasi)) = wasi_interface(name) else { return };
        match interface {
            "cli/run" => self.command = true,
            "http/incoming-handler" | "http/handler" => self.http = true,
            _ => return,
        }
        self.seen(wasi);
    }

    fn seen(&mut self, wasi: Wasi) {
        self.wasi = self.wasi.max(Some(wasi));
    }

    fn unserved(&mut self, name: String) {
        if self.unserved.len() < MAX_UNSERVED {
            self.unserved.push(name);
        }
    }

    fn into_form(self, encoding: Encoding) -> Form {
        let role = match (self.command, self.http) {
            (true, _) => Role::Command,
            (false, true) => Role::Http,
            (false, false) => Role::Library,
        };
        Form { encoding, role, wasi: self.wasi.unwrap_or(Wasi::None), unserved: self.unserved }
    }
}

/// `wasi:cli/run@0.2.3` is the interface `cli/run` of p2. Names of WASI's own packages only.
fn wasi_interface(name: &str) -> Option<(&str, Wasi)> {
    let (interface, version) = name.strip_prefix("wasi:")?.split_once('@')?;
    let mut numbers = version.split('.');
    let wasi = match (numbers.next()?, numbers.next()?) {
        ("0", "2") => Wasi::P2,
        ("0", "3") => Wasi::P3,
        _ => return None,
    };
    Some((interface, wasi))
}

/// The world `wasi:cli/imports` of WASI 0.2.
fn is_served(interface: &str) -> bool {
    let Some((package, name)) = interface.split_once('/') else { return false };
    let names: &[&str] = match package {
        "io" => &["error", "poll", "streams"],
        "clocks" => &["monotonic-clock", "wall-clock"],
        "random" => &["random", "insecure", "insecure-seed"],
        "filesystem" => &["types", "preopens"],
        "cli" => &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
        "sockets" => &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
        _ => return false,
    };
    names.contains(&name)
}

/// A name from a binary, fit for a message.
fn shown(name: &str) -> String {
    let mut shown: String =
        name.chars().take(MAX_NAME).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    if shown.len() < name.len() && shown.chars().count() == MAX_NAME {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::detect(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_p1_command() {
        let form = form(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (memory (export "memory") 1)
                (func (export "_start")))"#,
        );
        assert_eq!(form.to_string(), "module command for WASI p1");
        assert_eq!(form.check_runnable(), Ok(()));
    }

    #[test]
    fn unserved_imports_are_named() {
        let form = form(r#"(module (import "env" "foo" (func)) (func (export "_start")))"#);
        let error = form.check_runnable().unwrap_err();
        assert_eq!(error.to_string(), "it imports `env::foo`, which brig doesn't serve");
    }

    #[test]
    fn names_from_a_binary_are_bounded() {
        let text = format!(r#"(module (import "a\1b[2Jb" "{}" (func)))"#, "x".repeat(5000));
        let form = form(&text);
        let name = &form.unserved[0];
        assert!(name.len() < 500, "{name}");
        assert!(name.starts_with("a\u{fffd}[2Jb::xx"), "{name}");
    }

    #[test]
    fn a_library_is_not_run() {
        let form = form(r#"(module (func (export "add") (param i32) (result i32) local.get 0))"#);
        assert_eq!((form.role, form.wasi), (Role::Library, Wasi::None));
        assert!(matches!(form.check_runnable(), Err(NotRunnable::NotCommand { .. })));
    }

    #[test]
    fn a_start_that_is_no_function_makes_no_command() {
        assert_eq!(form(r#"(module (memory (export "_start") 1))"#).role, Role::Library);
    }

    #[test]
    fn components() {
        let command = form(
            r#"(component
                (import "wasi:cli/stdout@0.2.3" (instance))
                (core module (import "env" "inner" (func)))
                (instance $run)
                (export "wasi:cli/run@0.2.3" (instance $run)))"#,
        );
        assert_eq!(command.to_string(), "component command for WASI p2");
        assert_eq!(command.check_runnable(), Ok(()));
        let http = form(
            r#"(component
                (import "wasi:http/types@0.2.0" (instance))
                (instance $h)
                (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#,
        );
        assert_eq!((http.role, http.wasi), (Role::Http, Wasi::P2));
        assert_eq!(http.unserved, ["wasi:http/types@0.2.0"]);
        let newer = form(r#"(component (instance $r) (export "wasi:cli/run@0.3.0" (instance $r)))"#);
        assert_eq!(newer.check_runnable(), Err(NotRunnable::Wasi { wasi: Wasi::P3 }));
    }

    #[test]
    fn bytes_that_are_not_wasm() {
        for bytes in [&b""[..], b"\0asm", b"\x7fELF\x02\x01\x01\0", b"\0asm\x02\0\0\0"] {
            assert!(matches!(Form::detect(bytes), Err(FormError::NotWasm { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_a_form_but_never_a_panic() {
        let module = wat::parse_str(
            r#"(component (core module (func (export "f") i32.const 1 drop)) (import "wasi:io/poll@0.2.0" (instance)))"#,
        )
        .unwrap();
        let mut errors = 0;
        for end in 0..module.len() {
            errors += usize::from(Form::detect(&module[..end]).is_err());
        }
        assert!(errors > module.len() / 2, "{errors} of {}", module.len());
    }

    #[test]
    fn every_byte_flipped_never_panics() {
        let module = wat::parse_str(
            r#"(module (import "wasi_unstable" "x" (func)) (func (export "_start") i32.const 1 drop))"#,
        )
        .unwrap();
        for at in 8..module.len() {
            for bit in 0..8 {
                let mut changed = module.clone();
                changed[at] ^= 1 << bit;
                // Either is fine.
                let _form = Form::detect(&changed);
            }
        }
    }

    #[test]
    fn text_is_recognised_by_its_content() {
        for text in
            ["(module)", "  ;; a comment\n(; (; nested ;) ;)\n( component $c)", "(module$m)", "(module\n"]
        {
            assert!(is_text(text.as_bytes()), "{text}");
        }
        for text in ["", "(", "(modules)", "#!/bin/sh", "(; open", ";; only a comment", "\0asm\x01\0\0\0"] {
            assert!(!is_text(text.as_bytes()), "{text}");
        }
    }
}
