/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/identity.h"

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
when_a_host_was_seen_is_kept_and_what_it_said_then(void **state)
{
    struct place *p = *state;
    struct guid id = enrolled(p, "node-1", 7);
    struct host h;

    assert_ok(state_host_seen(p->st, &id, "tcp://10.0.0.1:5", "agent 1", "Linux", NOW + 5, &err),
              &err);
    assert_ok(state_host_seen(p->st, &id, NULL, NULL, NULL, NOW + 9, &err), &err);
    reopen(p);
    assert_ok(state_host_get(p->st, &id, &h, &err), &err);
    assert_string_equal(h.address, "tcp://10.0.0.1:5");
    assert_string_equal(h.software, "agent 1");
    assert_string_equal(h.system, "Linux");
    assert_true(h.last_seen_us == NOW + 9);
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
        CASE(when_a_host_was_seen_is_kept_and_what_it_said_then),
        CASE(hosts_are_selected_by_name_or_by_the_beginning_of_the_id),
        CASE(a_damaged_file_is_named_with_the_way_out),
        CASE(a_newer_file_is_left_alone),
        CASE(a_second_collector_is_kept_out),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
