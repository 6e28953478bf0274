/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/state_copy.h"
#include "offline/offline_internal.h"
#include "os/path.h"
#include "state/state.h"
#include "store/store_config.h"

/* The copies of a collector's state (jobs/state_copy.h): the store's keys open them, no footer is read. */

struct copies {
    const struct offline_state_options *o;
    struct store *objects;
    struct store_keys *keys;
    struct state_copy_id *list;
    size_t count;
};

static void
copies_close(struct copies *c)
{
    free(c->list);
    store_keys_free(c->keys);
    store_close(c->objects);
}

static enum varve_err
copies_open(struct copies *c, const struct offline_state_options *o, struct varve_error *err)
{
    struct store_params params = {.ring = NULL};
    struct store_secret *secret = NULL;
    enum varve_err rc;

    memset(c, 0, sizeof(*c));
    c->o = o;
    rc = store_dir_open_read(&c->objects, o->fs, o->folder, err);
    if (rc == VARVE_OK) {
        rc = store_params_load(&params, c->objects, err);
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no store in '%s'", o->folder);
    }
    if (rc == VARVE_OK) {
        rc = offline_load_secret(&secret, o->fs, &o->secret, err);
    }
    if (rc == VARVE_OK) {
        rc = store_params_unlock(&params, secret, &c->keys, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = state_copy_list(c->objects, &c->list, &c->count, err);
    }
    store_secret_free(secret);
    store_params_release(&params);
    return rc;
}

/* The copy, and that what is in it is a state file. */
static enum varve_err
read_one(struct copies *c, const struct state_copy_id *id, struct state_copy *out,
         struct offline_state_copy *about, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc = state_copy_read(c->objects, c->keys, id, out, err);

    state_copy_name(id, name);
    memset(about, 0, sizeof(*about));
    (void)snprintf(about->name, sizeof(about->name), "%s", name);
    if (rc == VARVE_OK) {
        rc = state_image_check(name, out->db, out->db_len, &about->hosts, err);
        if (rc != VARVE_OK) {
            state_copy_release(out);
        }
    }
    about->made_at_us = rc == VARVE_OK ? out->made_at_us : 0;
    return rc;
}

enum varve_err
offline_state_list(const struct offline_state_options *o,
                   bool (*cb)(void *arg, const struct offline_state_copy *copy),
                   struct varve_error *err)
{
    struct copies c;
    enum varve_err rc = copies_open(&c, o, err);

    for (size_t i = 0; rc == VARVE_OK && i < c.count; i++) {
        struct offline_state_copy about;
        struct varve_error why;
        struct state_copy copy;

        if (read_one(&c, &c.list[i], &copy, &about, &why) == VARVE_OK) {
            state_copy_release(&copy);
        } else {
            about.problem = why.msg;
        }
        if (!cb(o->arg, &about)) {
            break;
        }
    }
    copies_close(&c);
    return rc;
}

/* ---- which ---- */

static enum varve_err
read_named(struct copies *c, struct state_copy *out, struct offline_state_copy *about,
           struct varve_error *err)
{
    struct state_copy_id id;

    for (size_t i = 0; state_copy_name_parse(&id, c->o->copy) && i < c->count; i++) {
        if (memcmp(&id, &c->list[i], sizeof(id)) == 0) {
            return read_one(c, &id, out, about, err);
        }
    }
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the store has no copy '%.80s'", c->o->copy);
}

/* One that is damaged is told, and the one before it is taken; not where a newer program wrote it. */
static enum varve_err
read_newest(struct copies *c, struct state_copy *out, struct offline_state_copy *about,
            struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (c->count == 0) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                               "the store '%s' has no copy of a collector's state: enrol the hosts "
                               "again",
                               c->o->folder);
    }
    if (memcmp(c->list[0].collector, c->list[c->count - 1].collector, 8) != 0) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "the store has copies of more than one collector: --list shows them, "
            "--copy says which");
    }
    for (size_t i = c->count; i > 0; i--) {
        rc = read_one(c, &c->list[i - 1], out, about, err);
        if (rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_IO) {
            break;
        }
        if (i > 1 && c->o->damaged != NULL) {
            c->o->damaged(c->o->arg, err->msg);
        }
    }
    return rc;
}

/* ---- the folder ---- */

/* What a collector would take for its own.  A key of the store may be there, and an index, which looks after itself. */
static const char *const own_files[] = {"state.db",         "state.db-wal",  "state.db-shm",
                                        "state.db-journal", "collector.key", "operator.access"};

static enum varve_err
check_empty(struct fs *fs, const char *folder, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(own_files) / sizeof(own_files[0]); i++) {
        struct file_stat st;
        char *path = NULL;

        rc = path_join(&path, folder, own_files[i], err);
        if (rc == VARVE_OK) {
            rc = fs_stat(fs, path, &st, err);
            rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK
                 : rc != VARVE_OK          ? rc
                                           : varve_error_set(err, VARVE_ERR_EXISTS,
                                                             "'%s' is there: nothing is overwritten, choose "
                                                                      "an empty folder",
                                                             path);
        }
        free(path);
    }
    return rc;
}

/* The key last: a collector that is started on the half of it is another one, and leaves the copies of this one alone. */
static enum varve_err
write_files(struct fs *fs, const char *folder, const struct state_copy *copy,
            struct varve_error *err)
{
    struct varve_error ignored;
    char *state = NULL;
    char *key = NULL;
    enum varve_err rc = path_join(&state, folder, "state.db", err);

    if (rc == VARVE_OK) {
        rc = path_join(&key, folder, "collector.key", err);
    }
    if (rc == VARVE_OK) {
        rc = fs_write_durable(fs, state, copy->db, copy->db_len, true, err);
    }
    if (rc == VARVE_OK) {
        rc = identity_save(copy->identity, fs, key, err);
        if (rc != VARVE_OK) {
            (void)!fs_remove(fs, state, &ignored);
        }
    }
    free(key);
    free(state);
    return rc;
}

enum varve_err
offline_state_restore(const struct offline_state_options *o, const char *state_folder,
                      struct offline_state_copy *out, struct varve_error *err)
{
    struct state_copy copy = {.db = NULL};
    struct copies c;
    enum varve_err rc = copies_open(&c, o, err);

    if (rc == VARVE_OK) {
        rc = check_empty(o->fs, state_folder, err);
    }
    if (rc == VARVE_OK) {
        rc = o->copy != NULL ? read_named(&c, &copy, out, err) : read_newest(&c, &copy, out, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_mkdir_parents(o->fs, state_folder, err);
    }
    if (rc == VARVE_OK) {
        rc = write_files(o->fs, state_folder, &copy, err);
    }
    state_copy_release(&copy);
    copies_close(&c);
    return rc;
}
