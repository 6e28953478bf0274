/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/image_internal.h"

/*
 * Looking for a parent.  Its id decides; the paths only say where to look first, since they name
 * places of the machine that made the child and Windows lets them grow stale:
 *
 *   1. a relative path, from the folder of the child; a path that begins with '/', as it is
 *   2. the last part of every path, in the folder of the child
 *   3. the end of every path, two parts and more of it, below the folders that the child is in: for
 *      a tree that was copied or mounted elsewhere
 *   4. every disk in the folder of the child, for chains whose files were renamed
 *
 * Names are compared as they are first, then without the case of ASCII letters, as Windows does.
 */

/* A folder with more disks than this is not searched any further. */
#define FOLDER_ENTRIES_MAX 4096u
#define ANCESTORS_MAX      4u
#define PARTS_MAX          8u

struct search {
    const struct layer *child;
    char *folder; /* of the child */
    struct parent_found *out;
    char *other; /* the first disk of another id that stood where the parent should; owned */
    struct varve_error trouble; /* why something that stood there could not be looked at */
};

/* ---- names ---- */

struct caseless {
    const char *want;
    size_t len;
    char *found;
    bool failed;
};

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char *
copy_text(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = malloc(len);

    if (copy != NULL) {
        memcpy(copy, text, len);
    }
    return copy;
}

/* Of several the first by name, so that it does not depend on the file system. */
static bool
match_name(void *arg, const char *name, bool is_dir)
{
    struct caseless *c = arg;
    size_t i;

    (void)is_dir;
    if (strlen(name) != c->len) {
        return true;
    }
    for (i = 0; i < c->len; i++) {
        if (lower(name[i]) != lower(c->want[i])) {
            return true;
        }
    }
    if (c->found == NULL || strcmp(name, c->found) < 0) {
        free(c->found);
        c->found = copy_text(name);
        c->failed = c->found == NULL;
    }
    return !c->failed;
}

/* One part of a path in a folder: as it is, else without case.  False: it is not there. */
static bool
find_part(char **out, struct fs *fs, const char *folder, const char *part, size_t len)
{
    char name[PARENT_PATH_SIZE];
    struct caseless c = {name, len, NULL, false};
    struct varve_error ignored;
    struct file_stat st;
    bool found = false;

    memcpy(name, part, len);
    name[len] = '\0';
    if (path_join(out, folder, name, &ignored) != VARVE_OK) {
        return false;
    }
    if (fs_stat(fs, *out, &st, &ignored) == VARVE_OK) {
        return true;
    }
    free(*out);
    *out = NULL;
    if (fs_list(fs, folder, match_name, &c, &ignored) == VARVE_OK && c.found != NULL) {
        found = path_join(out, folder, c.found, &ignored) == VARVE_OK;
    }
    free(c.found);
    return found;
}

/* A path of several parts below a folder, on the heap; NULL: it is not there. */
static char *
find_below(struct fs *fs, const char *folder, const char *rel)
{
    struct varve_error why;
    struct file_stat st;
    char *at = NULL;

    if (path_join(&at, folder, rel, &why) == VARVE_OK) {
        enum varve_err rc = fs_stat(fs, at, &st, &why);

        if (rc != VARVE_ERR_NOT_FOUND && rc != VARVE_ERR_INVALID) {
            return at; /* there, or in trouble: who opens it will see */
        }
    }
    free(at);
    at = copy_text(folder);
    while (at != NULL && *rel != '\0') {
        size_t len = strcspn(rel, "/");
        char *next = NULL;

        if (len == 0 || (len == 1 && rel[0] == '.')) {
            rel += len + (rel[len] == '/' ? 1 : 0);
            continue;
        }
        if (!find_part(&next, fs, at, rel, len)) {
            next = NULL;
        }
        free(at);
        at = next;
        rel += len + (rel[len] == '/' ? 1 : 0);
    }
    return at;
}

/* ---- ids ---- */

static enum varve_err
peek_id(struct fs *fs, const char *path, enum image_format format, struct guid *out,
        struct varve_error *err)
{
    struct file *f = NULL;
    struct file_stat st;
    enum varve_err rc;

    rc = fs_stat(fs, path, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (!st.is_regular) { /* opening a pipe would wait for its other end */
        rc = varve_error_set(err, VARVE_ERR_INVALID, "not a regular file");
        goto out;
    }
    rc = file_open(fs, &f, path, FILE_READ, err);
    if (rc == VARVE_OK) {
        rc = file_fstat(f, &st, err);
    }
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

/* A file that is no disk of the format is passed over; that one could not be read must not be told as
 * if it were not there. */
static void
note_trouble(struct search *s, const char *path, struct varve_error *err)
{
    switch (err->code) {
    case VARVE_ERR_NOT_FOUND:
    case VARVE_ERR_INVALID:
    case VARVE_ERR_CORRUPT:
    case VARVE_ERR_UNSUPPORTED:
    case VARVE_ERR_LIMIT:
        break;
    default:
        if (s->trouble.code == VARVE_OK) {
            (void)varve_error_prefix(err, "disk '%s': looking for its parent at '%s'",
                                     s->child->f.path, path);
            s->trouble = *err;
        }
        break;
    }
}

/* Takes path.  True when it is the parent. */
static bool
try_path(struct search *s, char *path, bool named)
{
    const struct parent_hint *h = &s->child->parent;
    struct varve_error err;
    struct guid id;
    unsigned i;

    if (path == NULL) {
        return false;
    }
    if (peek_id(s->child->f.fs, path, h->format, &id, &err) != VARVE_OK) {
        if (named) {
            note_trouble(s, path, &err);
        }
        free(path);
        return false;
    }
    for (i = 0; i < h->id_count; i++) {
        if (guid_equal(&h->ids[i], &id)) {
            s->out->path = path;
            s->out->id = i;
            s->out->by_id_only = !named;
            return true;
        }
    }
    if (named && s->other == NULL) {
        s->other = path;
    } else {
        free(path);
    }
    return false;
}

/* ---- places ---- */

static bool
try_paths(struct search *s)
{
    const struct parent_hint *h = &s->child->parent;
    struct fs *fs = s->child->f.fs;
    unsigned i;

    for (i = 0; i < h->path_count; i++) {
        const struct parent_path *p = &h->paths[i];

        if (!p->absolute && try_path(s, find_below(fs, s->folder, p->text), true)) {
            return true;
        }
        if (p->here && try_path(s, copy_text(p->text), true)) {
            return true;
        }
    }
    for (i = 0; i < h->path_count; i++) {
        if (try_path(s, find_below(fs, s->folder, path_basename(h->paths[i].text)), true)) {
            return true;
        }
    }
    return false;
}

/* The last n parts of a path; NULL when it has not so many or goes up. */
static const char *
last_parts(const char *text, unsigned n)
{
    const char *p = text + strlen(text);

    for (; p > text && n > 0; p--) {
        n -= p[-1] == '/' ? 1u : 0u;
    }
    if (n > 1 || (n == 1 && p != text)) {
        return NULL;
    }
    p += *p == '/' ? 1 : 0;
    return strncmp(p, "../", 3) == 0 || strstr(p, "/../") != NULL || *p == '\0' ? NULL : p;
}

static bool
try_below(struct search *s, const char *folder)
{
    const struct parent_hint *h = &s->child->parent;
    unsigned parts;
    unsigned i;

    for (parts = PARTS_MAX; parts > 1; parts--) {
        for (i = 0; i < h->path_count; i++) {
            const char *end = last_parts(h->paths[i].text, parts);

            if (end != NULL && try_path(s, find_below(s->child->f.fs, folder, end), true)) {
                return true;
            }
        }
    }
    return false;
}

static bool
try_ancestors(struct search *s)
{
    struct varve_error ignored;
    char *at = copy_text(s->folder);
    bool found = false;
    unsigned i;

    for (i = 0; i <= ANCESTORS_MAX && at != NULL && !found; i++) {
        char *up = NULL;

        found = try_below(s, at);
        if (path_dirname(&up, at, &ignored) != VARVE_OK || strcmp(up, at) == 0) {
            free(up);
            up = NULL;
        }
        free(at);
        at = up;
    }
    free(at);
    return found;
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
    n->items[n->count] = copy_text(name);
    if (n->items[n->count] == NULL) {
        n->failed = true;
        return false;
    }
    n->count++;
    return n->count < FOLDER_ENTRIES_MAX;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
try_folder(struct search *s)
{
    struct names names = {NULL, 0, 0, s->child->parent.format, false};
    struct varve_error ignored;
    bool found = false;
    size_t i;

    if (fs_list(s->child->f.fs, s->folder, collect_name, &names, &ignored) != VARVE_OK ||
        names.failed) {
        goto out; /* it was only a last attempt */
    }
    if (names.count > 0) {
        qsort(names.items, names.count, sizeof(*names.items), compare_names);
    }
    for (i = 0; i < names.count && !found; i++) {
        char *path = NULL;

        if (path_join(&path, s->folder, names.items[i], &ignored) == VARVE_OK) {
            found = try_path(s, path, false);
        }
    }
out:
    for (i = 0; i < names.count; i++) {
        free(names.items[i]);
    }
    free(names.items);
    return found;
}

enum varve_err
parent_find(struct parent_found *out, const struct layer *child, struct varve_error *err)
{
    struct parent_found found = {NULL, false, 0};
    struct search s = {.child = child, .out = &found};
    char id[GUID_TEXT_SIZE];
    enum varve_err rc;

    rc = path_dirname(&s.folder, child->f.path, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (try_paths(&s) || try_ancestors(&s) || try_folder(&s)) {
        *out = found;
        goto out;
    }
    guid_format(&child->parent.ids[0], id);
    if (s.trouble.code != VARVE_OK) {
        *err = s.trouble;
        rc = err->code;
    } else if (s.other != NULL) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "disk '%s': its parent {%s} is not there; '%s' is another disk or was "
                             "changed since",
                             child->f.path, id, s.other);
    } else {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "disk '%s': its parent {%s} is not there; looked for '%s' and at all "
                             "disks of the folder",
                             child->f.path, id,
                             child->parent.path_count > 0 ? child->parent.paths[0].text
                                                          : "(no name)");
    }
out:
    free(s.other);
    free(s.folder);
    return rc;
}

static bool
is_same_file(const struct layer *a, const struct layer *b)
{
    return a->f.device == b->f.device && a->f.inode == b->f.inode &&
           (a->f.inode != 0 || strcmp(a->f.path, b->f.path) == 0);
}

enum varve_err
parent_check(struct layer *const *layers, unsigned count, const struct layer *parent,
             struct varve_error *err)
{
    const struct layer *child = layers[count - 1];
    unsigned i;

    for (i = 0; i < count; i++) {
        if (is_same_file(layers[i], parent)) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "disk '%s': its chain of parents comes back to '%s'",
                                   child->f.path, parent->f.path);
        }
    }
    if (count == IMAGE_CHAIN_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "disk '%s': more than %u files in its chain",
                               layers[0]->f.path, IMAGE_CHAIN_MAX);
    }
    for (i = 0; i < child->parent.id_count; i++) {
        if (guid_equal(&child->parent.ids[i], layer_link_id(parent))) {
            break;
        }
    }
    if (i == child->parent.id_count || parent->info.format != child->parent.format) {
        return varve_error_set(err, VARVE_ERR_BUSY, "disk '%s': changed while it was opened",
                               parent->f.path);
    }
    if (parent->info.virtual_size != child->info.virtual_size) {
        return varve_error_set(
            err, VARVE_ERR_CORRUPT,
            "disk '%s' has %" PRIu64 " bytes, its parent '%s' %" PRIu64 ": one of them was resized",
            child->f.path, child->info.virtual_size, parent->f.path, parent->info.virtual_size);
    }
    if (parent->info.logical_sector != child->info.logical_sector) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "disk '%s' has sectors of %" PRIu32 " bytes, its parent '%s' of "
                               "%" PRIu32,
                               child->f.path, child->info.logical_sector, parent->f.path,
                               parent->info.logical_sector);
    }
    return VARVE_OK;
}
