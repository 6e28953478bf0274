/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "capture/folder/folder_internal.h"
#include "hash/chunk_id.h"
#include "os/path.h"
#include "vhdx/image.h"

struct folder_entry {
    char *name;
    bool is_dir;
};

struct folder_entries {
    struct folder_entry *items;
    size_t count;
    size_t limit;
    bool images_only;
    bool too_many;
    bool no_memory;
};

static const char *const image_suffixes[] = {".vhdx", ".avhdx", ".vhd", ".avhd", ".raw", ".img"};

char *
folder_copy_string(const char *text)
{
    size_t len = strlen(text) + 1;
    char *p = malloc(len);

    return p != NULL ? memcpy(p, text, len) : NULL;
}

static bool
is_image_name(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(image_suffixes) / sizeof(image_suffixes[0]); i++) {
        if (path_has_suffix(name, image_suffixes[i])) {
            return true;
        }
    }
    return false;
}

static bool
scan_entry(void *arg, const char *name, bool is_dir)
{
    struct folder_entries *e = arg;
    struct folder_entry *items;

    if (name[0] == '.' || (is_dir ? e->images_only : !is_image_name(name))) {
        return true;
    }
    if (e->count == e->limit) {
        e->too_many = true;
        return false;
    }
    items = realloc(e->items, (e->count + 1) * sizeof(*items));
    if (items == NULL) {
        e->no_memory = true;
        return false;
    }
    e->items = items;
    items[e->count].is_dir = is_dir;
    items[e->count].name = folder_copy_string(name);
    if (items[e->count].name == NULL) {
        e->no_memory = true;
        return false;
    }
    e->count++;
    return true;
}

static int
compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct folder_entry *)a)->name, ((const struct folder_entry *)b)->name);
}

static void
release_entries(struct folder_entries *e)
{
    size_t i;

    for (i = 0; i < e->count; i++) {
        free(e->items[i].name);
    }
    free(e->items);
    memset(e, 0, sizeof(*e));
}

/* Images (and folders, unless images_only) in path, sorted by name. */
static enum varve_err
scan(struct folder *f, const char *path, bool images_only, struct folder_entries *out,
     struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    out->images_only = images_only;
    out->limit = images_only ? CAPTURE_DISKS_MAX : CAPTURE_VMS_MAX;
    rc = fs_list(f->fs, path, scan_entry, out, err);
    if (rc == VARVE_OK && out->no_memory) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK && out->too_many) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "'%s' has more than %zu images or folders", path,
                             out->limit);
    }
    if (rc != VARVE_OK) {
        release_entries(out);
        return rc;
    }
    if (out->count > 1) {
        qsort(out->items, out->count, sizeof(*out->items), compare_entries);
    }
    return VARVE_OK;
}

/* What changes when the file is written to, replaced or resized. */
static enum varve_err
stamp_file(struct folder *f, const char *path, uint64_t stamp[4], struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc = fs_stat(f->fs, path, &st, err);

    if (rc == VARVE_OK) {
        stamp[0] = st.size;
        stamp[1] = (uint64_t)st.mtime_us;
        stamp[2] = st.inode ^ (st.device << 40);
        stamp[3] = 0;
    }
    return rc;
}

static bool
image_has_parent(struct folder *f, const char *path)
{
    bool has = false;
    size_t i;

    mutex_lock(&f->lock);
    for (i = 0; i < f->seen_count; i++) {
        if (strcmp(f->seen[i].path, path) == 0) {
            has = f->seen[i].has_parent;
        }
    }
    mutex_unlock(&f->lock);
    return has;
}

enum varve_err
folder_stamp_chain(struct folder *f, const char *path, uint64_t stamp[4], struct varve_error *err)
{
    struct folder_entries images = {0};
    struct chunk_id hash;
    char *dir = NULL;
    size_t i;
    enum varve_err rc;

    rc = stamp_file(f, path, stamp, err);
    if (rc != VARVE_OK || !image_has_parent(f, path)) {
        return rc;
    }
    rc = path_dirname(&dir, path, err);
    if (rc == VARVE_OK) {
        rc = scan(f, dir, true, &images, err);
    }
    memset(&hash, 0, sizeof(hash));
    for (i = 0; rc == VARVE_OK && i < images.count; i++) {
        struct {
            struct chunk_id before;
            uint64_t stamp[4];
        } mix = {.before = hash};
        char *other = NULL;

        rc = path_join(&other, dir, images.items[i].name, err);
        if (rc == VARVE_OK) {
            rc = stamp_file(f, other, mix.stamp, err);
        }
        chunk_id_of(&hash, &mix, sizeof(mix));
        free(other);
    }
    stamp[3] = get_le64(hash.bytes);
    release_entries(&images);
    free(dir);
    return rc;
}

/* The hash of what, the seed and the relative path. */
static void
make_id(const struct folder *f, const char *what, const char *relative, struct guid *out)
{
    uint8_t text[FOLDER_SEED_MAX + 2 * 1024];
    struct chunk_id hash;
    size_t at = 0;
    size_t len;

    memcpy(text, f->seed, f->seed_len);
    at += f->seed_len;
    len = strlen(what) + 1;
    memcpy(text + at, what, len);
    at += len;
    /* A path that is longer than the room is named by the hash of itself. */
    len = strlen(relative);
    if (len > sizeof(text) - at) {
        chunk_id_of(&hash, relative, len);
        memcpy(text + at, hash.bytes, sizeof(hash.bytes));
        at += sizeof(hash.bytes);
    } else {
        memcpy(text + at, relative, len);
        at += len;
    }
    chunk_id_of(&hash, text, at);
    guid_from_random(out, hash.bytes);
}

/* ---- headers of the images, read once ---- */

static void
read_header(struct folder *f, struct folder_seen *s)
{
    struct image *image = NULL;
    struct image_info info;
    struct varve_error err;

    s->problem[0] = '\0';
    s->has_parent = false;
    s->code = image_open(&image, f->fs, s->path, IMAGE_ALLOW_RAW, &err);
    if (s->code != VARVE_OK) {
        (void)snprintf(s->problem, sizeof(s->problem), "%s", err.msg);
        return;
    }
    image_get_info(image, &info);
    image_close(image);
    s->size = info.virtual_size;
    s->logical_sector = info.logical_sector;
    s->has_parent = info.chain_length > 1;
    (void)snprintf(s->format, sizeof(s->format), "%s",
                   info.format == IMAGE_VHDX  ? "vhdx"
                   : info.format == IMAGE_VHD ? "vhd"
                                              : "raw");
}

/* The lock is held. */
static struct folder_seen *
see_image(struct folder *f, const char *path, const uint64_t stamp[4])
{
    struct folder_seen *s = NULL;
    size_t i;

    for (i = 0; i < f->seen_count && s == NULL; i++) {
        if (strcmp(f->seen[i].path, path) == 0) {
            s = &f->seen[i];
        }
    }
    if (s == NULL) {
        struct folder_seen *more = realloc(f->seen, (f->seen_count + 1) * sizeof(*more));

        if (more == NULL) {
            return NULL;
        }
        f->seen = more;
        s = &more[f->seen_count];
        memset(s, 0, sizeof(*s));
        s->path = folder_copy_string(path);
        if (s->path == NULL) {
            return NULL;
        }
        f->seen_count++;
        read_header(f, s);
    } else if (memcmp(s->stamp, stamp, sizeof(s->stamp)) != 0 || s->code != VARVE_OK) {
        read_header(f, s);
    }
    memcpy(s->stamp, stamp, sizeof(s->stamp));
    s->used = true;
    return s;
}

static void
forget_unused(struct folder *f)
{
    size_t i = 0;

    while (i < f->seen_count) {
        if (f->seen[i].used) {
            f->seen[i++].used = false;
        } else {
            free(f->seen[i].path);
            f->seen[i] = f->seen[--f->seen_count];
        }
    }
}

/* ---- vms ---- */

static enum varve_err
list_disk(struct folder *f, struct capture_disk *out, const char *name, const char *relative,
          struct varve_error *err)
{
    const struct folder_seen *s;
    uint64_t stamp[4] = {0};
    struct varve_error why;
    enum varve_err rc;

    make_id(f, "disk", relative, &out->id);
    out->name = folder_copy_string(name);
    rc = path_join(&out->path, f->path, relative, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (out->name == NULL) {
        return varve_error_nomem(err);
    }
    out->problem_code = stamp_file(f, out->path, stamp, &why);
    if (out->problem_code != VARVE_OK) {
        out->problem = folder_copy_string(why.msg);
        return out->problem != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    s = see_image(f, out->path, stamp);
    if (s == NULL) {
        return varve_error_nomem(err);
    }
    out->size = s->size;
    out->logical_sector = s->logical_sector;
    memcpy(out->format, s->format, sizeof(out->format));
    if (s->code != VARVE_OK) {
        out->problem_code = s->code;
        out->problem = folder_copy_string(s->problem);
        return out->problem != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    return VARVE_OK;
}

static enum varve_err
list_vm(struct folder *f, struct capture_vm *out, const struct folder_entry *entry,
        struct varve_error *err)
{
    struct folder_entries images = {0};
    char *path = NULL;
    size_t i;
    enum varve_err rc = VARVE_OK;

    make_id(f, "vm", entry->name, &out->id);
    out->name = folder_copy_string(entry->name);
    out->reason = folder_copy_string("disk images at rest: nothing is frozen, changes are found by "
                                     "reading and hashing");
    memcpy(out->state, "off", 4);
    if (out->name == NULL || out->reason == NULL) {
        return varve_error_nomem(err);
    }
    if (!entry->is_dir) {
        out->disks = calloc(1, sizeof(*out->disks));
        if (out->disks == NULL) {
            return varve_error_nomem(err);
        }
        out->disk_count = 1;
        return list_disk(f, &out->disks[0], entry->name, entry->name, err);
    }
    rc = path_join(&path, f->path, entry->name, err);
    if (rc == VARVE_OK) {
        rc = scan(f, path, true, &images, err);
    }
    if (rc == VARVE_OK) {
        out->disks = calloc(images.count + 1, sizeof(*out->disks));
        if (out->disks == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < images.count; i++) {
        char *relative = NULL;

        out->disk_count = i + 1;
        rc = path_join(&relative, entry->name, images.items[i].name, err);
        if (rc == VARVE_OK) {
            rc = list_disk(f, &out->disks[i], images.items[i].name, relative, err);
        }
        free(relative);
    }
    release_entries(&images);
    free(path);
    return rc;
}

enum varve_err
folder_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    struct folder *f = (struct folder *)c;
    struct folder_entries entries = {0};
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc;

    memset(&inv, 0, sizeof(inv));
    rc = scan(f, f->path, false, &entries, err);
    if (rc == VARVE_OK) {
        inv.vms = calloc(entries.count + 1, sizeof(*inv.vms));
        if (inv.vms == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    mutex_lock(&f->lock);
    for (i = 0; rc == VARVE_OK && i < entries.count; i++) {
        inv.count++;
        rc = list_vm(f, &inv.vms[inv.count - 1], &entries.items[i], err);
        if (rc == VARVE_OK && inv.vms[inv.count - 1].disk_count == 0) {
            struct capture_inventory none = {.vms = malloc(sizeof(*inv.vms)), .count = 1};

            /* A folder without images is no vm. */
            if (none.vms == NULL) {
                rc = varve_error_nomem(err);
            } else {
                none.vms[0] = inv.vms[--inv.count];
                memset(&inv.vms[inv.count], 0, sizeof(*inv.vms));
                capture_inventory_release(&none);
            }
        }
    }
    if (rc == VARVE_OK) {
        forget_unused(f);
    }
    mutex_unlock(&f->lock);
    release_entries(&entries);
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return varve_error_prefix(err, "listing the images");
    }
    (void)snprintf(inv.provider, sizeof(inv.provider), "folder of disk images");
    *out = inv;
    return VARVE_OK;
}
