//! Lists: rows of named fields, printed as `--format` says.
//!
//! A verb names its fields with their headings, says which of them its table shows, and adds rows:
//!
//! ```ignore
//! const FIELDS: Fields = &[("Driver", "DRIVER"), ("Name", "VOLUME NAME"), ("Labels", "LABELS")];
//!
//! let mut list = List::new(FIELDS, &["Driver", "Name"]);
//! for volume in volumes {
//!     let values = json!({ "Driver": volume.driver, "Name": volume.name, "Labels": list::pairs(&volume.labels) });
//!     list.labelled_row(values, &volume.labels);
//! }
//! list.print(context, self.quiet.then_some("Name"))
//! ```
//!
//! Fields have docker's names and, where docker has them, docker's texts: templates of docker's then print the same. A
//! field of `FIELDS` that a row leaves out is empty. What is dear to find out is found out only where
//! [`List::wants`] says so. [`List::row`] is for rows without `.Label "key"`. A verb that prints a list is named in
//! `Command::prints_fields`: the others refuse templates.

use std::collections::BTreeMap;

use brig_engine::Result;
use serde_json::{Map, Value};

use crate::commands::Context;
use crate::format::{Format, Given};
use crate::table::Table;
use crate::template::{Data, TemplateError};
use crate::{output, table, terminal};

/// Names of fields with their headings.
pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// A list.
#[derive(Debug)]
pub(crate) struct List {
    fields: Fields,
    columns: Vec<&'static str>,
    shortened: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// An object.
    values: Value,
    labels: BTreeMap<String, String>,
}

impl List {
    /// A list whose table shows these columns.
    pub(crate) fn new(fields: Fields, columns: &[&'static str]) -> Self {
        Self { fields, columns: columns.to_vec(), shortened: Vec::new(), rows: Vec::new() }
    }

    /// The columns of free text, which are shortened where the terminal is narrower than the table.
    #[must_use]
    pub(crate) fn shortening(mut self, columns: &[&'static str]) -> Self {
        self.shortened = columns.to_vec();
        self
    }

    /// Whether a field is looked at: it is in the table, or the template names it.
    pub(crate) fn wants(&self, context: &Context, field: &str) -> bool {
        match &context.globals.format {
            None | Some(Format::Table) => self.columns.contains(&field),
            Some(Format::Json) => false,
            Some(Format::Columns(given) | Format::Template(given)) => given.template().mentions(field),
        }
    }

    /// Adds a row: an object of fields.
    pub(crate) fn row(&mut self, values: Value) {
        self.labelled_row(values, &BTreeMap::new());
    }

    /// Adds a row of something that has labels.
    pub(crate) fn labelled_row(&mut self, values: Value, labels: &BTreeMap<String, String>) {
        let Value::Object(mut values) = values else { return };
        for (name, _) in self.fields {
            values.entry(*name).or_insert_with(|| "".into());
        }
        self.rows.push(Row { values: values.into(), labels: labels.clone() });
    }

    /// Prints it: of each row this field only, as `-q` asks for; otherwise as `--format` says.
    pub(crate) fn print(&self, context: &Context, only: Option<&str>) -> Result<()> {
        if let Some(field) = only {
            if context.globals.format.as_ref().is_some_and(Format::is_template) {
                output::note("WARNING: the template is ignored, since both --format and --quiet are given");
            }
            return output::print(&self.only(field));
        }
        match &context.globals.format {
            None | Some(Format::Table) => output::print(&self.table(terminal::width())),
            Some(Format::Json) => self.rows.iter().try_for_each(|row| output::json_line(&row.values)),
            Some(Format::Template(given)) => output::print(&self.each(given)?),
            Some(Format::Columns(given)) => output::print(&self.template_table(given)?),
        }
    }

    fn only(&self, field: &str) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.cell(field))).collect()
    }

    fn table(&self, width: Option<usize>) -> String {
        let heading =
            |column: &&str| self.fields.iter().find(|(name, _)| name == column).map_or("", |found| found.1);
        let mut table = Table::new(&self.columns.iter().map(heading).collect::<Vec<_>>());
        for row in &self.rows {
            table.row(self.columns.iter().map(|column| row.cell(column)).collect());
        }
        let shortened = |column: &&str| self.shortened.contains(column);
        if let Some(width) = width {
            table.fit(width, &self.columns.iter().map(shortened).collect::<Vec<_>>());
        }
        table.render()
    }

    fn each(&self, given: &Given) -> Result<String> {
        let text = |row: &Row| given.template().execute(row.data()).map(|text| text + "\n");
        self.rows.iter().map(text).collect::<Result<String, _>>().map_err(|error| given.failed(&error))
    }

    fn template_table(&self, given: &Given) -> Result<String> {
        Ok(table::tabulate(&(self.headings(given)? + "\n" + &self.each(given)?)))
    }

    /// The template on the headings. As with docker, what fails there is left out, since a heading is no list or number;
    /// but a field that there isn't is a mistake, also where there are no rows to find it.
    fn headings(&self, given: &Given) -> Result<String> {
        let named = |(name, heading): &(&str, &str)| ((*name).to_owned(), Value::from(*heading));
        let headings = Value::Object(self.fields.iter().map(named).collect::<Map<_, _>>());
        let data = Data { value: &headings, labels: Some(&BTreeMap::new()), json: None, headings: true };
        let mut text = String::new();
        match given.template().execute_into(data, &mut text) {
            Err(error) if TemplateError::is_unknown_field(&error) => Err(given.failed(&error)),
            _ => Ok(text),
        }
    }
}

impl Row {
    fn data(&self) -> Data<'_> {
        Data { value: &self.values, labels: Some(&self.labels), json: None, headings: false }
    }

    fn cell(&self, field: &str) -> String {
        match self.values.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }
}

/// Labels as docker's lists show them: `key=value,key=value`.
pub(crate) fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: Fields = &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Ports", "PORTS")];

    fn list() -> List {
        let mut list = List::new(FIELDS, &["ID", "Names"]).shortening(&["Names"]);
        list.labelled_row(
            json!({"ID": "1", "Names": "a-rather-long-name"}),
            &BTreeMap::from([("tier".into(), "x".into())]),
        );
        list.row(json!({"ID": "2", "Names": "b"}));
        list
    }

    fn printed(list: &List, format: &str) -> Result<String, String> {
        let text = match format.parse().map_err(|error: TemplateError| error.to_string())? {
            Format::Template(given) => list.each(&given),
            Format::Columns(given) => list.template_table(&given),
            _ => Ok(list.table(None)),
        };
        text.map_err(|error| error.to_string())
    }

    #[test]
    fn tables_templates_and_tables_of_templates() {
        for (format, expected) in [
            ("table", "CONTAINER ID   NAMES\n1              a-rather-long-name\n2              b\n"),
            ("{{.ID}}:{{.Names}}{{.Ports}}", "1:a-rather-long-name\n2:b\n"),
            (
                r"table {{.Names}}\t{{.ID}}",
                "NAMES                CONTAINER ID\na-rather-long-name   1\nb                    2\n",
            ),
            ("table {{upper .ID}}{{.Label \"a.tier\"}}", "CONTAINER IDtier\n1\n2\n"),
            ("{{.Label \"tier\"}}", "x\n\n"),
        ] {
            assert_eq!(printed(&list(), format).as_deref(), Ok(expected), "{format}");
        }
        assert_eq!(list().only("ID"), "1\n2\n");
        assert_eq!(
            list().table(Some(24)),
            "CONTAINER ID   NAMES\n1              a-rather…\n2              b\n"
        );
    }

    #[test]
    fn unknown_fields_are_named_with_those_that_there_are() {
        for format in ["{{.Nope}}", "table {{.Nope}}"] {
            let error = printed(&list(), format).unwrap_err();
            assert!(error.contains("can't evaluate field Nope; the fields are ID, Names, Ports"), "{error}");
        }
        assert!(printed(&List::new(FIELDS, &["ID"]), "table {{.Nope}}").is_err());
    }

    #[test]
    fn labels_in_one_text() {
        let labels = BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())]);
        assert_eq!(pairs(&labels), "a=1,b=");
    }
}
