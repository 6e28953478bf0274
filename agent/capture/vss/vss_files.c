/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/vss/vss_internal.h"
#include "os/path.h"

/*
 * What a point keeps beside the disks: the vm's configuration as the shadow copy has it (.xml up to Server 2012 R2,
 * .vmcx, .vmrs and .vmgs since), and the two documents without which the writer itself restores nothing.  Saved
 * memory and what is larger than a point takes is left out, with a word in the log.
 */
struct taking {
    struct vss *v;
    struct capture_files files;
    const char *folder; /* in the shadow copy; of a "*" */
    enum varve_err rc;
    struct varve_error *err;
};

static enum varve_err
add_file(struct taking *t, const char *folder, const char *name)
{
    char *path = capture_join(folder, name);
    enum varve_err rc = path == NULL ? varve_error_nomem(t->err)
                                     : capture_files_read(&t->files, t->v->host_fs, path, t->err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        log_warn("capture", "left out of the point: %s", t->err->msg);
        rc = VARVE_OK;
    }
    free(path);
    return rc;
}

static bool
scan_name(void *arg, const char *name, bool is_dir)
{
    struct taking *t = arg;

    /* The logs of change tracking belong to the disk files and to nothing else. */
    if (!is_dir && !capture_is_image(name) && !path_has_suffix(name, ".rct") &&
        !path_has_suffix(name, ".mrt")) {
        t->rc = add_file(t, t->folder, name);
    }
    return t->rc == VARVE_OK;
}

static enum varve_err
take_files(struct taking *t, const struct vss_moment *m)
{
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < m->component.file_count; i++) {
        const struct vss_file *f = &m->component.files[i];
        char *folder = NULL;

        if (!vss_is_pattern(f->spec) && capture_is_image(f->spec)) {
            continue;
        }
        rc = vss_shadow_path(m, f->path, &folder, t->err);
        if (rc == VARVE_OK && vss_is_pattern(f->spec)) {
            t->folder = folder;
            rc = fs_list(t->v->host_fs, folder, scan_name, t, t->err);
            rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
            rc = rc == VARVE_OK ? t->rc : rc;
        } else if (rc == VARVE_OK) {
            rc = add_file(t, folder, f->spec);
        }
        free(folder);
    }
    return rc;
}

enum varve_err
vss_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
          struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct taking t = {.v = v, .rc = VARVE_OK, .err = err};
    const struct vss_moment *m;
    struct guid run;
    enum varve_err rc;

    m = vss_parse_id(&run, frozen->checkpoint) ? vss_find_moment(v, &run) : NULL;
    if (m == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the shadow copy is gone");
    }
    rc = capture_files_add(&t.files, "vss-backup-components.xml", m->document, strlen(m->document),
                           err);
    if (rc == VARVE_OK) {
        rc = take_files(&t, m);
    }
    if (rc == VARVE_OK) { /* last: it speaks of every vm of the host, and may be long */
        rc = capture_files_add(&t.files, "vss-writer-metadata.xml", m->metadata,
                               strlen(m->metadata), err);
    }
    if (rc != VARVE_OK) {
        capture_files_release(&t.files);
        return varve_error_prefix(err, "the vm's configuration");
    }
    *out = t.files;
    return VARVE_OK;
}
