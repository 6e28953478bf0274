/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "state/state.h"

#define HOUR INT64_C(3600000000)
#define NOW  INT64_C(1800000000000000)

struct place {
    char folder[64];
    char path[96];
    struct state *st;
};

static struct varve_error err;

static int
set_up(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/varve-state-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->path, sizeof(p->path), "%s/state.db", p->folder);
    assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
    *state = p;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *p = *state;
    char path[128];

    state_close(p->st);
    (void)unlink(p->path);
    (void)snprintf(path, sizeof(path), "%s-wal", p->path);
    (void)unlink(path);
    assert_int_equal(rmdir(p->folder), 0);
    free(p);
    return 0;
}

static void
reopen(struct place *p)
{
    state_close(p->st);
    p->st = NULL;
    assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
}

/* An id, a secret or a key that is told apart by one number. */
static void
fill(uint8_t *out, size_t len, uint8_t seed)
{
    memset(out, seed, len);
    out[0] = (uint8_t)~seed;
}

static struct guid
invite(struct place *p, const char *name, uint8_t seed)
{
    uint8_t id[16];
    uint8_t secret[STATE_SECRET_SIZE];
    struct guid host;

    fill(id, sizeof(id), seed);
    fill(secret, sizeof(secret), seed);
    assert_ok(state_host_invite(p->st, name, NOW, NOW + HOUR, id, secret, &host, &err), &err);
    return host;
}

static enum varve_err
enrol_at(struct place *p, uint8_t seed, uint8_t key_seed, int64_t now, struct host *out)
{
    uint8_t id[16];
    uint8_t key[STATE_KEY_SIZE];

    fill(id, sizeof(id), seed);
    fill(key, sizeof(key), key_seed);
    return state_host_enrol(p->st, id, key, now, out, &err);
}

static struct guid
enrolled(struct place *p, const char *name, uint8_t seed)
{
    struct host h;
    struct guid id = invite(p, name, seed);

    assert_ok(enrol_at(p, seed, seed, NOW + 1, &h), &err);
    assert_true(guid_equal(&h.id, &id));
    host_release(&h);
    return id;
}

static enum varve_err
by_key(struct place *p, uint8_t seed, struct host *out)
{
    uint8_t key[STATE_KEY_SIZE];

    fill(key, sizeof(key), seed);
    return state_host_by_key(p->st, key, out, &err);
}

static bool
file_holds(const char *path, const uint8_t *needle, size_t len)
{
    uint8_t *data = NULL;
    size_t size = 0;
    bool found = false;

    if (fs_read_all(fs_system(), path, 1u << 24, &data, &size, &err) != VARVE_OK) {
        return false;
    }
    for (size_t i = 0; i + len <= size && !found; i++) {
        found = memcmp(data + i, needle, len) == 0;
    }
    free(data);
    return found;
}

static void
only_the_owner_may_read_the_file(void **state)
{
    struct place *p = *state;
    struct stat st;

    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
an_invitation_becomes_a_host_that_outlives_the_program(void **state)
{
    struct place *p = *state;
    struct guid id = enrolled(p, "node-1", 7);
    struct host h;

    reopen(p);
    assert_ok(by_key(p, 7, &h), &err);
    assert_true(guid_equal(&h.id, &id));
    assert_string_equal(h.name, "node-1");
    assert_int_equal(h.state, HOST_ENROLLED);
    assert_int_equal(h.invite_expires_us, 0);
    assert_true(h.enrolled_at_us == NOW + 1);
    host_release(&h);
}

static void
an_invitation_is_spent_once(void **state)
{
    struct place *p = *state;
    uint8_t id[16];
    uint8_t secret[STATE_SECRET_SIZE];
    struct host h;

    (void)enrolled(p, "node-1", 7);
    fill(id, sizeof(id), 7);
    assert_err(state_invitation_secret(p->st, id, NOW, secret, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(enrol_at(p, 7, 8, NOW + 2, &h), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_spent_secret_is_nowhere_in_the_files(void **state)
{
    struct place *p = *state;
    uint8_t secret[STATE_SECRET_SIZE];
    char wal[128];

    (void)snprintf(wal, sizeof(wal), "%s-wal", p->path);
    (void)invite(p, "node-1", 7);
    fill(secret, sizeof(secret), 7);
    /* The key in this test is the secret's twin: look for a part that only the secret has had. */
    assert_true(file_holds(p->path, secret, sizeof(secret)) ||
                file_holds(wal, secret, sizeof(secret)));
    {
        struct host h;

        assert_ok(enrol_at(p, 7, 99, NOW + 1, &h), &err);
        host_release(&h);
    }
    assert_false(file_holds(p->path, secret, sizeof(secret)));
    assert_false(file_holds(wal, secret, sizeof(secret)));
}

static void
an_expired_invitation_is_refused_and_wiped(void **state)
{
    struct place *p = *state;
    uint8_t id[16];
    uint8_t secret[STATE_SECRET_SIZE];
    struct host *hosts = NULL;
    size_t count = 0;
    struct host h;

    (void)invite(p, "node-1", 7);
    fill(id, sizeof(id), 7);
    assert_ok(state_invitation_secret(p->st, id, NOW + HOUR - 1, secret, &err), &err);
    assert_err(state_invitation_secret(p->st, id, NOW + HOUR, secret, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_err(enrol_at(p, 7, 7, NOW + HOUR, &h), VARVE_ERR_NOT_FOUND, &err);

    assert_ok(state_expire(p->st, NOW + HOUR, &err), &err);
    assert_ok(state_host_list(p->st, &hosts, &count, &err), &err);
    assert_int_equal(count, 0);
    host_list_free(hosts, count);
    fill(secret, sizeof(secret), 7);
    assert_false(file_holds(p->path, secret, sizeof(secret)));
}

static void
a_second_invitation_of_a_name_replaces_the_first(void **state)
{
    struct place *p = *state;
    struct host h;

    (void)invite(p, "node-1", 7);
    (void)invite(p, "NODE-1", 8);
    assert_err(enrol_at(p, 7, 7, NOW + 1, &h), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(enrol_at(p, 8, 8, NOW + 1, &h), &err);
    host_release(&h);
}

static void
the_name_of_an_enrolled_host_is_taken(void **state)
{
    struct place *p = *state;
    uint8_t id[16];
    uint8_t secret[STATE_SECRET_SIZE];
    struct guid host;

    (void)enrolled(p, "node-1", 7);
    fill(id, sizeof(id), 9);
    fill(secret, sizeof(secret), 9);
    assert_err(state_host_invite(p->st, "Node-1", NOW, NOW + HOUR, id, secret, &host, &err),
               VARVE_ERR_EXISTS, &err);
    assert_non_null(strstr(err.msg, "revoke"));
}

static void
names_that_cannot_be_are_refused(void **state)
{
    static const char *const bad[] = {
        "",         "a b",
        "-a",       ".a",
        "a/b",      "a\n",
        "\xc3\xa9", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct place *p = *state;
    uint8_t secret[STATE_SECRET_SIZE] = {0};
    struct guid host;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_err(state_host_invite(p->st, bad[i], NOW, NOW + 1, secret, secret, &host, &err),
                   VARVE_ERR_INVALID, &err);
    }
}

static void
a_revoked_host_is_denied_and_its_name_and_key_are_free_again(void **state)
{
    struct place *p = *state;
    struct guid first = enrolled(p, "node-1", 7);
    struct guid second;
    struct host h;

    assert_ok(state_host_revoke(p->st, &first, &err), &err);
    reopen(p);
    assert_err(by_key(p, 7, &h), VARVE_ERR_DENIED, &err);
    assert_ok(state_host_revoke(p->st, &first, &err), &err);

    second = invite(p, "node-1", 8);
    assert_ok(enrol_at(p, 8, 7, NOW + 2, &h), &err);
    host_release(&h);
    assert_ok(by_key(p, 7, &h), &err);
    assert_true(guid_equal(&h.id, &second));
    host_release(&h);
}

static void
revoking_an_invited_host_wipes_its_invitation(void **state)
{
    struct place *p = *state;
    struct guid id = invite(p, "node-1", 7);
    struct host h;

    assert_ok(state_host_revoke(p->st, &id, &err), &err);
    assert_err(enrol_at(p, 7, 7, NOW + 1, &h), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_key_belongs_to_one_living_host(void **state)
{
    struct place *p = *state;
    struct host h;

    (void)enrolled(p, "node-1", 7);
    (void)invite(p, "node-2", 8);
    assert_err(enrol_at(p, 8, 7, NOW + 1, &h), VARVE_ERR_EXISTS, &err);
    assert_non_null(strstr(err.msg, "node-1"));
    /* The invitation was not spent by that. */
    assert_ok(enrol_at(p, 8, 8, NOW + 1, &h), &err);
    host_release(&h);
}

static void
hosts_are_selected_by_name_or_by_the_beginning_of_the_id(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    char id[GUID_TEXT_SIZE];
    struct host h;

    (void)enrolled(p, "node-b", 2);
    assert_ok(state_host_select(p->st, "NODE-A", &h, &err), &err);
    assert_true(guid_equal(&h.id, &a));
    host_release(&h);
    guid_format(&a, id);
    id[8] = '\0';
    assert_ok(state_host_select(p->st, id, &h, &err), &err);
    assert_true(guid_equal(&h.id, &a));
    host_release(&h);
    id[3] = '\0';
    assert_err(state_host_select(p->st, id, &h, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(state_host_select(p->st, "node-c", &h, &err), VARVE_ERR_NOT_FOUND, &err);
}

/* ---- vms ---- */

static struct inv_vm
vm(uint8_t seed, const char *name, size_t disks)
{
    struct inv_vm v;

    memset(&v, 0, sizeof(v));
    fill(v.id.bytes, 16, seed);
    v.name = strdup(name);
    v.generation = 2;
    v.state = strdup("running");
    v.capture = strdup("sim");
    v.source = strdup("file");
    v.reason = strdup("");
    v.disks = calloc(disks + 1, sizeof(*v.disks));
    v.disk_count = disks;
    for (size_t i = 0; i < disks; i++) {
        fill(v.disks[i].id.bytes, 16, (uint8_t)(seed + 100 + i));
        v.disks[i].name = strdup(i == 0 ? "system.vhdx" : "data.vhdx");
        v.disks[i].path = strdup("C:\\vms\\x.vhdx");
        v.disks[i].size = 4096 * (i + 1);
        v.disks[i].format = strdup("vhdx");
        v.disks[i].logical_sector = 512;
        v.disks[i].tracked = true;
        v.disks[i].problem = strdup("");
    }
    return v;
}

static void
has_vms(struct place *p, const struct guid *host, int64_t now, size_t count, struct inv_vm *vms)
{
    struct inventory inv;

    memset(&inv, 0, sizeof(inv));
    inv.vms = calloc(count + 1, sizeof(*vms));
    assert_non_null(inv.vms);
    if (count > 0) {
        memcpy(inv.vms, vms, count * sizeof(*vms));
    }
    inv.vm_count = count;
    inv.provider = strdup("hvsim 1.0");
    assert_ok(state_inventory_set(p->st, host, &inv, now, &err), &err);
    inventory_release(&inv);
}

static void
an_inventory_comes_back_as_it_was(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm list[2] = {vm(1, "mail", 2), vm(2, "db", 1)};
    struct vm_row *rows = NULL;
    size_t count = 0;
    struct host h;

    has_vms(p, &host, NOW, 2, list);
    reopen(p);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].vm.name, "db");
    assert_string_equal(rows[1].vm.name, "mail");
    assert_string_equal(rows[1].host_name, "node-1");
    assert_true(rows[1].present);
    assert_false(rows[1].connected);
    assert_int_equal(rows[1].vm.disk_count, 2);
    assert_string_equal(rows[1].vm.disks[0].name, "system.vhdx");
    assert_true(rows[1].vm.disks[1].size == 8192);
    assert_true(rows[1].vm.disks[1].tracked);
    vm_list_free(rows, count);
    assert_ok(state_host_get(p->st, &host, &h, &err), &err);
    assert_string_equal(h.provider, "hvsim 1.0");
    host_release(&h);
}

static void
a_vm_that_went_is_remembered_as_gone(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm one = vm(1, "mail", 1);
    struct vm_row *rows = NULL;
    size_t count = 0;

    has_vms(p, &host, NOW, 1, &one);
    has_vms(p, &host, NOW + 1, 0, NULL);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_false(rows[0].present);
    assert_int_equal(rows[0].vm.disk_count, 0);
    vm_list_free(rows, count);
}

static bool
is_connected(void *arg, const struct guid *host)
{
    return guid_equal(arg, host);
}

static struct guid
owner(struct place *p, struct guid *connected)
{
    struct vm_row *rows = NULL;
    struct guid host;
    size_t count = 0;

    assert_ok(state_vm_list(p->st, connected != NULL ? is_connected : NULL, connected, &rows,
                            &count, &err),
              &err);
    assert_int_equal(count, 1);
    host = rows[0].host;
    vm_list_free(rows, count);
    return host;
}

static void
a_vm_that_two_hosts_list_stays_with_the_first_while_it_is_there(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct inv_vm v = vm(1, "mail", 1);
    struct guid now;

    has_vms(p, &a, NOW, 1, &v);
    v = vm(1, "mail", 1);
    has_vms(p, &b, NOW + 1, 1, &v);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
    /* The same list again does not make a claim newer. */
    v = vm(1, "mail", 1);
    has_vms(p, &a, NOW + 2, 1, &v);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
    /* The other one is there, the first is not: it has failed over. */
    now = owner(p, &b);
    assert_true(guid_equal(&now, &b));
    /* The first gives it up. */
    has_vms(p, &a, NOW + 3, 0, NULL);
    now = owner(p, &a);
    assert_true(guid_equal(&now, &b));
    /* A revoked host owns nothing. */
    assert_ok(state_host_revoke(p->st, &b, &err), &err);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
}

static void
vms_are_selected_and_ambiguity_is_told(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm list[3] = {vm(1, "mail", 1), vm(2, "Web", 1), vm(3, "web", 1)};
    struct vm_row *rows = NULL;
    char id[GUID_TEXT_SIZE];
    size_t count = 0;
    size_t row = 9;

    has_vms(p, &host, NOW, 3, list);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_ok(vm_list_select(rows, count, "MAIL", &row, &err), &err);
    assert_string_equal(rows[row].vm.name, "mail");
    assert_err(vm_list_select(rows, count, "web", &row, &err), VARVE_ERR_INVALID, &err);
    guid_format(&rows[0].vm.id, id);
    id[13] = '\0';
    assert_non_null(strstr(err.msg, id));
    assert_ok(vm_list_select(rows, count, id, &row, &err), &err);
    assert_int_equal(row, 0);
    assert_err(vm_list_select(rows, count, "mai", &row, &err), VARVE_ERR_NOT_FOUND, &err);
    vm_list_free(rows, count);

    /* One of the two is gone: the name means the other. */
    list[0] = vm(3, "web", 1);
    has_vms(p, &host, NOW + 1, 1, list);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_ok(vm_list_select(rows, count, "web", &row, &err), &err);
    assert_true(rows[row].present);
    assert_ok(vm_list_select(rows, count, "mail", &row, &err), &err);
    assert_false(rows[row].present);
    vm_list_free(rows, count);
}

/* ---- runs ---- */

static struct run_info
run(uint8_t seed, int64_t started, int64_t ended)
{
    struct run_info info;

    memset(&info, 0, sizeof(info));
    fill(info.id.bytes, 16, seed);
    fill(info.vm.bytes, 16, 1);
    fill(info.host.bytes, 16, 2);
    (void)snprintf(info.vm_name, sizeof(info.vm_name), "mail");
    (void)snprintf(info.host_name, sizeof(info.host_name), "node-1");
    info.phase = ended != 0 ? RUN_DONE : RUN_READ;
    info.started_at_us = started;
    info.ended_at_us = ended;
    return info;
}

static void
the_history_keeps_what_a_run_said(void **state)
{
    struct place *p = *state;
    struct run_info first = run(1, NOW, NOW + 5);
    struct run_info second = run(2, NOW + 10, 0);
    struct run_info *list = NULL;
    size_t count = 0;

    first.phase = RUN_FAILED;
    (void)varve_error_set(&first.error, VARVE_ERR_NOSPACE, "disk full");
    first.error.source = VARVE_SRC_HRESULT;
    first.error.native = -5;
    first.warning_count = 2;
    (void)snprintf(first.warnings[0], RUN_WARNING_SIZE, "merge goes on");
    (void)snprintf(first.warnings[1], RUN_WARNING_SIZE, "slow");
    first.new_bytes = 77;
    assert_ok(state_run_put(p->st, &first, &err), &err);
    assert_ok(state_run_put(p->st, &second, &err), &err);
    reopen(p);
    assert_ok(state_run_list(p->st, false, 10, &list, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_true(guid_equal(&list[0].id, &second.id));
    assert_int_equal(list[1].phase, RUN_FAILED);
    assert_int_equal(list[1].error.code, VARVE_ERR_NOSPACE);
    assert_int_equal(list[1].error.source, VARVE_SRC_HRESULT);
    assert_true(list[1].error.native == -5);
    assert_string_equal(list[1].error.msg, "disk full");
    assert_int_equal(list[1].warning_count, 2);
    assert_string_equal(list[1].warnings[1], "slow");
    assert_true(list[1].new_bytes == 77);
    free(list);

    assert_ok(state_run_list(p->st, true, 10, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&list[0].id, &second.id));
    free(list);
}

static void
a_run_that_has_ended_is_not_opened_again(void **state)
{
    struct place *p = *state;
    struct run_info ended = run(1, NOW, NOW + 5);
    struct run_info late = run(1, NOW, 0);
    struct run_info *list = NULL;
    size_t count = 0;

    assert_ok(state_run_put(p->st, &ended, &err), &err);
    assert_ok(state_run_put(p->st, &late, &err), &err);
    assert_ok(state_run_list(p->st, true, 10, &list, &count, &err), &err);
    assert_int_equal(count, 0);
    free(list);
}

/* ---- files that are not what they must be ---- */

static void
write_at(const char *path, long at, const char *text)
{
    FILE *f = fopen(path, "r+b");

    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void
a_damaged_file_is_named_with_the_way_out(void **state)
{
    static const long at[] = {0, 4096, 8192};
    struct place *p = *state;
    struct state *st = NULL;

    (void)enrolled(p, "node-1", 7);
    state_close(p->st);
    p->st = NULL;
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        write_at(p->path, at[i], "this is not what was here, not at all, and it is long enough");
        assert_err(state_open(&st, fs_system(), p->path, &err), VARVE_ERR_CORRUPT, &err);
        assert_non_null(strstr(err.msg, p->path));
        assert_non_null(strstr(err.msg, "move it away"));
        /* The next place is tried on a file that is whole. */
        assert_int_equal(unlink(p->path), 0);
        assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
        (void)enrolled(p, "node-1", 7);
        state_close(p->st);
        p->st = NULL;
    }
}

static void
a_newer_file_is_left_alone(void **state)
{
    struct place *p = *state;
    struct state *st = NULL;

    state_close(p->st);
    p->st = NULL;
    write_at(p->path, 63, "\x09"); /* user_version, big-endian at 60: SQLite file format 1.3 */
    assert_err(state_open(&st, fs_system(), p->path, &err), VARVE_ERR_UNSUPPORTED, &err);
    write_at(p->path, 68, "NOPE"); /* application_id */
    assert_err(state_open(&st, fs_system(), p->path, &err), VARVE_ERR_INVALID, &err);
}

static void
a_second_collector_is_kept_out(void **state)
{
    struct place *p = *state;
    struct state *st = NULL;

    assert_err(state_open(&st, fs_system(), p->path, &err), VARVE_ERR_BUSY, &err);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(only_the_owner_may_read_the_file),
        CASE(an_invitation_becomes_a_host_that_outlives_the_program),
        CASE(an_invitation_is_spent_once),
        CASE(a_spent_secret_is_nowhere_in_the_files),
        CASE(an_expired_invitation_is_refused_and_wiped),
        CASE(a_second_invitation_of_a_name_replaces_the_first),
        CASE(the_name_of_an_enrolled_host_is_taken),
        CASE(names_that_cannot_be_are_refused),
        CASE(a_revoked_host_is_denied_and_its_name_and_key_are_free_again),
        CASE(revoking_an_invited_host_wipes_its_invitation),
        CASE(a_key_belongs_to_one_living_host),
        CASE(hosts_are_selected_by_name_or_by_the_beginning_of_the_id),
        CASE(an_inventory_comes_back_as_it_was),
        CASE(a_vm_that_went_is_remembered_as_gone),
        CASE(a_vm_that_two_hosts_list_stays_with_the_first_while_it_is_there),
        CASE(vms_are_selected_and_ambiguity_is_told),
        CASE(the_history_keeps_what_a_run_said),
        CASE(a_run_that_has_ended_is_not_opened_again),
        CASE(a_damaged_file_is_named_with_the_way_out),
        CASE(a_newer_file_is_left_alone),
        CASE(a_second_collector_is_kept_out),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
