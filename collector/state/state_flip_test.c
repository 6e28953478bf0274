/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/log.h"
#include "crypto/identity.h"

/*
 * One bit is flipped in the state file: each third of its header, and others (VARVE_STATE_FLIPS, 500 unless set;
 * VARVE_SEED).  It is refused by name, or everything that stands in it is what was written.
 */
#define HEADER_FLIPS (100u * 8 / 3)

static const struct guid ACME = {{0xac, 1}};
static char nothing[] = "";
static char word[] = "word";

static void
fill_tables(struct place *p)
{
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct guid c = enrolled(p, "node-c", 3);
    struct inv_disk disk = {.id = {{9}}, .name = word, .path = word, .size = 5, .format = word};
    struct inv_vm vm = {.id = {{7}}, .name = word, .state = word, .disks = &disk, .disk_count = 1};
    struct inventory inv = {.vms = &vm, .vm_count = 1, .provider = nothing};
    struct quota q = {.scope = QUOTA_TENANT, .id = ACME, .vms = 3, .runs = 1};
    struct quota_usage u = {.host = a, .tenant = ACME, .day = 20000, .taken = 12345};
    struct vm_usage vu = {.vm = {{7}}, .sent = 99};

    disk.problem = nothing;
    vm.capture = nothing;
    vm.source = nothing;
    vm.reason = nothing;
    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    assert_ok(state_host_set_tenant(p->st, &b, &ACME, &err), &err);
    (void)invite(p, "node-d", 4);
    assert_ok(state_host_revoke(p->st, &c, &err), &err);
    for (uint8_t n = 0; n < 40; n++) {
        struct run_info run = {.id = {{5, n}}, .vm = {{7}}, .host = a, .phase = RUN_DONE};

        run.started_at_us = NOW + n;
        (void)snprintf(run.vm_name, sizeof(run.vm_name), "machine %u", n);
        assert_ok(state_run_put(p->st, &run, &err), &err);
        run.ended_at_us = NOW + 100 + n; /* the row is replaced */
        assert_ok(state_run_put(p->st, &run, &err), &err);
        vm.id.bytes[0] = n;
        assert_ok(state_inventory_set(p->st, &a, &inv, NOW + n, &err), &err);
    }
    assert_ok(state_quota_put(p->st, &q, &err), &err);
    assert_ok(state_usage_put(p->st, &u, &err), &err);
    assert_ok(state_vm_usage_put(p->st, &vu, &err), &err);
}

/* ---- what stands in it ---- */

struct dump {
    char *text;
    size_t len;
    size_t cap;
};

static void
note(struct dump *d, const void *bytes, size_t len)
{
    if (d->cap - d->len < len) {
        d->cap = (d->cap + len) * 2;
        d->text = realloc(d->text, d->cap);
        if (d->text == NULL) {
            abort();
        }
    }
    memcpy(d->text + d->len, bytes, len);
    d->len += len;
}

static bool
dump_rows(struct dump *d, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int r = sqlite3_prepare_v2(db, sql, -1, &q, NULL);

    while (r == SQLITE_OK && (r = sqlite3_step(q)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            int type = sqlite3_column_type(q, i);
            const void *bytes = sqlite3_column_blob(q, i);

            note(d, &type, sizeof(type));
            note(d, bytes == NULL ? "" : bytes, (size_t)sqlite3_column_bytes(q, i));
        }
        r = SQLITE_OK;
    }
    (void)sqlite3_finalize(q);
    return r == SQLITE_DONE;
}

/* Without the program under test; the indices too, for a look-up by key may use one. */
static bool
dump(struct dump *d, const char *path)
{
    static const char *const sql[] = {
        "SELECT name, sql FROM sqlite_master ORDER BY name",
        "SELECT * FROM hosts ORDER BY id",
        "SELECT * FROM invitations ORDER BY secret_id",
        "SELECT * FROM vms ORDER BY id, host_id",
        "SELECT * FROM vm_disks ORDER BY vm_id, host_id, pos",
        "SELECT * FROM runs ORDER BY id",
        "SELECT id FROM runs ORDER BY started_at",
        "SELECT * FROM tenants ORDER BY id",
        "SELECT * FROM quotas ORDER BY scope, id",
        "SELECT * FROM usage ORDER BY host, tenant",
        "SELECT * FROM vm_usage ORDER BY vm",
        "SELECT * FROM traces ORDER BY run",
        "SELECT id FROM hosts WHERE state <> 3 ORDER BY name COLLATE NOCASE",
        "SELECT id FROM hosts WHERE state <> 3 AND public_key IS NOT NULL ORDER BY public_key",
    };
    sqlite3 *db = NULL;
    bool ok = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;

    d->len = 0;
    for (size_t i = 0; ok && i < sizeof(sql) / sizeof(sql[0]); i++) {
        ok = dump_rows(d, db, sql[i]);
    }
    (void)sqlite3_close(db);
    return ok;
}

/* ---- flips ---- */

static void
put_file(const struct place *p, const uint8_t *bytes, size_t len)
{
    char wal[128];
    FILE *f = fopen(p->path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(wal, sizeof(wal), "%s-wal", p->path);
    (void)unlink(wal);
}

static size_t
number_of(const char *name, size_t fallback)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

static size_t
next_bit(uint64_t *seed, size_t bits)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((*seed >> 20) % bits);
}

static bool
same(const struct dump *a, const struct dump *b)
{
    return a->text != NULL && b->text != NULL && a->len == b->len &&
           memcmp(a->text, b->text, a->len) == 0;
}

static bool
is_named(enum varve_err rc)
{
    return rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_INVALID;
}

static void
a_flipped_bit_is_refused_or_changes_nothing(void **state)
{
    size_t flips = number_of("VARVE_STATE_FLIPS", 500);
    uint64_t seed = number_of("VARVE_SEED", 3);
    struct place *p = *state;
    struct dump whole = {.text = NULL};
    struct dump now = {.text = NULL};
    uint8_t *bytes = NULL;
    unsigned refused = 0;
    size_t len = 0;

    fill_tables(p);
    reopen(p);
    state_close(p->st);
    p->st = NULL;
    assert_true(dump(&whole, p->path));
    assert_non_null(whole.text);
    assert_ok(fs_read_all(fs_system(), p->path, 64u << 20, &bytes, &len, &err), &err);
    for (size_t i = 0; i < HEADER_FLIPS + flips; i++) {
        size_t bit = i < HEADER_FLIPS ? 3 * i : next_bit(&seed, len * 8);
        enum varve_err rc;

        if (VARVE_SANITIZED && i % 4 != 0) {
            continue;
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put_file(p, bytes, len);
        rc = state_open(&p->st, fs_system(), p->path, &err);
        refused += rc == VARVE_OK ? 0 : 1;
        state_close(p->st);
        p->st = NULL;
        if (rc != VARVE_OK ? !is_named(rc) : !dump(&now, p->path) || !same(&now, &whole)) {
            fail_msg("byte %zu bit %zu: %s", bit / 8, bit % 8,
                     rc == VARVE_OK ? "opened, and something else stands in it" : err.msg);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    print_message("%zu bits flipped in %zu bytes, %u refused\n", HEADER_FLIPS + flips, len,
                  refused);
    assert_true(refused > 0);
    put_file(p, bytes, len);
    assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
    free(bytes);
    free(whole.text);
    free(now.text);
}

/* ---- what was changed by hand ---- */

static void
by_hand(struct place *p, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
a_revoked_host_does_not_come_back_by_itself(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct host h;

    assert_ok(state_host_revoke(p->st, &a, &err), &err);
    state_close(p->st);
    p->st = NULL;
    by_hand(p, "UPDATE hosts SET state = 2");
    assert_err(state_open(&p->st, fs_system(), p->path, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "'hosts'"));
    assert_non_null(strstr(err.msg, "move it away"));
    by_hand(p, "DELETE FROM sums"); /* it is meant so */
    for (int i = 0; i < 2; i++) {
        assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
        assert_ok(state_host_get(p->st, &a, &h, &err), &err);
        assert_int_equal(h.state, HOST_ENROLLED);
        host_release(&h);
        state_close(p->st);
        p->st = NULL;
    }
    by_hand(p, "PRAGMA user_version = 3");
    assert_err(state_open(&p->st, fs_system(), p->path, &err), VARVE_ERR_CORRUPT, &err);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_flipped_bit_is_refused_or_changes_nothing),
        CASE(a_revoked_host_does_not_come_back_by_itself),
    };

    log_set_sink(drop_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
