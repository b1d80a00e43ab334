# Sourced by the scripts here: namespaces of their own, so that nothing is left afterwards and nobody else's things are
# touched. Processes end with the PID namespace, mounts with the mount namespace; cgroups are made below one of our own.
#
# Sets $work, a directory that is removed in the end. Needs root.

# The v1 hierarchies of this machine, none where it has version 2 alone.
hierarchies() { findmnt --noheadings --types cgroup --output TARGET; }

# Moves the caller into a cgroup of its own in every v1 hierarchy.
join_cgroups() { # NAME
    local hierarchy file
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy/$1"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" >"$hierarchy/$1/$file"
        done
        echo "$BASHPID" >"$hierarchy/$1/cgroup.procs"
    done
}

remove_cgroups() { # NAME
    local hierarchy try
    for hierarchy in $(hierarchies); do
        # The kernel needs a moment to let go of the last processes.
        for try in 1 2 3 4 5; do
            find "$hierarchy/$1" -depth -type d -exec rmdir {} + 2>/dev/null
            [ -d "$hierarchy/$1" ] || break
            sleep 0.2
        done
    done
}

# Inside: only the caller's part of the hierarchies, and no version 2 beside them, which crun 1.8 and podman 4.3 refuse.
mount_cgroups() {
    local hierarchy options mounts=()
    while read -r hierarchy options; do
        mounts+=("$hierarchy $options")
    done < <(findmnt --noheadings --types cgroup --output TARGET,FS-OPTIONS)
    [ ${#mounts[@]} != 0 ] || return 0
    umount --recursive /sys/fs/cgroup
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    local mounted
    for mounted in "${mounts[@]}"; do
        read -r hierarchy options <<<"$mounted"
        mkdir -p "$hierarchy"
        mount -t cgroup -o "${options#rw,}" cgroup "$hierarchy"
    done
}

# What is frozen doesn't end, and a PID namespace ends with its last process.
thaw() { # DIRECTORY
    local state
    for state in $(find "$1" -mindepth 2 -name freezer.state 2>/dev/null); do
        echo THAWED >"$state" || continue
    done
}

# What the caller has open isn't handed to containers.
close_others() {
    local open
    for open in /proc/self/fd/*; do
        open=${open##*/}
        case $open in 0 | 1 | 2 | 255) ;; *) exec {open}>&- ;; esac
    done
}

prepare_inside() {
    close_others
    trap 'thaw /sys/fs/cgroup/freezer' EXIT
    mount_cgroups
    mount -t tmpfs -o mode=755 run /run
    mount -t tmpfs -o mode=1777 shm /dev/shm
    ip link set lo up
    export TMPDIR=$work/tmp HOME=$work/home
    mkdir -p "$TMPDIR" "$HOME"
    chmod 711 "$TMPDIR"
}

# Runs a command on an empty temporary directory. Some programs make containers without a mount namespace: what those
# mount goes with the command's own.
alone() { # COMMAND ARGUMENT…
    unshare --mount --propagation private sh -c 'mount -t tmpfs tmp "$TMPDIR" && exec "$@"' sh "$@"
}

# Runs the script again, in namespaces; the first call doesn't return.
enter_namespaces() { # SCRIPT ARGUMENT…
    if [ -n "${CONFORMANCE_WORK:-}" ]; then
        work=$CONFORMANCE_WORK
        prepare_inside
        return
    fi
    [ "$(id -u)" = 0 ] || { echo "needs root: containers are started in namespaces of the script's own"; exit 1; }
    local name=brig-conformance-$$ status child cgroup=()
    work=$(mktemp -d)
    # What runs in user namespaces has to get at bundles below it.
    chmod 711 "$work"
    [ -z "$(hierarchies)" ] || cgroup=(--cgroup)
    (
        join_cgroups "$name"
        CONFORMANCE_WORK=$work exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
            --net --ipc --uts "${cgroup[@]}" "$@"
    ) &
    child=$!
    trap 'kill -KILL $child; thaw "/sys/fs/cgroup/freezer/$name"' TERM INT
    wait "$child"
    status=$?
    # Once more, where a signal has ended the first wait.
    wait "$child" 2>/dev/null
    remove_cgroups "$name"
    rm -rf --one-file-system "$work"
    exit $status
}

# `name=path`, `path` or a command's name: what a runtime is called in the tables, and where it is.
runtime_name() { case $1 in *=*) echo "${1%%=*}" ;; *) basename "$1" ;; esac; }
runtime_path() {
    local path
    path=$(command -v "${1#*=}") || { echo "no such runtime: ${1#*=}" >&2; return 1; }
    realpath --no-symlinks "$path"
}
