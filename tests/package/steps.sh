# The steps of the package test, in order, each on what the one before left. Run
# by `run`, inside namespaces with a loopback only.
set -euo pipefail
# shellcheck source=tests/container.sh
. "$here/../container.sh"

guest() { RUST_BACKTRACE=0 "$programs/guest" "$@"; }
host() { on host "$@"; }
proxy() { host proxy "$@"; }
page() { guest page "$source/packaging/docs/$1.md" "$work/on-host"; }
# fails CMD...: under `set -e` a `!` before a command does nothing
fails() { if "$@"; then echo "did not fail: $*"; return 1; fi; }
refuses() { fails reached "$1"; }
reached() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
unit() { host systemctl show --value --property "$1" airlock.service; }

step_the_same_source_gives_the_same_package() {
    cmp "$work"/{packages,again}/airlock_0.1.0_*.deb
    dpkg-deb --contents "$work"/packages/airlock_0.1.0_*.deb > "$work/contents"
    local file
    for file in ./usr/share/man/man1/proxy-push-snap.1.gz ./usr/share/man/man8/proxyd.8.gz \
        ./usr/share/bash-completion/completions/snap-store-proxy ./usr/share/zsh/vendor-completions/_proxy \
        ./usr/share/fish/vendor_completions.d/proxy.fish ./usr/share/doc/airlock/sbom.cdx.json; do
        grep -F " $file" "$work/contents"
    done
    fails grep -v ' root/root ' "$work/contents"
    # What others wrote and the programs have in them: with its licence, and on the list of materials.
    dpkg-deb --fsys-tarfile "$work"/packages/airlock_0.1.0_*.deb | tar -xO ./usr/share/doc/airlock/copyright > "$work/copyright"
    grep -A 4 '^Files: htmx-' "$work/copyright" | grep -Fx 'License: 0BSD'
    grep -F 'Permission to use, copy, modify' "$work/copyright"
    dpkg-deb --fsys-tarfile "$work"/packages/airlock_0.1.0_*.deb | tar -xO ./usr/share/doc/airlock/sbom.cdx.json | grep -F 'pkg:npm/htmx.org@'
}

step_boot() {
    layer host
    cp "$work"/packages/*.deb "$work/host/root/root/"
    echo "127.0.0.1 localhost snaps.internal" > "$work/host/root/etc/hosts"
    boot host
    eventually 60 "the system boots" host systemctl is-active dbus.socket || { tail "$work/log/console-host"; return 1; }
}

step_install_as_the_page_says() {
    page install
    [ "$(unit User)" = airlock ]
    [ "$(host stat -c '%U:%G %a' /var/lib/airlock)" = "airlock:airlock 750" ]
    [ "$(host stat -c '%U %a' /etc/airlock/credentials)" = "root 700" ]
    # The ports are systemd's, and the server has no privileges for them.
    host journalctl --unit airlock --no-pager | grep -F 'Listening on [::]:80 (http)'
    fails grep -E '^Cap(Prm|Eff|Bnd|Amb):.*[1-9a-f]' "/proc/$(server_pid)/status"
    grep -E '^NoNewPrivs:[[:space:]]*1$' "/proc/$(server_pid)/status"
    grep -E '^Seccomp:[[:space:]]*2$' "/proc/$(server_pid)/status"
}

# The server's process, by its number outside of the container.
server_pid() {
    local inner pid
    inner=$(unit MainPID)
    for pid in $(pgrep -x proxyd); do
        [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status")" != "$inner" ] || echo "$pid"
    done
}

step_only_the_data_directory_can_be_written() {
    local pid folder
    pid=$(server_pid)
    for folder in / /etc /usr /var /var/lib /var/log /root /home /boot /srv /opt; do
        fails nsenter --target "$pid" --mount touch "$folder/marker"
    done
    nsenter --target "$pid" --mount touch /var/lib/airlock/marker
    nsenter --target "$pid" --mount rm /var/lib/airlock/marker
    nsenter --target "$pid" --mount touch /tmp/marker
    fails host ls /tmp/marker
}

step_little_is_exposed() {
    host systemd-analyze security --no-pager airlock.service > "$work/exposure" || true
    tail -n 1 "$work/exposure"
    host systemd-analyze security --no-pager --threshold=20 airlock.service > /dev/null
}

step_a_device_is_served() {
    mkdir "$work/files"
    guest files "$work/files"
    cp -r "$work/files" "$work/host/root/root/files"
    proxy trust add files/root.assert
    proxy push-snap files/hello_1.snap --channel latest/stable --store AcmeStore
    proxy push-brand-store-metadata files/store.json
    proxy push-account-keys files/keys.assert
    guest visit "$work/files"
    proxy list-devices | grep -F acme/gateway/SN-1
}

step_operators_need_not_be_root() {
    host useradd --groups airlock olga
    host runuser -u olga -- proxy --data-dir /var/lib/airlock status
    host useradd otto
    fails host runuser -u otto -- proxy --data-dir /var/lib/airlock status
    host useradd --groups airlock-read rita
    host runuser -u rita -- proxy --data-dir /var/lib/airlock list-pushed-snaps | grep -F hello
    fails host runuser -u rita -- proxy --data-dir /var/lib/airlock disable-airgap-mode
}

step_backups_by_a_timer() {
    host systemctl is-active airlock-backup.timer airlock-ca.timer airlock-rehearsal.timer
    # Without a passphrase nothing happens, and nothing fails.
    host systemctl start airlock-backup
    fails host sh -c 'ls /var/backups/airlock/*.backup'
    host sh -c 'umask 077; head -c 24 /dev/urandom | base64 > /etc/airlock/backup.passphrase'
    host systemctl start airlock-backup || { host journalctl --no-pager -u airlock-backup; return 1; }
    [ "$(host stat -c '%U %a' /var/backups/airlock)" = "airlock 700" ]
    host sh -c 'ls /var/backups/airlock/airlock-*Z.backup'
    host systemctl start airlock-rehearsal || { host journalctl --no-pager -u airlock-rehearsal; return 1; }
    host journalctl --no-pager -u airlock-rehearsal | grep -F 'can be restored: 1 snaps'
    proxy status | grep -E 'Last (made|rehearsed): 2' > "$work/backups" || true
    [ "$(wc -l < "$work/backups")" = 2 ]
}

step_trouble_is_found_as_the_page_says() { page troubleshooting; }

# Devices that come while the package is upgraded: none is turned away.
knock() {
    until [ -e "$work/enough" ]; do
        curl -sS --max-time 30 -o /dev/null -w '%{http_code}\n' http://127.0.0.1/v2/snaps/find || echo turned away
    done > "$work/knocks" 2>&1
}

step_upgrade_as_the_page_says() {
    local before after knocking
    before=$(server_pid)
    knock &
    knocking=$!
    eventually 10 "a device knocks" grep -q 200 "$work/knocks"
    page upgrade
    touch "$work/enough"
    wait "$knocking"
    after=$(server_pid)
    [ "$before" != "$after" ] || { echo "the server was not restarted"; return 1; }
    sort "$work/knocks" | uniq -c
    [ "$(sort -u "$work/knocks")" = 200 ]
    [ "$(host dpkg-query -W -f '${Version}' airlock)" = 0.1.1 ]
    # Nobody logs in again.
    guest visit "$work/files"
}

step_what_is_disabled_stays_disabled() {
    host systemctl disable --now airlock-https.socket
    host sh -c 'apt-get install -y --reinstall ./airlock_0.1.1_*.deb'
    fails host systemctl is-enabled airlock-https.socket
    guest visit "$work/files"
}

step_remove_and_purge_leave_the_data() {
    host apt-get remove -y airlock
    eventually 10 "the port closes" refuses 80
    host test -e /var/lib/airlock/airlock.db
    host apt-get purge -y airlock 2>&1 | tee "$work/purge"
    grep -F "the store's data is left in /var/lib/airlock" "$work/purge"
    host test -e /var/lib/airlock/airlock.db
    host test -e /etc/airlock/credentials/proxy.device-auth.secret
    fails host test -e /etc/default/airlock
    # And everything is there again with the package.
    host sh -c 'apt-get install -y ./airlock_0.1.1_*.deb'
    guest visit "$work/files"
}

mkdir "$work/log"
ip link set lo up
printf '#!/bin/bash\nwork=%q label=host\n. %q\non host bash -o pipefail -c "$1"\n' "$work" "$here/../container.sh" > "$work/on-host"
chmod 755 "$work/on-host"
failed=0
for name in $(sed -n 's/^step_\([a-z_]*\)().*/\1/p' "$here/steps.sh"); do
    log=$work/log/$name begun=$SECONDS
    # Never in a condition: bash then goes on after errors.
    set +e
    (BASH_XTRACEFD=9; set -ex; "step_$name") > "$log" 2>&1 9>"$log.trace"
    status=$?
    set -e
    [ -z "$verbose" ] || cat "$log"
    if [ $status != 0 ]; then
        echo "FAILED $name ($((SECONDS - begun)) s)"
        { tail -n 25 "$log"; echo "... after:"; tail -n 5 "$log.trace"; } | sed 's/^/    /'
        on host journalctl --no-pager -u airlock -n 15 2>/dev/null | sed 's/^/    /' || true
        failed=1
        break # each stands on the one before
    fi
    echo "ok $name ($((SECONDS - begun)) s)"
done
[ ! -e "$work/exposure" ] || tail -n 1 "$work/exposure"
exit $failed
