/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/rct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

struct rct {
    char *folder;
    char *disk;
    uint64_t size;
    uint64_t granularity;
    uint64_t epoch;
    uint64_t oldest; /* no map before this one exists any more */
    uint8_t *bits;
    size_t length;
};

static char *
map_path(const struct rct *r, uint64_t epoch)
{
    return sim_printf("%s/%s-%llu.map", r->folder, r->disk, (unsigned long long)epoch);
}

static uint64_t
granules_of(const struct rct *r)
{
    return (r->size + r->granularity - 1) / r->granularity;
}

static uint32_t
map_current(struct rct *r, struct sim_error *err)
{
    char *path = map_path(r, r->epoch);
    uint32_t rc = SIM_OK;
    void *p = NULL;
    int fd = -1;

    r->length = (size_t)(granules_of(r) + 7) / 8;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", path);
        goto out;
    }
    rc = sim_truncate(fd, r->length, path, err);
    if (rc != SIM_OK) {
        goto out;
    }
    p = mmap(NULL, r->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        rc = sim_fail_errno(err, errno, "mapping '%s'", path);
        goto out;
    }
    r->bits = p;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    return rc;
}

uint32_t
rct_open(struct rct **out, const char *folder, const char *disk, uint64_t size,
         uint64_t granularity, uint64_t epoch, struct sim_error *err)
{
    struct rct *r = sim_alloc(sizeof(*r));
    uint32_t rc;

    r->folder = sim_strdup(folder);
    r->disk = sim_strdup(disk);
    r->size = size;
    r->granularity = granularity;
    r->epoch = epoch;
    rc = map_current(r, err);
    if (rc != SIM_OK) {
        rct_close(r);
        return rc;
    }
    *out = r;
    return SIM_OK;
}

void
rct_close(struct rct *r)
{
    if (r == NULL) {
        return;
    }
    if (r->bits != NULL) {
        (void)munmap(r->bits, r->length);
    }
    free(r->folder);
    free(r->disk);
    free(r);
}

uint64_t
rct_epoch(const struct rct *r)
{
    return r->epoch;
}

static void
mark_granules(struct rct *r, uint64_t first, uint64_t last)
{
    for (uint64_t g = first; g <= last && g < granules_of(r); g++) {
        r->bits[g / 8] = (uint8_t)(r->bits[g / 8] | (1u << (g % 8)));
    }
}

void
rct_mark(struct rct *r, uint64_t off, uint64_t len)
{
    if (len != 0) {
        mark_granules(r, off / r->granularity, (off + len - 1) / r->granularity);
    }
}

void
rct_coarsen(struct rct *r)
{
    uint64_t per = RCT_COARSE / r->granularity;
    uint64_t count = granules_of(r);

    for (uint64_t g = 0; per > 1 && g < count; g++) {
        if ((r->bits[g / 8] >> (g % 8) & 1) != 0) {
            uint64_t first = g / per * per;

            mark_granules(r, first, first + per - 1);
            g = first + per - 1;
        }
    }
}

uint32_t
rct_seal(struct rct *r, struct sim_error *err)
{
    uint32_t rc;

    (void)munmap(r->bits, r->length);
    r->bits = NULL;
    r->epoch++;
    rc = map_current(r, err);
    if (rc == SIM_OK && r->bits != NULL) {
        memset(r->bits, 0, r->length); /* a map left by a seal that never became state */
    }
    return rc;
}

void
rct_drop_through(struct rct *r, uint64_t epoch)
{
    for (; r->oldest <= epoch && r->oldest < r->epoch; r->oldest++) {
        char *path = map_path(r, r->oldest);

        (void)unlink(path);
        free(path);
    }
}

static uint32_t
or_file(struct rct *r, uint64_t epoch, uint8_t *bits, struct sim_error *err)
{
    char *path = map_path(r, epoch);
    uint8_t *one = sim_alloc(r->length);
    uint32_t rc = SIM_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        rc = sim_fail(err, SIM_CT_MISSING, "the change log of epoch %llu is gone",
                      (unsigned long long)epoch);
    } else {
        rc = sim_pread(fd, one, r->length, 0, path, err);
        (void)close(fd);
    }
    for (size_t i = 0; rc == SIM_OK && i < r->length; i++) {
        bits[i] = (uint8_t)(bits[i] | one[i]);
    }
    free(one);
    free(path);
    return rc;
}

uint32_t
rct_union(struct rct *r, uint64_t first, uint64_t last, uint8_t **bits, uint64_t *granules,
          struct sim_error *err)
{
    uint8_t *sum = sim_alloc(r->length);
    uint32_t rc = SIM_OK;

    for (uint64_t e = first; rc == SIM_OK && e <= last; e++) {
        rc = or_file(r, e, sum, err);
    }
    if (rc != SIM_OK) {
        free(sum);
        return rc;
    }
    *bits = sum;
    *granules = granules_of(r);
    return SIM_OK;
}
