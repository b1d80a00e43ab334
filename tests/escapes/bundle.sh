# Sourced by attacks.sh: bundles, containers and verdicts.
#
# A bundle is described by variables, which `fresh` sets to those of a harmless one: JSON, but for rootfs and bundle.

name=$1 runtime=$2
tries=$ESCAPE_TRIES programs=$ESCAPE_PROGRAMS
dir=$TMPDIR/escape secret=the-host-s-secret-$RANDOM$RANDOM
bundle=$dir/bundle rootfs=$dir/bundle/rootfs host=$dir/host vol=$dir/vol
box=0

default_capabilities='"CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FSETID","CAP_FOWNER","CAP_MKNOD","CAP_NET_RAW","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_SYS_CHROOT","CAP_KILL","CAP_AUDIT_WRITE"'
proc_mount='{"destination":"/proc","type":"proc","source":"proc"}'
dev_mounts='{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]},{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620"]}'
user_namespace='{"type":"user"},'
mappings='"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":100000,"size":65536}],'

# A root file system of busybox, in which /attack is what comes by stdin, and the host's files that are gone for.
fresh() {
    rm -rf "$dir/bundle" "$dir/host" "$dir/vol"
    mkdir -p "$rootfs"/{bin,dev,proc,sys,tmp,etc,vol} "$host" "$vol" "$dir/state"
    chmod 711 "$dir"
    local applet
    cp "$ESCAPE_BUSYBOX" "$rootfs/bin/busybox"
    for applet in sh cat ls tty id true sleep stat mkdir mount umount grep readlink echo find unshare head tr; do
        ln -s busybox "$rootfs/bin/$applet"
    done
    echo "$secret" >"$host/canary"
    cat >"$rootfs/attack"
    args='["sh","/attack"]' cwd='"/"' user='"uid":0,"gid":0' capabilities=$default_capabilities terminal=false
    mounts="$proc_mount,$dev_mounts" masked='' read_only='' more_process='' more_linux='' more_namespaces=''
}

configure() {
    cat >"$bundle/config.json" <<JSON
{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":false},"hostname":"escape",
"process":{"terminal":$terminal,"user":{$user},"args":$args,"cwd":$cwd,$more_process
"env":["PATH=/bin","HOST=$host"],
"capabilities":{"bounding":[$capabilities],"effective":[$capabilities],"permitted":[$capabilities]}},
"mounts":[$mounts],
"linux":{$more_linux"maskedPaths":[$masked],"readonlyPaths":[$read_only],
"namespaces":[$more_namespaces{"type":"pid"},{"type":"mount"},{"type":"ipc"},{"type":"uts"},{"type":"network"}]}}
JSON
}

bind() { # SOURCE DESTINATION
    echo "{\"destination\":\"$2\",\"type\":\"bind\",\"source\":\"$1\",\"options\":[\"bind\",\"rw\"]}"
}

oci() { timeout --kill-after 1 10 "$runtime" --root "$dir/state" "$@"; }

show() { [ -z "${ESCAPE_SHOW:-}" ] || sed 's/^/    /' <<<"$said" >&2; }

# One container to its end; what it and its runtime print is in $said.
run() {
    configure
    box=$((box + 1))
    said=$(oci run --bundle "$bundle" "box$box" 2>&1 </dev/null)
    local status=$?
    [ $status = 0 ] || oci delete --force "box$box" >/dev/null 2>&1
    show
    return $status
}

# A container that stays, called `stays`; it prints to $dir/stays.
start() {
    configure
    oci run --detach --bundle "$bundle" stays >"$dir/stays" 2>&1 </dev/null
}

first_process() { oci state stays | grep -oE '"pid": ?[0-9]+' | grep -oE '[0-9]+'; }

end() { oci delete --force stays >/dev/null 2>&1; }

# Waits for a line of the container that stays.
until_said() { # TEXT
    local try
    for try in {1..100}; do grep -q "$1" "$dir/stays" && return; sleep 0.05; done
    return 1
}

# Runs a command in the background, until the attack's end.
meanwhile() {
    "$@" &
    background=$!
}
enough() { kill "$background" 2>/dev/null; wait "$background" 2>/dev/null; }

# Where nothing was found, the runtime withstood it.
verdict() { # WHAT FOUND
    if [ -z "$2" ]; then
        echo "ok $name $cve $1"
    else
        echo "not ok $name $cve $1: $(tr '\n' ' ' <<<"$2" | cut -c1-200)"
    fi
}

# What a test says that can't be made on this machine.
skipped() { echo "skipped $name $cve $1"; }

shows_secret() { grep -qF "$secret" <<<"${1-$said}" && echo "the host's file was read"; }
