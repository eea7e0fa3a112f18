# Devices, and the store they talk to. Sourced by cases.sh, inside namespaces
# that hold nothing else: a network with a loopback only, so every address is free.
#
#   device -> 127.0.0.1:8080 (relay: slow, keeps a record) -> 127.0.0.2:8080 proxyd

url=http://127.0.0.1:8080
wire=$work/log/wire
rate=8000000 # bytes a second that a device gets

# eventually SECONDS WHAT CMD...: waits until the command succeeds
eventually() {
    local - end=$((SECONDS + $1)) what=$2
    set +x
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "waited in vain: $what"; return 1; }
        sleep 0.1
    done
}

# --- the store

store() { "$proxy" --data-dir "$work/data" "$@"; }
listens() { (exec 3<> /dev/tcp/127.0.0.2/8080) 2>/dev/null; }

start_server() {
    "$proxyd" --data-dir "$work/data" >> "$work/log/proxyd" 2>&1 &
    echo $! > "$work/proxyd.pid"
    eventually 30 "proxyd listens" listens
}
stop_server() { # SIGNAL
    kill "$1" "$(cat "$work/proxyd.pid")"
    eventually 30 "proxyd has ended" eval '! listens'
}

push() { # NAME_REV CHANNEL STORE
    store push-snap "$work/fixtures/snaps/$1.snap" --channel "$2" --store "$3"
}

store_up() {
    "$cache/bin/fixtures" make "$work/fixtures" "$url" "$(dpkg --print-architecture)"
    mkdir "$work/data"
    store config proxy.domain=127.0.0.1 proxy.ipaddress=127.0.0.2 proxy.port.http=8080
    start_server
    "$cache/bin/fixtures" relay 127.0.0.1:8080 127.0.0.2:8080 "$wire" "$rate" > "$work/log/relay" 2>&1 &
    store generate-keys
    store enable-airgap-mode
    store trust add "$work/fixtures/root.assert"
    store register --import "$work/fixtures/store.assert"
    push snapd_1 latest/stable ubuntu
    push test-base_1 latest/stable ubuntu
    push hello_1 latest/stable AcmeDevices
    push hello_2 latest/candidate AcmeDevices
    push hello_3 latest/edge AcmeDevices
    push big_1 latest/stable AcmeDevices
    push bolt-tool_1 latest/stable BoltDevices
    store push-brand-store-metadata "$work/fixtures/acme.json"
    store push-brand-store-metadata "$work/fixtures/bolt.json"
    store push-account-keys "$work/fixtures/keys.assert"
    store push-assertions "$work/fixtures/fleet_1.assert"
}

# --- devices

# device_up BRAND: boots a device whose files are those of $cache/rootfs with a
# layer of its own. It finds the model and the serial in its seed, the device key
# in its place and the identity in its state; the rest is what an operator types.
device_up() {
    local dir=$work/$1 root=$work/$1/root
    mkdir -p "$dir"/{upper,work,root}
    mount -t overlay "$1" -o "lowerdir=$cache/rootfs,upperdir=$dir/upper,workdir=$dir/work" "$root"
    cp -r "$work/fixtures/device-$1/." "$root/var/lib/snapd/"
    chmod -R go= "$root/var/lib/snapd/"{device,state.json}
    (
        # a control group of its own, or the init systems of two devices would
        # keep their services in one and the same
        for folder in $groups; do
            mkdir -p "$folder/${work##*/}-$1"
            echo "$BASHPID" > "$folder/${work##*/}-$1/cgroup.procs"
        done
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        exec systemd-nspawn --quiet --boot --directory="$root" --machine="$1" --register=no --keep-unit \
            --bind=/dev/fuse --resolv-conf=off --timezone=off --link-journal=no --console=pipe
    ) > "$work/log/console-$1" 2>&1 < /dev/null &
    echo $! > "$dir/nspawn.pid"
    eventually 60 "the device boots" on "$1" systemctl is-active snapd.socket ||
        { tail "$work/log/console-$1"; return 1; }
    on "$1" timeout 60 snap wait system seed.loaded
    on "$1" sh -ec "curl -sSf $url/v2/auth/store/assertions > store.assert; snap ack store.assert"
    on "$1" snap set core proxy.store=AirlockDeviceTest
}

# on BRAND CMD...: runs a command in the device
on() {
    local - nspawn
    set +x
    nspawn=$(cat "$work/$1/nspawn.pid")
    shift
    nsenter --target "$(awk '{print $1}' "/proc/$nspawn/task/$nspawn/children")" \
        --mount --uts --ipc --pid --cgroup --wd=/root -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin HOME=/root LANG=C.UTF-8 timeout 180 "$@"
}
