# The cases of the device test, run in the order of this file by `run`.
# A case is a function: it passes when every command in it succeeds. Each brings
# about what it needs, so any choice of them works. One that the snapd under test
# cannot pass, as it is older than what is tried, returns 77 and is counted apart.
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
since() { dpkg --compare-versions "$version" ge "$1"; } # does this snapd have what came with that one?
asked() { { grep -a -o -F "$1" "$wire" || true; } | wc -l; } # how often devices sent this

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

case_delta() {
    made() { store deltas list hello | grep -E '^hello +1 +2 +xdelta3 .* made$'; }
    store config proxy.deltas.budget=100 proxy.deltas.keep-ratio=100 # these snaps are small
    store deltas make hello 1 2
    eventually 60 "the delta is there" made
    install -m 755 "$(command -v xdelta3)" "$work/acme/root/usr/bin/xdelta3"
    acme systemctl restart snapd
    updated() {
        drop hello
        rm -f "$work"/acme/root/var/lib/snapd/cache/* # or it would come from there
        acme snap install --revision=1 hello
        acme snap refresh --revision=2 hello
        is hello "$(revision hello)" 2
        is "downloads of the delta" "$(asked "GET /api/v1/snaps/download/${hello_id}_1_2_xdelta3.delta")" "$1"
        is "downloads of the whole" "$(asked "GET /api/v1/snaps/download/${hello_id}_2.snap")" "$2"
    }
    if since 2.75; then # it applies with the xdelta3 of its own snap, which is not in there, and so falls back
        updated 1 1
        acme journalctl --unit snapd --no-pager | grep 'error applying delta: .*/snap/snapd/current/usr/bin/xdelta3'
        curl -sSf http://127.0.0.2:9100/metrics | grep -x 'airlock_deltas_fallbacks_total 1'
        acme sh -ec 'cd /snap/snapd/current; cp -a . /var/tmp/snapd-snap; cd /var/tmp/snapd-snap; mkdir -p usr/bin lib64
            cp /usr/bin/xdelta3 usr/bin; cp -L /lib64/ld-linux-x86-64.so.2 lib64; mount --bind . "$(realpath /snap/snapd/current)"'
        updated 2 1
        acme sh -c 'umount "$(realpath /snap/snapd/current)"; rm -rf /var/tmp/snapd-snap'
    else
        updated 1 0
    fi
    acme journalctl --unit snapd --no-pager | grep 'Successfully applied delta'
    store config proxy.deltas.budget=0
}

case_delta_of_contents() {
    since 2.75 || return 77
    # The squashfs-tools of the device's release, since those of this host may be older.
    mount -t tmpfs tools /usr/local/bin
    mount --bind "$cache/rootfs" /usr/local/lib
    local tool
    for tool in mksquashfs unsquashfs; do
        printf '#!/bin/sh\nexec /usr/local/lib/lib64/ld-linux-x86-64.so.2 --library-path %s /usr/local/lib/usr/bin/%s "$@"\n' \
            /usr/local/lib/usr/lib/x86_64-linux-gnu "$tool" > "/usr/local/bin/$tool"
        chmod 755 "/usr/local/bin/$tool"
    done
    made() { store deltas list hello | grep -E '^hello +1 +2 +snap-1-1-xdelta3 .* made$'; }
    store config proxy.deltas.budget=100
    store deltas make hello 1 2
    eventually 60 "the delta of contents is there" made
    made
    install -m 755 "$(command -v xdelta3)" "$work/acme/root/usr/bin/xdelta3"
    drop hello
    rm -f "$work"/acme/root/var/lib/snapd/cache/*
    acme snap install --revision=1 hello
    # snapd takes the programs of its own snap, which here has none
    acme sh -ec 'rm -rf /var/tmp/snapd-snap; cd /snap/snapd/current; cp -a . /var/tmp/snapd-snap; cd /var/tmp/snapd-snap; mkdir -p usr/bin lib64
        cp /usr/bin/xdelta3 /usr/bin/mksquashfs /usr/bin/unsquashfs usr/bin; cp -L /lib64/ld-linux-x86-64.so.2 lib64
        mount --bind . "$(realpath /snap/snapd/current)"'
    acme systemctl restart snapd
    acme snap set system experimental.snap-delta-format=true
    local whole
    whole=$(asked "GET /api/v1/snaps/download/${hello_id}_2.snap")
    acme snap refresh --revision=2 hello
    is hello "$(revision hello)" 2
    is "downloads of the delta" "$(asked "GET /api/v1/snaps/download/${hello_id}_1_2_snap-1-1-xdelta3.delta")" 1
    is "downloads of the whole" "$(asked "GET /api/v1/snaps/download/${hello_id}_2.snap")" "$whole"
    acme journalctl --unit snapd --no-pager | grep 'Successfully applied delta'
    curl -sSf http://127.0.0.2:9100/metrics | grep -E '^airlock_deltas_served_bytes_total\{format="snap-1-1-xdelta3"\} [1-9]'
    acme snap set system experimental.snap-delta-format=false
    acme sh -c 'umount "$(realpath /snap/snapd/current)"; rm -rf /var/tmp/snapd-snap'
    store config proxy.deltas.budget=0
    umount --lazy /usr/local/lib /usr/local/bin # the store may be trying another delta
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

# broken_download: installs big, and ends the server in the middle; $from is where it went on
broken_download() {
    local partial=$work/acme/root/var/lib/snapd/snaps/big_1.snap.partial change
    full=$(stat -c %s "$work/fixtures/snaps/big_1.snap")
    larger() { [ "$(stat -c %s "$partial")" -gt 1000000 ]; }
    drop big
    rm -f "$work"/acme/root/var/lib/snapd/cache/* # or it would come from there
    rate 1000000
    change=$(acme snap install --no-wait big)
    eventually 60 "1 MB is there" larger
    stop_server -KILL
    from=$(stat -c %s "$partial")
    [ "$from" -lt "$full" ]
    rate 8000000
    start_server
    acme timeout 120 snap watch "$change"
    is big "$(revision big)" 1
}

case_resume() {
    local from full
    broken_download
    from=$(grep -a -o 'Range: bytes=[0-9]*-' "$wire" | tail -1 | tr -dc 0-9)
    [ "$from" -gt 1000000 ]
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

case_validate_refresh() {
    since 2.58 || return 77
    store push-assertions "$work/fixtures/fleet_2.assert"
    drop big
    drop hello
    have hello 1
    acme snap validate --refresh --enforce acme/fleet
    is hello "$(revision hello)" 2
    validation ' +enforce +2 +valid *'
}

case_refresh_all() {
    drop hello
    drop tool
    have hello 1
    have tool 1
    push hello_4 latest/stable AcmeDevices
    push tool_2 latest/stable AcmeDevices
    acme snap refresh
    is hello "$(revision hello)" 4
    is tool "$(revision tool)" 2
}

case_hold() {
    since 2.58 || return 77
    local before
    drop hello
    have hello 1
    push hello_4 latest/stable AcmeDevices
    acme snap refresh --hold=24h hello
    before=$(asked '"held":{')
    acme snap refresh
    is hello "$(revision hello)" 1
    acme snap list hello | grep held
    ! since 2.61 || [ "$(asked '"held":{')" -gt "$before" ]
    acme snap refresh --unhold hello
    acme snap refresh
    is hello "$(revision hello)" 4
}

case_switch() {
    drop hello
    have hello 1
    acme snap switch --channel=candidate hello
    is hello "$(revision hello)" 1
    is tracking "$(tracking hello)" latest/candidate
    acme snap refresh hello
    is hello "$(revision hello)" 2
}

case_revert() {
    drop hello
    have hello 1
    have hello 2
    acme snap revert hello
    is hello "$(revision hello)" 1
    acme snap refresh --revision=3 hello
    is hello "$(revision hello)" 3
}

case_instances() {
    acme snap set system experimental.parallel-instances=true
    drop hello
    drop hello_two
    have hello 1
    have hello_two 1
    push hello_4 latest/stable AcmeDevices
    acme snap refresh hello hello_two
    is hello "$(revision hello)" 4
    is hello_two "$(revision hello_two)" 4
    drop hello_two
}

case_components() {
    since 2.68 || return 77
    drop player
    acme snap install --revision=1 player+codecs
    acme snap components player | grep -E '^player\+codecs +installed'
    push player_2 latest/stable AcmeDevices
    acme snap refresh player
    is player "$(revision player)" 2
    acme cat /snap/player/components/mnt/codecs/2/meta/component.yaml | grep '^version: 2.0'
    acme snap remove player+codecs
    acme snap components player | grep -E '^player\+codecs +available'
    drop player
}

case_override() {
    drop hello
    push hello_4 latest/stable AcmeDevices
    store override hello stable=2
    acme snap install hello
    is hello "$(revision hello)" 2
    store delete-override hello stable
    acme snap refresh hello
    is hello "$(revision hello)" 4
}

case_closed_channel() {
    drop hello
    acme snap install --edge hello
    is hello "$(revision hello)" 3
    store close-channel hello edge --apply
    acme snap refresh hello
    is hello "$(revision hello)" 2
    is tracking "$(tracking hello)" latest/edge
    store release hello 3 edge --apply
    acme snap refresh hello
    is hello "$(revision hello)" 3
}

case_damaged() {
    local blob damaged=
    drop hello
    rm -f "$work"/acme/root/var/lib/snapd/cache/*
    push hello_4 latest/stable AcmeDevices
    while read -r blob; do
        ! cmp -s "$blob" "$work/fixtures/snaps/hello_4.snap" || damaged=$blob
    done < <(find "$work/data/blobs" -type f)
    printf damage | dd of="$damaged" bs=1 seek=50000 conv=notrunc status=none
    ! store verify
    acme snap install hello
    is hello "$(revision hello)" 1 # those above it are in riskier channels
    push hello_4 latest/stable AcmeDevices
    acme snap refresh hello
    is hello "$(revision hello)" 4
}

case_blocked_device() {
    have hello 1
    store block-device acme/acme-box/acme-0001
    refused 'cannot|error' acme snap refresh --revision=2 hello
    is hello "$(revision hello)" 1
    store unblock-device acme/acme-box/acme-0001
    acme snap refresh --revision=2 hello
    is hello "$(revision hello)" 2
}

case_names() {
    local setting=$work/acme/root/etc/systemd/system/snapd.service.d/names.conf
    local names=$work/acme/root/var/cache/snapd/names
    # one that trusts test keys leaves it out unless told to
    printf '[Service]\nEnvironment=SNAPD_CATALOG_REFRESH=1\n' > "$setting"
    acme systemctl daemon-reload
    acme systemctl restart snapd.service
    eventually 60 "the names are there" grep -qx test-base "$names"
    rm "$setting"
    acme systemctl daemon-reload
    acme systemctl restart snapd.service
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

# two HELLO: both devices of acme are there, and run this revision of hello from stable, which has it
two() {
    local device
    [ -e "$work/second" ] || device_up second
    # Nothing else decides.
    store release hello "$1" stable --apply
    for device in acme second; do
        on "$device" snap list hello > /dev/null 2>&1 && on "$device" snap remove --purge hello
        on "$device" snap install hello
        is "hello of $device" "$(revision hello "$device")" "$1"
    done
}
second() { on second "$@"; }

case_cohort_held() {
    local key
    two 1
    key=$(acme snap create-cohort hello | sed -n 's/^ *cohort-key: *//p')
    acme snap refresh --cohort="$key" hello || [ "$(revision hello)" = 1 ] # there is nothing newer
    acme snap list hello | grep in-cohort || acme snap switch --cohort="$key" hello
    acme snap list hello | grep in-cohort
    store release hello 2 stable --apply
    second snap refresh
    is "hello outside of the cohort" "$(revision hello second)" 2
    acme snap refresh
    is "hello in the cohort" "$(revision hello)" 1
    acme snap refresh --leave-cohort hello
    acme snap refresh
    is "hello after the cohort" "$(revision hello)" 2
    store release hello 1 stable --apply
}

case_rollout() {
    two 1
    store group add lab --serial acme-0001 --apply
    store rollout plan spring --snap hello --to 2 --wave group=lab --wave 100%
    acme snap refresh
    is "hello before the start" "$(revision hello)" 1
    store rollout start spring
    acme snap refresh
    second snap refresh
    is "hello in the wave" "$(revision hello)" 2
    is "hello outside" "$(revision hello second)" 1
    # Another channel and a revision by its number are not the rollout's.
    second snap refresh --channel=edge hello
    is "hello from edge" "$(revision hello second)" 3
    second snap refresh --channel=stable hello
    is "hello from stable again" "$(revision hello second)" 1
    second snap refresh --revision=2 hello
    is "hello by its number" "$(revision hello second)" 2
    second snap refresh --revision=1 hello
    acme snap refresh --list
    store rollout show spring
    is "devices that are done" "$(store rollout show spring --json | grep -o '"done": *[0-9]*' | head -1 | tr -dc 0-9)" 1
    store explain acme/acme-box/acme-0001 hello | grep 'because of a rollout'
    store rollout back spring
    acme snap refresh
    second snap refresh
    is "hello after the way back" "$(revision hello)" 1
    is "hello outside after the way back" "$(revision hello second)" 1
    store group remove lab
}

case_train() {
    local device
    two 1
    store group add first --serial acme-0001 --apply
    site_key validation-set
    store train hold acme/line7
    store train sign acme/line7 --snap hello
    store train depart acme/line7 1 --wave 100%
    for device in acme second; do
        on "$device" snap validate --enforce acme/line7
        on "$device" snap validate | grep -E '^acme/line7 +enforce +1 +valid *$'
    done
    store train next acme/line7
    store train sign acme/line7 --from-channel candidate
    acme snap refresh
    is "hello before it departs" "$(revision hello)" 1
    store train depart acme/line7 2 --wave group=first --wave 100%
    acme snap refresh
    second snap refresh
    is "hello in the wave" "$(revision hello)" 2
    is "hello outside" "$(revision hello second)" 1
    acme snap validate | grep -E '^acme/line7 +enforce +2 +valid *$'
    second snap validate | grep -E '^acme/line7 +enforce +1 +valid *$'
    acme snap refresh
    store train show acme/line7 > "$work/train"
    grep '^Devices on 2: 1$' "$work/train"
    grep '^Devices on 1: 1$' "$work/train"
    store train back acme/line7
    acme snap refresh
    second snap refresh
    is "hello after the way back" "$(revision hello)" 1
    is "hello outside after the way back" "$(revision hello second)" 1
    acme snap validate | grep -E '^acme/line7 +enforce +3 +valid *$'
    second snap validate | grep -E '^acme/line7 +enforce +1 +valid *$'
    for device in acme second; do on "$device" snap validate --forget acme/line7; done
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

case_rotated_secret() {
    local before
    have hello 1
    before=$(asked 'POST /api/v1/snaps/auth/sessions ')
    store rotate-secret proxy.device-auth.secret --keep-old 0s
    have hello 2
    is "new sessions" $(($(asked 'POST /api/v1/snaps/auth/sessions ') - before)) 1
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

# register NAME: a device without a serial installs its gadget, whose settings name
# the brand's device service, and then registers by itself
register() {
    "$cache/bin/fixtures" device-service 127.0.0.3:9090 "$work/fixtures/service" 2> "$work/log/service-$1" &
    echo $! > "$work/service.pid"
    device_up "$1"
    is "serials" "$(on "$1" snap known serial)" ""
    on "$1" snap install kiosk
    eventually 90 "the device has a serial" on "$1" sh -c "snap known serial | grep '^serial: acme-$1-0007'" || {
        kill "$(cat "$work/service.pid")"
        on "$1" journalctl -u snapd --no-pager -n 20
        return 1
    }
    kill "$(cat "$work/service.pid")"
    cat "$work/log/service-$1"
    # as a device of its brand store it sees what nobody else does
    on "$1" snap install hello
}

case_registration_direct() {
    local before
    store config proxy.device-auth.allowed-device-service-urls='[]'
    before=$(asked 'POST /api/v1/snaps/auth/request-id ')
    register direct
    grep '^POST /v1/serial from snapd/' "$work/log/service-direct"
    is "requests to the store" "$(asked 'POST /api/v1/snaps/auth/request-id ')" "$before"
}

case_registration_relayed() {
    local before
    store config proxy.device-auth.allowed-device-service-urls="[\"$service_url\"]"
    before=$(asked 'POST /api/v1/snaps/auth/devices ')
    register relayed
    grep '^POST /v1/serial ' "$work/log/service-relayed"
    is "requests to the store" $(($(asked 'POST /api/v1/snaps/auth/devices ') - before)) 1
    store config proxy.device-auth.allowed-device-service-urls='[]'
}

# site_key PURPOSE: a key that is made on site, and that the public store vouches for
site_key() {
    store keys create "test-$1" --for "$1" --account acme --approvals 0
    store keys request "test-$1" > "$work/test-$1.request"
    "$cache/bin/fixtures" account-key "$work/test-$1.request" > "$work/test-$1.assert"
    store push-account-keys "$work/test-$1.assert"
}

# registers NAME PATTERN: a device gets its serial from the store's own service, and its request takes less than two seconds
registers() {
    local took
    device_up "$1"
    is "serials" "$(on "$1" snap known serial)" ""
    on "$1" snap install kiosk
    eventually 90 "the device has a serial" on "$1" sh -c "snap known serial | grep -E '^serial: $2\$'" || {
        on "$1" journalctl -u snapd --no-pager -n 20
        return 1
    }
    # "Request device serial" begins when "Generate device key" ends.
    on "$1" snap change --last=become-operational --abs-time | tee "$work/log/change-$1"
    ended() { date -d "$(awk -v task="$1" '$0 ~ task { print $3 }' "$2")" +%s; }
    took=$(($(ended 'Request device serial' "$work/log/change-$1") - $(ended 'Generate device key' "$work/log/change-$1")))
    [ "$took" -le 2 ]
    # as a device of its brand store it sees what nobody else does
    on "$1" snap install hello
}

case_registration_on_site() {
    local before
    site_key serial
    store models add acme/acme-line --key test-serial --serial proposed --pattern 'LINE-[0-9]{4}'
    registers line LINE-0042
    printf a-long-secret-of-the-gate > "$work/gate.key"
    store models add acme/acme-gate --key test-serial --serial assigned --api-key-file "$work/gate.key"
    before=$(asked "X-Snap-Device-Service-Url: $url")
    registers gate '[-0-9a-f]{36}'
    is "requests for the gadget's service" $(($(asked "X-Snap-Device-Service-Url: $url") - before)) 2
    store serials list
    is "serials given out" "$(store serials export --csv | grep -c '^acme,acme-')" 2
    store models close acme/acme-line
    store models close acme/acme-gate
}

case_break_glass() {
    local format=() file=$work/auto-import.assert serial=acme-0001
    since 2.68 || format=(--stays)
    site_key system-user
    echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFyGlVHFmwtkE5xpk1p3vBdOmDJGtQ5xjxSr+ELBLJSe alice@desk' > "$work/alice.pub"
    store break-glass "acme/acme-box/$serial" --ssh-key "$work/alice.pub" --hours 8 --user rescue --out "$file" "${format[@]}"
    "$cache/bin/fixtures" users "$file" acme acme-box "$serial" | grep '^rescue ssh-ed25519 AAAA'
    is "users of its neighbour" "$("$cache/bin/fixtures" users "$file" acme acme-box acme-0002)" ""
    is "users of another model" "$("$cache/bin/fixtures" users "$file" acme acme-line "$serial")" ""
    # snapd itself takes the file whole, with all that it needs to check it
    cp "$file" "$work/acme/root/root/"
    acme snap ack auto-import.assert
    acme snap known system-user brand-id=acme | grep "^username: rescue"
}

# The whole trip: this store as the upstream of another one, which then serves the same device from what was carried.
case_rehearsal() {
    local media=$work/media partial=$work/media/.airlock-parts from ids blob
    local desk=(env -C "$media" "$proxy" --data-dir "$work/desk")
    local fetch=(fetch-snaps --architecture "$(dpkg --print-architecture)" --auth "$work/login" --store AcmeDevices
        --trust "$work/fixtures/root.assert")
    begun() { [ "$(find "$partial" -type f -size +1000k | wc -l)" -gt 0 ]; }
    drop big
    have hello 1

    echo "== the connected side, with a login of the brand store"
    mkdir "$media"
    store create-login --store AcmeDevices --acl package_access,store_admin "$work/login"
    # Through the relay, so that a download takes its time.
    "${desk[@]}" config proxy.upstream="$url" proxy.dashboard.location="$url"
    "${desk[@]}" whoami --auth "$work/login"
    rate 1000000
    "${desk[@]}" "${fetch[@]}" big &
    eventually 60 "1 MB of big is there" begun
    kill -KILL $! && ! wait $!
    rate 8000000
    is "bundles of a killed fetch" "$(find "$media" -name '*.tar.gz' | wc -l)" 0
    "${desk[@]}" "${fetch[@]}" big
    from=$(grep -a -i -o '^range: bytes=[0-9]*-' "$wire" | tail -1 | tr -dc 0-9)
    [ "$from" -gt 1000000 ] # where the second run went on
    "${desk[@]}" "${fetch[@]}" hello player tool snapd test-base --channel stable --channel candidate --channel edge \
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
    # For the log: what is served is looked at below.
    store status || true
    (cd "$work/data/blobs" && find . -type f) > "$work/blobs"
    is "blobs" "$(wc -l < "$work/blobs")" "$(since 2.68 && echo 9 || echo 8)" # with a component, or without
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

# From here on plain HTTP leads to HTTPS.
case_https() {
    local before from full
    store config proxy.domain=store.test
    store ca init
    store ca issue-server
    cp "$work/fixtures/https.assert" "$work/acme/root/root/"
    acme snap ack https.assert
    acme snap set core proxy.store=AirlockDeviceTestHTTPS
    before=$(stat -c %s "$wire")
    refused x509 acme snap find hello
    acme snap set system store-certs.airlock="$(store ca show)"
    acme snap find hello | grep '^hello '
    drop hello
    have hello 1
    acme snap refresh --channel=edge hello
    is hello "$(revision hello)" 3
    acme snap validate --monitor acme/fleet=1
    broken_download
    curl -sSf http://127.0.0.2:9100/metrics | grep '206.* [1-9]'
    is "bytes over plain HTTP" "$(stat -c %s "$wire")" "$before"
}

# kit ARGS: runs what `device-kit` prints on a stock device, as its page says
kit() {
    store device-kit > "$work/kit/root/root/device-kit.sh"
    on kit sh device-kit.sh "$@"
}
installs() { on kit snap install hello && [ -n "$(revision hello kit)" ] && on kit snap remove --purge hello; }
handshake() { on kit curl -sS -o /dev/null -w '%{http_code}' --cacert ca.pem "$@" "$https_url/"; }

# A stock snapd that is given the kit and nothing else, at each of the three levels.
case_device_kit() {
    local before
    device_boot kit acme
    refused 'error' on kit snap find hello

    echo "== level one: HTTP"
    store config proxy.domain=127.0.0.1 proxy.tls.cert= proxy.tls.key=
    kit
    is proxy.store "$(on kit snap get system proxy.store)" AirlockDeviceTest
    installs
    kit --check
    kit --undo
    is proxy.store "$(on kit snap get system proxy.store)" ""
    refused 'error' on kit snap find hello

    echo "== level two: HTTPS with the store's own authority"
    store config proxy.domain=store.test
    [ -e "$work/data/ca" ] || store ca init
    store ca issue-server
    store reregister --import "$work/fixtures/https.assert"
    before=$(stat -c %s "$wire")
    kit
    is proxy.store "$(on kit snap get system proxy.store)" AirlockDeviceTestHTTPS
    installs
    is "bytes over plain HTTP" "$(stat -c %s "$wire")" "$before"

    echo "== level three: certificates of clients, of which snapd has none"
    store ca show > "$work/kit/root/root/ca.pem"
    store ca issue-client gateway-17 --out "$work/kit/root/root"
    store config proxy.tls.client-ca="$work/data/ca/ca.pem" proxy.tls.client-auth=optional
    kit --check
    installs
    is "with a certificate" "$(handshake --cert gateway-17.pem --key gateway-17.key)" 200
    store config proxy.tls.client-auth=required
    refused 'certificate required|bad certificate|cannot reach' kit --check
    is "with a certificate" "$(handshake --cert gateway-17.pem --key gateway-17.key)" 200
    refused 'certificate required' handshake
    store config proxy.tls.client-auth=optional
    kit --check
    kit --undo
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
    [ $status = 0 ] || [ $status = 77 ] || { tail -n 25 "$log"; echo "... and from proxyd:"; tail -n 5 "$work/log/proxyd"; } 2>&1 | sed 's/^/    /'
}
step store-up store_up
[ $status = 0 ] || { echo "FAILED to set the store up"; exit 1; }
step device-up device_up acme
[ $status = 0 ] || { echo "FAILED to bring the device up"; exit 1; }

passed=0 failed=0 older=0
for name in $("$here/run" --list); do
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    # whatever the case before it left behind
    rate 8000000
    listens || start_server
    step "$name" "case_$name"
    if [ $status = 77 ]; then
        older=$((older + 1))
        echo "-- $name: newer than this snapd"
    elif [ $status = 0 ]; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name"
    fi
    forget_set > /dev/null 2>&1 || true
done
for device in acme second bolt direct relayed line gate kit; do
    [ ! -e "$work/$device" ] || on "$device" journalctl -u snapd --no-pager > "$work/log/snapd-$device" || true
done
echo "$passed passed, $failed failed, $older newer than snapd $version"
[ "$failed" = 0 ]
