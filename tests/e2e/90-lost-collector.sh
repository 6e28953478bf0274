#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: a collector that was killed and whose whole state folder is gone comes back from its store and the store's key: the agent
# connects without a new enrolment, the next run is incremental, a revoked host stays out, the quota is there, an invitation is not. A copy
# that has rotted is named, and the one before it used.
set -euo pipefail
. "$(dirname "$0")/../lib/lab.sh"
. "$(dirname "$0")/../lib/points.sh"

lab_new "$(mktemp -d "${TMPDIR:-/tmp}/varve-lost.XXXXXX")"
trap 'lab_stop_all; rm -rf "$LAB"' EXIT
key=$LAB/store.key mib=$((1024 * 1024))
echo "store-key = $key" >>"$LAB/collector.conf"
varve() { "$BIN/varve" "$@"; }
restore() { varve store restore-state --store "$LAB/store" --key "$key" "$@"; }
copies() { find "$LAB/store/state" -type f 2>/dev/null | sort; }
newest() { copies | tail -n 1; }
newest_is_not() { [ "$(newest)" != "$1" ]; }
write() { # SEED OFFSET-MiB
    lab_ctl alpha guest.write "{\"vm\":\"$(lab_vm_id alpha web)\",\"disk\":\"$(lab_disk_id alpha web 0)\",\"seed\":$1,\"offset\":$(($2 * mib)),\"length\":$mib}" >/dev/null
}
rot() { # FILE: in both copies of the record
    local size second
    size=$(stat -c %s "$1")
    second=$(((size + 8191) / 8192)) # in units of 4096
    for at in 100 $((4096 * second + 100)); do printf 'rotten' | dd of="$1" bs=1 seek="$at" conv=notrunc status=none; done
}
exit_code() { # WANTED COMMAND...
    local code=0 wanted=$1
    shift
    "$@" >"$LAB/out" 2>&1 || code=$?
    [ $code -eq "$wanted" ] || lab_die "exit code $code, not $wanted: $* $(cat "$LAB/out")"
}

lab_collector_start
exit_code 3 restore "$LAB/none"
[ ! -e "$LAB/none" ] || lab_die "a folder was made for nothing"
lab_host_new alpha
lab_ctl alpha vm.create "{\"name\":\"web\",\"disks\":[{\"size\":$((16 * mib))}]}" >/dev/null
write 1 0
lab_agent_start alpha
lab_wait_vms 1
lab_wait 20 "a copy after the first host was enrolled" newest_is_not ""
varve backup run web --quiet
varve quota set --host alpha --vms 7 --quiet
lab_enrol beta
varve host revoke beta --quiet
token=$(varve host invite gamma --json | jq -r .token)

# One at the end, one after the next start; two stay.
was=$(newest)
lab_stop collector
newest_is_not "$was" || lab_die "a collector that ended left no copy"
was=$(newest)
lab_collector_start
lab_wait 20 "a copy after the start" newest_is_not "$was"
lab_kill collector
[ "$(copies | wc -l)" -eq 2 ] || lab_die "not two copies: $(copies)"
exit_code 0 varve store scrub --store "$LAB/store" --quiet

rm -rf "$LAB/state"
rot "$(newest)"
exit_code 8 varve store scrub --store "$LAB/store" --quiet
exit_code 0 restore --list --json
jq -se 'length == 2 and .[0].problem == null and .[1].problem != null' "$LAB/out" >/dev/null || lab_die "listed: $(cat "$LAB/out")"
exit_code 0 restore "$LAB/state"
cat "$LAB/out"
grep -qF "warning: reading the copy '$(newest | sed "s|^$LAB/store/||")'" "$LAB/out" || lab_die "the damaged copy is not named"
[ "$(grep -c warning "$LAB/out")" -eq 1 ] || lab_die "the whole copy is said to be damaged"
[ "$(stat -c %a "$LAB/state/state.db" "$LAB/state/collector.key" | sort -u)" = 600 ] || lab_die "others may read what came back"
exit_code 4 restore "$LAB/state"

lab_collector_start
lab_wait_vms 1 # the agent was running all the time
write 2 8
varve backup run web --quiet
varve point show web@latest --json | jq -e '.disks[0].incremental' >/dev/null || lab_die "the run after the loss was not incremental"
points_check_raw alpha web@latest
points_clean alpha web
varve quota show --host alpha --json | jq -e '.limits.vms == 7' >/dev/null || lab_die "the quota is lost: $(varve quota show --host alpha --json)"
varve host list --json | jq -se 'map({(.name): .state}) | add | .alpha == "enrolled" and .beta == "revoked" and .gamma == null' >/dev/null ||
    lab_die "other hosts came back: $(varve host list --json)"
exit_code 5 "${AGENT[@]}" enroll "$token" --state-dir "$LAB/agents/gamma"
varve verify --quiet
echo "a lost collector came back from its store"
