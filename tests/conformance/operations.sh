# Sourced by podman and containerd here: operations, each ok or not ok, by runtime.
#
# Results are kept as `operation|ok` or `operation|not ok` in $results; what an operation printed that isn't ok is in $log.

operation() { # NAME TRUE-OR-FALSE
    if [ "$2" = true ]; then
        echo "ok $((++number)) - $1"
        echo "$1|ok" >>"$results"
    else
        echo "not ok $((++number)) - $1"
        echo "$1|not ok" >>"$results"
        printf '== %s: status %s, wanted %s\n%s\n' "$1" "$status" "$wanted" "$output" >>"$log"
    fi
}

# Runs a command with a time limit; its output without carriage returns is in $output, its exit status in $status.
try() { # COMMAND ARGUMENT…
    output=$(printf %s "${input:-}" | timeout --kill-after 5 30 "$@" 2>&1 | tr -d '\r\0'; exit "${PIPESTATUS[1]}")
    status=$?
}

is() { # NAME OUTPUT COMMAND ARGUMENT…
    wanted=$2
    local name=$1
    try "${@:3}"
    [ "$status" = 0 ] && [ "$output" = "$wanted" ] && operation "$name" true || operation "$name" false
}

like() { # NAME REGEX COMMAND ARGUMENT…
    wanted=$2
    local name=$1
    try "${@:3}"
    [ "$status" = 0 ] && [[ $output =~ $wanted ]] && operation "$name" true || operation "$name" false
}

exits() { # NAME STATUS COMMAND ARGUMENT…
    wanted=$2
    local name=$1
    try "${@:3}"
    [ "$status" = "$wanted" ] && operation "$name" true || operation "$name" false
}

# A root file system of busybox alone.
make_rootfs() { # DIRECTORY
    local busybox
    busybox=$(command -v busybox) || { echo "needs busybox-static"; exit 1; }
    mkdir -p "$1"/{bin,dev,etc,home,proc,root,run,sys,tmp}
    cp "$busybox" "$1/bin/busybox"
    chroot "$1" /bin/busybox --install -s /bin
    printf '%s\n' root:x:0:0:root:/root:/bin/sh alice:x:1000:1000::/home:/bin/sh >"$1/etc/passwd"
    printf '%s\n' root:x:0: alice:x:1000: extra:x:2000:alice >"$1/etc/group"
}

# Runs `operations RUNTIME-PATH` for every runtime, then prints them beside each other.
operations_of() { # SUITE RUNTIME…
    local suite=$1 runtime names=()
    shift
    for runtime in "$@"; do runtime_path "$runtime" >/dev/null || exit 1; done
    for runtime in "$@"; do
        names+=("$(runtime_name "$runtime")")
        results=$out/${names[-1]}.$suite log=$out/log/${names[-1]}.$suite number=0
        : >"$results" && : >"$log"
        echo "# ${names[-1]}"
        operations "$(runtime_path "$runtime")"
        echo "1..$number"
    done
    printf '\n## %s\n\n' "$suite"
    local files=()
    for runtime in "${names[@]}"; do files+=("$out/$runtime.$suite"); done
    awk -F'|' -v names="${names[*]}" '
        FNR == 1 { file++ }
        !($1 in seen) { seen[$1]; order[++n] = $1 }
        { result[file, $1] = $2; count[file, $2]++ }
        END {
            m = split(names, name, " ")
            line = "| "; rule = "|---"
            for (i = 1; i <= m; i++) { line = line "| " name[i] " "; rule = rule "|---" }
            print line "|"; print rule "|"
            for (k = 1; k <= n; k++) { line = "| " order[k] " "; for (i = 1; i <= m; i++) line = line "| " result[i, order[k]] " "; print line "|" }
            for (i = 1; i <= m; i++) printf "%s: %d ok, %d not ok\n", name[i], count[i, "ok"], count[i, "not ok"]
        }' "${files[@]}"
}
