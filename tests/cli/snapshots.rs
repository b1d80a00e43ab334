//! What people and programs read, word for word: help, lists, `inspect`, the main errors.

use brig_testing::image::{ImageBuilder, LayerBuilder};
use brig_testing::{Output, TestEnv};

use super::{env, load};

/// Compares with the snapshot of this name, with what differs from run to run and from host to host replaced.
#[track_caller]
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\b(Less than a second|\d+ (seconds?|years)) ago", "[ago]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "[time]");
    settings.add_filter(r"\b(amd64|arm64)\b", "[arch]");
    settings.add_filter(r#"("LogPath": ")[^"]*/containers/"#, "$1[root]/containers/");
    // Columns are as wide as what was replaced.
    settings.add_filter(r"(?m)(\S)   +", "$1   ");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A store with one small image that needs nothing of the host.
fn with_small_image() -> TestEnv {
    let env = env();
    let files = LayerBuilder::new().file("app", 0o755, "x");
    let image =
        ImageBuilder::linux().files(files).entrypoint(&["/app"]).cmd(&["serve"]).label("tier", "front");
    load(&env, &image.build(), "example.com/small:v1");
    env
}

fn create(env: &TestEnv, name: &str) {
    let args = ["create", "--name", name, "-e", "COLOUR=blue", "-m", "64m", "example.com/small:v1", "fast"];
    let _ = env.brig(&args).success();
}

/// The verbs that a help lists.
fn verbs(help: &Output) -> Vec<String> {
    let commands = help.stdout.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}

#[test]
fn the_help_of_every_verb() {
    let env = env();
    let help = env.brig(&["--help"]).success();
    snapshot("help", &help.stdout);
    let verbs = verbs(&help);
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        let help = env.brig(&[&verb, "--help"]).success();
        snapshot(&format!("help-{verb}"), &help.stdout);
    }
}

#[test]
fn lists_for_people_and_for_programs() {
    let env = with_small_image();
    create(&env, "one");
    create(&env, "another");
    for (name, args) in [
        ("ps", &["ps", "-a"][..]),
        ("ps-json", &["--format", "json", "ps", "-a"]),
        ("images", &["images"]),
        ("images-json", &["--format", "json", "images"]),
    ] {
        snapshot(name, &env.brig(args).success().normalized());
    }
}

#[test]
fn inspect_of_a_container_and_of_an_image() {
    let env = with_small_image();
    create(&env, "one");
    let mut document = env.brig(&["inspect", "one"]).success().json();
    // It depends on the host, and is tested where it is made.
    document[0]["Spec"] = "[spec]".into();
    let text = serde_json::to_string_pretty(&document).unwrap();
    let text = text.replace(&*env.path().to_string_lossy(), "$ENV");
    snapshot("inspect-container", &brig_testing::normalize(&text));
    snapshot("inspect-image", &env.brig(&["inspect", "example.com/small:v1"]).success().normalized());
}

#[test]
fn the_main_errors() {
    let env = with_small_image();
    create(&env, "one");
    let mut text = String::new();
    for line in [
        "run --pull never example.com/none",
        "run ./missing.wasm",
        "run --nope",
        "run -m lots example.com/small:v1",
        "run -v nowhere example.com/small:v1",
        "run --name one example.com/small:v1",
        "run --platform linux/none example.com/small:v1",
        "run --runtime java example.com/small:v1",
        "exec one true",
        "attach one",
        "start nobody",
        "start oen",
        "kill -s NOPE one",
        "inspect nothing",
        "logs --since yesterday one",
        "rmi example.com/small:v1",
        "rmi none",
        "rmi example.com/smal:v1",
        "inspect on",
        "pull Example.com/UPPER",
        "ps --filter colour=red",
        "ps --format {{.ID",
        "ps -a --format {{.Nope}}",
        "inspect -f {{.Nope}} one",
        "inspect --type image one",
        "images --tree",
        "rm --format {{.ID}} one",
        "nope",
        "--format json rm nobody",
        "--format json pull",
    ] {
        let output = env.brig(&line.split(' ').collect::<Vec<_>>()).fails();
        text.push_str(&format!("$ brig {line}\n{}\n", output.normalized()));
    }
    snapshot("errors", &text);
}
