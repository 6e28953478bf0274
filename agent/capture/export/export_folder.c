/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "capture/export/export_internal.h"

struct listing {
    struct export_tree *tree;
    const char *folder;
    enum varve_err rc;
    struct varve_error *err;
};

static bool
add_entry(void *arg, const char *name, bool is_dir)
{
    struct listing *l = arg;
    struct export_tree *t = l->tree;
    struct export_entry *items = NULL;

    if (t->count == EXPORT_TREE_MAX) {
        l->rc = varve_error_set(l->err, VARVE_ERR_LIMIT, "more than %u files are in '%s'",
                                EXPORT_TREE_MAX, l->folder);
        return false;
    }
    items = realloc(t->items, (t->count + 1) * sizeof(*items));
    if (items != NULL) {
        t->items = items;
        items[t->count].is_dir = is_dir;
        items[t->count].path = capture_join(l->folder, name);
    }
    if (items == NULL || items[t->count].path == NULL) {
        l->rc = varve_error_nomem(l->err);
        return false;
    }
    t->count++;
    return true;
}

static enum varve_err
list_one(struct fs *fs, const char *folder, struct export_tree *t, struct varve_error *err)
{
    struct listing l = {.tree = t, .folder = folder, .rc = VARVE_OK, .err = err};
    enum varve_err rc = fs_list(fs, folder, add_entry, &l, err);

    return rc == VARVE_OK ? l.rc : rc;
}

enum varve_err
export_tree_read(struct fs *fs, const char *folder, struct export_tree *out,
                 struct varve_error *err)
{
    struct export_tree t = {0};
    size_t i;
    enum varve_err rc = list_one(fs, folder, &t, err);

    for (i = 0; rc == VARVE_OK && i < t.count; i++) {
        if (t.items[i].is_dir) {
            rc = list_one(fs, t.items[i].path, &t, err);
        }
    }
    if (rc != VARVE_OK) {
        export_tree_release(&t);
        return rc;
    }
    *out = t;
    return VARVE_OK;
}

void
export_tree_release(struct export_tree *t)
{
    size_t i;

    for (i = 0; i < t->count; i++) {
        free(t->items[i].path);
    }
    free(t->items);
    memset(t, 0, sizeof(*t));
}

enum varve_err
export_remove(struct fs *fs, const char *folder, struct varve_error *err)
{
    struct export_tree t = {0};
    size_t i;
    enum varve_err rc = export_tree_read(fs, folder, &t, err);

    for (i = t.count; rc == VARVE_OK && i-- > 0;) {
        rc = fs_remove(fs, t.items[i].path, err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    export_tree_release(&t);
    if (rc == VARVE_OK) {
        rc = fs_remove(fs, folder, err);
    }
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}
