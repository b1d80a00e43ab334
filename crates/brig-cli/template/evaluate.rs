//! Nodes on data.

use serde_json::Value;

use super::lex::Span;
use super::parse::{Branch, Command, Node, Operand, Pipe, Term};
use super::value::Item;
use super::{Data, MAX_STEPS, functions};

/// What went wrong, and at which piece of the source.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    /// The byte that is named as its place.
    pub(super) at: usize,
    pub(super) problem: String,
    pub(super) unknown_field: bool,
}

/// What is left of the steps that an evaluation may take.
#[derive(Debug)]
pub(super) struct Steps(u64);

impl Steps {
    /// Takes a step, and those for so many bytes of text.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), String> {
        let cost = 1 + bytes as u64 / 64;
        self.0 = self.0.checked_sub(cost).ok_or_else(|| format!("more than {MAX_STEPS} steps"))?;
        Ok(())
    }
}

/// Evaluates a template.
pub(super) fn run(nodes: &[Node], data: Data<'_>, out: &mut String) -> Result<(), Fault> {
    let root = Item::Data(data.value, false);
    let mut evaluation =
        Evaluation { data, steps: Steps(MAX_STEPS), variables: vec![("$".into(), root.clone())], out };
    evaluation.nodes(nodes, &root).map(|_| ())
}

/// How a list of nodes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Evaluation<'a, 'o> {
    data: Data<'a>,
    steps: Steps,
    variables: Vec<(String, Item<'a>)>,
    out: &'o mut String,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

fn fault<T>(span: Span, problem: impl Into<String>) -> Result<T> {
    Err(Fault { span, at: span.start, problem: problem.into(), unknown_field: false })
}

impl<'a> Evaluation<'a, '_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Item<'a>) -> Result<Flow> {
        let outside = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(outside);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Item<'a>) -> Result<Flow> {
        match node {
            Node::Text(text) => {
                self.print(text, Span { start: 0, end: 0 })?;
                Ok(Flow::On)
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.print(&value.shown(), pipe.span)?;
                }
                Ok(Flow::On)
            }
            Node::If(branch) => self.choice(branch, dot, false),
            Node::With(branch) => self.choice(branch, dot, true),
            Node::Range(branch) => self.range(branch, dot),
            Node::Break => Ok(Flow::Break),
            Node::Continue => Ok(Flow::Continue),
        }
    }

    fn print(&mut self, text: &str, span: Span) -> Result<()> {
        self.steps.take(text.len()).or_else(|problem| fault(span, problem))?;
        self.out.push_str(text);
        Ok(())
    }

    fn choice(&mut self, branch: &Branch, dot: &Item<'a>, moves_dot: bool) -> Result<Flow> {
        let outside = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true => self.nodes(&branch.body, if moves_dot { &value } else { dot }),
            false => self.nodes(&branch.otherwise, dot),
        };
        self.variables.truncate(outside);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Item<'a>) -> Result<Flow> {
        let outside = self.variables.len();
        // Its variables are set at each turn.
        let over = self.commands(&branch.pipe, dot)?;
        let count = match over.value() {
            Value::Null => 0,
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            // Go's `range 3`.
            Value::Number(number) if !number.is_f64() => {
                number.as_u64().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
            }
            _ => return fault(branch.pipe.span, format!("range can't iterate over {}", over.shown())),
        };
        for index in 0..count {
            self.variables.truncate(outside);
            if self.turn(branch, &over, index)? == Flow::Break {
                break;
            }
        }
        self.variables.truncate(outside);
        match count {
            0 => self.nodes(&branch.otherwise, dot),
            _ => Ok(Flow::On),
        }
    }

    /// One turn of a range.
    fn turn(&mut self, branch: &Branch, over: &Item<'a>, index: usize) -> Result<Flow> {
        self.steps.take(0).or_else(|problem| fault(branch.pipe.span, problem))?;
        let (key, element) = match over.value() {
            Value::Object(map) => {
                let key = map.keys().nth(index).cloned().unwrap_or_default();
                let element = over.entry(&key);
                (Item::made(key), element)
            }
            Value::Array(_) => (Item::made(index), over.element(index).unwrap_or(Item::Missing)),
            _ => (Item::made(index), Item::made(index)),
        };
        match branch.pipe.variables.as_slice() {
            [value] => self.set(value, element.clone(), branch.pipe.assigns),
            [first, second] => {
                self.set(first, key, branch.pipe.assigns);
                self.set(second, element.clone(), branch.pipe.assigns);
            }
            _ => {}
        }
        self.nodes(&branch.body, &element)
    }

    fn set(&mut self, name: &str, value: Item<'a>, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, place)) if assigns => *place = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    /// The value of a pipeline, to which its variable is set.
    fn pipe(&mut self, pipe: &Pipe, dot: &Item<'a>) -> Result<Item<'a>> {
        let value = self.commands(pipe, dot)?;
        if let [name] = pipe.variables.as_slice() {
            self.set(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Item<'a>) -> Result<Item<'a>> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Item::Missing))
    }

    /// One command, with the value of the one before it as last argument.
    fn command(&mut self, command: &Command, dot: &Item<'a>, last: Option<Item<'a>>) -> Result<Item<'a>> {
        let [first, arguments @ ..] = command.operands.as_slice() else { return Ok(Item::Missing) };
        self.steps.take(0).or_else(|problem| fault(command.span, problem))?;
        if let Term::Function(name) = &first.term {
            let found = self.call(name, command.span, arguments, dot, last)?;
            return self.path(found, &first.path, first.span);
        }
        if let Some(value) = self.label(first, arguments, dot, last.as_ref())? {
            return Ok(value);
        }
        if !arguments.is_empty() || last.is_some() {
            return match first.path.last() {
                Some((name, span)) => fault(
                    Span { start: span.start, end: first.span.end },
                    format!("{name} is not a method but has arguments"),
                ),
                None => fault(first.span, "can't give argument to non-function"),
            };
        }
        self.operand(first, dot)
    }

    /// docker's method `.Label "key"`.
    fn label(
        &mut self,
        first: &Operand,
        arguments: &[Operand],
        dot: &Item<'a>,
        last: Option<&Item<'a>>,
    ) -> Result<Option<Item<'a>>> {
        let receiver = match &first.term {
            Term::Dot => dot.clone(),
            Term::Variable(name) => self.variable(name),
            _ => return Ok(None),
        };
        let ([(name, span)], Some(labels), true) =
            (first.path.as_slice(), self.data.labels, self.is_root(&receiver))
        else {
            return Ok(None);
        };
        if name != "Label" {
            return Ok(None);
        }
        let mut values = self.arguments(arguments, dot)?;
        values.extend(last.cloned());
        let [Value::String(key)] = values.iter().map(Item::value).collect::<Vec<_>>()[..] else {
            return fault(*span, "wrong arguments for Label: want one string");
        };
        let text = match self.data.headings {
            true => heading_of_label(key),
            false => labels.get(key).cloned().unwrap_or_default(),
        };
        Ok(Some(Item::made(text)))
    }

    fn arguments(&mut self, operands: &[Operand], dot: &Item<'a>) -> Result<Vec<Item<'a>>> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn call(
        &mut self,
        name: &str,
        span: Span,
        operands: &[Operand],
        dot: &Item<'a>,
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        if let "and" | "or" = name {
            return self.short_circuit(name == "or", span, operands, dot, last);
        }
        let mut arguments = self.arguments(operands, dot)?;
        arguments.extend(last);
        let called = match (self.data.json, arguments.as_mut_slice()) {
            _ if self.data.headings && functions::leaves_headings(name) => {
                Ok(arguments.first().cloned().unwrap_or(Item::Missing))
            }
            (Some(json), [root]) if name == "json" && self.is_root(root) => Ok(Item::made(json.to_string())),
            _ => functions::call(name, &arguments, &mut self.steps),
        };
        let called = called.or_else(|problem| fault(span, problem))?;
        if let Value::String(text) = called.value() {
            self.steps.take(text.len()).or_else(|problem| fault(span, problem))?;
        }
        Ok(called)
    }

    /// `and` and `or` look at no more than they need.
    fn short_circuit(
        &mut self,
        stop: bool,
        span: Span,
        operands: &[Operand],
        dot: &Item<'a>,
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let mut value = None;
        for operand in operands {
            let found = self.operand(operand, dot)?;
            if found.is_true() == stop {
                return Ok(found);
            }
            value = Some(found);
        }
        let name = if stop { "or" } else { "and" };
        let problem = format!("wrong number of args for {name}: want at least 1 got 0");
        last.or(value).map_or_else(|| fault(span, problem), Ok)
    }

    fn operand(&mut self, operand: &Operand, dot: &Item<'a>) -> Result<Item<'a>> {
        let start = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Item::made(Value::Null),
            Term::Bool(value) => Item::made(*value),
            Term::Text(text) => Item::made(text.as_str()),
            Term::Integer(number) => Item::made(*number),
            Term::Float(number) => Item::made(*number),
            Term::Variable(name) => self.variable(name),
            Term::Function(name) => self.call(name, operand.span, &[], dot, None)?,
            Term::Pipe(pipe) => self.pipe(pipe, dot)?,
        };
        self.path(start, &operand.path, operand.span)
    }

    /// Whether this is what the template is evaluated on, and no part of it.
    fn is_root(&self, item: &Item<'a>) -> bool {
        matches!(item, Item::Data(value, _) if std::ptr::eq(*value, self.data.value))
    }

    fn variable(&self, name: &str) -> Item<'a> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map_or(Item::Missing, |(_, value)| value.clone())
    }

    fn path(&mut self, start: Item<'a>, path: &[(String, Span)], whole: Span) -> Result<Item<'a>> {
        let mut value = start;
        for (name, span) in path {
            self.steps.take(0).or_else(|problem| fault(*span, problem))?;
            value = match value.field(name) {
                Some(found) => found,
                None => {
                    let at = path.get(1).map_or(span.start, |(_, second)| second.start);
                    return self.no_field(&value, name, at, whole);
                }
            };
        }
        Ok(value)
    }

    fn no_field(&self, value: &Item<'a>, name: &str, at: usize, span: Span) -> Result<Item<'a>> {
        let problem = match value.value() {
            Value::Null => format!("nil pointer evaluating interface {{}}.{name}"),
            Value::Object(map) => {
                let is_row = self.data.labels.is_some() || self.data.headings;
                let names: Vec<_> = map.keys().map(String::as_str).collect();
                match is_row {
                    true => format!("can't evaluate field {name}; the fields are {}", names.join(", ")),
                    false => format!("can't evaluate field {name}"),
                }
            }
            _ => format!("can't evaluate field {name} in type {}", value.kind()),
        };
        Err(Fault { span, at, problem, unknown_field: true })
    }
}

/// docker's heading for a label: its last part, in words.
fn heading_of_label(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    last.replace(['-', '_'], " ")
}
