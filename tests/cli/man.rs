//! The manual's pages.

use std::fs;

use brig_testing::{need, need_tool};

use super::env;

#[test]
fn a_directory_gets_a_page_a_verb() {
    let env = env();
    let _ = env.brig(&["man", "pages/man1"]).success().prints("");
    let names: Vec<_> = fs::read_dir(env.work().join("pages/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(names.len() > 60, "{names:?}");
    let help = env.brig(&["--help"]).success().stdout;
    assert!(!help.contains("  man "), "{help}");
    env.write("taken", "");
    let _ = env.brig(&["man", "taken"]).exits(1).says("can't make");
}

#[test]
fn man_shows_pages_and_warns_of_nothing() {
    let man = need!(need_tool("man"));
    let env = env();
    let _ = env.brig(&["man", "."]).success();
    for page in ["brig.1", "brig-run.1", "brig-import.1", "brig-container-prune.1"] {
        let call =
            env.program(&man, &["--warnings", "-l", page]).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "200");
        let shown = call.run().success().shows("SYNOPSIS").shows("GLOBAL OPTIONS");
        assert_eq!(shown.stderr, "", "{page}");
        assert!(!shown.stdout.contains("\\f"), "{}", shown.stdout);
    }
}
