//! `--format`: how a verb prints what it found.
//!
//! | given | lists | documents (`inspect`, `version`, …) |
//! |---|---|---|
//! | nothing, or `table` | a table | what the verb prints for people |
//! | `json` | one JSON object a line | one line of JSON |
//! | `table TEMPLATE` | a table of the template's columns, with headings | refused |
//! | `TEMPLATE` | the template for each row | the template for the document |
//!
//! Lists are printed by [`crate::list::List`], documents by [`Format::document`]. As docker does, lists take `\t` and `\n`
//! in the flag's text for a tab and a line end; documents don't.

use std::str::FromStr;

use brig_engine::{Error, Result};
use serde_json::Value;

use crate::output;
use crate::template::{Data, Template, TemplateError};

/// What `--format` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// The verb's table.
    Table,
    /// JSON; errors too.
    Json,
    /// A table of these columns.
    Columns(Given),
    /// A template for each.
    Template(Given),
}

/// A template as it was given, and as lists read it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    text: String,
    template: Template,
}

impl Given {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        let unescaped = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self { text: text.to_owned(), template: Template::parse(&unescaped)? })
    }

    /// The template, as lists read it.
    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// A failure of it, as an error of brig's.
    pub(crate) fn failed(&self, error: &TemplateError) -> Error {
        Error::Invalid { what: "template", value: self.text.clone(), problem: error.to_string() }
    }

    /// The text for a document.
    pub(crate) fn of_document(&self, document: &Value) -> Result<String> {
        let template = Template::parse(&self.text).map_err(|error| self.failed(&error))?;
        template.execute(Data::document(document)).map_err(|error| self.failed(&error))
    }
}

impl FromStr for Format {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            text => match text.strip_prefix("table") {
                Some(columns) => Given::parse(columns).map(Self::Columns),
                None => Given::parse(text).map(Self::Template),
            },
        }
    }
}

impl Format {
    /// Whether it is a template, which only verbs with something to print can use.
    pub(crate) fn is_template(&self) -> bool {
        matches!(self, Self::Columns(_) | Self::Template(_))
    }

    /// Prints a document where this format is for documents; otherwise the verb prints what it has for people.
    pub(crate) fn document(format: Option<&Self>, document: &Value) -> Result<bool> {
        match format {
            None | Some(Self::Table) => return Ok(false),
            Some(Self::Json) => output::json_line(document)?,
            Some(Self::Template(given)) => output::line(&given.of_document(document)?)?,
            Some(Self::Columns(_)) => return Err(no_table()),
        }
        Ok(true)
    }
}

/// The error for `table TEMPLATE` where there are no rows.
pub(crate) fn no_table() -> Error {
    let reason = "this isn't a list: give the template without `table`";
    Error::Unsupported { what: "a table".into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_says_what_is_printed() {
        assert_eq!("".parse(), Ok(Format::Table));
        assert_eq!("table".parse(), Ok(Format::Table));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!(matches!("table {{.ID}}".parse(), Ok(Format::Columns(_))));
        assert!(matches!("{{json .}}".parse(), Ok(Format::Template(_))));
        assert!(matches!("id".parse(), Ok(Format::Template(_))));
        let wrong = "{{.ID".parse::<Format>().unwrap_err();
        assert_eq!(wrong.to_string(), "template: :1: unclosed action");
    }

    #[test]
    fn lists_read_escapes_and_documents_do_not() {
        let Ok(Format::Template(given)) = r"{{.A}}\t{{.A}}\n".parse() else { panic!("no template") };
        let document = json!({"A": 1});
        assert_eq!(given.template().execute(Data::document(&document)).as_deref(), Ok("1\t1\n"));
        assert_eq!(given.of_document(&document).unwrap(), r"1\t1\n");
    }
}
