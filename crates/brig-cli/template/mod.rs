//! Go's `text/template` with docker's functions, over JSON values: what `--format TEMPLATE` is written in.
//!
//! ```text
//! text ── lex ──▶ tokens ── parse ──▶ nodes ── evaluate(data) ──▶ text
//! ```
//!
//! Fields, variables, pipelines, `if`, `range`, `with`, comments and trimming are Go's, and so are the words of errors.
//! `define`, `template` and `block` are refused: one line of output needs no templates in templates, and without them
//! nothing recurses. An object is a struct, of which a field that isn't there is an error, or a map (`value::MAPS`), of
//! which it is no value, as docker's types have it.
//!
//! # Limits
//! A template is at most [`MAX_LENGTH`] bytes long and nests [`MAX_DEPTH`] deep; one evaluation takes at most
//! [`MAX_STEPS`] steps, where 64 bytes of text made are a step. So no template recurses, runs or prints without end.

mod evaluate;
mod format;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub(crate) use format::quote;

/// The longest template, in bytes.
const MAX_LENGTH: usize = 64 << 10;
/// How deep parentheses and blocks nest.
const MAX_DEPTH: usize = 64;
/// How many steps one evaluation takes.
const MAX_STEPS: u64 = 1 << 20;

/// A template that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<parse::Node>,
}

/// What a template is evaluated on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    /// The dot.
    pub(crate) value: &'a Value,
    /// What `.Label "key"` looks among, where there is such a method.
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
    /// What `json .` prints, where it has other names than the dot.
    pub(crate) json: Option<&'a Value>,
    /// Whether the dot's fields are headings: docker's functions leave those as they are.
    pub(crate) headings: bool,
}

impl<'a> Data<'a> {
    /// A document.
    pub(crate) fn document(value: &'a Value) -> Self {
        Self { value, labels: None, json: None, headings: false }
    }
}

/// Why a template can't be read or evaluated, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    message: String,
    unknown_field: bool,
}

impl TemplateError {
    /// Whether the template names a field that there isn't.
    pub(crate) fn is_unknown_field(&self) -> bool {
        self.unknown_field
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let fault = |fault: lex::Fault| TemplateError {
            message: format!("template: :{}: {}", line_of(text, fault.at), fault.problem),
            unknown_field: false,
        };
        if text.len() > MAX_LENGTH {
            let problem = format!("longer than {MAX_LENGTH} bytes");
            return Err(fault(lex::Fault { at: 0, problem }));
        }
        let tokens = lex::lex(text).map_err(fault)?;
        let nodes = parse::parse(text, &tokens).map_err(fault)?;
        Ok(Self { text: text.to_owned(), nodes })
    }

    /// The text for this data.
    pub(crate) fn execute(&self, data: Data<'_>) -> Result<String, TemplateError> {
        let mut out = String::new();
        self.execute_into(data, &mut out).map(|()| out)
    }

    /// The text for this data, up to where it failed.
    pub(crate) fn execute_into(&self, data: Data<'_>, out: &mut String) -> Result<(), TemplateError> {
        evaluate::run(&self.nodes, data, out).map_err(|fault| self.failed(&fault))
    }

    /// Whether it names this field: what is dear to find out is only then found out.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        parse::mentions(&self.nodes, field)
    }

    fn failed(&self, fault: &evaluate::Fault) -> TemplateError {
        let before = self.text.get(..fault.at).unwrap_or_default();
        let column = before.rfind('\n').map_or(before.len(), |line| before.len() - line - 1);
        let line = line_of(&self.text, fault.at);
        let place = self.text.get(fault.span.start..fault.span.end).unwrap_or_default();
        let shown: String = place.chars().take(40).collect();
        let dots = if shown.len() < place.len() { "..." } else { "" };
        TemplateError {
            message: format!(
                "template: :{line}:{column}: executing \"\" at <{shown}{dots}>: {}",
                fault.problem
            ),
            unknown_field: fault.unknown_field,
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
