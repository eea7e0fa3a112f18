# Containers that boot an init system of their own, for tests that need a whole
# machine. Sourced by tests/device/run and tests/package/run, which set
#
#   label     what is tested, for messages
#   require   the variable that turns a test that cannot run into a failure
#   cache     where $cache/rootfs is: the files of every container, never written to
#
# Everything runs in namespaces: no network but a loopback, and no process or
# mount survives.

say() { printf '%s: %s\n' "$label" "$*" >&2; }
die() { say "$*"; exit 1; }
skip() {
    printf '\n*** SKIPPED %s: %s ***\n\n' "$label" "$*"
    [ "${!require:-}" != 1 ] || die "$require is set, so this is a failure"
    exit 0
}

# eventually SECONDS WHAT CMD...: waits until the command succeeds
eventually() {
    local - end=$((SECONDS + $1)) what=$2
    set +x
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting until $what"; return 1; }
        sleep 0.1
    done
}

# Where this process may make control groups: in the unified hierarchy, and where
# there is one in systemd's old one too.
control_groups() {
    local own mnt
    if own=$(grep -m1 '^0::' /proc/self/cgroup) && mnt=$(findmnt -n -f -o TARGET -t cgroup2); then
        own=${own#0::}
        echo "$mnt${own%/}"
    fi
    if own=$(grep -m1 ':name=systemd:' /proc/self/cgroup) && mnt=$(findmnt -n -f -o TARGET -t cgroup -O name=systemd); then
        own=${own#*:name=systemd:}
        echo "$mnt${own%/}"
    fi
}

# make_work NAME: the work folder, gone at the end unless $keep
make_work() {
    inside_pid=
    groups=$(control_groups)
    work=$(mktemp -d -t "$1.XXXXXX")
    trap clean_up EXIT
    inside=(unshare --net --mount --pid --fork --kill-child --mount-proc --)
}
clean_up() {
    local folder
    [ -z "$inside_pid" ] || kill -KILL "$inside_pid" 2>/dev/null || true
    for folder in $groups; do
        for _ in $(seq 20); do # they are busy until the last process has gone
            find "$folder" -mindepth 1 -depth -type d -path "$folder/${work##*/}-*" -delete 2>/dev/null && break
            sleep 0.1
        done
    done
    if [ -n "$keep" ]; then say "kept $work"; else rm -rf --one-file-system "$work"; fi
}

# Tried out, since what root may do differs much from one container to the next.
try_out() {
    local folder
    for folder in $groups; do
        mkdir "$folder/${work##*/}-trial" 2>/dev/null || skip "it may not make control groups"
    done
    "${inside[@]}" true 2>/dev/null || skip "it may not make namespaces"
    mkdir "$work"/{lower,upper,work,trial}
    "${inside[@]}" mount -t overlay trial -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/work" \
        "$work/trial" 2>/dev/null || skip "overlayfs cannot be mounted over $work (another TMPDIR may help)"
    rm -rf "$work"/*
}

# run_inside CMD...: runs a program in the namespaces, and ends as it does
run_inside() {
    local status=0
    "${inside[@]}" "$@" &
    inside_pid=$!
    wait "$inside_pid" || status=$?
    inside_pid=
    exit "$status"
}

# install_packages PACKAGE...: from apt, those that are missing
install_packages() {
    local missing=() p
    for p; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${#missing[@]} packages"
    {
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
            install --no-install-recommends "${missing[@]}"
    } > "$cache/log/packages" 2>&1 || die "cannot install packages, see $cache/log/packages"
}

# The mirror that apt has this machine's packages from; it holds every release.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -1)
    [ -n "$mirror" ] || die "cannot tell which Debian mirror apt uses"
    echo "$mirror"
}

# make_rootfs RELEASE PACKAGE...: $cache/rootfs, once
make_rootfs() {
    [ ! -d "$cache/rootfs" ] || return 0
    say "making the root file system"
    local new=$cache/rootfs.new release=$1 mirror list
    shift
    mirror=$(debian_mirror)
    rm -rf "$new"
    list=$(IFS=,; echo "$*")
    debootstrap --variant=minbase --include="$list" "$release" "$new" "$mirror" > "$cache/log/rootfs" 2>&1 ||
        die "debootstrap failed, see $cache/log/rootfs"
    rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/* "$new/etc/resolv.conf"
    : > "$new/etc/machine-id"
    mv "$new" "$cache/rootfs"
}

# --- inside the namespaces

# layer NAME: the files of a container, $cache/rootfs with a layer of its own
layer() {
    mkdir -p "$work/$1"/{upper,work,root}
    mount -t overlay "$1" -o "lowerdir=$cache/rootfs,upperdir=$work/$1/upper,workdir=$work/$1/work" "$work/$1/root"
}

# boot NAME [OPTION...]: boots it; OPTIONs are systemd-nspawn's
boot() {
    local name=$1 folder
    shift
    (
        # a control group of its own, or the init systems of two containers would
        # keep their services in one and the same
        for folder in $groups; do
            mkdir -p "$folder/${work##*/}-$name"
            echo "$BASHPID" > "$folder/${work##*/}-$name/cgroup.procs"
        done
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec systemd-nspawn --quiet --boot --directory="$work/$name/root" --machine="$name" --register=no --keep-unit \
            --resolv-conf=off --timezone=off --link-journal=no --console=pipe "$@"
    ) > "$work/log/console-$name" 2>&1 < /dev/null &
    echo $! > "$work/$name/nspawn.pid"
}

# on NAME CMD...: runs a command in a container
on() {
    local - nspawn
    set +x
    nspawn=$(cat "$work/$1/nspawn.pid")
    shift
    nsenter --target "$(awk '{print $1}' "/proc/$nspawn/task/$nspawn/children")" \
        --mount --uts --ipc --pid --cgroup --wdns=/root -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin HOME=/root LANG=C.UTF-8 timeout 180 "$@"
}
