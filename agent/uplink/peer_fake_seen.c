/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/peer_fake_internal.h"

#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"

/* What tests see of a run and what they set: configuration files, the content of disks, faults to come. */

/* ---- configuration files ---- */

void
fake_drop_files(struct peer_fake *f)
{
    size_t i;

    for (i = 0; i < f->seen.file_count; i++) {
        free(f->files[i].name);
        free(f->files[i].data);
    }
    f->seen.file_count = 0;
}

void
fake_keep_files(struct peer_fake *f, const struct peer_commit *commit)
{
    struct varve_error err;
    size_t total = 0;
    size_t i;

    fake_drop_files(f);
    for (i = 0; i < commit->file_count; i++) {
        const struct peer_file *in = &commit->files[i];
        struct fake_file *file = &f->files[f->seen.file_count++];

        total += in->len;
        file->name = strdup(in->name);
        file->data = malloc(in->size + 1);
        file->len = in->size;
        if (file->name == NULL || file->data == NULL) {
            abort();
        }
        if (in->size == in->len) {
            memcpy(file->data, in->data, in->len);
        } else if (!f->options.takes_packed ||
                   codec_lz4_unpack(in->data, in->len, file->data, file->len, &err) != VARVE_OK) {
            fake_broken(f, "configuration file '%s' cannot be unpacked", in->name);
        }
    }
    if (total > (f->options.takes_packed ? PEER_FILES_BYTES_MAX : PEER_FILES_PLAIN_MAX)) {
        fake_broken(f, "a commit with %zu bytes of configuration files", total);
    }
}

const uint8_t *
peer_fake_file(struct peer_fake *f, const char *suffix, size_t *len)
{
    size_t want = strlen(suffix);
    size_t i;

    for (i = 0; i < f->seen.file_count; i++) {
        size_t has = strlen(f->files[i].name);

        if (has >= want && strcmp(f->files[i].name + has - want, suffix) == 0) {
            *len = f->files[i].len;
            return f->files[i].data;
        }
    }
    return NULL;
}

/* ---- faults, and the next run ---- */

void
peer_fake_set_fault(struct peer_fake *f, enum peer_fake_kind kind, unsigned nth,
                    enum peer_fake_fault fault)
{
    mutex_lock(&f->lock);
    f->fault_in[kind] = nth;
    f->fault[kind] = fault;
    mutex_unlock(&f->lock);
}

void
peer_fake_reconnect(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    while (f->queued > 0) {
        (void)cond_timedwait(&f->changed, &f->lock, 1000);
    }
    f->lost = false;
    mutex_unlock(&f->lock);
}

static void
fake_clear_run(struct peer_fake *f)
{
    size_t i;

    f->run_known = false;
    for (i = 0; i < PEER_FAKE_DISKS; i++) {
        f->disks[i].begun = false;
        f->disks[i].closed = false;
        fake_drop_offers(&f->disks[i]);
    }
}

void
peer_fake_forget_run(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    fake_clear_run(f);
    mutex_unlock(&f->lock);
}

void
peer_fake_next_run(struct peer_fake *f)
{
    mutex_lock(&f->lock);
    fake_clear_run(f);
    fake_drop_files(f);
    memset(&f->seen, 0, sizeof(f->seen));
    mutex_unlock(&f->lock);
}

/* ---- what came ---- */

bool
peer_fake_content(struct peer_fake *f, uint32_t disk, uint8_t *out, size_t size)
{
    const struct fake_disk *d = &f->disks[disk];
    uint64_t i;

    if (d->size != size || d->leaves == NULL) {
        return false;
    }
    memset(out, 0, size);
    for (i = 0; i < d->leaf_count; i++) {
        if (d->leaves[i] != NULL) {
            if (!d->leaves[i]->present) {
                return false;
            }
            memcpy(out + i * f->options.chunk_size, d->leaves[i]->data, d->leaves[i]->len);
        }
    }
    return true;
}

void
peer_fake_seen(struct peer_fake *f, struct peer_fake_seen *out)
{
    mutex_lock(&f->lock);
    *out = f->seen;
    mutex_unlock(&f->lock);
}

const char *
peer_fake_violation(struct peer_fake *f)
{
    return f->violation;
}
