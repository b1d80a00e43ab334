//! The life of a wasm container: entered, looked into, frozen and stopped like any other.

use brig_testing::image::{ImageBuilder, LayerBuilder, Platform};
use brig_testing::{ORDINARY_USER, TestEnv, need, need_rootless};
use serde_json::Value;

use super::{env, eventually, load};

/// Says `tick` for ever, twenty times a second; has functions to call.
const TICKER: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "tick\n")
  (func (export "_start")
    (loop $again
      (i32.store (i32.const 0) (i32.const 100))
      (i32.store (i32.const 4) (i32.const 5))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (i32.store (i32.const 216) (i32.const 1))
      (i64.store (i32.const 224) (i64.const 50000000))
      (drop (call $poll (i32.const 200) (i32.const 304) (i32.const 1) (i32.const 400)))
      (br $again)))
  (func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
  (func (export "fine"))
  (func (export "boom") unreachable))"#;

fn with_ticker() -> TestEnv {
    let env = env();
    let path = env.write("ticker.wat", TICKER);
    let _ = env.brig(&["run", "-d", "--name", "ticker", path.to_str().unwrap()]).success();
    env
}

#[test]
fn exec_calls_what_the_module_exports() {
    let env = with_ticker();
    let exec = |args: &[&str]| env.brig(&[&["exec", "ticker"], args].concat());
    let _ = exec(&["add", "2", "-42"]).success().prints("-40\n");
    let _ = exec(&["fine"]).success().prints("");
    let _ = exec(&["boom"]).exits(134).says("unreachable");
    let _ = exec(&["missing"]).exits(127).says("missing");
    let _ = exec(&["add", "1"]).exits(125).says("2 arguments");
    let _ = exec(&["add", "1", "x"]).exits(125).says("`x`");
    let _ = env.brig(&["exec", "-t", "ticker", "fine"]).exits(125).says("-t");
    let _ = env.brig(&["exec", "-u", "root", "ticker", "fine"]).exits(125).says("-u");
    // It goes on beside.
    let ticks = || env.brig(&["logs", "ticker"]).success().stdout.lines().count();
    let before = ticks();
    eventually("it ticks", || ticks() > before);
    let _ = env.brig(&["rm", "-f", "ticker"]).success();
}

#[test]
fn exec_runs_another_module_of_the_image_over_the_same_files() {
    let env = env();
    let writer = r#"(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 100) "mark")
      (func (export "_start")
        ;; Makes the file `mark` in the first directory; anything but success is a trap.
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
                        (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 200))
          (then unreachable))))"#;
    let reader = writer.replace(
        "(i32.const 1)\n                        (i64.const 64)",
        "(i32.const 0)\n                        (i64.const 2)",
    );
    let files = LayerBuilder::new().file("main.wasm", 0o755, TICKER).file("writer.wasm", 0o755, writer).file(
        "reader.wasm",
        0o755,
        reader.as_str(),
    );
    let platform: Platform = "wasi/wasm".parse().unwrap();
    load(&env, &ImageBuilder::new(platform).entrypoint(&["/main.wasm"]).files(files).build(), "app");
    let _ = env.brig(&["run", "-d", "--name", "app", "app"]).success();
    let _ = env.brig(&["exec", "app", "/reader.wasm"]).exits(134);
    let _ = env.brig(&["exec", "app", "/writer.wasm"]).success();
    let _ = env.brig(&["exec", "app", "/reader.wasm"]).success();
    let _ = env.brig(&["rm", "-f", "app"]).success();
}

#[test]
fn it_is_frozen_looked_into_and_stopped() {
    let env = with_ticker();
    let ticks = || env.brig(&["logs", "ticker"]).success().stdout.lines().count();
    eventually("it ticks", || ticks() > 0);
    let _ = env.brig(&["pause", "ticker"]).success();
    assert!(env.brig(&["ps"]).success().stdout.contains("(Paused)"));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(ticks(), before);
    let _ = env.brig(&["unpause", "ticker"]).success();
    eventually("it goes on", || ticks() > before);
    let stats = env.brig(&["stats", "--no-stream", "--format", "json", "ticker"]).success();
    let stats: Value = serde_json::from_str(stats.line()).unwrap();
    assert!(
        stats["Handles"].as_u64().unwrap() >= 3 && stats["CPUSeconds"].as_f64().unwrap() > 0.0,
        "{stats}"
    );
    assert!(env.brig(&["top", "ticker"]).success().stdout.contains("brig-runner"));
    let _ = env.brig(&["stop", "-t", "30", "ticker"]).success();
    let _ = env.brig(&["wait", "ticker"]).success().prints("143\n");
}

#[test]
fn a_guest_that_is_asked_to_stop_has_its_grace() {
    let env = env();
    // Sleeps a minute, and leaves with the code 5; the other computes for ever.
    let polite = r#"(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i64.store (i32.const 24) (i64.const 60000000000))
        (drop (call $poll (i32.const 0) (i32.const 400) (i32.const 1) (i32.const 300)))
        (call $exit (i32.const 5))))"#;
    let deaf = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
    for (name, guest, code) in [("polite", polite, "5\n"), ("deaf", deaf, "137\n")] {
        let path = env.write(&format!("{name}.wat"), guest);
        let _ = env.brig(&["run", "-d", "--name", name, path.to_str().unwrap()]).success();
        eventually("it runs", || env.brig(&["top", name]).success().stdout.contains("brig-runner"));
        // Its code is loaded when it has a handler for SIGTERM; a request before that is one to nobody.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let _ = env.brig(&["stop", "-t", "1", name]).success();
        let _ = env.brig(&["wait", name]).success().prints(code);
    }
}

#[test]
fn its_health_is_a_function() {
    let env = env();
    let path = env.write("ticker.wat", TICKER);
    for (function, health) in [("fine", "healthy"), ("boom", "unhealthy")] {
        let mut run = vec!["run", "-d", "--name", function, "--health-cmd", function];
        run.extend(["--health-interval", "50ms", "--health-retries", "1", path.to_str().unwrap()]);
        let _ = env.brig(&run).success();
        let told =
            || env.brig(&["inspect", function]).success().json()[0]["State"]["Health"]["Status"].clone();
        eventually(health, || told() == health);
    }
    let _ = env.brig(&["rm", "-f", "fine", "boom"]).success();
}

#[test]
fn an_ordinary_user_can_do_it_too() {
    need!(need_rootless());
    let env = env();
    let path = env.write_for_user(ORDINARY_USER, "ticker.wat", TICKER);
    let brig = |args: &[&str]| env.brig_as_user(ORDINARY_USER, args);
    let _ = brig(&["run", "-d", "--name", "ticker", path.to_str().unwrap()]).success();
    let _ = brig(&["exec", "ticker", "add", "1", "2"]).success().prints("3\n");
    let _ = brig(&["pause", "ticker"]).success();
    let _ = brig(&["unpause", "ticker"]).success();
    let _ = brig(&["restart", "-t", "0", "ticker"]).success();
    let _ = brig(&["rm", "-f", "ticker"]).success();
}
