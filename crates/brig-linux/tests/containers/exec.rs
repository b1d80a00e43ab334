//! Another process in a container.

use brig_runtime::protocol::Response;

use super::support::{Running, machine, script_options, with_time_namespaces};

fn start(script: &str) -> Option<(super::support::Machine, Running)> {
    let machine = machine()?;
    let mut options = script_options(script);
    options.limits.pids = Some(100).filter(|_| !machine.host.rootless);
    let plan = machine.plan(&machine.spec(&options)).unwrap();
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    Some((machine, running))
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[test]
fn it_is_in_the_same_namespaces_with_the_same_walls() {
    let Some((_machine, mut running)) = start("echo up; read x") else { return };
    let script = "hostname; grep -E '^(Cap(Eff|Bnd)|Seccomp:)' /proc/self/status
        for n in mnt pid net ipc uts cgroup user; do
            [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo $n differs
        done
        cat /proc/self/cgroup > /tmp/mine; sort /tmp/mine > /tmp/a; sort /proc/1/cgroup > /tmp/b
        [ \"$(cat /tmp/a)\" = \"$(cat /tmp/b)\" ] || echo cgroups differ
        for fd in /proc/$$/fd/*; do echo ${fd##*/}; done; exit 9";
    let outcome = running.exec(|request| request.args = sh(script)).unwrap();
    assert_eq!(outcome.status.code, 9, "{outcome:?}");
    let expected = "boat\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n0\n1\n2\n";
    assert!(outcome.stdout.starts_with(expected), "{outcome:?}");
    running.type_in("\n");
    running.outcome();
}

#[test]
fn it_has_its_own_user_terminal_and_directory() {
    let Some((machine, mut running)) = start("echo up; read x") else { return };
    if machine.host.rootless {
        running.type_in("\n");
        return;
    }
    let outcome = running
        .exec(|request| {
            request.args = sh("id -u; tty; pwd; grep CapEff /proc/self/status");
            (request.uid, request.gid, request.cwd) = (5, 6, "/tmp".to_owned());
            (request.tty, request.size) = (true, Some((20, 70)));
        })
        .unwrap();
    let expected = "5\n/dev/pts/0\n/tmp\nCapEff:\t0000000000000000\n";
    assert_eq!(outcome.stdout.replace('\r', ""), expected, "{outcome:?}");
    running.type_in("\n");
    running.outcome();
}

#[test]
fn what_can_t_be_executed_is_said() {
    let Some((_machine, mut running)) = start("echo up; read x") else { return };
    for (program, code) in [("missing", "not_found"), ("/tmp", "not_runnable")] {
        let answer = running.exec(|request| request.args = vec![program.to_owned()]).unwrap_err();
        assert!(matches!(&answer, Response::Error(error) if error.code == code), "{answer:?}");
    }
    let answer = running.exec(|request| request.cwd = "/nowhere".to_owned()).unwrap_err();
    assert!(matches!(&answer, Response::Error(error) if error.message.contains("/nowhere")), "{answer:?}");
    running.type_in("\n");
    running.outcome();
}

#[test]
fn it_ends_with_the_container() {
    let Some((_machine, mut running)) = start("echo up; read x") else { return };
    running
        .exec(|request| {
            request.args = sh("exec sleep 1000");
            request.detach = true;
        })
        .ok();
    running.type_in("\n");
    assert_eq!(running.outcome().status.code, 0);
}

#[test]
fn its_clocks_and_its_schedule_are_the_container_s() {
    let Some(machine) = with_time_namespaces() else { return };
    let mut json = serde_json::to_value(machine.spec(&script_options("echo up; read x"))).unwrap();
    json["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "time" }));
    json["linux"]["timeOffsets"] = serde_json::json!({ "boottime": { "secs": 1_000_000_000 } });
    json["process"]["scheduler"] = serde_json::json!({ "policy": "SCHED_BATCH", "nice": 5 });
    let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    let script = "cat /proc/uptime; cat /proc/self/stat";
    let outcome = running.exec(|request| request.args = sh(script)).unwrap();
    let (uptime, stat) = outcome.stdout.split_once('\n').unwrap();
    assert!(uptime.starts_with("1000"), "{outcome:?}");
    // The 19th field of stat(5) is the nice value.
    assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(16), Some("5"), "{outcome:?}");
    running.type_in("\n");
    running.outcome();
}

#[test]
fn its_processors_are_the_spec_s() {
    let Some(machine) = machine() else { return };
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    if !allowed.lines().any(|line| line.starts_with("Cpus_allowed_list:") && line.trim_end().contains("0-")) {
        eprintln!("skipped: needs the processors 0 and 1");
        return;
    }
    for (affinity, list) in [
        (serde_json::json!({ "initial": "0" }), "0"),
        (serde_json::json!({ "initial": "0", "final": "1" }), "1"),
        (serde_json::json!({ "final": "0-1" }), "0-1"),
    ] {
        let script = "grep Cpus_allowed_list /proc/self/status; echo up; read x";
        let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
        json["process"]["execCPUAffinity"] = affinity;
        let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
        let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
        // The first program isn't concerned.
        assert!(running.lines_until("up")[0].contains("0-"));
        let script = "grep Cpus_allowed_list /proc/self/status; sort /proc/self/cgroup > /tmp/a; \
                      sort /proc/1/cgroup > /tmp/b; [ \"$(cat /tmp/a)\" = \"$(cat /tmp/b)\" ] || echo other cgroups";
        let outcome = running.exec(|request| request.args = sh(script)).unwrap();
        assert_eq!(outcome.stdout, format!("Cpus_allowed_list:\t{list}\n"), "{outcome:?}");
        running.type_in("\n");
        running.outcome();
    }
}
