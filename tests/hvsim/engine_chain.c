/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

#define CHAIN_MAX 256u
#define DUMP_STEP ((size_t)1024 * 1024)

struct chain {
    struct vhdx *files[CHAIN_MAX]; /* from the file asked for down to the base */
    bool borrowed[CHAIN_MAX];
    size_t count;
};

uint32_t
chain_open(struct chain **out, struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
           const struct guid *file, struct sim_error *err)
{
    struct chain *c = sim_alloc(sizeof(*c));
    struct sim_disk_file *f = disk_file(d, file);
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && f != NULL && c->count < CHAIN_MAX) {
        if (guid_equal(&f->id, &d->active)) {
            c->files[c->count] = d->vhdx;
            c->borrowed[c->count] = true;
        } else {
            char *path = vm_disk_path(vm, f);

            rc = vhdx_open(&c->files[c->count], path, &h->random, err);
            free(path);
        }
        c->count += rc == SIM_OK ? 1 : 0;
        f = guid_is_zero(&f->parent) ? NULL : disk_file(d, &f->parent);
    }
    if (rc != SIM_OK) {
        chain_close(c);
        return rc;
    }
    *out = c;
    return SIM_OK;
}

void
chain_close(struct chain *c)
{
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        if (!c->borrowed[i]) {
            vhdx_close(c->files[i]);
        }
    }
    free(c);
}

static uint32_t
read_level(struct chain *c, size_t level, uint8_t *p, uint64_t len, uint64_t off,
           struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && len > 0) {
        enum vhdx_kind kind = VHDX_ZERO;
        uint64_t n = 0;

        rc = vhdx_map(c->files[level], off, len, &kind, &n, err);
        if (rc != SIM_OK) {
            break;
        }
        if (kind == VHDX_PRESENT) {
            rc = vhdx_read_present(c->files[level], p, (size_t)n, off, err);
        } else if (kind == VHDX_PARENT && level + 1 < c->count) {
            rc = read_level(c, level + 1, p, n, off, err);
        } else {
            memset(p, 0, (size_t)n);
        }
        p += n;
        off += n;
        len -= n;
    }
    return rc;
}

uint32_t
chain_read(struct chain *c, void *buf, size_t len, uint64_t off, struct sim_error *err)
{
    return read_level(c, 0, buf, len, off, err);
}

uint32_t
disk_read_chain(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, const struct guid *file,
                const char *to, struct sim_error *err)
{
    uint8_t *buf = sim_alloc(DUMP_STEP);
    struct chain *c = NULL;
    int fd = -1;
    uint32_t rc = chain_open(&c, h, vm, d, file, err);

    if (rc != SIM_OK) {
        goto out;
    }
    fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "creating '%s'", to);
        goto out;
    }
    rc = sim_truncate(fd, d->size, to, err);
    for (uint64_t off = 0; rc == SIM_OK && off < d->size; off += DUMP_STEP) {
        size_t n = d->size - off < DUMP_STEP ? (size_t)(d->size - off) : DUMP_STEP;

        rc = chain_read(c, buf, n, off, err);
        if (rc == SIM_OK && !sim_all_zero(buf, n)) {
            rc = sim_pwrite(fd, buf, n, off, to, err);
        }
    }
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    chain_close(c);
    free(buf);
    return rc;
}
