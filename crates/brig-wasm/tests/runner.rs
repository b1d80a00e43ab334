//! The runner itself, as a process: what guests see, and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests, whose helpers lie outside of test functions"
)]
#![cfg(all(feature = "engine", feature = "embed"))]

#[path = "runner/invoke.rs"]
mod invoke;
#[path = "runner/stop.rs"]
mod stop;
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use brig_runtime::exit::ExitReason;
use brig_wasm::compiled::is_current;
use brig_wasm::{CompileError, NotRunnable, Preopen, Role, Wasi};
use support::{Compiled, compile_error, forms, wat};

#[test]
fn hello_in_every_form() {
    for guest in forms() {
        let run = guest.run(&["hello"]).go();
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "hello\n", ""), "{guest:?}");
        assert_eq!(run.report.unwrap().reason, ExitReason::Exited);
    }
}

#[test]
fn arguments_and_environment_are_what_was_given_and_no_more() {
    for guest in forms() {
        let run = guest.run(&["echo", "b c", ""]).env("NAME=value=1").env("EMPTY=").go();
        assert_eq!(run.stdout, "guest\necho\nb c\n\nNAME=value=1\nEMPTY=\n", "{guest:?}");
    }
}

#[test]
fn exit_codes_are_the_guests_own() {
    for (guest, codes) in forms().into_iter().zip([&[0, 1, 3, 125, 126, 200, 255][..], &[0, 1][..]]) {
        for code in codes {
            let run = guest.run(&["exit", &code.to_string()]).go();
            let report = run.report.unwrap();
            assert_eq!((run.code, i32::from(report.code)), (*code, *code), "{guest:?}");
            assert_eq!((report.reason, report.message), (ExitReason::Exited, None));
        }
    }
}

#[test]
fn standard_input_reaches_standard_output() {
    let bytes: String = (0..200_000).map(|i| char::from(b'a' + u8::try_from(i % 23).unwrap())).collect();
    for guest in forms() {
        let run = guest.run(&["cat"]).stdin(&bytes).go();
        assert!(run.code == 0 && run.stdout == bytes, "{guest:?}: {} bytes", run.stdout.len());
        let run = guest.run(&["cat"]).go();
        assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    }
}

#[test]
fn waiting_for_input_and_for_a_timer() {
    for guest in forms() {
        let run = guest.run(&["poll", "20"]).keep_stdin_open().go();
        assert_eq!((run.code, run.stdout.as_str()), (0, "0\n0\n0\n"), "{guest:?}");
        let run = guest.run(&["poll", "60000"]).stdin("input").go();
        assert_eq!((run.code, run.stdout.as_str()), (0, "1\ninput"), "{guest:?}");
    }
}

#[test]
fn files_in_a_granted_directory() {
    for guest in forms() {
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| guest.run(args).stdin("some text").preopen(dir.path(), "/data", false).go();
        assert_eq!(run(&["write", "/data/a"]).code, 0, "{guest:?}");
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "some text");
        assert_eq!(run(&["read", "/data/a"]).stdout, "some text");
        assert_eq!(run(&["mkdir", "/data/d"]).code, 0);
        let listed = run(&["list", "/data"]).stdout;
        assert!(listed.contains("a\n") && listed.contains("d\n"), "{listed}");
        assert_eq!(run(&["remove", "/data/a"]).code, 0);
        assert!(!dir.path().join("a").exists());
    }
}

#[test]
fn nothing_is_granted_by_itself() {
    for guest in forms() {
        for path in ["/etc/passwd", "etc/passwd", "/", ".", "/proc/self/environ", "/dev/null"] {
            let run = guest.run(&["read", path]).go();
            assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{guest:?} {path}");
        }
    }
}

#[test]
fn a_read_only_directory_stays_as_it_is() {
    for guest in forms() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "before").unwrap();
        let run = |args: &[&str]| guest.run(args).stdin("after").preopen(dir.path(), "/data", true).go();
        assert_eq!(run(&["read", "/data/a"]).stdout, "before");
        for args in [
            &["write", "/data/a"][..],
            &["write", "/data/b"],
            &["remove", "/data/a"],
            &["rename", "/data/a", "/data/b"],
            &["mkdir", "/data/d"],
            &["link", "/data/l", "a"],
        ] {
            assert_eq!(run(args).code, 1, "{guest:?} {args:?}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "before");
    }
}

#[test]
fn nobody_gets_out_of_a_granted_directory() {
    for guest in forms() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("inside");
        fs::create_dir(&dir).unwrap();
        fs::write(above.path().join("secret"), "secret").unwrap();
        symlink("../secret", dir.join("relative")).unwrap();
        symlink(above.path().join("secret"), dir.join("absolute")).unwrap();
        symlink("..", dir.join("up")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let run = |args: &[&str]| guest.run(args).stdin("broken").preopen(&dir, "/data", false).go();
        for path in ["../secret", "relative", "absolute", "up/secret", "loop", "../../../../../../etc/passwd"]
        {
            for verb in ["read", "write", "remove"] {
                let path = format!("/data/{path}");
                let ended = run(&[verb, &path]);
                // A link itself may be removed; what it points to may not be touched.
                if verb != "remove" {
                    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{guest:?} {verb} {path}");
                }
            }
        }
        assert_eq!(run(&["rename", "/data/../secret", "/data/mine"]).code, 1);
        assert_eq!(fs::read_to_string(above.path().join("secret")).unwrap(), "secret");
    }
}

#[test]
fn a_directory_that_is_not_there_is_a_failed_start() {
    let run = forms()[0].run(&["hello"]).preopen("/nonexistent".as_ref(), "/data", false).go();
    let report = run.report.unwrap();
    assert_eq!((run.code, report.reason, run.stdout.as_str()), (125, ExitReason::StartFailed, ""));
    assert!(run.stderr.contains("the directory for `/data` can't be opened"), "{}", run.stderr);
}

#[test]
fn a_trap_is_134_with_a_backtrace_that_names_functions_and_lines() {
    for guest in forms() {
        let run = guest.run(&["divide", "0"]).go();
        let report = run.report.unwrap();
        assert_eq!((run.code, report.code, report.reason), (134, 134, ExitReason::Trap), "{guest:?}");
        assert_eq!(report.message.as_deref(), Some("wasm trap: integer divide by zero"));
        assert!(run.stderr.starts_with("brig: guest: wasm trap: integer divide by zero\n"), "{}", run.stderr);
        assert!(run.stderr.contains("divide\n") && run.stderr.contains("guest.c:"), "{}", run.stderr);
    }
}

#[test]
fn an_abort_and_endless_recursion_are_traps_too() {
    for guest in forms() {
        assert_eq!(guest.run(&["abort"]).go().report.unwrap().reason, ExitReason::Trap);
        let run = guest.run(&["recurse"]).go();
        assert_eq!((run.code, run.report.unwrap().reason), (134, ExitReason::Trap), "{}", run.stderr);
    }
}

#[test]
fn eating_memory_ends_at_the_limit_with_137() {
    for guest in forms() {
        let run = guest.run(&["eat"]).memory(32 << 20).go();
        let report = run.report.unwrap();
        assert_eq!((run.code, report.code, report.reason), (137, 137, ExitReason::Memory), "{}", run.stderr);
        assert!(report.message.unwrap().contains("its limit is 33554432"), "{}", run.stderr);
    }
}

#[test]
fn a_limit_under_the_first_page_is_a_memory_end_as_well() {
    for guest in forms() {
        let run = guest.run(&["hello"]).memory(1000).go();
        assert_eq!((run.code, run.report.unwrap().reason), (137, ExitReason::Memory), "{}", run.stderr);
    }
}

#[test]
fn memories_are_limited_together() {
    let guest = wat(r#"(module (memory $a 10) (memory $b 10) (func (export "_start")
            (if (i32.eq (memory.grow $a (i32.const 10)) (i32.const -1)) (then unreachable))
            (if (i32.eq (memory.grow $b (i32.const 10)) (i32.const -1)) (then unreachable))))"#);
    assert_eq!(guest.run(&[]).memory(40 * 65_536).go().code, 0);
    assert_eq!(guest.run(&[]).memory(39 * 65_536).go().code, 137);
}

#[test]
fn a_table_bomb_meets_the_same_limit() {
    let guest = wat(r#"(module (table 1 funcref) (func (export "_start")
            (loop (if (i32.eq (table.grow (ref.null func) (i32.const 100000)) (i32.const -1)) (then unreachable)) (br 0))))"#);
    assert_eq!(guest.run(&[]).memory(10 << 20).go().code, 137);
}

#[test]
fn an_endless_loop_and_a_long_sleep_end_at_the_timeout() {
    for guest in forms() {
        for args in [&["loop"][..], &["sleep", "60000"]] {
            let begun = Instant::now();
            let run = guest.run(args).timeout(200).go();
            let report = run.report.unwrap();
            assert_eq!((run.code, report.code, report.reason), (124, 124, ExitReason::Timeout), "{guest:?}");
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        assert_eq!(guest.run(&["sleep", "10"]).timeout(20_000).go().code, 0);
    }
}

#[test]
fn clocks_are_coarse_without_a_grant() {
    for guest in forms() {
        let nanos =
            |run: &support::Ended| -> Vec<u64> { run.stdout.lines().map(|l| l.parse().unwrap()).collect() };
        let coarse = nanos(&guest.run(&["clock"]).go());
        assert!(coarse.len() == 100 && coarse.iter().all(|nanos| nanos % 100_000 == 0), "{coarse:?}");
        let precise = nanos(&guest.run(&["clock"]).precise_clocks().go());
        assert!(precise.iter().any(|nanos| nanos % 100_000 != 0), "{precise:?}");
    }
}

#[test]
fn corrupt_wasm_is_refused_with_a_reason() {
    for (bytes, words) in [
        (&b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"[..], "corrupt WebAssembly module, at byte"),
        (b"\0asm\x0d\0\x01\0\x01\x05abc", "corrupt WebAssembly component, at byte"),
        (b"MZ\x90\0\x03\0\0\0", "not WebAssembly: the file begins with 4d 5a 90 00"),
        (b"", "not WebAssembly: the file begins with nothing"),
        (b"(module (func (export \"_start\") i32.add))", "type mismatch"),
        (b"(module", "expected `)`"),
    ] {
        let error = compile_error(bytes);
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, CompileError::Refused { .. }));
    }
}

#[test]
fn what_cant_be_run_is_refused_before_it_is_compiled() {
    for (text, words) in [
        (r#"(module (import "env" "foo" (func)) (func (export "_start")))"#, "it imports `env::foo`"),
        (r#"(module (func (export "add")))"#, "it is a module library for no WASI"),
        (
            r#"(module (import "wasi_snapshot_preview1" "nothing" (func)) (func (export "_start")))"#,
            "wasi_snapshot_preview1::nothing",
        ),
        (
            r#"(module (import "wasi_snapshot_preview1" "fd_read" (func)) (func (export "_start")))"#,
            "wasi_snapshot_preview1::fd_read",
        ),
        (
            r#"(component (import "wasi:http/types@0.2.0" (instance)) (instance $r) (export "wasi:cli/run@0.2.0" (instance $r)))"#,
            "it imports `wasi:http/types@0.2.0`",
        ),
    ] {
        let error = compile_error(text.as_bytes());
        assert!(error.to_string().contains(words), "{error}");
    }
    let form = brig_wasm::Form::detect(&::wat::parse_str("(module)").unwrap()).unwrap();
    assert_eq!((form.role, form.wasi), (Role::Library, Wasi::None));
    assert!(matches!(form.check_runnable(), Err(NotRunnable::NotCommand { .. })));
}

#[test]
fn a_compiled_file_that_is_not_whole_or_not_ours_is_never_run() {
    let guest = wat(r#"(module (func (export "_start")))"#);
    let whole = fs::read(&guest.path).unwrap();
    let check = |what: &str| {
        assert!(!is_current(&guest.path, support::IDENTITY).unwrap_or(false), "{what}");
        let run = guest.run(&[]).go();
        let report = run.report.unwrap();
        assert_eq!((run.code, report.reason), (125, ExitReason::StartFailed), "{what}: {}", run.stderr);
        assert!(run.stderr.contains("has to be compiled anew"), "{what}: {}", run.stderr);
    };
    for end in [0, 1, 64, whole.len() / 2, whole.len() - 1] {
        fs::write(&guest.path, &whole[..end]).unwrap();
        check("truncated");
    }
    fs::write(&guest.path, b"\0asm\x01\0\0\0").unwrap();
    check("wasm itself");
    fs::copy("/bin/true", &guest.path).unwrap();
    check("a program of the host");
    fs::remove_file(&guest.path).unwrap();
    check("missing");
    fs::write(&guest.path, &whole).unwrap();
    assert_eq!(guest.run(&[]).go().code, 0);
    let other = "another key/another digest";
    assert!(!is_current(&guest.path, other).unwrap());
    let run = guest.run(&[]).identity(other).go();
    assert_eq!(run.code, 125, "{}", run.stderr);
    for guest in forms() {
        assert!(is_current(&guest.path, support::IDENTITY).unwrap(), "{guest:?}");
    }
}

/// A line of `/proc/<pid>/status`.
fn status(pid: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"))?.trim().to_owned())
}

/// Waits until a process has loaded a filter beside those that it inherited.
fn wait_for_a_filter(child: &mut std::process::Child) {
    let filters =
        |pid| status(pid, "Seccomp_filters").and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    let inherited = filters(std::process::id());
    while filters(child.id()) != inherited + 1 {
        assert!(child.try_wait().unwrap().is_none(), "it ended without walls");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_compiler_is_behind_walls() {
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().unwrap();
    let request = support::request(dir.path(), &support::big_module(200_000));
    let mut child = Command::new(support::runner())
        .args(["compile", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.encode().unwrap()).unwrap();
    wait_for_a_filter(&mut child);
    let pid = child.id();
    assert_eq!(status(pid, "NoNewPrivs").as_deref(), Some("1"));
    for set in ["CapEff", "CapPrm", "CapInh"] {
        assert_eq!(status(pid, set).as_deref(), Some("0000000000000000"), "{set}");
    }
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap())
        .filter(|path| path.starts_with(dir.path()))
        .collect();
    assert_eq!(open, [request.output]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_guest_s_process_can_t_start_programs() {
    use std::process::{Command, Stdio};
    for guest in forms() {
        let dir = tempfile::tempdir().unwrap();
        let request = dir.path().join("request");
        fs::write(&request, guest.run(&["sleep", "60000"]).request.encode().unwrap()).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" run 3>/dev/null 4<"$1""#])
            .args([support::runner(), &request])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_a_filter(&mut child);
        assert_eq!(status(child.id(), "NoNewPrivs").as_deref(), Some("1"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn compiling_is_limited_in_memory_and_time() {
    let big = support::big_module(200_000);
    let error = support::compile(&big, |request| request.memory = Some(200 << 20)).unwrap_err();
    assert!(matches!(error, CompileError::Memory { .. }), "{error:?}");
    let error = support::compile(&big, |request| request.cpu_seconds = Some(1)).unwrap_err();
    assert!(matches!(error, CompileError::Cpu { seconds: 1 }), "{error:?}");
    let error = support::compile_within(&big, Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, CompileError::Timeout { .. }), "{error:?}");
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let request = support::request(dir.path(), b"(module)");
    let error =
        brig_wasm::compile_in_child("/nonexistent".as_ref(), &request, Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.to_string(), "the wasm compiler `/nonexistent` can't be started");
    let error =
        brig_wasm::compile_in_child("/bin/false".as_ref(), &request, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, CompileError::Crashed { .. }), "{error}");
}

#[test]
fn text_runs_as_well_and_its_form_is_told() {
    let guest = wat(r#";; says nothing
        (component (core module $m (func (export "run") (result i32) i32.const 0))
          (core instance $i (instantiate $m))
          (func $run (result (result)) (canon lift (core func $i "run")))
          (instance $r (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $r)))"#);
    assert_eq!(guest.form.to_string(), "component command for WASI p2");
    assert_eq!(guest.run(&[]).go().code, 0);
}

#[test]
fn a_component_whose_run_fails_exits_with_1() {
    let guest = wat(r#"(component (core module $m (func (export "run") (result i32) i32.const 1))
          (core instance $i (instantiate $m))
          (func $run (result (result)) (canon lift (core func $i "run")))
          (instance $r (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $r)))"#);
    let run = guest.run(&[]).go();
    assert_eq!((run.code, run.report.unwrap().reason), (1, ExitReason::Exited));
}

#[test]
fn a_module_without_wasi_runs() {
    assert_eq!(wat(r#"(module (func (export "_start")))"#).run(&[]).go().code, 0);
}

#[test]
fn the_snapshot_before_p1_runs() {
    let guest = wat(r#"(module (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))"#);
    assert_eq!(guest.run(&[]).go().code, 7);
}

#[test]
fn escape_sequences_in_names_of_functions_stay_harmless() {
    let guest: Compiled = wat(r#"(module (func $"\1b]0;x\07" (export "_start") unreachable))"#);
    let run = guest.run(&[]).go();
    assert!(
        run.code == 134 && !run.stderr.contains('\u{1b}') && !run.stderr.contains('\u{7}'),
        "{:?}",
        run.stderr
    );
}

#[test]
fn a_runner_without_a_request_says_so() {
    let runner = support::runner();
    let output = std::process::Command::new(runner).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the runner got no request"));
    assert_eq!(std::process::Command::new(runner).output().unwrap().status.code(), Some(2));
}

#[test]
fn preopens_may_nest() {
    let Some(guest) = forms().into_iter().next() else { return };
    let (outer, inner) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(inner.path().join("a"), "inner").unwrap();
    let mut run = guest.run(&["read", "/data/deep/a"]).preopen(outer.path(), "/data", false);
    run.request.preopens.push(Preopen {
        host: inner.path().into(),
        guest: "/data/deep".into(),
        read_only: true,
    });
    assert_eq!(run.go().stdout, "inner");
}
