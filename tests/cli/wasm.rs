//! WebAssembly containers: every form, from every layout.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use brig_testing::image::{self, Compression, Image, ImageBuilder, IndexBuilder, LayerBuilder, Platform};
use brig_testing::{Guest, TestEnv, Unavailable, need, need_containers, need_tool};

use super::{env, load, nothing_is_left};

/// A guest as module and as component.
fn forms(guest: Guest) -> Result<[(&'static str, Vec<u8>); 2], Unavailable> {
    Ok([("module", guest.module()?), ("component", guest.component()?)])
}

/// Writes a guest beside the test and runs it as a bare file.
#[track_caller]
fn run_file(env: &TestEnv, wasm: &[u8], flags: &[&str], args: &[&str]) -> brig_testing::Output {
    env.write("guest.wasm", wasm);
    let all = [&["run", "--rm"][..], flags, &["./guest.wasm"], args].concat();
    env.brig(&all)
}

#[test]
fn every_layout_of_every_form_runs() {
    let env = env();
    for (form, wasm) in need!(forms(Guest::HELLO)) {
        let layouts: [(&str, Image); 5] = [
            ("artifact", image::wasm_artifact(&wasm).build()),
            ("runwasi", image::runwasi(&wasm).build()),
            ("compat", image::wasm_compat(&wasm, Platform::wasi()).build()),
            ("older", image::wasm_compat(&wasm, Platform::new("wasi", "wasm32")).build()),
            ("linux", image::wasm_compat(&wasm, Platform::host()).build()),
        ];
        for (layout, image) in layouts {
            let name = format!("example.com/{layout}:{form}");
            load(&env, &image, &name);
            let _ = env.brig(&["run", "--rm", &name]).success().prints("hello from wasm\n");
        }
        let _ = run_file(&env, &wasm, &[], &[]).success().prints("hello from wasm\n");
    }
    let _ = env.brig(&["fsck"]).success();
}

#[test]
fn guests_without_a_compiler_run_too() {
    let env = env();
    let _ = run_file(&env, &Guest::TINY.module().unwrap(), &[], &[]).success().prints("hello from wat\n");
    let _ = run_file(&env, &Guest::TINY.component().unwrap(), &[], &[]).success().prints("hello from wat\n");
}

#[test]
fn arguments_and_environment_are_the_images_and_the_flags() {
    let env = env();
    for (form, wasm) in need!(forms(Guest::ARGS)) {
        let image = image::wasm_compat(&wasm, Platform::wasi()).env(&["A=image"]).cmd(&["default"]).build();
        load(&env, &image, form);
        let output = env.brig(&["run", "--rm", form]).success();
        assert!(output.stdout.contains("arg: default\n"), "{form}: {}", output.stdout);
        assert!(output.stdout.contains("env: A=image\n"), "{form}: {}", output.stdout);
        let output = env.command(&["run", "--rm", "-e", "B=flag", form, "x", "--y"]).env("OURS", "1").run();
        let output = output.success();
        assert!(output.stdout.contains("arg: x\narg: --y\n"), "{form}: {}", output.stdout);
        assert!(output.stdout.contains("env: B=flag\n"), "{form}: {}", output.stdout);
        assert!(!output.stdout.contains("OURS"), "{form}: the host's environment leaks: {}", output.stdout);
    }
}

#[test]
fn the_exit_status_is_the_guests() {
    let env = env();
    for (_, wasm) in need!(forms(Guest::EXIT)) {
        let _ = run_file(&env, &wasm, &[], &["0"]).success().prints("out\n");
    }
    let module = need!(Guest::EXIT.module());
    let output = run_file(&env, &module, &[], &["7"]).exits(7).prints("out\n");
    assert_eq!(output.stderr, "err\n");
}

#[test]
fn standard_input_is_read_with_i_only() {
    let env = env();
    for (_, wasm) in need!(forms(Guest::CAT)) {
        env.write("guest.wasm", wasm);
        let _ = env
            .command(&["run", "--rm", "-i", "./guest.wasm"])
            .stdin("typed")
            .run()
            .success()
            .prints("typed");
        let _ = env.command(&["run", "--rm", "./guest.wasm"]).stdin("typed").run().success().prints("");
    }
}

#[test]
fn a_trap_is_134_with_a_backtrace() {
    let env = env();
    for (form, wasm) in need!(forms(Guest::TRAP)) {
        let output = run_file(&env, &wasm, &[], &[]).exits(134).shows("before the trap\n");
        assert!(output.stderr.contains("unreachable"), "{form}: {}", output.stderr);
        assert!(
            output.stderr.contains("inner") && output.stderr.contains("outer"),
            "{form}: {}",
            output.stderr
        );
    }
    let _ = run_file(&env, &Guest::UNREACHABLE.module().unwrap(), &[], &[]).exits(134);
}

#[test]
fn a_stack_overflow_is_a_trap() {
    let env = env();
    let _ = run_file(&env, &need!(Guest::RECURSE.module()), &[], &[]).exits(134);
}

#[test]
fn time_runs_out_with_124() {
    let env = env();
    for guest in [Guest::SPIN.module().unwrap(), Guest::SPIN.component().unwrap()] {
        let start = Instant::now();
        let _ = run_file(&env, &guest, &["--timeout", "500ms"], &[]).exits(124);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn memory_runs_out_with_137() {
    let env = env();
    for (form, wasm) in need!(forms(Guest::MEMORY)) {
        // Debian's wasi-libc takes memory that the component's adapter has grown for itself, so that a component can't
        // say anything after it has filled its heap.
        if form == "module" {
            let output = run_file(&env, &wasm, &["--memory", "64m"], &["32"]).success();
            assert_eq!(output.stdout, "have 32 MiB\n");
        }
        env.write("guest.wasm", &wasm);
        let args = ["run", "--name", form, "--memory", "64m", "./guest.wasm", "200"];
        let _ = env.brig(&args).exits(137);
        let state = env.brig(&["inspect", form]).success().json()[0]["State"].clone();
        assert_eq!(state["Reason"], "memory", "{form}: {state}");
        let _ = env.brig(&["rm", form]).success();
    }
}

#[test]
fn nothing_of_the_host_is_there_unless_granted() {
    let env = env();
    for (_, wasm) in need!(forms(Guest::FILES)) {
        let _ = run_file(&env, &wasm, &[], &["read", "/etc/passwd"]).exits(1);
        let _ = run_file(&env, &wasm, &[], &["ls", "/"]).fails();
    }
}

#[test]
fn volumes_are_preopened() {
    let env = env();
    let shared = env.work().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("in"), "from the host\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", shared.join("escape")).unwrap();
    let volume = format!("{}:/data", shared.display());
    let read_only = format!("{volume}:ro");
    for (form, wasm) in need!(forms(Guest::FILES)) {
        let run = |volume: &str, args: &[&str]| run_file(&env, &wasm, &["-v", volume], args);
        let _ = run(&volume, &["read", "/data/in"]).success().prints("from the host\n");
        let _ = run(&volume, &["write", "/data/out", form]).success();
        assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), form);
        let _ = run(&volume, &["read", "/data/escape"]).fails();
        let _ = run(&volume, &["read", "/data/../../../../etc/passwd"]).fails();
        let _ = run(&read_only, &["read", "/data/in"]).success();
        let _ = run(&read_only, &["write", "/data/out", "no"]).fails();
        assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), form);
    }
}

#[test]
fn the_images_own_files_are_there() {
    need!(need_containers());
    let env = env();
    for (form, wasm) in need!(forms(Guest::FILES)) {
        load(&env, &image::wasm_compat(&wasm, Platform::wasi()).build(), form);
        let output = env.brig(&["run", "--rm", form, "read", "/data/greeting"]);
        let _ = output.success().prints("hello from the image\n");
    }
}

#[test]
fn an_index_of_both_is_chosen_from() {
    need!(need_containers());
    let env = env();
    let registry = env.registry();
    let wasm = Guest::TINY.module().unwrap();
    let index = need!(image::linux_and_wasm(&wasm));
    let name = index.push(&registry, "both:v1");
    let _ = env.brig(&["pull", "-q", "--all-platforms", &name]).success();
    let _ = env.brig(&["run", "--rm", &name]).success().prints("hello from linux\n");
    let run = |flags: &[&str]| env.brig(&[&["run", "--rm"][..], flags, &[&name]].concat());
    let _ = run(&["--platform", "wasi/wasm"]).success().prints("hello from wat\n");
    let _ = run(&["--runtime", "io.containerd.wasmtime.v1"]).success().prints("hello from wat\n");
    let _ = run(&["--runtime", "runc"]).success().prints("hello from linux\n");
    let _ = run(&["--platform", "linux/s390x"]).exits(125).says("linux/s390x");
    let seen = env.brig(&["inspect", "--platform", "wasi/wasm", &name]).success().json()[0].clone();
    assert_eq!((&seen["Kind"], &seen["Platform"]), (&"wasm".into(), &"wasi/wasm".into()), "{seen}");
    assert!(!seen["KindReason"].as_str().unwrap().is_empty());
    assert!(!seen["PlatformReason"].as_str().unwrap().is_empty());
    let seen = env.brig(&["inspect", &name]).success().json()[0].clone();
    assert_eq!(seen["Kind"], "linux", "{seen}");
}

#[test]
fn only_the_chosen_platform_is_pulled() {
    let env = env();
    let registry = env.registry();
    let wasm = Guest::TINY.module().unwrap();
    let index = need!(image::linux_and_wasm(&wasm));
    let name = index.push(&registry, "both:v1");
    let _ = env.brig(&["run", "--rm", "--platform", "wasi/wasm", &name]).success().prints("hello from wat\n");
    let linux_layer = index.blobs[1].digest.to_string();
    assert_eq!(registry.count("GET", &linux_layer), 0, "{:#?}", registry.requests());
}

#[test]
fn a_linux_image_with_a_wasm_program_is_wasm_unless_told_otherwise() {
    need!(need_containers());
    let env = env();
    let wasm = Guest::TINY.module().unwrap();
    load(&env, &image::wasm_compat(&wasm, Platform::host()).build(), "sniffed");
    let _ = env.brig(&["run", "--name", "sniffed", "sniffed"]).success().prints("hello from wat\n");
    let container = env.brig(&["container", "inspect", "sniffed"]).success().json()[0].clone();
    assert_eq!(container["Kind"], "wasm", "{container}");
    assert!(container["KindReason"].as_str().unwrap().contains("guest.wasm"), "{container}");
    let _ = env.brig(&["run", "--rm", "--runtime", "linux", "sniffed"]).exits(126);
}

#[test]
fn a_wat_program_is_wasm_too() {
    let env = env();
    env.write("guest.wat", "(module (memory (export \"memory\") 1) (func (export \"_start\")))");
    let _ = env.brig(&["run", "--rm", "./guest.wat"]).success();
}

#[test]
fn it_is_compiled_once() {
    let env = env();
    let wasm = need!(Guest::HELLO.module());
    load(&env, &image::wasm_artifact(&wasm).build(), "hello");
    let _ = env.brig(&["run", "--rm", "hello"]).success();
    let compiled = newest_files(&env.root());
    let _ = env.brig(&["run", "--rm", "hello"]).success();
    assert_eq!(newest_files(&env.root()), compiled, "the second run compiled again");
}

/// Inodes and sizes of the compiled modules, wherever the store keeps them.
fn newest_files(root: &Path) -> Vec<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let output = Command::new("find").arg(root).args(["-type", "f", "-size", "+20k"]).output().unwrap();
    let paths = String::from_utf8(output.stdout).unwrap();
    let blobs_or_compiled = paths.lines().map(|path| fs::metadata(path).unwrap());
    let mut files: Vec<_> = blobs_or_compiled.map(|metadata| (metadata.ino(), metadata.size())).collect();
    files.sort_unstable();
    files
}

#[test]
fn a_detached_guest_has_a_log_and_can_be_stopped() {
    let env = env();
    env.write("guest.wasm", need!(Guest::LOOP.module()));
    let _ = env.brig(&["run", "-d", "--name", "bg", "./guest.wasm"]).success();
    super::eventually("it says something", || env.brig(&["logs", "bg"]).success().stdout == "looping\n");
    let _ = env.brig(&["ps"]).success().shows("wasm");
    let _ = env.brig(&["exec", "bg", "true"]).fails().says("no function `true`");
    let _ = env.brig(&["stop", "-t", "1", "bg"]).success();
    let _ = env.brig(&["rm", "bg"]).success();
    nothing_is_left(&env);
}

#[test]
fn what_is_not_runnable_says_why() {
    let env = env();
    let missing = Guest::MISSING_IMPORT.module().unwrap();
    let _ = run_file(&env, &missing, &[], &[]).exits(126).says("nobody");
    let _ = run_file(&env, &Guest::ADDER.module().unwrap(), &[], &[]).exits(126);
    let _ = run_file(&env, b"\0asm\x01\0\0\0\xff\xff\xff", &[], &[]).exits(126);
    let _ = run_file(&env, b"\0asm", &[], &[]).exits(126);
    let _ = run_file(&env, b"not wasm", &[], &[]).exits(126);
    let _ = env.brig(&["run", "--rm", "./none.wasm"]).fails().says("none.wasm");
    nothing_is_left(&env);
}

#[test]
fn an_artifact_of_two_layers_is_refused() {
    let env = env();
    let wasm = Guest::TINY.module().unwrap();
    let second = image::Layer::raw("application/wasm", wasm.as_slice());
    load(&env, &image::wasm_artifact(&wasm).layer(second).build(), "two");
    let _ = env.brig(&["run", "--rm", "two"]).fails();
}

#[test]
fn the_engine_process_has_no_privileges() {
    let env = env();
    env.write("guest.wasm", need!(Guest::LOOP.module()));
    let _ = env.brig(&["run", "-d", "--name", "walled", "./guest.wasm"]).success();
    let pid = env.brig(&["inspect", "walled"]).success().json()[0]["State"]["Pid"].as_u64().unwrap();
    super::eventually("it runs", || env.brig(&["logs", "walled"]).success().stdout == "looping\n");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}:\n{status}")).trim().to_owned()
    };
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    assert_eq!(field("Seccomp:"), "2");
    // The helper's, and the runner's own, that forbids what the helper needed.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let inherited = own.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap().trim();
    assert_eq!(field("Seccomp_filters:"), (inherited.parse::<u32>().unwrap() + 2).to_string());
    assert_eq!(field("NoNewPrivs:"), "1");
}

#[test]
fn a_python_component_runs() {
    let tool = need!(need_tool("componentize-py"));
    let env = env();
    env.write("guest.wit", PYTHON_WORLD);
    env.write("app.py", "class Run:\n    def run(self):\n        print('hello from python')\n");
    let args = ["-d", "guest.wit", "-w", "guest", "componentize", "app", "-o", "app.wasm"];
    let _ = env.program(tool, &args).timeout(Duration::from_secs(300)).run().success();
    let call = env.command(&["run", "--rm", "./app.wasm"]).timeout(Duration::from_secs(300));
    let _ = call.run().success().prints("hello from python\n");
}

/// What a Python program has to see of the command world. What it imports comes with the tool.
const PYTHON_WORLD: &str = "package brig:guest;
world guest { export wasi:cli/run@0.2.0; }
package wasi:cli@0.2.0 { interface run { run: func() -> result; } }
";

#[test]
fn a_variant_of_wasm_in_an_index_is_found_by_its_older_names() {
    let env = env();
    let wasm = Guest::TINY.module().unwrap();
    let image = image::wasm_compat(&wasm, Platform::wasi()).build();
    let foreign = ImageBuilder::new(Platform::new("linux", "s390x"))
        .layer(LayerBuilder::new().file("a", 0o644, "a").build(Compression::Gzip))
        .cmd(&["/a"])
        .build();
    let index =
        IndexBuilder::new().image(foreign).entry(image, Some(Platform::new("wasi", "wasm32"))).build();
    let registry = env.registry();
    let name = index.push(&registry, "older:v1");
    let _ = env.brig(&["run", "--rm", &name]).success().prints("hello from wat\n");
}
