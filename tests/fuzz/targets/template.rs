//! `--format` templates, read and evaluated.
#![no_main]
#![allow(dead_code, unused_imports, reason = "a part of a whole program is called")]

#[path = "../../../crates/brig-cli/template/mod.rs"]
mod template;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use brig_fuzz::{seeds, target, text};
use serde_json::{Value, json};
use template::{Data, Template};

/// What a template may print: a step for 64 bytes, and the last step may be a long one.
const MAX_OUTPUT: usize = (1 << 20) * 64 + (1 << 20);

static VALUES: OnceLock<[Value; 2]> = OnceLock::new();

target!(start(), |data| {
    let Some(text) = text(data) else { return };
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    template.mentions("Size");
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    for value in VALUES.get_or_init(values) {
        let data = Data { value, labels: Some(&labels), json: Some(value), headings: value.is_string() };
        for data in [data, Data::document(value)] {
            let mut out = String::new();
            if let Err(error) = template.execute_into(data, &mut out) {
                assert!(!error.to_string().is_empty());
            }
            assert!(out.len() <= MAX_OUTPUT, "{} bytes", out.len());
        }
    }
});

fn values() -> [Value; 2] {
    let whole = json!({
        "ID": "0123", "Names": "a,b", "Size": 10, "Ratio": 1.5, "On": true, "None": null, "Text": "ä\n\"<%>",
        "List": [1, 2, 3, "x", [4]], "Map": { "a": "b", "c": { "d": [1] } }, "Negative": i64::MIN,
        "Labels": { "a": "b" }, "State": { "Status": "running", "Pid": 1 }, "Great": u64::MAX, "Small": 1e-300,
    });
    [whole, json!("a text")]
}

fn start() -> Vec<Vec<u8>> {
    seeds::lines(
        r#"{{.ID}}\t{{.Names}}
        {{range $i, $e := .List}}{{if eq $i 0}}first{{else if lt $i 2}}{{$e}}{{else}}{{break}}{{end}}{{end}}
        {{with .Map}}{{.a}}{{else}}none{{end}}
        {{- /* comment */ -}} {{json .}}
        {{printf "%5.2f|%-8s|%+d|%x|%q|%v|%T|%08b|%c|%U|%e" .Ratio .ID .Size .Text .Text .List .Map .Size 65 65 .Small}}
        {{printf "%*d %[2]*[1]d %!" 3 .Size}}
        {{index .Map "c" "d" 0}} {{len .List}} {{slice .Text 1 2}}
        {{join (split .Names ",") " "}} {{upper .ID | lower | title}} {{pad .ID 1 2}} {{truncate .ID 2}}
        {{and .On (or .None (not .On))}} {{html .Text}} {{js .Text}} {{urlquery .Text}}
        {{println .Negative .Great}} {{print 0x1p4 'a' 1_000 `raw`}}
        {{$x := 1}}{{$x = 2}}{{range .Map}}{{.}}{{continue}}{{end}}{{.Label "a"}}
        {{range 3}}{{.}}{{end}} {{eq .Size 1 2 10}} {{ge .Ratio 1.0}} {{call .ID}}
        {{printf "%999999d" 1}}"#,
    )
}
