/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/state_internal.h"

/* Copies of the state file, taken while it is in use. */

static bool
holds(const struct state_image *image, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i + len <= image->len; i++) {
        if (memcmp(image->bytes + i, bytes, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The place's file is what the image says. */
static void
put_in_place(struct place *p, const struct state_image *image)
{
    char wal[128];

    state_close(p->st);
    p->st = NULL;
    (void)snprintf(wal, sizeof(wal), "%s-wal", p->path);
    (void)unlink(wal);
    assert_int_equal(unlink(p->path), 0);
    assert_ok(fs_write_durable(fs_system(), p->path, image->bytes, image->len, true, &err), &err);
    reopen(p);
}

static void
a_copy_has_the_hosts_and_no_invitation(void **state)
{
    struct place *p = *state;
    struct state_image image;
    uint8_t secret[STATE_SECRET_SIZE];
    struct quota q = {.scope = QUOTA_HOST, .vms = 7};
    struct quota *quotas = NULL;
    struct host *hosts = NULL;
    uint64_t counted = 0;
    size_t count = 0;

    q.id = enrolled(p, "alpha", 1);
    (void)invite(p, "waits", 2);
    assert_ok(state_quota_put(p->st, &q, &err), &err);
    assert_ok(state_image(p->st, &image, &err), &err);
    assert_int_equal(image.hosts, 1);
    fill(secret, sizeof(secret), 2);
    assert_false(holds(&image, secret, sizeof(secret)));
    assert_ok(state_image_check("copy", image.bytes, image.len, &counted, &err), &err);
    assert_int_equal(counted, 1);

    assert_ok(state_invitation_secret(p->st, secret, NOW, secret, &err), &err); /* as it was */
    put_in_place(p, &image);
    state_image_release(&image);
    assert_ok(state_host_list(p->st, &hosts, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(hosts[0].name, "alpha");
    assert_int_equal(hosts[0].state, HOST_ENROLLED);
    host_list_free(hosts, count);
    assert_ok(state_quota_list(p->st, &quotas, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(quotas[0].vms, 7);
    free(quotas);
}

static void
of_the_runs_that_ended_the_newest_are_in_a_copy(void **state)
{
    struct place *p = *state;
    struct state_image image;
    struct run_info *list = NULL;
    size_t count = 0;

    /* 5000 that have ended, and one older than these that has not. */
    assert_ok(
        state_exec(p->st,
                   "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                   " INSERT INTO runs SELECT CAST(printf('%016d', i) AS BLOB), zeroblob(16),"
                   " zeroblob(16), '', '', 0, 0, 0, 0, 0, 0, 0, 0, i, i, zeroblob(16), 0, 0, 0, 0,"
                   " '', '' FROM n",
                   &err),
        &err);
    assert_ok(state_image(p->st, &image, &err), &err);
    put_in_place(p, &image);
    state_image_release(&image);
    assert_ok(state_run_list(p->st, false, 100000, &list, &count, &err), &err);
    assert_int_equal(count, STATE_IMAGE_RUNS + 1);
    assert_int_equal(list[0].started_at_us, 5000);
    assert_int_equal(list[count - 1].started_at_us, 0);
    assert_int_equal(list[count - 2].started_at_us, 5001 - STATE_IMAGE_RUNS);
    free(list);
}

static void
a_file_that_has_rotted_gives_no_copy(void **state)
{
    struct place *p = *state;
    struct state_image image;

    (void)enrolled(p, "alpha", 1);
    assert_ok(
        state_exec(p->st, "DROP TRIGGER temp.hosts_changed; UPDATE hosts SET last_seen = 9", &err),
        &err);
    assert_err(state_image(p->st, &image, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "'hosts'"));
}

static void
bytes_that_are_no_state_file_are_refused(void **state)
{
    struct place *p = *state;
    struct state_image image;
    uint64_t hosts = 0;

    (void)enrolled(p, "alpha", 1);
    assert_ok(state_image(p->st, &image, &err), &err);
    for (size_t at = 0; at < image.len; at += 211) { /* damaged, or nothing that counts */
        image.bytes[at] ^= 1;
        if (state_image_check("copy", image.bytes, image.len, &hosts, &err) == VARVE_OK) {
            assert_int_equal(hosts, 1);
        }
        image.bytes[at] ^= 1;
    }
    assert_err(state_image_check("copy", image.bytes, 0, &hosts, &err), VARVE_ERR_CORRUPT, &err);
    assert_err(state_image_check("copy", image.bytes, image.len / 2, &hosts, &err),
               VARVE_ERR_CORRUPT, &err);
    image.bytes[63] = 99; /* user_version, of a newer program */
    assert_err(state_image_check("copy", image.bytes, image.len, &hosts, &err),
               VARVE_ERR_UNSUPPORTED, &err);
    state_image_release(&image);
}

static void
what_changed_is_counted(void **state)
{
    struct place *p = *state;
    struct state_changes before;
    struct state_changes after;
    struct state_image image;
    struct guid host = enrolled(p, "alpha", 1);

    assert_ok(state_image(p->st, &image, &err), &err);
    state_changes(p->st, &before);
    assert_memory_equal(&before, &image.at, sizeof(before));
    state_image_release(&image);
    assert_ok(state_host_seen(p->st, &host, NULL, NULL, NULL, NOW + 5, &err), &err);
    state_changes(p->st, &after);
    assert_int_not_equal(before.all, after.all);
    assert_int_equal(before.vital, after.vital);
    assert_ok(state_host_revoke(p->st, &host, &err), &err);
    state_changes(p->st, &before);
    assert_int_not_equal(before.vital, after.vital);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_copy_has_the_hosts_and_no_invitation),
        CASE(of_the_runs_that_ended_the_newest_are_in_a_copy),
        CASE(a_file_that_has_rotted_gives_no_copy),
        CASE(bytes_that_are_no_state_file_are_refused),
        CASE(what_changed_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
