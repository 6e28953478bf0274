/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/vss/vss_internal.h"
#include "os/path.h"
#include "vhdx/image.h"

/*
 * Which files of the shadow copy are the vm's disks.
 *
 * The file that the vm writes to need not be the end of its chain there: from Server 2012 R2 on the writer leaves a
 * child beside it, NAME-AutoRecovery.avhdx, that brings the disk to what the guest had put in order; and a checkpoint
 * may have been made since WMI was asked.  So each image of the component, and each AutoRecovery file beside one,
 * is opened, and of those that lead to the vm's file the one that is no other's parent is taken.  More than one
 * is a question that is not guessed at.
 */
#define IMAGES_MAX 4096u

struct image_file {
    char *path;        /* in the shadow copy */
    uint64_t identity; /* of the file */
    uint64_t device;
    struct guid id; /* of the disk: of the first file of its chain */
    uint64_t size;
    uint64_t *chain; /* identities of its ancestors and itself */
    unsigned chain_length;
    bool has_child;
};

struct images {
    struct image_file *items;
    size_t count;
};

bool
vss_is_pattern(const char *spec)
{
    return spec[0] == '\0' || strpbrk(spec, "*?") != NULL;
}

static bool
is_below(const char *path, const char *root)
{
    char *head;
    bool below;

    if (strlen(path) < strlen(root)) {
        return false;
    }
    head = refpoint_copy(path);
    if (head == NULL) {
        return false;
    }
    head[strlen(root)] = '\0';
    below = path_has_suffix(head, root); /* as long as it: without case */
    free(head);
    return below;
}

enum varve_err
vss_shadow_path(const struct vss_moment *m, const char *path, char **out, struct varve_error *err)
{
    const struct vss_volume *best = NULL;
    size_t i;

    for (i = 0; i < m->volume_count; i++) {
        if (is_below(path, m->volumes[i].root) &&
            (best == NULL || strlen(m->volumes[i].root) > strlen(best->root))) {
            best = &m->volumes[i];
        }
    }
    if (best == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                               "'%s' is on none of the volumes that the VSS writer named", path);
    }
    *out = capture_join(best->device, path + strlen(best->root));
    return *out != NULL ? VARVE_OK : varve_error_nomem(err);
}

/* ---- the images ---- */

static void
images_release(struct images *l)
{
    size_t i;

    for (i = 0; i < l->count; i++) {
        free(l->items[i].path);
        free(l->items[i].chain);
    }
    free(l->items);
}

static bool
has_path(const struct images *l, const char *path)
{
    size_t i;

    for (i = 0; i < l->count; i++) {
        if (strlen(l->items[i].path) == strlen(path) && path_has_suffix(l->items[i].path, path)) {
            return true;
        }
    }
    return false;
}

/* Takes path. */
static enum varve_err
add_image(struct images *l, char *path, struct varve_error *err)
{
    struct image_file *items;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    if (has_path(l, path)) {
        free(path);
        return VARVE_OK;
    }
    items = l->count < IMAGES_MAX ? realloc(l->items, (l->count + 1) * sizeof(*items)) : NULL;
    if (items == NULL) {
        free(path);
        return l->count == IMAGES_MAX
                   ? varve_error_set(err, VARVE_ERR_LIMIT, "the vm has more than %u disk files",
                                     IMAGES_MAX)
                   : varve_error_nomem(err);
    }
    l->items = items;
    memset(&items[l->count], 0, sizeof(*items));
    items[l->count++].path = path;
    return VARVE_OK;
}

struct folder_scan {
    struct images *images;
    const char *folder; /* in the shadow copy */
    const char *part;   /* of the name; NULL: any image */
    enum varve_err rc;
    struct varve_error *err;
};

static bool
has_part(const char *name, const char *part)
{
    for (; *name != '\0'; name++) {
        size_t i = 0;

        while (part[i] != '\0' && ((name[i] ^ part[i]) & ~0x20) == 0) {
            i++;
        }
        if (part[i] == '\0') {
            return true;
        }
    }
    return false;
}

static bool
scan_name(void *arg, const char *name, bool is_dir)
{
    struct folder_scan *s = arg;

    if (!is_dir && capture_is_image(name) && (s->part == NULL || has_part(name, s->part))) {
        s->rc = add_image(s->images, capture_join(s->folder, name), s->err);
    }
    return s->rc == VARVE_OK;
}

static enum varve_err
scan_folder(struct vss *v, struct images *l, const char *folder, const char *part,
            struct varve_error *err)
{
    struct folder_scan s = {
        .images = l, .folder = folder, .part = part, .rc = VARVE_OK, .err = err};
    enum varve_err rc = fs_list(v->host_fs, folder, scan_name, &s, err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        return VARVE_OK; /* a writer may name a folder that is not there */
    }
    return rc == VARVE_OK ? s.rc : rc;
}

static enum varve_err
collect_images(struct vss *v, const struct vss_moment *m, struct images *l, struct varve_error *err)
{
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < m->component.file_count; i++) {
        const struct vss_file *f = &m->component.files[i];
        bool all = vss_is_pattern(f->spec);
        char *folder = NULL;

        if (!all && !capture_is_image(f->spec)) {
            continue;
        }
        rc = vss_shadow_path(m, f->path, &folder, err);
        if (rc == VARVE_OK && !all) {
            rc = add_image(l, capture_join(folder, f->spec), err);
        }
        if (rc == VARVE_OK) {
            rc = scan_folder(v, l, folder, all ? NULL : "autorecovery", err);
        }
        free(folder);
    }
    return rc;
}

static bool
in_shadow(const struct vss_moment *m, const char *path)
{
    size_t i;

    for (i = 0; i < m->volume_count; i++) {
        const char *device = m->volumes[i].device;

        /* ...ShadowCopy1 is not the beginning of ...ShadowCopy12\x. */
        if (is_below(path, device) && strchr("/\\", path[strlen(device)]) != NULL &&
            path[strlen(device)] != '\0') {
            return true;
        }
    }
    return false;
}

static enum varve_err
identify(struct vss *v, const char *path, uint64_t *identity, uint64_t *device,
         struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc = fs_stat(v->host_fs, path, &st, err);

    if (rc == VARVE_OK) {
        *identity = st.inode;
        *device = st.device;
    }
    return rc;
}

static enum varve_err
read_chain(struct vss *v, const struct vss_moment *m, struct image_file *f, struct image *image,
           struct varve_error *err)
{
    struct image_info info;
    unsigned i;
    enum varve_err rc = VARVE_OK;

    image_get_info(image, &info);
    f->size = info.virtual_size;
    f->chain_length = info.chain_length;
    f->chain = calloc(info.chain_length, sizeof(*f->chain));
    if (f->chain == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < info.chain_length; i++) {
        struct image_info one;
        uint64_t device = 0;
        const char *path = image_get_file(image, i, &one);

        /* A live file goes on changing: it would be neither this moment nor any other. */
        if (!in_shadow(m, path)) {
            return varve_error_set(err, VARVE_ERR_IO,
                                   "'%s' has a parent that is not in the shadow copy: '%s'",
                                   f->path, path);
        }
        rc = identify(v, path, &f->chain[i], &device, err);
        f->id = one.disk_id;
        if (i == 0) {
            f->identity = f->chain[0];
            f->device = device;
        }
    }
    return rc;
}

static enum varve_err
open_images(struct vss *v, const struct vss_moment *m, struct images *l, struct notes *notes,
            struct varve_error *err)
{
    size_t i;
    size_t k;
    unsigned n;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < l->count; i++) {
        struct image *image = NULL;
        enum varve_err opened = image_open(&image, v->host_fs, l->items[i].path, 0, err);

        if (opened == VARVE_OK) {
            rc = read_chain(v, m, &l->items[i], image, err);
        } else {
            /* Of a checkpoint that is not in use, perhaps; the vm's own disks are asked for by name. */
            notes_add(notes, "'%s' cannot be read: %s", path_basename(l->items[i].path), err->msg);
        }
        image_close(image);
    }
    for (i = 0; rc == VARVE_OK && i < l->count; i++) {
        for (n = 1; l->items[i].chain != NULL && n < l->items[i].chain_length; n++) {
            for (k = 0; k < l->count; k++) {
                if (l->items[k].chain != NULL && l->items[k].identity == l->items[i].chain[n] &&
                    l->items[k].device == l->items[i].device) {
                    l->items[k].has_child = true;
                }
            }
        }
    }
    return rc;
}

/* The end of the chain that the vm's file is part of. */
static enum varve_err
find_leaf(struct vss *v, const struct images *l, const char *path, const struct image_file **out,
          struct varve_error *err)
{
    uint64_t identity = 0;
    uint64_t device = 0;
    size_t i;
    unsigned n;
    enum varve_err rc = identify(v, path, &identity, &device, err);

    *out = NULL;
    for (i = 0; rc == VARVE_OK && i < l->count; i++) {
        const struct image_file *f = &l->items[i];
        bool leads = false;

        for (n = 0; n < f->chain_length; n++) {
            leads = leads || (f->chain[n] == identity && f->device == device);
        }
        if (!leads || f->has_child) {
            continue;
        }
        if (*out != NULL) {
            return varve_error_set(err, VARVE_ERR_BUSY,
                                   "'%s' has two children in the shadow copy, '%s' and '%s': run "
                                   "again when nobody works on the vm's checkpoints",
                                   path, path_basename((*out)->path), path_basename(f->path));
        }
        *out = f;
    }
    if (rc == VARVE_OK && *out == NULL) {
        rc = varve_error_set(err, VARVE_ERR_IO, "'%s' cannot be read in the shadow copy", path);
    }
    return rc;
}

static enum varve_err
freeze_disk(struct vss *v, const struct vss_moment *m, const struct images *l, const char *path,
            struct capture_frozen_disk *d, struct varve_error *err)
{
    const struct image_file *leaf = NULL;
    char *there = NULL;
    enum varve_err rc = vss_shadow_path(m, path, &there, err);

    if (rc == VARVE_OK) {
        rc = find_leaf(v, l, there, &leaf, err);
    }
    if (rc == VARVE_OK) {
        d->id = leaf->id;
        d->size = leaf->size;
        d->tracked = true; /* by the names of its chunks */
        d->path = refpoint_copy(leaf->path);
        d->name = refpoint_disk_name(path);
        rc = d->path != NULL && d->name != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    free(there);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "disk '%s'", path);
}

enum varve_err
vss_find_disks(struct vss *v, const struct vss_moment *m, const struct wmi_objects *disks,
               struct capture_frozen *f, struct notes *notes, struct varve_error *err)
{
    struct images l = {0};
    size_t i;
    enum varve_err rc = collect_images(v, m, &l, err);

    if (rc == VARVE_OK) {
        rc = open_images(v, m, &l, notes, err);
    }
    if (rc == VARVE_OK) {
        f->disks = calloc(disks->count + 1, sizeof(*f->disks));
        rc = f->disks != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < disks->count; i++) {
        f->disk_count = i + 1;
        rc = freeze_disk(v, m, &l, wmi_text_at(&disks->items[i], "HostResource", 0), &f->disks[i],
                         err);
    }
    images_release(&l);
    return rc;
}
