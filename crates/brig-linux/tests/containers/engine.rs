//! Engine processes: busybox in the place of a wasm runner.

use std::fs;

use brig_linux::{EngineProcess, EngineRoot, Grant, PlanError, plan_engine};

use super::support::{Machine, Outcome, machine};

fn engine(machine: &Machine, script: &str) -> EngineProcess {
    EngineProcess {
        program: machine.lower().join("bin/busybox"),
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        input: b"the input\n".to_vec(),
        ..EngineProcess::default()
    }
}

fn run(machine: &Machine, engine: &EngineProcess) -> Outcome {
    let plan = plan_engine(engine, &machine.host, &machine.id()).unwrap();
    machine.start(plan).unwrap().outcome()
}

#[test]
fn it_reads_its_input_and_reports() {
    let Some(machine) = machine() else { return };
    let script = r#"read line <&4; echo "got $line"; printf '{"reason":"trap","code":134,"message":"oops"}' >&3; exit 1"#;
    let outcome = run(&machine, &engine(&machine, script));
    assert_eq!(outcome.stdout, "got the input\n", "{outcome:?}");
    assert_eq!((outcome.status.code, outcome.status.message.as_deref()), (134, Some("oops")));
}

#[test]
fn it_sees_its_grants_and_nothing_else() {
    let Some(machine) = machine() else { return };
    let (open, closed) = (machine.directory("open"), machine.directory("closed"));
    fs::write(closed.join("file"), "text\n").unwrap();
    // Not even the names of its grants can be listed.
    let script = "echo /*; read line < /closed/file; echo $line
        echo new > /open/made && echo written; echo x > /closed/file || echo refused
        echo x > /x || echo refused; cd /open && pwd";
    let mut engine = engine(&machine, script);
    engine.grants = vec![
        Grant { source: open.clone(), target: "/open".into(), writable: true, code: false },
        Grant { source: closed, target: "/closed".into(), writable: false, code: false },
    ];
    let outcome = run(&machine, &engine);
    assert_eq!(outcome.stdout, "/*\ntext\nwritten\nrefused\nrefused\n/open\n", "{outcome:?}");
    assert_eq!(fs::read_to_string(open.join("made")).unwrap(), "new\n");
}

#[test]
fn it_sees_the_image_s_files() {
    let Some(machine) = machine() else { return };
    fs::write(machine.lower().join("etc/motd"), "ahoy\n").unwrap();
    let mut engine =
        engine(&machine, "read line < /root/etc/motd; echo $line; echo x > /root/new && echo written");
    engine.root = Some(EngineRoot { root: machine.overlay(), target: "/root".into(), writable: true });
    let outcome = run(&machine, &engine);
    assert_eq!(outcome.stdout, "ahoy\nwritten\n", "{outcome:?}");
    assert!(!machine.lower().join("new").exists());
}

/// The machine, as if it allowed no namespaces; and whether landlock is there to do without.
fn machine_without_namespaces() -> Option<Machine> {
    let mut machine = machine()?;
    machine.host = machine.host.without_namespaces();
    match plan_engine(&engine(&machine, "true"), &machine.host, &machine.id()) {
        Ok(_) => Some(machine),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn without_namespaces_it_has_its_grants_and_nothing_else() {
    let Some(machine) = machine_without_namespaces() else { return };
    let (open, closed) = (machine.directory("open"), machine.directory("closed"));
    let secret = machine.directory("secret").join("file");
    fs::write(closed.join("file"), "text\n").unwrap();
    fs::write(&secret, "secret\n").unwrap();
    let (o, c, s) = (open.display(), closed.display(), secret.display());
    let script = format!(
        "read line <&4; echo \"got $line\"; read line < {c}/file; echo $line
        echo made > {o}/made && echo written
        for file in /etc/passwd {s} /proc/self/status /proc/1/environ; do
            {{ read line < $file && echo \"$file: $line\"; }} || echo refused
        done
        for file in {c}/file {c}/new {s} /tmp/brig-{}; do {{ echo x > $file; }} || echo refused; done
        echo /* $PPID; kill -0 $PPID || echo refused; echo {closed}/*",
        machine.id(),
        closed = machine.dir.path().join("secret").display(),
    );
    let mut engine = engine(&machine, &script);
    engine.grants = vec![
        Grant { source: open.clone(), target: "/open".into(), writable: true, code: false },
        Grant { source: closed.clone(), target: "/closed".into(), writable: false, code: false },
    ];
    let outcome = run(&machine, &engine);
    let said: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(said[..2], ["got the input", "text"], "{outcome:?}");
    assert_eq!(said.iter().filter(|line| **line == "written").count(), 1, "{outcome:?}");
    assert_eq!(said.iter().filter(|line| **line == "refused").count(), 9, "{outcome:?}");
    // Not even names can be listed.
    assert!(outcome.stdout.contains("\n/* ") && outcome.stdout.ends_with("/secret/*\n"), "{outcome:?}");
    assert_eq!(fs::read_to_string(open.join("made")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(closed.join("file")).unwrap(), "text\n");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret\n");
}

#[test]
fn without_namespaces_nothing_is_left_out_in_silence() {
    let Some(machine) = machine_without_namespaces() else { return };
    let refused = |engine: &EngineProcess| {
        let error = plan_engine(engine, &machine.host, &machine.id()).unwrap_err();
        assert!(matches!(error, PlanError::Unsupported { .. }), "{error}");
    };
    let root = EngineRoot { root: machine.overlay(), target: "/root".into(), writable: true };
    refused(&EngineProcess { root: Some(root), ..engine(&machine, "true") });
    refused(&EngineProcess { hostname: Some("name".into()), ..engine(&machine, "true") });
}

#[test]
fn it_can_t_start_programs_or_gain_anything() {
    let Some(machine) = machine() else { return };
    let status = machine.directory("proc");
    let mut engine = engine(&machine, "(echo forked) || echo refused");
    engine.grants = vec![Grant { source: status, target: "/p".into(), writable: true, code: false }];
    let outcome = run(&machine, &engine);
    assert!(!outcome.stdout.contains("forked"), "{outcome:?}");
}

#[test]
fn its_memory_is_limited() {
    let Some(machine) = machine() else { return };
    let cgroups = &machine.host.cgroups;
    if cgroups.legacy("memory").is_none() && !cgroups.unified_controllers().contains(&"memory".to_owned()) {
        eprintln!("skipped: needs the cgroup controller memory");
        return;
    }
    let mut engine = engine(&machine, "x=0123456789abcdef; while :; do x=$x$x; done");
    engine.limits.memory = Some(16 << 20);
    let outcome = run(&machine, &engine);
    assert_eq!(outcome.status.code, 137, "{outcome:?}");
}
