# Devices, and the store they talk to. Sourced by cases.sh, inside namespaces
# that hold nothing else: a network with a loopback only, so every address is free.
#
#   device -> 127.0.0.1:8080 (relay: slow, keeps a record) -> 127.0.0.2:8080 proxyd
#   device -> store.test:8443 (relay: slow)                -> 127.0.0.2:8443 proxyd
#   device, proxyd                                         -> 127.0.0.3:9090 device service of a brand

# shellcheck source=tests/container.sh
. "$here/../container.sh"

url=http://127.0.0.1:8080
https_url=https://store.test:8443
service_url=http://127.0.0.3:9090/v1
wire=$work/log/wire

rate() { echo "$1" > "$work/rate.new"; mv "$work/rate.new" "$work/rate"; } # bytes a second that a device gets

# --- the store

store() { "$proxy" --data-dir "$work/data" "$@"; }
listens() { (exec 3<> /dev/tcp/127.0.0.2/8080) 2>/dev/null; }

start_server() {
    "$proxyd" --data-dir "$work/data" >> "$work/log/proxyd" 2>&1 &
    echo $! > "$work/proxyd.pid"
    eventually 30 "proxyd listens" listens
    eventually 30 "proxyd takes commands" store trust list
}
stop_server() { # SIGNAL
    local pid
    pid=$(cat "$work/proxyd.pid")
    kill "$1" "$pid"
    # The ports close first and the database last.
    eventually 30 "proxyd has ended" eval "! readlink -q /proc/$pid/exe > /dev/null"
}

push() { # NAME_REV CHANNEL STORE
    store push-snap "$work/fixtures/snaps/$1.snap" --channel "$2" --store "$3"
}

store_up() {
    "$cache/bin/fixtures" make "$work/fixtures" "$url" "$https_url" "$service_url" "$(dpkg --print-architecture)"
    mkdir "$work/data"
    store config proxy.domain=127.0.0.1 proxy.ipaddress=127.0.0.2 proxy.port.http=8080 proxy.port.https=8443 \
        proxy.metrics.address=127.0.0.2:9100
    start_server
    rate 8000000
    "$cache/bin/fixtures" relay 127.0.0.1:8443 127.0.0.2:8443 /dev/null "$work/rate" > "$work/log/relay-https" 2>&1 &
    "$cache/bin/fixtures" relay 127.0.0.1:8080 127.0.0.2:8080 "$wire" "$work/rate" > "$work/log/relay" 2>&1 &
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
    push tool_1 latest/stable AcmeDevices
    push player_1 latest/stable AcmeDevices
    push kiosk_1 latest/stable ubuntu
    push bolt-tool_1 latest/stable BoltDevices
    store push-brand-store-metadata "$work/fixtures/acme.json"
    store push-brand-store-metadata "$work/fixtures/bolt.json"
    store push-account-keys "$work/fixtures/keys.assert"
    store push-assertions "$work/fixtures/fleet_1.assert"
}

# --- devices

# device_boot NAME [BRAND]: boots a stock device of a brand, NAME's unless said. Its files
# are those of $cache/rootfs with a layer of its own. What it finds in its seed, as its
# device key and in its state is in the fixtures.
device_boot() {
    local root=$work/$1/root
    layer "$1"
    cp -r "$work/fixtures/device-${2:-$1}/." "$root/var/lib/snapd/"
    for secret in device state.json; do [ ! -e "$root/var/lib/snapd/$secret" ] || chmod -R go= "$root/var/lib/snapd/$secret"; done
    echo '127.0.0.1 localhost store.test' > "$root/etc/hosts"
    boot "$1" --bind=/dev/fuse
    eventually 60 "the device boots" on "$1" systemctl is-active snapd.socket ||
        { tail "$work/log/console-$1"; return 1; }
    on "$1" timeout 60 snap wait system seed.loaded
}

# device_up NAME: boots a device and does what an operator types.
device_up() {
    device_boot "$1"
    on "$1" sh -ec "curl -sSf $url/v2/auth/store/assertions > store.assert; snap ack store.assert"
    on "$1" snap set core proxy.store=AirlockDeviceTest
}
