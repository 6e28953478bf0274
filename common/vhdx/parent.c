/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/image_internal.h"

/* A folder with more disks than this is not searched any further. */
#define FOLDER_ENTRIES_MAX 4096u

enum varve_err
parent_hint_add_path(struct parent_hint *h, const char *path, bool base_name,
                     struct varve_error *err)
{
    char text[PARENT_PATH_SIZE] = {0};
    const char *start = text;
    size_t len = strlen(path) + 1;
    unsigned i;

    if (len > sizeof(text) || h->path_count == PARENT_PATHS_MAX) {
        return VARVE_OK;
    }
    for (i = 0; i < len; i++) {
        text[i] = path[i];
        if (text[i] == '\\') {
            text[i] = '/';
        }
    }
    if (base_name) {
        const char *slash = strrchr(text, '/');

        start = slash == NULL ? text : slash + 1;
    } else {
        while (start[0] == '.' && start[1] == '/') {
            start += 2;
        }
        if (start[0] == '/' || (start[0] != '\0' && start[1] == ':')) {
            return VARVE_OK; /* a relative path that is none */
        }
    }
    if (strcmp(start, "") == 0 || strcmp(start, ".") == 0 || strcmp(start, "..") == 0) {
        return VARVE_OK;
    }
    for (i = 0; i < h->path_count; i++) {
        if (strcmp(h->paths[i], start) == 0) {
            return VARVE_OK;
        }
    }
    len = strlen(start) + 1;
    h->paths[h->path_count] = malloc(len);
    if (h->paths[h->path_count] == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(h->paths[h->path_count], start, len);
    h->path_count++;
    return VARVE_OK;
}

/* A name beside the child, on the heap. */
static enum varve_err
beside(char **out, const char *child, const char *name, struct varve_error *err)
{
    char *folder = NULL;
    enum varve_err rc = path_dirname(&folder, child, err);

    if (rc == VARVE_OK) {
        rc = path_join(out, folder, name, err);
    }
    free(folder);
    return rc;
}

static bool
is_wanted(const struct parent_hint *h, const struct guid *id)
{
    unsigned i;

    for (i = 0; i < h->id_count; i++) {
        if (guid_equal(&h->ids[i], id)) {
            return true;
        }
    }
    return false;
}

/* The id of the file at path, or why there is none. */
static enum varve_err
peek_id(struct fs *fs, const char *path, enum image_format format, struct guid *out,
        struct varve_error *err)
{
    struct file *f = NULL;
    struct file_stat st;
    enum varve_err rc;

    rc = file_open(fs, &f, path, FILE_READ, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_fstat(f, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (format == IMAGE_VHDX) {
        rc = vhdx_peek_id(f, st.size, out, err);
    } else {
        rc = vhd_peek_id(f, st.size, out, err);
    }
out:
    file_close(f);
    return rc;
}

/* What became of the looking so far; the best reason to tell if nothing is found. */
struct search {
    const struct layer *child;
    bool other_disk; /* there was a disk at one of the paths, of another id */
    char *tried;     /* the first path that was there; owned */
};

/* True when *out is the open parent or *rc says why a file of the right id cannot be opened. */
static bool
try_path(struct layer **out, struct search *s, const char *path, bool named, enum varve_err *rc,
         struct varve_error *err)
{
    const struct layer *child = s->child;
    struct varve_error ignored;
    struct guid id;
    struct layer *l = NULL;

    if (peek_id(child->f.fs, path, child->parent.format, &id, &ignored) != VARVE_OK) {
        return false;
    }
    if (!is_wanted(&child->parent, &id)) {
        if (named && s->tried == NULL) {
            s->other_disk = path_join(&s->tried, "", path, &ignored) == VARVE_OK;
        }
        return false;
    }
    *rc = layer_open(&l, child->f.fs, path, 0, err);
    if (*rc == VARVE_OK &&
        (l->info.format != child->parent.format || !is_wanted(&child->parent, layer_link_id(l)))) {
        layer_free(l);
        *rc = varve_error_set(err, VARVE_ERR_BUSY, "disk '%s': changed while it was opened", path);
        return true;
    }
    *out = l;
    return true;
}

struct names {
    char **items;
    size_t count;
    size_t cap;
    enum image_format format;
    bool failed;
};

static bool
is_disk_name(const char *name, enum image_format format)
{
    if (format == IMAGE_VHDX) {
        return path_has_suffix(name, ".vhdx") || path_has_suffix(name, ".avhdx");
    }
    return path_has_suffix(name, ".vhd") || path_has_suffix(name, ".avhd");
}

static bool
collect_name(void *arg, const char *name, bool is_dir)
{
    struct names *n = arg;
    size_t len = strlen(name) + 1;

    if (is_dir || !is_disk_name(name, n->format)) {
        return true;
    }
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 64 : n->cap * 2;
        char **items = realloc(n->items, cap * sizeof(*items));

        if (items == NULL) {
            n->failed = true;
            return false;
        }
        n->items = items;
        n->cap = cap;
    }
    n->items[n->count] = malloc(len);
    if (n->items[n->count] == NULL) {
        n->failed = true;
        return false;
    }
    memcpy(n->items[n->count], name, len);
    n->count++;
    return n->count < FOLDER_ENTRIES_MAX;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* By id alone: for chains whose files were renamed. */
static bool
try_folder(struct layer **out, struct search *s, enum varve_err *rc, struct varve_error *err)
{
    struct names names = {NULL, 0, 0, s->child->parent.format, false};
    struct varve_error ignored;
    char *folder = NULL;
    bool done = false;
    size_t i;

    if (path_dirname(&folder, s->child->f.path, &ignored) != VARVE_OK ||
        fs_list(s->child->f.fs, folder, collect_name, &names, &ignored) != VARVE_OK ||
        names.failed) {
        goto out; /* it was only a last attempt */
    }
    if (names.count > 0) {
        qsort(names.items, names.count, sizeof(*names.items), compare_names);
    }
    for (i = 0; i < names.count && !done; i++) {
        char *path = NULL;

        if (beside(&path, s->child->f.path, names.items[i], &ignored) == VARVE_OK) {
            done = try_path(out, s, path, false, rc, err);
        }
        free(path);
    }
out:
    for (i = 0; i < names.count; i++) {
        free(names.items[i]);
    }
    free(names.items);
    free(folder);
    return done;
}

enum varve_err
parent_open(struct layer **out, const struct layer *child, struct varve_error *err)
{
    struct search s = {child, false, NULL};
    char id[GUID_TEXT_SIZE];
    enum varve_err rc = VARVE_OK;
    unsigned i;

    for (i = 0; i < child->parent.path_count; i++) {
        char *path = NULL;
        bool done;

        rc = beside(&path, child->f.path, child->parent.paths[i], err);
        if (rc != VARVE_OK) {
            goto out;
        }
        done = try_path(out, &s, path, true, &rc, err);
        free(path);
        if (done) {
            goto out;
        }
    }
    if (try_folder(out, &s, &rc, err)) {
        goto out;
    }
    guid_format(&child->parent.ids[0], id);
    if (s.other_disk) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "disk '%s': its parent {%s} is not there; '%s' is another disk or was "
                             "changed since",
                             child->f.path, id, s.tried);
    } else {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "disk '%s': its parent {%s} is not there; looked for '%s' and at all "
                             "disks of the folder",
                             child->f.path, id,
                             child->parent.path_count > 0 ? child->parent.paths[0] : "(no name)");
    }
out:
    free(s.tried);
    return rc;
}
