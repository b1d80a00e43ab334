//! From tokens to nodes.

use super::MAX_DEPTH;
use super::lex::{Fault, Span, Token};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipe),
    /// `{{if pipeline}}…{{else}}…{{end}}`
    If(Branch),
    /// `{{with pipeline}}…{{else}}…{{end}}`
    With(Branch),
    /// `{{range pipeline}}…{{else}}…{{end}}`
    Range(Branch),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// A block with its other half.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipe {
    pub(super) span: Span,
    /// The variables that it sets.
    pub(super) variables: Vec<String>,
    /// Whether they are there already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand, or a function or method with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) span: Span,
    pub(super) operands: Vec<Operand>,
}

/// An operand, and the fields behind it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) span: Span,
    pub(super) term: Term,
    pub(super) path: Vec<(String, Span)>,
}

/// What an operand begins with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// `.`, also before fields.
    Dot,
    Nil,
    Bool(bool),
    Text(String),
    Integer(i64),
    Float(f64),
    /// With its sign.
    Variable(String),
    Function(String),
    Pipe(Box<Pipe>),
}

/// Whether a field is named anywhere.
pub(super) fn mentions(nodes: &[Node], field: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipe) => pipe.mentions(field),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            branch.pipe.mentions(field) || mentions(&branch.body, field) || mentions(&branch.otherwise, field)
        }
    })
}

impl Pipe {
    fn mentions(&self, field: &str) -> bool {
        self.commands.iter().flat_map(|command| &command.operands).any(|operand| {
            let inner = matches!(&operand.term, Term::Pipe(pipe) if pipe.mentions(field));
            inner || operand.path.iter().any(|(name, _)| name == field)
        })
    }
}

/// Reads all of a template.
pub(super) fn parse(text: &str, tokens: &[(Token, Span)]) -> Result<Vec<Node>, Fault> {
    let end = Span { start: text.len(), end: text.len() };
    let variables = vec!["$".to_owned()];
    let mut parser = Parser { tokens, at: 0, end, depth: 0, loops: 0, variables };
    match parser.nodes()? {
        (nodes, None) => Ok(nodes),
        (_, Some(End::End)) => parser.fault("unexpected {{end}}"),
        (_, Some(End::Else(_))) => parser.fault("unexpected {{else}}"),
    }
}

/// What ends a list of nodes.
enum End {
    End,
    /// Maybe with what follows in the same action: `if` or `with`.
    Else(Option<String>),
}

struct Parser<'a> {
    tokens: &'a [(Token, Span)],
    at: usize,
    /// Behind the last byte.
    end: Span,
    depth: usize,
    /// How many `range` this is in.
    loops: usize,
    /// The variables that are there.
    variables: Vec<String>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(self.end, |(_, span)| *span)
    }

    /// The span of the token that was taken last.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.end, |(_, span)| *span)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn accept(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_spaces(&mut self) {
        while self.accept(&Token::Space) {}
    }

    /// A problem at the token that was taken last.
    fn fault<T>(&self, problem: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.last_span().start, problem: problem.into() })
    }

    fn unexpected<T>(&self, token: Option<&Token>, context: &str) -> Result<T, Fault> {
        match token {
            Some(token) => self.fault(format!("unexpected {} in {context}", shown(token))),
            None => self.fault("unexpected EOF"),
        }
    }

    /// Goes one block or parenthesis deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return self.fault(format!("nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to `{{end}}`, `{{else}}` or the end of the text.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>), Fault> {
        let mut nodes = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Text(text) => nodes.push(Node::Text(text.clone())),
                _ => match self.action()? {
                    Ok(node) => nodes.push(node),
                    Err(end) => return Ok((nodes, Some(end))),
                },
            }
        }
        Ok((nodes, None))
    }

    /// What stands between braces: a node, or the end of a list of them.
    fn action(&mut self) -> Result<Result<Node, End>, Fault> {
        self.skip_spaces();
        let Some(Token::Word(word)) = self.peek() else { return self.plain_action().map(Ok) };
        let node = match word.as_str() {
            "if" => self.block(word, Node::If)?,
            "with" => self.block(word, Node::With)?,
            "range" => self.block(word, Node::Range)?,
            "break" => self.jump(word, Node::Break)?,
            "continue" => self.jump(word, Node::Continue)?,
            "end" => {
                self.at += 1;
                self.close("end")?;
                return Ok(Err(End::End));
            }
            "else" => return self.otherwise().map(Err),
            "define" | "template" | "block" => {
                self.at += 1;
                return self.fault(format!("{{{{{word}}}}} is not supported: write it out"));
            }
            _ => self.plain_action()?,
        };
        Ok(Ok(node))
    }

    fn plain_action(&mut self) -> Result<Node, Fault> {
        let pipe = self.pipe("command", &Token::Close)?;
        Ok(Node::Action(pipe))
    }

    fn close(&mut self, context: &str) -> Result<(), Fault> {
        self.skip_spaces();
        match self.next() {
            Some(Token::Close) => Ok(()),
            other => self.unexpected(other, &format!("{{{{{context}}}}}")),
        }
    }

    fn jump(&mut self, word: &str, node: Node) -> Result<Node, Fault> {
        self.at += 1;
        if self.loops == 0 {
            return self.fault(format!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        self.close(word)?;
        Ok(node)
    }

    /// `{{else}}`, `{{else if` or `{{else with`: of those, the block goes on in the same action.
    fn otherwise(&mut self) -> Result<End, Fault> {
        self.at += 1;
        self.skip_spaces();
        match self.peek() {
            Some(Token::Word(word)) if word == "if" || word == "with" => Ok(End::Else(Some(word.clone()))),
            _ => self.close("else").map(|()| End::Else(None)),
        }
    }

    fn block(&mut self, word: &str, wrap: fn(Branch) -> Node) -> Result<Node, Fault> {
        self.at += 1;
        let outside = self.variables.len();
        let node = self.deeper(|parser| parser.branch(word)).map(wrap)?;
        self.variables.truncate(outside);
        Ok(node)
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Fault> {
        let pipe = self.pipe(word, &Token::Close)?;
        let is_loop = usize::from(word == "range");
        self.loops += is_loop;
        let (body, end) = self.nodes()?;
        self.loops -= is_loop;
        let otherwise = match end {
            None => return self.fault("unexpected EOF"),
            Some(End::End) => Vec::new(),
            Some(End::Else(Some(next))) if next == word => {
                let wrap = if next == "if" { Node::If } else { Node::With };
                vec![self.block(&next, wrap)?]
            }
            Some(End::Else(Some(next))) => return self.fault(format!("unexpected {{{{else {next}}}}}")),
            Some(End::Else(None)) => match self.nodes()? {
                (nodes, Some(End::End)) => nodes,
                (_, Some(End::Else(_))) => return self.fault("expected end; found {{else}}"),
                (_, None) => return self.fault("unexpected EOF"),
            },
        };
        Ok(Branch { pipe, body, otherwise })
    }

    fn pipe(&mut self, context: &str, end: &Token) -> Result<Pipe, Fault> {
        self.skip_spaces();
        let start = self.span();
        let (variables, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_spaces();
            let stage = commands.len() + 1;
            let command = self.command()?;
            if command.operands.is_empty() {
                return match self.next() {
                    Some(token) if token == end => self.fault(format!("missing value for {context}")),
                    other => self.unexpected(other, context),
                };
            }
            check_command(&command, stage).map_err(|problem| Fault { at: command.span.start, problem })?;
            commands.push(command);
            match self.next() {
                Some(Token::Pipe) => {}
                Some(token) if token == end => break,
                other => return self.unexpected(other, context),
            }
        }
        let last = commands.last().map_or(start, |command| command.span);
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe { span: start.to(last), variables, assigns, commands })
    }

    /// `$a :=`, `$a =`, or `$a, $b :=` of a range.
    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), Fault> {
        let before = self.at;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            self.at += 1;
            names.push(name.clone());
            self.skip_spaces();
            match self.peek() {
                Some(Token::Comma) if context == "range" && names.len() == 1 => {
                    self.at += 1;
                    self.skip_spaces();
                }
                Some(Token::Comma) => {
                    return self.fault(format!("too many declarations in {context}"));
                }
                Some(Token::Declare) => {
                    self.at += 1;
                    return Ok((names, false));
                }
                Some(Token::Assign) => {
                    if let Some(unknown) = names.iter().find(|name| !self.variables.contains(name)) {
                        return self.fault(format!("undefined variable {unknown:?}"));
                    }
                    self.at += 1;
                    return Ok((names, true));
                }
                _ => break,
            }
        }
        self.at = before;
        Ok((Vec::new(), false))
    }

    /// Operands with spaces between, up to `|`, `)` or `}}`.
    fn command(&mut self) -> Result<Command, Fault> {
        let start = self.span();
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            self.skip_spaces();
            let Some(operand) = self.operand()? else { break };
            operands.push(operand);
            match self.peek() {
                Some(Token::Space | Token::Pipe | Token::Right | Token::Close) => {}
                other => {
                    self.at += 1;
                    return self.unexpected(other, "operand");
                }
            }
        }
        let span = operands.last().map_or(start, |last| start.to(last.span));
        Ok(Command { span, operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let start = self.span();
        // The fields of a bare path are its path's, so nothing is taken for the dot before them.
        let term = match self.peek() {
            Some(Token::Field(_)) => Term::Dot,
            Some(Token::Space | Token::Pipe | Token::Right | Token::Close) | None => return Ok(None),
            Some(token) => {
                self.at += 1;
                self.term(token)?
            }
        };
        let mut path = Vec::new();
        while let Some(Token::Field(name)) = self.peek() {
            if matches!(term, Term::Bool(_) | Term::Nil | Term::Text(_) | Term::Integer(_) | Term::Float(_)) {
                self.at += 1;
                return self.fault(format!("unexpected . after term {:?}", shown_term(&term)));
            }
            path.push((name.clone(), self.span()));
            self.at += 1;
        }
        Ok(Some(Operand { span: start.to(self.last_span()), term, path }))
    }

    fn term(&mut self, token: &Token) -> Result<Term, Fault> {
        Ok(match token {
            Token::Dot => Term::Dot,
            Token::Quoted(text) => Term::Text(text.clone()),
            Token::Integer(number) => Term::Integer(*number),
            Token::Float(number) => Term::Float(*number),
            Token::Variable(name) if self.variables.contains(name) => Term::Variable(name.clone()),
            Token::Variable(name) => return self.fault(format!("undefined variable {name:?}")),
            Token::Left => Term::Pipe(Box::new(
                self.deeper(|parser| parser.pipe("parenthesized pipeline", &Token::Right))?,
            )),
            Token::Word(word) => match word.as_str() {
                "true" => Term::Bool(true),
                "false" => Term::Bool(false),
                "nil" => Term::Nil,
                "if" | "with" | "range" | "end" | "else" | "break" | "continue" | "define" | "template"
                | "block" => return self.fault(format!("unexpected <{word}> in operand")),
                name if super::functions::exists(name) => Term::Function(word.clone()),
                name => return self.fault(format!("function {name:?} not defined")),
            },
            other => return self.unexpected(Some(other), "operand"),
        })
    }
}

/// Behind a `|` only what can be called makes sense, and `nil` alone nowhere.
fn check_command(command: &Command, stage: usize) -> Result<(), String> {
    let Some(first) = command.operands.first() else { return Ok(()) };
    let constant =
        matches!(first.term, Term::Bool(_) | Term::Nil | Term::Text(_) | Term::Integer(_) | Term::Float(_))
            || (first.term == Term::Dot && first.path.is_empty());
    if stage > 1 && constant {
        return Err(format!("non executable command in pipeline stage {stage}"));
    }
    if first.term == Term::Nil && command.operands.len() == 1 {
        return Err("nil is not a command".into());
    }
    Ok(())
}

fn shown_term(term: &Term) -> String {
    match term {
        Term::Bool(value) => value.to_string(),
        Term::Text(text) => text.clone(),
        Term::Integer(number) => number.to_string(),
        Term::Float(number) => number.to_string(),
        _ => "nil".into(),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Text(text) | Token::Quoted(text) => format!("{text:?}"),
        Token::Open => "\"{{\"".into(),
        Token::Close => "\"}}\"".into(),
        Token::Space => "\" \"".into(),
        Token::Dot => "<.>".into(),
        Token::Field(name) => format!("<.{name}>"),
        Token::Variable(name) | Token::Word(name) => format!("<{name}>"),
        Token::Integer(number) => format!("\"{number}\""),
        Token::Float(number) => format!("\"{number}\""),
        Token::Pipe => "\"|\"".into(),
        Token::Left => "\"(\"".into(),
        Token::Right => "\")\"".into(),
        Token::Declare => "\":=\"".into(),
        Token::Assign => "\"=\"".into(),
        Token::Comma => "\",\"".into(),
    }
}
