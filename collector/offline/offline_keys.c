/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "offline/offline_internal.h"
#include "store/key_change.h"

/* ---- one change at a time ---- */

static enum varve_err
lock_keys(const char *folder, int *out, struct varve_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[4096];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/.lock-keys", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return varve_error_errno(err, errno, "opening '%s'", path);
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        int e = errno;

        (void)close(fd);
        return e == EAGAIN || e == EACCES
                   ? varve_error_set(err, VARVE_ERR_BUSY,
                                     "somebody else is changing the keys of '%s'", folder)
                   : varve_error_errno(err, e, "locking '%s'", path);
    }
    *out = fd;
    return VARVE_OK;
}

struct changing {
    int lock;
    struct store *objects;
    struct key_change change;
};

static enum varve_err
begin(struct changing *c, struct fs *fs, const char *folder, const struct offline_secret *secret,
      struct varve_error *err)
{
    struct store_secret *own = NULL;
    enum varve_err rc;

    memset(c, 0, sizeof(*c));
    c->lock = -1;
    rc = store_dir_open_shared(&c->objects, fs, folder, err);
    if (rc == VARVE_OK) {
        rc = lock_keys(folder, &c->lock, err);
    }
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&own, fs, secret, err);
    }
    if (rc == VARVE_OK) {
        rc = key_change_begin(&c->change, c->objects, own, err);
    }
    store_secret_free(own);
    return rc;
}

static void
end(struct changing *c)
{
    key_change_end(&c->change);
    store_close(c->objects);
    if (c->lock >= 0) {
        (void)close(c->lock);
    }
}

/* ---- calls ---- */

enum varve_err
offline_key_list(struct fs *fs, const char *folder,
                 bool (*cb)(void *arg, const struct offline_recipient *r), void *arg,
                 struct varve_error *err)
{
    const struct offline_recipient first = {
        .id = 1, .kind = store_secret_kind_name(STORE_SECRET_KEY_FILE), .label = "first key"};
    struct store_params params;
    struct store *objects = NULL;
    enum varve_err rc = store_dir_open_read(&objects, fs, folder, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = store_params_load(&params, objects, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no store in '%s'", folder);
    }
    if (rc == VARVE_OK && !params.has_ring) {
        (void)cb(arg, &first);
    }
    for (size_t i = 0; rc == VARVE_OK && params.has_ring && i < params.ring->count; i++) {
        const struct key_recipient *k = &params.ring->recipients[i];
        char label[KEY_LABEL_SIZE + 1] = {0};
        struct offline_recipient r = {.id = k->id,
                                      .kind = store_secret_kind_name(k->kind),
                                      .label = label,
                                      .made_at_us = k->made_at_us,
                                      .passes = k->cost.passes,
                                      .memory_kib = k->cost.memory_kib};

        memcpy(label, k->label, KEY_LABEL_SIZE);
        if (!cb(arg, &r)) {
            break;
        }
    }
    if (rc == VARVE_OK) {
        store_params_release(&params);
    }
    store_close(objects);
    return rc;
}

enum varve_err
offline_key_check(struct fs *fs, const char *folder, const struct offline_secret *secret,
                  uint32_t *id, struct varve_error *err)
{
    struct store_params params = {.ring = NULL};
    struct store_secret *own = NULL;
    struct store_keys *keys = NULL;
    struct store *objects = NULL;
    enum varve_err rc = store_dir_open_read(&objects, fs, folder, err);

    if (rc == VARVE_OK) {
        rc = store_params_load(&params, objects, err);
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no store in '%s'", folder);
    }
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&own, fs, secret, err);
    }
    if (rc == VARVE_OK) {
        rc = store_params_unlock(&params, own, &keys, id, err);
        *id = rc == VARVE_OK && *id == 0 ? 1 : *id;
    }
    store_keys_free(keys);
    store_secret_free(own);
    store_params_release(&params);
    store_close(objects);
    return rc;
}

/* A key file that is not there yet is made. */
static enum varve_err
load_added(struct store_secret **out, struct fs *fs, const struct offline_secret *added,
           struct varve_error *err)
{
    uint8_t key[STORE_KEY_SIZE];
    struct file_stat st;
    enum varve_err rc;

    if (added->kind == OFFLINE_KEY_FILE &&
        fs_stat(fs, added->path, &st, err) == VARVE_ERR_NOT_FOUND) {
        crypto_random(key, sizeof(key));
        rc = secret_file_create(fs, added->path, SECRET_FILE_STORE_KEY, key, err);
        sodium_memzero(key, sizeof(key));
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    rc = offline_load_secret(out, fs, added, err);
    if (rc == VARVE_OK && added->kind == OFFLINE_KEY_FILE) {
        rc = secret_file_settle(fs, added->path, err);
        if (rc != VARVE_OK) {
            store_secret_free(*out);
            *out = NULL;
        }
    }
    return rc;
}

enum varve_err
offline_key_add(struct fs *fs, const char *folder, const struct offline_secret *secret,
                const struct offline_secret *added, const char *label, uint32_t *id,
                struct varve_error *err)
{
    struct store_secret *new_one = NULL;
    struct changing c;
    enum varve_err rc = begin(&c, fs, folder, secret, err);

    if (rc == VARVE_OK) {
        rc = load_added(&new_one, fs, added, err);
    }
    if (rc == VARVE_OK) {
        rc = key_change_add(&c.change, new_one, KEY_COST_DEFAULT, label, id, err);
    }
    store_secret_free(new_one);
    end(&c);
    return rc;
}

_Static_assert(OFFLINE_RECOVERY_TEXT == RECOVERY_TEXT_SIZE, "the text of a recovery key");

enum varve_err
offline_key_recovery(struct fs *fs, const char *folder, const struct offline_secret *secret,
                     const char *label, char text[OFFLINE_RECOVERY_TEXT], uint32_t *id,
                     struct varve_error *err)
{
    uint8_t key[STORE_RECOVERY_SIZE];
    struct store_secret *new_one = NULL;
    struct changing c;
    enum varve_err rc = begin(&c, fs, folder, secret, err);

    crypto_random(key, sizeof(key));
    if (rc == VARVE_OK) {
        rc = store_secret_new(&new_one, STORE_SECRET_RECOVERY, key, sizeof(key), "the recovery key",
                              err);
    }
    if (rc == VARVE_OK) {
        rc = key_change_add(&c.change, new_one, KEY_COST_DEFAULT, label, id, err);
    }
    if (rc == VARVE_OK) {
        recovery_format(key, text);
    }
    sodium_memzero(key, sizeof(key));
    store_secret_free(new_one);
    end(&c);
    return rc;
}

enum varve_err
offline_key_remove(struct fs *fs, const char *folder, const struct offline_secret *secret,
                   uint32_t id, struct varve_error *err)
{
    struct changing c;
    enum varve_err rc = begin(&c, fs, folder, secret, err);

    if (rc == VARVE_OK) {
        rc = key_change_remove(&c.change, id, err);
    }
    end(&c);
    return rc;
}
