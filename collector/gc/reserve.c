/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/reserve.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/path.h"
#include "os/thread.h"

struct reserve {
    struct fs *fs;
    char *path;
    char *folder;
    struct mutex lock;
};

enum varve_err
reserve_open(struct reserve **out, struct fs *fs, const char *path, struct varve_error *err)
{
    const char *slash = strrchr(path, '/');
    struct reserve *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    r->fs = fs;
    r->path = strdup(path);
    r->folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path));
    mutex_init(&r->lock);
    if (r->path == NULL || r->folder == NULL) {
        reserve_close(r);
        return varve_error_nomem(err);
    }
    reserve_fill(r);
    *out = r;
    return VARVE_OK;
}

void
reserve_close(struct reserve *r)
{
    if (r != NULL) {
        mutex_destroy(&r->lock);
        free(r->path);
        free(r->folder);
        free(r);
    }
}

bool
reserve_release(struct reserve *r)
{
    struct varve_error err;
    bool released;

    mutex_lock(&r->lock);
    released = fs_remove(r->fs, r->path, &err) == VARVE_OK;
    mutex_unlock(&r->lock);
    if (released) {
        log_warn("gc",
                 "the disk is full: the reserve '%s' was given up so that something can be "
                 "deleted",
                 r->path);
    }
    return released;
}

void
reserve_fill(struct reserve *r)
{
    struct file *f = NULL;
    struct varve_error err;
    uint64_t room = 0;

    mutex_lock(&r->lock);
    if (fs_free_bytes(r->fs, r->folder, &room, &err) == VARVE_OK && room >= 4ull * RESERVE_SIZE &&
        file_open(r->fs, &f, r->path, FILE_CREATE_NEW, &err) == VARVE_OK) {
        enum varve_err rc = file_allocate(f, 0, RESERVE_SIZE, &err);

        file_close(f);
        if (rc != VARVE_OK) {
            log_debug("gc", "no reserve: %s", err.msg);
            if (fs_remove(r->fs, r->path, &err) != VARVE_OK) {
                log_debug("gc", "an empty reserve stays: %s", err.msg);
            }
        }
    }
    mutex_unlock(&r->lock);
}
