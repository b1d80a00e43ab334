//! Calling what a component exports.

use crate::support::{Compiled, wat};

/// The plugin, as a command: what a container is made of.
fn command() -> Compiled {
    let run = r#"
      (core module $r (func (export "run") (result i32) (i32.const 0)))
      (core instance $r (instantiate $r))
      (func $run (result (result)) (canon lift (core func $r "run")))
      (instance $cli (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $cli)))"#;
    let plugin = include_str!("../guests/plugin.wat").trim_end();
    wat(&(plugin.strip_suffix(')').unwrap().to_owned() + run))
}

#[test]
fn arguments_and_results_are_in_the_notation_of_wave() {
    let plugin = command();
    for (call, code, stdout) in [
        (&["add", "1", "2"][..], 0, "3\n"),
        (&["echo", "two words"], 0, "two words\n"),
        (&["echo", r#""in \u{71}uotes""#], 0, "in quotes\n"),
        (&["bytes", "[1, 2, 255]"], 0, "[1, 2, 255]\n"),
        (&["half", "4"], 0, "2\n"),
        (&["half", "5"], 1, ""),
        (&["test:math/ops#twice", "21"], 0, "42\n"),
    ] {
        let run = plugin.run(&[]).invoke(call).go();
        assert_eq!((run.code, run.stdout.as_str()), (code, stdout), "{call:?}: {}", run.stderr);
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_name() {
    let plugin = command();
    for (call, code, says) in [
        (&["add", "1"][..], 125, "it takes 2 arguments, not 1"),
        (&["add", "1", "-2"], 125, "`-2` isn't what it takes as `b`"),
        (&["bytes", "[1, 256]"], 125, "`bytes`"),
        (&["missing"], 127, "`missing`"),
        (&["test:math/ops#missing"], 127, "missing"),
        (&["test:math/none#twice", "1"], 127, "none"),
    ] {
        let run = plugin.run(&[]).invoke(call).go();
        assert!(run.code == code && run.stderr.contains(says), "{call:?}: {} {}", run.code, run.stderr);
    }
}
