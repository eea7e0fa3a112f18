# The cases of the device test, run in the order of this file by `run`.
# A case is a function: it passes when every command in it succeeds. Each brings
# about what it needs, so any choice of them works.
set -euo pipefail
. "$here/device.sh"

acme() { on acme "$@"; }
hello_id=hello000000000000000000000000000

# is WHAT VALUE EXPECTED
is() { [ "$2" = "$3" ] || { echo "$1: expected '$3', got '$2'"; return 1; }; }
# refused PATTERN CMD...: the command fails, and says why
refused() {
    local pattern=$1 out
    shift
    if out=$("$@" 2>&1); then echo "not refused: $*: $out"; return 1; fi
    grep -E "$pattern" <<< "$out" || { echo "refused, but not with '$pattern': $out"; return 1; }
}
# revision [BRAND] SNAP: the installed revision, nothing if there is none
revision() { on "${2:-acme}" snap list "$1" 2>/dev/null | awk -v snap="$1" '$1 == snap { print $3 }'; }
tracking() { acme snap list "$1" | awk -v snap="$1" '$1 == snap { print $4 }'; }
# have SNAP REVISION: brings the snap there, from wherever it is
have() {
    case $(revision "$1") in
    "$2") ;;
    '') acme snap install --revision="$2" "$1" ;;
    *) acme snap refresh --revision="$2" "$1" ;;
    esac
}
drop() { [ -z "$(revision "$1")" ] || acme snap remove --purge "$1"; }
asked() { grep -a -o -F "$1" "$wire" | wc -l; } # how often devices sent this

case_find() {
    acme snap find hello | grep -E '^hello +1\.0 +acme'
}

case_info() {
    acme snap info hello > "$work/info"
    grep -E "^snap-id: +$hello_id$" "$work/info"
    grep -E "^ +latest/stable: +1\.0 .*\(1\)" "$work/info"
    grep -E "^ +latest/candidate: +2\.0 .*\(2\)" "$work/info"
    grep -E "^ +latest/edge: +3\.0 .*\(3\)" "$work/info"
    refused 'no snap found for "nosuch"' acme snap info nosuch
}

case_install() {
    drop hello
    acme snap install hello
    is hello "$(revision hello)" 1
    is base "$(revision test-base)" 1
    is snapd "$(revision snapd)" 1
    acme cat /snap/hello/current/meta/snap.yaml | grep "^version: '1.0'"
    refused 'snap "nosuch" not found' acme snap install nosuch
}

case_refresh() {
    drop hello
    acme snap install hello
    push hello_4 latest/stable AcmeDevices
    acme snap refresh --list | grep -E '^hello +4\.0 +4 '
    acme snap refresh hello
    is hello "$(revision hello)" 4
    acme cat /snap/hello/current/meta/snap.yaml | grep "^version: '4.0'"
}

case_channel() {
    have hello 1
    acme snap refresh --channel=edge hello
    is hello "$(revision hello)" 3
    is tracking "$(tracking hello)" latest/edge
    acme snap refresh --channel=candidate hello
    is hello "$(revision hello)" 2
    refused 'is not available on 9.x/stable' acme snap refresh --channel=9.x/stable hello
}

case_revision() {
    drop hello
    acme snap install --revision=2 hello
    is hello "$(revision hello)" 2
    acme snap refresh --revision=1 hello
    is hello "$(revision hello)" 1
}

case_resume() {
    local partial=$work/acme/root/var/lib/snapd/snaps/big_1.snap.partial full change from
    full=$(stat -c %s "$work/fixtures/snaps/big_1.snap")
    larger() { [ "$(stat -c %s "$partial")" -gt 4000000 ]; }
    drop big
    change=$(acme snap install --no-wait big)
    eventually 30 "4 MB are there" larger
    stop_server -KILL
    [ "$(stat -c %s "$partial")" -lt "$full" ]
    start_server
    acme timeout 120 snap watch "$change"
    is big "$(revision big)" 1
    from=$(grep -a -o 'Range: bytes=[0-9]*-' "$wire" | tail -1 | tr -dc 0-9)
    [ "$from" -gt 4000000 ]
    grep -a -i "^content-range: bytes $from-$((full - 1))/$full" "$wire"
}

forget_set() { acme snap validate --forget acme/fleet; } # else the next cases are bound by it
validation() { acme snap validate | grep -E "^acme/fleet$1\$"; } # PATTERN

case_validate_monitor() {
    have hello 1
    acme snap validate --monitor acme/fleet=1
    validation '=1 +monitor +1 +valid *'
    forget_set
    store push-assertions "$work/fixtures/fleet_2.assert"
    acme snap validate --monitor acme/fleet
    validation ' +monitor +2 +invalid *'
}

case_validate_enforce() {
    store push-assertions "$work/fixtures/fleet_2.assert"
    drop big
    drop hello # with its old revisions: snapd goes back to those whatever a set says
    have hello 1
    acme snap validate --enforce acme/fleet=1
    validation '=1 +enforce +[12] +valid *' # this snapd shows the newest number it knows
    refused 'validation set' acme snap refresh --revision=2 hello
    forget_set
    refused 'invalid|wrong revision' acme snap validate --enforce acme/fleet
    have hello 2
    acme snap validate --enforce acme/fleet
    validation ' +enforce +2 +valid *'
    refused 'enforcing rules|validation set' acme snap install big
}

case_cohort() {
    local key
    drop hello
    key=$(acme snap create-cohort hello | sed -n 's/^ *cohort-key: *//p')
    [ -n "$key" ]
    acme snap install --cohort="$key" hello
    acme snap list hello | grep in-cohort
    drop hello
}

case_session() {
    local state=$work/acme/root/var/lib/snapd/state.json before
    acme snap find hello
    acme systemctl stop snapd.service snapd.socket
    sed -i 's/"session-macaroon":"[^"]*"/"session-macaroon":"garbage"/' "$state"
    grep -q '"session-macaroon":"garbage"' "$state"
    acme systemctl start snapd.socket
    before=$(asked 'POST /api/v1/snaps/auth/sessions ')
    have hello 3
    acme snap refresh --list
    is "new sessions" $(($(asked 'POST /api/v1/snaps/auth/sessions ') - before)) 1
    is "garbage in the state" "$(grep -c '"session-macaroon":"garbage"' "$state")" 0
}

case_restart() {
    local before
    have hello 1
    before=$(asked 'POST /api/v1/snaps/auth/sessions ')
    stop_server -TERM
    start_server
    acme snap refresh --list
    have hello 2
    is "new sessions" "$(asked 'POST /api/v1/snaps/auth/sessions ')" "$before"
}

case_other_brand() {
    [ -e "$work/bolt" ] || device_up bolt
    on bolt snap install bolt-tool
    is bolt-tool "$(revision bolt-tool bolt)" 1
    on bolt snap find hello 2>&1 | { ! grep '^hello '; }
    refused 'no snap found for "hello"' on bolt snap info hello
    refused 'snap "hello" not found' on bolt snap install hello
    refused 'snap "hello" not found' on bolt snap install --revision=1 hello
    acme snap known --remote snap-declaration series=16 "snap-id=$hello_id" | grep '^snap-name: hello'
    is "hello's declaration" "$(on bolt snap known --remote snap-declaration series=16 "snap-id=$hello_id")" ""
    refused 'snap "bolt-tool" not found' acme snap install bolt-tool
}

case_no_session() {
    local cli=(acme env SNAP_REEXEC=0 SNAPPY_FORCE_API_URL="$url/" snap)
    "${cli[@]}" download test-base
    cmp "$work/acme/root/root/test-base_1.snap" "$work/fixtures/snaps/test-base_1.snap"
    # nor by an address that it should not know
    is download "$(acme curl -s -o /dev/null -w '%{http_code}' "$url/api/v1/snaps/download/${hello_id}_1.snap")" 404
    refused 'snap not found' "${cli[@]}" download hello
}

# The whole trip: this store as the upstream of another one, which then serves the same device from what was carried.
case_rehearsal() {
    local media=$work/media partial=$work/media/.airlock-parts from ids blob
    local desk=(env -C "$media" "$proxy" --data-dir "$work/desk")
    local fetch=(fetch-snaps --architecture "$(dpkg --print-architecture)" --auth "$work/login" --store AcmeDevices
        --trust "$work/fixtures/root.assert")
    half() { [ "$(find "$partial" -type f -size +4000k | wc -l)" -gt 0 ]; }
    drop big
    have hello 1

    echo "== the connected side, with a login of the brand store"
    mkdir "$media"
    store create-login --store AcmeDevices --acl package_access,store_admin "$work/login"
    # Through the relay, so that a download takes its time.
    "${desk[@]}" config proxy.upstream="$url" proxy.dashboard.location="$url"
    "${desk[@]}" whoami --auth "$work/login"
    "${desk[@]}" "${fetch[@]}" big &
    eventually 30 "half of big is there" half
    kill -KILL $! && ! wait $!
    is "bundles of a killed fetch" "$(find "$media" -name '*.tar.gz' | wc -l)" 0
    "${desk[@]}" "${fetch[@]}" big
    from=$(grep -a -i -o '^range: bytes=[0-9]*-' "$wire" | tail -1 | tr -dc 0-9)
    [ "$from" -gt 4000000 ] # where the second run went on
    "${desk[@]}" "${fetch[@]}" hello snapd test-base --channel stable --channel candidate --channel edge \
        --validation-set acme/fleet
    "${desk[@]}" fetch-brand-store-metadata AcmeDevices "$work/login"
    ids=$(awk '/^type:/ { key = "" } /^public-key-sha3-384:/ { key = $2 } /^account-id: acme$/ && key { print key }' \
        "$work/fixtures/keys.assert")
    # shellcheck disable=SC2086 # one argument for each key
    "${desk[@]}" fetch-account-keys acme $ids --trust "$work/fixtures/root.assert"
    ls "$media"

    echo "== on site, with no upstream"
    stop_server -TERM
    mv "$work/data" "$work/upstream"
    mkdir "$work/data"
    store config proxy.domain=127.0.0.1 proxy.ipaddress=127.0.0.2 proxy.port.http=8080
    start_server
    store enable-airgap-mode
    store trust add "$work/fixtures/root.assert"
    store register --import "$work/fixtures/store.assert"
    store push-snap "$media"
    store push-brand-store-metadata "$media"/*.json
    store push-account-keys "$media"/*.assert
    store status
    (cd "$work/data/blobs" && find . -type f) > "$work/blobs"
    is "blobs" "$(wc -l < "$work/blobs")" 6
    while read -r blob; do cmp "$work/data/blobs/$blob" "$work/upstream/blobs/$blob"; done < "$work/blobs"

    echo "== the device, which knew the other store only"
    acme snap refresh --channel=candidate hello
    is hello "$(revision hello)" 2
    acme snap install big
    is big "$(revision big)" 1
    acme snap validate --monitor acme/fleet=1
    [ -e "$work/bolt" ] || device_up bolt
    refused 'no snap found for "hello"' on bolt snap info hello

    stop_server -TERM
    mv "$work/data" "$work/site"
    mv "$work/upstream" "$work/data"
    start_server
}

# --- run them

mkdir "$work/log"
ip link set lo up
# step NAME CMD...: sets $status; the output goes to a log, its end is shown on
# failure. Never call it in a condition: bash then goes on after errors.
step() {
    local log=$work/log/$1
    shift
    set +e
    (BASH_XTRACEFD=9; set -ex; "$@") > "$log" 2>&1 9>&1
    status=$?
    set -e
    [ -z "$verbose" ] || cat "$log"
    [ $status = 0 ] || { tail -n 25 "$log"; echo "... and from proxyd:"; tail -n 5 "$work/log/proxyd"; } 2>&1 | sed 's/^/    /'
}
step store-up store_up
[ $status = 0 ] || { echo "FAILED to set the store up"; exit 1; }
step device-up device_up acme
[ $status = 0 ] || { echo "FAILED to bring the device up"; exit 1; }

passed=0 failed=0
for name in $("$here/run" --list); do
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    step "$name" "case_$name"
    if [ $status = 0 ]; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name"
    fi
    forget_set > /dev/null 2>&1 || true
done
for device in acme bolt; do
    [ ! -e "$work/$device" ] || on "$device" journalctl -u snapd --no-pager > "$work/log/snapd-$device" || true
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
