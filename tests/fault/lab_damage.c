/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/lab_damage.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/testing.h"
#include "store/pack.h"
#include "store/store.h"

void
lab_flip(struct fs *fs, const char *object, uint64_t offset)
{
    char path[STORE_NAME_MAX + 32];
    struct varve_error err;
    struct file *f = NULL;
    uint8_t byte = 0;

    (void)snprintf(path, sizeof(path), "/data/store/%s", object);
    assert_ok(file_open(fs, &f, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(f, &byte, 1, offset, &err), &err);
    byte ^= 4;
    assert_ok(file_write(f, &byte, 1, offset, &err), &err);
    assert_ok(file_sync(f, &err), &err);
    file_close(f);
}

struct damaging {
    struct fs *fs;
    struct store *store;
    enum chunk_kind kind;
    unsigned every;
    unsigned seen;
    unsigned flipped;
};

static bool
damage_pack(void *arg, const char *name, uint64_t size)
{
    struct damaging *d = arg;
    uint8_t *bytes = malloc((size_t)size);
    struct pack_header header;
    struct varve_error err;
    struct pack_record r;
    size_t at = PACK_HEADER_SIZE;

    assert_non_null(bytes);
    assert_ok(store_get(d->store, name, 0, bytes, (size_t)size, &err), &err);
    assert_ok(pack_header_decode(&header, bytes, &err), &err);
    while (header.kind == d->kind && size - at >= PACK_RECORD_HEADER &&
           pack_record_decode(&r, bytes + at, &err) == VARVE_OK) {
        if (d->seen++ % d->every == 0) {
            lab_flip(d->fs, name, at + PACK_RECORD_HEADER + 7);
            d->flipped++;
        }
        at += PACK_RECORD_HEADER + r.entry.stored_len;
    }
    free(bytes);
    return true;
}

unsigned
lab_damage_records(struct fs *fs, enum chunk_kind kind, unsigned every)
{
    struct damaging d = {.fs = fs, .kind = kind, .every = every};
    struct varve_error err;

    assert_ok(store_dir_open(&d.store, fs, "/data/store", &err), &err);
    assert_ok(store_list(d.store, "pack/", damage_pack, &d, &err), &err);
    store_close(d.store);
    assert_true(d.flipped > 0);
    return d.flipped;
}

/* ---- a copy ---- */

struct copying {
    struct store *from;
    struct store *to;
};

static bool
copy_object(void *arg, const char *name, uint64_t size)
{
    struct copying *c = arg;
    struct store_part part = {.len = (size_t)size};
    uint8_t *bytes = malloc((size_t)size + 1);
    struct varve_error err;

    assert_non_null(bytes);
    assert_ok(store_get(c->from, name, 0, bytes, part.len, &err), &err);
    part.data = bytes;
    assert_ok(store_put(c->to, name, &part, 1, &err), &err);
    free(bytes);
    return true;
}

void
lab_copy_store(struct fs *fs, const char *folder)
{
    struct copying c = {.from = NULL};
    struct varve_error err;

    assert_ok(store_dir_open(&c.from, fs, "/data/store", &err), &err);
    assert_ok(store_dir_open(&c.to, fs, folder, &err), &err);
    assert_ok(store_list(c.from, "", copy_object, &c, &err), &err);
    store_close(c.from);
    store_close(c.to);
}
