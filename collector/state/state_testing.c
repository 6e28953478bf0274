/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct varve_error err;

int
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

int
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

void
reopen(struct place *p)
{
    state_close(p->st);
    p->st = NULL;
    assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
}

void
fill(uint8_t *out, size_t len, uint8_t seed)
{
    memset(out, seed, len);
    out[0] = (uint8_t)~seed;
}

struct guid
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

enum varve_err
enrol_at(struct place *p, uint8_t seed, uint8_t key_seed, int64_t now, struct host *out)
{
    uint8_t id[16];
    uint8_t key[STATE_KEY_SIZE];

    fill(id, sizeof(id), seed);
    fill(key, sizeof(key), key_seed);
    return state_host_enrol(p->st, id, key, now, out, &err);
}

struct guid
enrolled(struct place *p, const char *name, uint8_t seed)
{
    struct host h;
    struct guid id = invite(p, name, seed);

    assert_ok(enrol_at(p, seed, seed, NOW + 1, &h), &err);
    assert_true(guid_equal(&h.id, &id));
    host_release(&h);
    return id;
}
