/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "hvsim/sim_file.h"

#define WRITE_STEP  ((size_t)1024 * 1024)
#define SYNC_STEP   ((size_t)1024 * 1024)
#define SYNC_UNIT   ((size_t)4096) /* what a guest's file system writes at least */
#define INTENT_HEAD 32u            /* disk id, count, zeros */
#define INTENT_MAX  (1u << 24)
#define EXTENTS_MAX (1u << 22)

/* ---- intent: what a SIGKILL may have left half done ---- */

static uint32_t
intent_write(struct sim_vm *vm, const struct sim_disk *d, const struct sim_extent *extents,
             size_t count, struct sim_error *err)
{
    uint8_t *body = sim_alloc(count * 16);
    uint8_t head[INTENT_HEAD] = {0};
    uint32_t rc;

    for (size_t i = 0; i < count; i++) {
        put_le64(body + i * 16, extents[i].offset);
        put_le64(body + i * 16 + 8, extents[i].length);
    }
    memcpy(head, d->id.bytes, 16);
    put_le64(head + 16, count);
    /* The head makes the rest valid, so it goes last. */
    rc = sim_pwrite(vm->intent_fd, body, count * 16, INTENT_HEAD, "intent", err);
    if (rc == SIM_OK) {
        rc = sim_pwrite(vm->intent_fd, head, sizeof(head), 0, "intent", err);
    }
    free(body);
    return rc;
}

static uint32_t
intent_clear(struct sim_vm *vm, struct sim_error *err)
{
    return sim_truncate(vm->intent_fd, 0, "intent", err);
}

static void
mark(struct sim_host *h, struct sim_disk *d, uint64_t off, uint64_t len)
{
    if (d->rct == NULL) {
        return;
    }
    rct_mark(d->rct, off, len);
    if (h != NULL && sim_random_below(&h->random, 100) < h->options.rct_overreport) {
        uint64_t end = off + len + d->granularity;

        rct_mark(d->rct, off, (end > d->size ? d->size : end) - off);
    }
}

static uint32_t
recover_extent(struct sim_vm *vm, struct sim_disk *d, uint64_t off, uint64_t len, uint8_t *buf,
               struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    mark(NULL, d, off, len);
    while (rc == SIM_OK && len > 0) {
        size_t n = len < WRITE_STEP ? (size_t)len : WRITE_STEP;

        rc = sim_pread(d->truth_fd, buf, n, off, d->name, err);
        if (rc == SIM_OK) {
            rc = vhdx_write(d->vhdx, buf, n, off, err);
        }
        off += n;
        len -= n;
    }
    (void)vm;
    return rc;
}

/*
 * The truth may hold all, some or none of an interrupted write: whatever it holds is what the guest's
 * disk holds from now on, and the active file is made to agree.  Without a truth the file is left as
 * it is; its tracking was marked before the write began.
 */
uint32_t
guest_recover(struct sim_vm *vm, struct sim_error *err)
{
    uint8_t head[INTENT_HEAD];
    uint8_t *body = NULL;
    uint8_t *buf = NULL;
    struct sim_disk *d = NULL;
    struct guid id;
    uint64_t size = 0;
    uint64_t count;
    uint32_t rc = sim_size(vm->intent_fd, &size, "intent", err);

    if (rc != SIM_OK || size < INTENT_HEAD) {
        return rc;
    }
    rc = sim_pread(vm->intent_fd, head, sizeof(head), 0, "intent", err);
    if (rc != SIM_OK) {
        return rc;
    }
    memcpy(id.bytes, head, 16);
    count = get_le64(head + 16);
    if (count == 0 || count > INTENT_MAX || size < INTENT_HEAD + count * 16 ||
        find_disk(vm, &id, &d, err) != SIM_OK || d->truth_fd < 0) {
        return intent_clear(vm, err);
    }
    body = sim_alloc((size_t)count * 16);
    buf = sim_alloc(WRITE_STEP);
    rc = sim_pread(vm->intent_fd, body, (size_t)count * 16, INTENT_HEAD, "intent", err);
    for (uint64_t i = 0; rc == SIM_OK && i < count; i++) {
        rc = recover_extent(vm, d, get_le64(body + i * 16), get_le64(body + i * 16 + 8), buf, err);
    }
    free(body);
    free(buf);
    return rc == SIM_OK ? intent_clear(vm, err) : rc;
}

/* ---- writing ---- */

static uint32_t
open_write(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
           const struct sim_extent *extents, size_t count, struct sim_vm **vm, struct sim_disk **d,
           struct sim_error *err)
{
    uint32_t rc = find_vm(h, vm_id, vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(*vm, disk, d, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    if (count == 0 || count > EXTENTS_MAX) {
        return sim_fail(err, SIM_INVALID, "1 to %u extents in one write", EXTENTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t off = extents[i].offset;
        uint64_t len = extents[i].length;

        if (len == 0 || off % (*d)->logical_sector != 0 || len % (*d)->logical_sector != 0 ||
            off > (*d)->size || len > (*d)->size - off) {
            return sim_fail(err, SIM_INVALID, "%llu bytes at %llu are not whole sectors of '%s'",
                            (unsigned long long)len, (unsigned long long)off, (*d)->name);
        }
    }
    for (size_t i = 0; i < count; i++) {
        mark(h, *d, extents[i].offset, extents[i].length);
    }
    return intent_write(*vm, *d, extents, count, err);
}

static uint32_t
write_piece(struct sim_vm *vm, struct sim_disk *d, const uint8_t *p, size_t len, uint64_t off,
            struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    if (d->truth_fd >= 0) {
        rc = sim_pwrite(d->truth_fd, p, len, off, d->name, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_write(d->vhdx, p, len, off, err);
    }
    return rc == SIM_OK ? merge_mirror(vm, d, p, off, len, err) : rc;
}

uint32_t
guest_write(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
            const struct sim_extent *extents, size_t count, const uint8_t *data, uint64_t seed,
            struct sim_error *err)
{
    uint8_t *buf = NULL;
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = open_write(h, vm_id, disk, extents, count, &vm, &d, err);

    if (rc != SIM_OK) {
        return rc;
    }
    buf = data == NULL ? sim_alloc(WRITE_STEP) : NULL;
    for (size_t i = 0; rc == SIM_OK && i < count; i++) {
        uint64_t off = extents[i].offset;
        uint64_t left = extents[i].length;

        while (rc == SIM_OK && left > 0) {
            size_t n = left < WRITE_STEP ? (size_t)left : WRITE_STEP;

            if (data == NULL) {
                sim_random_fill(buf, n, seed, off);
            }
            rc = write_piece(vm, d, data != NULL ? data : buf, n, off, err);
            data = data != NULL ? data + n : NULL;
            off += n;
            left -= n;
        }
    }
    free(buf);
    return rc == SIM_OK ? intent_clear(vm, err) : rc;
}

uint32_t
guest_trim(struct sim_host *h, const struct guid *vm_id, const struct guid *disk, uint64_t offset,
           uint64_t length, struct sim_error *err)
{
    struct sim_extent e = {offset, length};
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = open_write(h, vm_id, disk, &e, 1, &vm, &d, err);

    if (rc == SIM_OK && d->truth_fd >= 0) {
        rc = sim_punch(d->truth_fd, offset, length, d->name, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_unmap(d->vhdx, offset, length, err);
    }
    if (rc == SIM_OK) {
        rc = merge_mirror(vm, d, NULL, offset, length, err);
    }
    return rc == SIM_OK ? intent_clear(vm, err) : rc;
}

/* ---- sync: make the disk equal to an image ---- */

struct sync {
    struct sim_host *h;
    struct sim_vm *vm;
    struct sim_disk *d;
    struct chain *chain; /* when there is no truth */
    int raw;
    const char *raw_name;
    uint8_t *want;
    uint8_t *have;
    struct sim_extent *extents;
    size_t count;
    uint64_t bytes;
};

static void
note_difference(struct sync *s, uint64_t off, uint64_t len)
{
    struct sim_extent *last = s->count > 0 ? &s->extents[s->count - 1] : NULL;

    s->bytes += len;
    if (last != NULL && last->offset + last->length == off) {
        last->length += len;
    } else {
        last = sim_array_add(&s->extents, &s->count, sizeof(*last));
        last->offset = off;
        last->length = len;
    }
}

static uint32_t
compare_step(struct sync *s, uint64_t off, size_t n, struct sim_error *err)
{
    uint32_t rc = sim_pread(s->raw, s->want, n, off, s->raw_name, err);

    if (rc == SIM_OK) {
        rc = s->chain != NULL ? chain_read(s->chain, s->have, n, off, err)
                              : sim_pread(s->d->truth_fd, s->have, n, off, s->d->name, err);
    }
    if (rc != SIM_OK || memcmp(s->want, s->have, n) == 0) {
        return rc;
    }
    for (size_t at = 0; at < n; at += SYNC_UNIT) {
        size_t unit = n - at < SYNC_UNIT ? n - at : SYNC_UNIT;

        if (memcmp(s->want + at, s->have + at, unit) != 0) {
            note_difference(s, off + at, unit);
        }
    }
    return SIM_OK;
}

/* Both holes: nothing to compare.  Without a truth every step is compared. */
static bool
both_empty(const struct sync *s, uint64_t off, uint64_t end)
{
    uint64_t start = 0;
    uint64_t stop = 0;

    if (s->chain != NULL || (sim_next_data(s->raw, off, end, &start, &stop) && start < end)) {
        return false;
    }
    return !sim_next_data(s->d->truth_fd, off, end, &start, &stop) || start >= end;
}

static uint32_t
find_differences(struct sync *s, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (uint64_t off = 0; rc == SIM_OK && off < s->d->size; off += SYNC_STEP) {
        uint64_t left = s->d->size - off;
        size_t n = left < SYNC_STEP ? (size_t)left : SYNC_STEP;

        if (!both_empty(s, off, off + n)) {
            rc = compare_step(s, off, n, err);
        }
    }
    return rc;
}

static uint32_t
apply_differences(struct sync *s, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < s->count; i++) {
        uint64_t off = s->extents[i].offset;
        uint64_t left = s->extents[i].length;

        while (rc == SIM_OK && left > 0) {
            size_t n = left < SYNC_STEP ? (size_t)left : SYNC_STEP;

            rc = sim_pread(s->raw, s->want, n, off, s->raw_name, err);
            if (rc == SIM_OK) {
                rc = write_piece(s->vm, s->d, s->want, n, off, err);
            }
            off += n;
            left -= n;
        }
    }
    return rc;
}

uint32_t
guest_sync(struct sim_host *h, const struct guid *vm_id, const struct guid *disk, const char *raw,
           uint64_t *bytes, uint64_t *extents, struct sim_error *err)
{
    struct sync s = {.h = h, .raw = -1, .raw_name = raw};
    uint64_t size = 0;
    uint32_t rc = find_vm(h, vm_id, &s.vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(s.vm, disk, &s.d, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    s.raw = open(raw, O_RDONLY | O_CLOEXEC);
    if (s.raw < 0) {
        return sim_fail_errno(err, errno, "opening '%s'", raw);
    }
    rc = sim_size(s.raw, &size, raw, err);
    if (rc == SIM_OK && size != s.d->size) {
        rc = sim_fail(err, SIM_INVALID, "'%s' has %llu bytes, disk '%s' has %llu", raw,
                      (unsigned long long)size, s.d->name, (unsigned long long)s.d->size);
    }
    if (rc == SIM_OK && s.d->truth_fd < 0) {
        rc = chain_open(&s.chain, h, s.vm, s.d, &s.d->active, err);
    }
    s.want = sim_alloc(SYNC_STEP);
    s.have = sim_alloc(SYNC_STEP);
    if (rc == SIM_OK) {
        rc = find_differences(&s, err);
    }
    if (rc == SIM_OK && s.count > 0) {
        rc = open_write(h, vm_id, disk, s.extents, s.count, &s.vm, &s.d, err);
        if (rc == SIM_OK) {
            rc = apply_differences(&s, err);
        }
        if (rc == SIM_OK) {
            rc = intent_clear(s.vm, err);
        }
    }
    *bytes = s.bytes;
    *extents = s.count;
    chain_close(s.chain);
    free(s.want);
    free(s.have);
    free(s.extents);
    (void)close(s.raw);
    return rc;
}

uint32_t
guest_read(struct sim_host *h, const struct guid *vm_id, const struct guid *disk, const char *to,
           struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = find_vm(h, vm_id, &vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(vm, disk, &d, err);
    }
    return rc == SIM_OK ? disk_read_chain(h, vm, d, &d->active, to, err) : rc;
}
