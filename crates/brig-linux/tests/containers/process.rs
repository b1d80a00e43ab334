//! Who the program is, where it starts, and how it can't be executed.

use oci_spec::runtime::{
    LinuxSeccompAction, LinuxSeccompBuilder, LinuxSyscallBuilder, PosixRlimitBuilder, PosixRlimitType,
};

use super::support::{machine, script_options, with_time_namespaces};

#[test]
fn users_are_numbers_and_lose_capabilities() {
    let Some(machine) = machine() else { return };
    let mut options = script_options("id; grep CapEff /proc/self/status; echo again > /dev/stdout; umask");
    (options.uid, options.gid, options.groups) = (1000, 1001, vec![7, 8]);
    let outcome = machine.run(&options);
    let expected = "uid=1000 gid=1001 groups=7,8\nCapEff:\t0000000000000000\nagain\n0022\n";
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
}

#[test]
fn without_new_privileges_the_filter_is_there_all_the_same() {
    let Some(machine) = machine() else { return };
    let mut options = script_options("grep -E 'NoNew|Seccomp:' /proc/self/status");
    (options.uid, options.no_new_privileges) = (1000, true);
    assert_eq!(machine.run(&options).stdout, "NoNewPrivs:\t1\nSeccomp:\t2\n");
}

#[test]
fn the_working_directory_is_made() {
    let Some(machine) = machine() else { return };
    let mut options = script_options("pwd; stat -c '%a %u' .");
    options.cwd = "/srv/deep/down".into();
    assert_eq!(machine.run(&options).stdout, "/srv/deep/down\n755 0\n");
}

#[test]
fn a_working_directory_outside_is_refused() {
    let Some(machine) = machine() else { return };
    for fd in [3, 5, 6, 7, 8, 9, 10, 11, 12] {
        let mut options = script_options("pwd");
        options.cwd = format!("/proc/self/fd/{fd}").into();
        let failure = machine.failure(&machine.spec(&options));
        assert!(failure.step.contains("working directory"), "{fd}: {failure:?}");
    }
}

#[test]
fn programs_that_can_t_be_executed_have_their_codes() {
    let Some(machine) = machine() else { return };
    std::fs::write(machine.lower().join("bin/text"), "no program").unwrap();
    std::fs::write(machine.lower().join("bin/plain"), "x").unwrap();
    for (program, code) in
        [("missing", 127), ("/missing", 127), ("/etc", 126), ("plain", 126), ("/bin/plain", 126), ("", 127)]
    {
        let mut options = script_options("");
        options.args = vec![program.to_owned()];
        let failure = machine.failure(&machine.spec(&options));
        assert_eq!(failure.code, code, "{failure:?}");
        assert_eq!(failure.subject.as_deref(), Some(program));
    }
}

#[test]
fn a_filter_that_knows_execve_alone_lets_the_program_start() {
    let Some(machine) = machine() else { return };
    let refused = LinuxSyscallBuilder::default()
        .names(vec!["execveat".to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .build()
        .unwrap();
    let filter = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .syscalls(vec![refused])
        .build()
        .unwrap();
    for program in ["sh", "/bin/sh"] {
        let mut options = script_options("echo started");
        options.args[0] = program.to_owned();
        let mut spec = machine.spec(&options);
        spec.linux_mut().as_mut().unwrap().set_seccomp(Some(filter.clone()));
        assert_eq!(machine.run_spec(&spec).stdout, "started\n", "{program}");
    }
}

#[test]
fn a_program_without_a_format_is_not_runnable() {
    use std::os::unix::fs::PermissionsExt;
    let Some(machine) = machine() else { return };
    let path = machine.lower().join("bin/odd");
    std::fs::write(&path, "\x7fELF but no more").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = script_options("");
    options.args = vec!["odd".to_owned()];
    assert_eq!(machine.failure(&machine.spec(&options)).code, 126);
}

#[test]
fn a_terminal_is_the_container_s_own() {
    let Some(machine) = machine() else { return };
    let mut options = script_options(
        "tty; echo /dev/pts/*; stat -c %u /dev/pts/0; echo hi > /dev/console; read x; echo got $x",
    );
    (options.terminal, options.uid) = (true, 1000);
    let plan = machine.plan(&machine.spec(&options)).unwrap();
    let mut running = machine
        .start_with(plan, |supervisor| {
            supervisor.tty = Some((30, 100));
            supervisor.stdin_open = true;
        })
        .unwrap();
    running.type_in("word\n");
    let text = running.outcome().stdout.replace('\r', "");
    for part in ["/dev/pts/0\n", "/dev/pts/0 /dev/pts/ptmx\n", "1000\n", "hi\n", "got word\n"] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

#[test]
fn resource_limits_and_the_oom_score_are_set() {
    let Some(machine) = machine() else { return };
    let limit = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).soft(77_u64).hard(99_u64);
    let mut options = script_options("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; umask");
    options.rlimits = vec![limit.build().unwrap()];
    let mut spec = machine.spec(&options);
    let process = spec.process_mut().as_mut().unwrap();
    process.set_oom_score_adj(Some(500));
    process.user_mut().set_umask(Some(0o77));
    assert_eq!(machine.run_spec(&spec).stdout, "77\n99\n500\n0077\n");
}

#[test]
fn kernel_parameters_of_namespaces_are_set_and_no_others() {
    let Some(machine) = machine() else { return };
    let mut spec = machine.spec(&script_options("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"));
    let sysctls = [("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "1234")];
    let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
    spec.linux_mut().as_mut().unwrap().set_sysctl(Some(sysctls.into()));
    assert_eq!(machine.run_spec(&spec).stdout, "1\n1234\n");
    for name in ["kernel.panic", "vm.swappiness", "net/../kernel/panic"] {
        let linux = spec.linux_mut().as_mut().unwrap();
        linux.set_sysctl(Some([(name.to_owned(), "1".to_owned())].into()));
        assert!(machine.plan(&spec).is_err(), "{name}");
    }
}

#[test]
fn it_is_scheduled_as_the_spec_says() {
    let Some(machine) = machine() else { return };
    let script = "grep policy /proc/self/sched; cat /proc/self/personality; uname -m; \
                  grep -m 1 default /proc/self/numa_maps; cat /proc/self/stat";
    let mut spec = machine.spec(&script_options(script));
    let mut json = serde_json::to_value(&spec).unwrap();
    json["process"]["scheduler"] = serde_json::json!({ "policy": "SCHED_BATCH", "nice": 5 });
    json["process"]["ioPriority"] = serde_json::json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    json["linux"]["personality"] = serde_json::json!({ "domain": "LINUX32" });
    spec = serde_json::from_value(json).unwrap();
    let outcome = machine.run_spec(&spec);
    let stat: Vec<_> =
        outcome.stdout.lines().last().unwrap().rsplit(") ").next().unwrap().split(' ').collect();
    // The 19th field of stat(5) is the nice value, and the 41st the policy.
    assert_eq!((stat[16], stat[38]), ("5", "3"), "{outcome:?}");
    assert!(outcome.stdout.contains("00000008") || outcome.stdout.contains("i686"), "{outcome:?}");
}

#[test]
fn what_the_kernel_refuses_of_its_schedule_is_told() {
    let Some(machine) = machine() else { return };
    for (field, value) in [
        ("scheduler", serde_json::json!({ "policy": "SCHED_DEADLINE", "runtime": 2, "deadline": 1 })),
        ("scheduler", serde_json::json!({ "policy": "SCHED_OTHER", "priority": 3 })),
    ] {
        let mut json = serde_json::to_value(machine.spec(&script_options("true"))).unwrap();
        json["process"][field] = value;
        let failure = machine.failure(&serde_json::from_value(json).unwrap());
        assert_eq!((failure.step.as_str(), failure.subject.as_deref()), ("schedule", Some("scheduler")));
    }
}

#[test]
fn its_clocks_are_ahead_as_the_spec_says() {
    let Some(machine) = with_time_namespaces() else { return };
    let mut json = serde_json::to_value(machine.spec(&script_options("cat /proc/uptime"))).unwrap();
    json["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "time" }));
    json["linux"]["timeOffsets"] = serde_json::json!({ "boottime": { "secs": 1_000_000_000 } });
    let outcome = machine.run_spec(&serde_json::from_value(json.clone()).unwrap());
    assert!(outcome.stdout.starts_with("1000"), "{outcome:?}");
    json["linux"]["namespaces"].as_array_mut().unwrap().pop();
    let error = machine.plan(&serde_json::from_value(json).unwrap()).unwrap_err();
    assert!(error.to_string().contains("time namespace"), "{error}");
}

#[test]
fn its_memory_comes_from_where_the_spec_says() {
    let Some(machine) = machine() else { return };
    let mut json = serde_json::to_value(machine.spec(&script_options("cat /proc/self/numa_maps"))).unwrap();
    json["linux"]["memoryPolicy"] =
        serde_json::json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] });
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        eprintln!("skipped: this kernel has no NUMA");
        return;
    }
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    assert!(outcome.stdout.contains("bind=static:0"), "{outcome:?}");
}

#[test]
fn a_security_module_that_isn_t_there_is_no_silence() {
    let Some(machine) = machine() else { return };
    if machine.host.has_apparmor() || machine.host.has_selinux() {
        eprintln!("skipped: there is one here");
        return;
    }
    let user = [(vec![], "private"), (vec![serde_json::json!({ "type": "user" })], "of the container")];
    for (more, proc) in user {
        let mut json = serde_json::to_value(machine.spec(&script_options("true"))).unwrap();
        json["linux"]["namespaces"].as_array_mut().unwrap().extend(more);
        for name in ["apparmor", "selinux"] {
            let mut plan = machine.plan(&serde_json::from_value(json.clone()).unwrap()).unwrap();
            let label = Some("label".to_owned());
            (plan.process.apparmor, plan.process.selinux) =
                if name == "apparmor" { (label, None) } else { (None, label) };
            let Err(brig_linux::HelperError::Step { source }) = machine.start(plan) else {
                panic!("it started")
            };
            assert_eq!(source.step, "ask the security module", "{proc}");
            assert_eq!((source.subject.as_deref(), source.errno), (Some("label"), 22), "{proc} {name}");
        }
    }
}
