//! A container's life: detached, waited for, listed, logged, entered and ended, as docker's users expect.

use std::time::Duration;

use brig_testing::image::{ImageBuilder, LayerBuilder};
use brig_testing::{Signal, is_root, need};

use super::{env, eventually, load, with_busybox};

#[test]
fn a_detached_container_lives_and_its_log_stays() {
    let env = need!(with_busybox());
    let script = "echo one; echo two >&2; sleep 60";
    let output = env.brig(&["run", "-d", "--name", "bg", "--label", "k=v", "busybox", "sh", "-c", script]);
    let id = output.success().line().to_owned();
    assert_eq!(id.len(), 64);
    eventually("the log has both lines", || env.brig(&["logs", "bg"]).success().stderr == "two\n");
    let _ = env.brig(&["logs", "bg"]).success().prints("one\n");
    let listed = env.brig(&["ps"]).success();
    assert!(listed.stdout.contains("bg") && listed.stdout.contains("Up "), "{}", listed.stdout);
    let inspected = env.brig(&["inspect", &id[..12]]).success().json();
    assert_eq!(inspected[0]["State"]["Status"], "running", "{inspected}");
    assert_eq!(inspected[0]["Config"]["Labels"]["k"], "v");
    let _ = env.brig(&["rm", "bg"]).fails();
    let _ = env.brig(&["stop", "-t", "1", "bg"]).success().prints("bg\n");
    let listed = env.brig(&["ps", "-a"]).success();
    assert!(listed.stdout.contains("Exited ("), "{}", listed.stdout);
    let _ = env.brig(&["logs", "-t", "bg"]).success().shows("one");
    let _ = env.brig(&["rm", "bg"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn stop_asks_first() {
    let env = need!(with_busybox());
    let script = "trap 'echo asked; exit 4' TERM; while :; do sleep 0.1; done";
    let _ = env.brig(&["run", "-d", "--name", "polite", "busybox", "sh", "-c", script]).success();
    std::thread::sleep(Duration::from_millis(300));
    let _ = env.brig(&["stop", "polite"]).success();
    let _ = env.brig(&["wait", "polite"]).success().prints("4\n");
    let _ = env.brig(&["logs", "polite"]).success().prints("asked\n");
}

#[test]
fn logs_follow_until_the_end() {
    let env = need!(with_busybox());
    let script = "for i in 1 2 3; do echo $i; sleep 0.2; done";
    let _ = env.brig(&["run", "-d", "--name", "counter", "busybox", "sh", "-c", script]).success();
    let _ = env.brig(&["logs", "-f", "counter"]).success().prints("1\n2\n3\n");
    let _ = env.brig(&["logs", "--tail", "1", "counter"]).success().prints("3\n");
}

#[test]
fn exec_runs_beside_the_payload() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "host", "-e", "A=b", "busybox", "sleep", "60"]).success();
    let _ = env
        .brig(&["exec", "host", "sh", "-c", "echo $A; hostname | wc -c; exit 9"])
        .exits(9)
        .prints("b\n13\n");
    let _ = env.command(&["exec", "-i", "host", "cat"]).stdin("typed").run().success().prints("typed");
    let _ = env
        .brig(&["exec", "-e", "A=c", "-w", "/tmp", "host", "sh", "-c", "echo $A; pwd"])
        .prints("c\n/tmp\n");
    let _ = env.brig(&["exec", "host", "no-such-program"]).exits(127);
    let output =
        env.command(&["exec", "-it", "host", "sh", "-c", "test -t 0 && stty size"]).run_on_terminal("");
    let _ = env.brig(&["exec", "-it", "host", "true"]).exits(125).says("not a terminal");
    let _ = output.success().shows("24 80");
    if is_root() {
        let _ = env.brig(&["exec", "-u", "app", "host", "id", "-u"]).success().prints("1000\n");
        let home = env.brig(&["exec", "-u", "app", "host", "sh", "-c", "echo $HOME"]);
        let _ = home.success().prints("/home/app\n");
    }
    let seccomp = env.brig(&["exec", "host", "grep", "Seccomp:", "/proc/self/status"]).success();
    assert!(seccomp.stdout.contains('2'), "exec must not be freer than the payload: {}", seccomp.stdout);
    let _ = env.brig(&["stop", "-t", "0", "host"]).success();
    let _ = env.brig(&["exec", "host", "true"]).fails();
}

#[test]
fn a_signal_to_exec_does_not_reach_the_payload() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "host", "busybox", "sleep", "60"]).success();
    let exec = env.command(&["exec", "host", "sleep", "50"]).spawn();
    eventually("exec runs", || {
        env.brig(&["exec", "host", "sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout.contains("50")
    });
    exec.signal(Signal::INT);
    let _ = exec.wait().exits(130);
    let _ = env.brig(&["exec", "host", "true"]).success();
}

#[test]
fn attach_joins_the_payloads_streams() {
    let env = need!(with_busybox());
    let script = "read line; echo got $line";
    let _ = env.brig(&["run", "-d", "-i", "--name", "reader", "busybox", "sh", "-c", script]).success();
    let _ = env.command(&["attach", "reader"]).stdin("a line\n").run().success().shows("got a line\n");
}

#[test]
fn created_containers_start_when_told() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "later", "busybox", "echo", "now"]).success();
    let listed = env.brig(&["ps", "-a"]).success();
    assert!(listed.stdout.contains("Created"), "{}", listed.stdout);
    let _ = env.brig(&["start", "-a", "later"]).success().prints("now\n");
    let _ = env.brig(&["container", "rm", "later"]).success();
}

#[test]
fn a_name_is_for_one() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "taken", "busybox"]).success();
    let _ = env.brig(&["run", "--name", "taken", "busybox", "true"]).exits(125).says("taken");
    let _ = env.brig(&["create", "--name", "../evil", "busybox"]).fails();
    let _ = env.brig(&["rm", "taken"]).success();
    let _ = env.brig(&["run", "--rm", "--name", "taken", "busybox", "true"]).success();
}

#[test]
fn an_image_in_use_is_not_removed() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "user", "busybox", "echo", "still here"]).success();
    let _ = env.brig(&["rmi", "busybox"]).fails().says("user");
    let _ = env.brig(&["start", "-a", "user"]).success().prints("still here\n");
}

#[test]
fn events_tell_what_happened() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--rm", "--name", "seen", "busybox", "true"]).success();
    let output = env.brig(&["events", "--since", "1h", "--until", "0s"]).success();
    let actions: Vec<&str> = output.stdout.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    for action in ["create", "start", "die", "destroy"] {
        assert!(actions.contains(&action), "no `{action}` in:\n{}", output.stdout);
    }
    let json = env.brig(&["--format", "json", "events", "--since", "1h", "--until", "0s"]).success();
    for line in json.stdout.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
}

#[test]
fn an_image_that_says_nothing_to_run_is_refused() {
    let env = env();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    load(&env, &image, "empty");
    let _ = env.brig(&["run", "--rm", "empty"]).exits(125).says("nothing to run");
}

#[test]
fn many_containers_at_once() {
    let env = need!(with_busybox());
    let running: Vec<_> =
        (0..12).map(|i| env.command(&["run", "--rm", "busybox", "echo", &i.to_string()]).spawn()).collect();
    for (i, running) in running.into_iter().enumerate() {
        let _ = running.wait().success().prints(&format!("{i}\n"));
    }
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn the_hosts_network_comes_with_the_hosts_name_unless_another_is_given() {
    let env = need!(with_busybox());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let run = |flags: &[&str]| env.brig(&[&["run", "--rm"][..], flags, &["busybox", "hostname"]].concat());
    let _ = run(&["--network", "host"]).success().prints(&name);
    let _ = run(&["--network", "host", "--hostname", "mast"]).success().prints("mast\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), name);
    let _ = env.brig(&["run", "-v", "/tmp:/", "busybox", "true"]).exits(125).says("/tmp:/");
    let _ = env.brig(&["run", "-v", "/tmp:/a", "-v", "/etc:/a", "busybox", "true"]).exits(125).says("/a");
}

#[test]
fn a_container_that_starts_twice_runs_once() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--rm", "--name", "once", "busybox", "sleep", "60"]).success();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // One of them starts it; the others find it running, or lose the race. None may end it.
            scope.spawn(|| drop(env.brig(&["start", "once"])));
        }
    });
    let _ = env.brig(&["exec", "once", "true"]).success();
    let _ = env.brig(&["rm", "-f", "once"]).success();
}

#[test]
fn waiting_for_what_was_never_started_is_dockers_zero() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "later", "busybox", "sh", "-c", "exit 6"]).success();
    let _ = env.brig(&["wait", "later"]).success().prints("0\n");
    let _ = env.brig(&["start", "later"]).success();
    let _ = env.brig(&["wait", "later"]).success().prints("6\n");
    let _ = env.brig(&["rm", "-f", "later"]).success();
    let _ = env.brig(&["wait", "later"]).exits(1).says("no such container: `later`");
}

#[test]
fn lists_are_filtered() {
    let env = need!(with_busybox());
    let create = |name: &str, label: &str| {
        let _ = env.brig(&["create", "--name", name, "-l", label, "busybox", "sh", "-c", "exit 3"]).success();
    };
    create("web-1", "tier=front");
    create("web-2", "tier=back");
    create("db", "tier=back");
    let _ = env.brig(&["start", "-a", "db"]).exits(3);
    let listed = |args: &[&str]| {
        let output = env.brig(&[&["--format", "json", "ps"], args].concat()).success().json_lines();
        let names = output.iter().map(|one| one["Names"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    for (args, expected) in [
        (&["-a"][..], "db web-2 web-1"),
        (&["-l"], "db"),
        (&["-n", "2"], "db web-2"),
        (&["-a", "-f", "name=web"], "web-2 web-1"),
        (&["-a", "-f", "name=^db$", "-f", "name=web-1"], "db web-1"),
        (&["-a", "-f", "label=tier=back"], "db web-2"),
        (&["-a", "-f", "label=tier", "-f", "label=tier=front"], "web-1"),
        (&["-a", "-f", "exited=3"], "db"),
        (&["-f", "status=created"], "web-2 web-1"),
        (&["-f", "status=exited", "-f", "name=web"], ""),
        (&["-a", "-f", "ancestor=busybox"], "db web-2 web-1"),
        (&["-a", "-f", "ancestor=alpine"], ""),
    ] {
        assert_eq!(listed(args), expected, "{args:?}");
    }
    let _ = env.brig(&["ps", "-f", "colour=red"]).exits(2).says("the filters are");
    let _ = env.brig(&["tag", "busybox", "example.com/box:v1"]).success();
    let images =
        |args: &[&str]| env.brig(&[&["images", "-q"], args].concat()).success().stdout.lines().count();
    for (args, expected) in [
        (&[][..], 2),
        (&["busybox"], 1),
        (&["busybox:v1"], 0),
        (&["-f", "reference=*/box:v*"], 1),
        (&["-f", "reference=busy*", "-f", "reference=example.com/*"], 2),
    ] {
        assert_eq!(images(args), expected, "{args:?}");
    }
}

#[test]
fn a_log_from_a_time_on() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--name", "talker", "busybox", "echo", "said"]).success();
    for (args, expected) in [
        (&["--tail", "-5"][..], "said\n"),
        (&["--tail", "all"], "said\n"),
        (&["--since", "1136073845.5"], "said\n"),
        (&["--since", "1h30m"], "said\n"),
        (&["--since", "2006-01-02"], "said\n"),
        (&["--until", "2006-01-02T15:04:05"], ""),
        (&["--until", "1136073845"], ""),
    ] {
        let _ = env.brig(&[&["logs"], args, &["talker"]].concat()).success().prints(expected);
    }
    let _ = env.brig(&["logs", "--since", "yesterday", "talker"]).exits(1).says("yesterday");
}

#[test]
fn what_is_missing_is_said_once_where_a_terminal_looks() {
    let notice = "no other network";
    for verb in ["create", "start"] {
        let env = need!(with_busybox());
        let create = env.command(&["create", "--name", "it", "busybox", "true"]);
        let start = || env.command(&["start", "it"]);
        let (first, then) = match verb {
            "create" => (create.run_on_terminal(""), start().run_on_terminal("")),
            _ => {
                let _ = create.run().success();
                (start().run_on_terminal(""), start().run_on_terminal(""))
            }
        };
        let _ = first.success().shows(notice);
        assert!(!then.success().stdout.contains(notice), "{verb}");
    }
}
