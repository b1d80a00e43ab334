//! What a container is when nobody asks for anything: docker's.

use super::support::{machine, script_options};

#[test]
fn it_is_alone_in_its_namespaces() {
    let Some(machine) = machine() else { return };
    let names = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let outcome = machine.sh(&format!("echo $$; hostname; ps | wc -l; {names}; exit 7"));
    assert_eq!(outcome.status.code, 7, "{outcome:?}");
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["1", "boat"]);
    assert!(lines[2].parse::<u32>().unwrap() < 6, "{outcome:?}");
    for line in &lines[3..] {
        let (name, _) = line.split_once(':').unwrap();
        let hosts = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(*line, hosts.to_str().unwrap());
    }
    assert_eq!(lines.len(), 9);
}

#[test]
fn it_has_dockers_capabilities_and_filter() {
    let Some(machine) = machine() else { return };
    let outcome = machine.sh("grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status");
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
    let mounting = machine.sh("mount -t tmpfs x /tmp");
    assert_eq!(mounting.status.code, 1, "{mounting:?}");
}

#[test]
fn the_kernels_secrets_are_hidden_and_its_switches_read_only() {
    let Some(machine) = machine() else { return };
    let outcome = machine.sh(
        "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware /proc/acpi | grep -v : | grep . | wc -l
         touch /sys/x 2>/dev/null || echo sys
         echo 1 > /proc/sys/net/ipv4/ip_forward || echo proc
         echo b > /proc/sysrq-trigger || echo sysrq",
    );
    assert_eq!(outcome.stdout, "0\n0\nsys\nproc\nsysrq\n", "{outcome:?}");
}

#[test]
fn its_devices_work_and_others_are_dead() {
    let Some(machine) = machine() else { return };
    let outcome =
        machine.sh("echo x > /dev/null && head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c
         readlink /dev/fd; ls -l /proc/self/fd/ | grep -c dev/ptmx; ls /dev/pts
         mknod /tmp/null c 1 3 && (echo x > /tmp/null || echo dead)
         mknod /dev/mine b 254 0 && (head -c 1 /dev/mine || echo dead)
         echo x > /dev/shm/file && cat /dev/shm/file; ls -d /dev/mqueue");
    assert_eq!(outcome.stdout, "3\n4\n/proc/self/fd\n0\nptmx\ndead\ndead\nx\n/dev/mqueue\n", "{outcome:?}");
}

#[test]
fn only_three_descriptors_get_in() {
    let Some(machine) = machine() else { return };
    let outcome =
        machine.sh("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done; cat /proc/self/cgroup | tail -1");
    // The shell's own look at the directory is one more.
    let fds: Vec<_> = outcome.stdout.lines().take(3).collect();
    assert_eq!(fds, ["0", "1", "2"], "{outcome:?}");
    assert!(outcome.stdout.lines().count() <= 5, "{outcome:?}");
    assert!(outcome.stdout.ends_with("0::/\n"), "{outcome:?}");
}

#[test]
fn the_loopback_interface_is_up() {
    let Some(machine) = machine() else { return };
    let outcome = machine.sh("ifconfig | grep -c 'Link encap'; ifconfig lo | grep -o UP; ping -c 1 127.0.0.1 > /dev/null && echo pong");
    assert_eq!(outcome.stdout, "1\nUP\npong\n", "{outcome:?}");
}

#[test]
fn the_root_can_be_read_only() {
    let Some(machine) = machine() else { return };
    let mut options =
        script_options("touch /x || touch /dev/shm/x && echo ok > /dev/null; mkdir /tmp/x || echo no");
    options.read_only = true;
    let outcome = machine.run(&options);
    assert_eq!(outcome.stdout, "no\n", "{outcome:?}");
}

#[test]
fn the_host_s_network_is_the_host_s() {
    let Some(machine) = machine() else { return };
    let mut options = script_options("readlink /proc/self/ns/net; ls /sys/class/net | grep -c lo");
    options.network = brig_linux::Network::Host;
    let outcome = machine.run(&options);
    let hosts = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(outcome.stdout, format!("{}\n1\n", hosts.display()), "{outcome:?}");
}

#[test]
fn nothing_survives_a_killed_supervisor() {
    let Some(machine) = machine() else { return };
    let plan = machine.plan(&machine.spec(&script_options("echo up; exec sleep 1000"))).unwrap();
    let mut running = machine.start(plan).unwrap();
    assert_eq!(running.line(), "up");
    let payload = running.spawned.payload.pid;
    running.spawned.child.kill().unwrap();
    running.spawned.child.wait().unwrap();
    let gone = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        // A zombie of another parent is as good as gone.
        std::fs::read_to_string(format!("/proc/{payload}/status"))
            .map_or(true, |text| text.contains("State:\tZ"))
    });
    assert!(gone);
    for directory in running.plan.payload.cgroup.directories() {
        std::fs::remove_dir(directory).unwrap();
    }
}
