/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/vss/vss_internal.h"

/* ---- names as reference points ---- */

struct marking {
    struct capture_marks marks;
    enum varve_err rc;
    struct varve_error *err;
};

static void
add_mark(void *arg, const struct guid *run)
{
    struct marking *m = arg;
    char id[CAPTURE_ID_MAX];

    vss_id(run, id);
    if (m->rc == VARVE_OK && !capture_marks_has(&m->marks, id)) {
        m->rc = capture_marks_add(&m->marks, id, m->err);
    }
}

enum varve_err
vss_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
          struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct marking m = {.rc = VARVE_OK, .err = err};
    struct wmi_object machine = {0};
    enum varve_err rc = refpoint_vm(&v->host, vm, &machine, err); /* is there such a vm? */

    wmi_object_release(&machine);
    if (rc == VARVE_OK) {
        rc = names_list(v->fs, v->state_dir, vm, add_mark, &m, err);
    }
    rc = rc == VARVE_OK ? m.rc : rc;
    if (rc != VARVE_OK) {
        capture_marks_release(&m.marks);
        return rc;
    }
    *out = m.marks;
    return VARVE_OK;
}

enum varve_err
vss_names(struct capture *c, const struct capture_frozen *frozen, size_t disk, uint32_t chunk_size,
          const char *since, struct names **known, struct names **fresh, struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    const struct names_shape shape = {.size = frozen->disks[disk].size, .chunk_size = chunk_size};
    struct names_key key = {.vm = frozen->vm, .disk = frozen->disks[disk].id};
    struct varve_error why = {0};
    enum varve_err rc = VARVE_OK;

    *known = NULL;
    if (since[0] != '\0') {
        rc = vss_parse_id(&key.run, since)
                 ? names_open(known, v->fs, v->state_dir, &key, &shape, err)
                 : VARVE_ERR_NOT_FOUND;
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = varve_error_set(err, VARVE_ERR_STALE,
                                 "what the chunks were called in the last point is not known here");
        }
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (fresh != NULL) {
        *fresh = NULL;
        if (!vss_parse_id(&key.run, frozen->checkpoint) ||
            names_begin(fresh, v->fs, v->state_dir, &key, &shape, &why) != VARVE_OK) {
            *fresh = NULL;
            log_warn("capture", "the next run cannot be told what this one's chunks are called: %s",
                     why.msg);
        }
    }
    return VARVE_OK;
}

/* ---- the end of a backup ---- */

/* The writer learns that it went well; what was frozen goes. */
static enum varve_err
complete(struct vss *v, struct vss_moment *m, struct cancel *cancel, struct varve_error *err)
{
    const struct vss_component_id id = {.writer = m->writer,
                                        .instance = m->instance,
                                        .type = m->component.type,
                                        .path = m->component.path,
                                        .name = m->component.name};
    const struct vss_wait wait = {.timeout_ms = v->call_ms, .cancel = cancel};
    enum varve_err rc = m->session->ops->set_succeeded(m->session, &id, true, err);

    if (rc == VARVE_OK) {
        rc = m->session->ops->complete(m->session, &wait, err);
        m->under_way = m->under_way && rc != VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = vss_check_writer(v, m, cancel, "at the end of the backup", err);
    }
    if (rc == VARVE_OK) {
        rc = m->session->ops->delete_set(m->session, &m->set, err);
    }
    return rc;
}

enum varve_err
vss_keep(struct capture *c, const struct capture_frozen *frozen, const struct capture_marks *before,
         struct cancel *cancel, struct capture_kept *out, struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct capture_kept kept = {0};
    struct names_key key = {.vm = frozen->vm};
    struct vss_moment *m;
    size_t i;
    enum varve_err rc;

    (void)before;
    if (!vss_parse_id(&key.run, frozen->checkpoint)) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no shadow copy '%s'", frozen->checkpoint);
    }
    m = vss_find_moment(v, &key.run);
    if (m == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the shadow copy is gone");
    }
    kept.change_ids = calloc(frozen->disk_count + 1, sizeof(*kept.change_ids));
    if (kept.change_ids == NULL) {
        return varve_error_nomem(err);
    }
    rc = complete(v, m, cancel, err);
    if (rc == VARVE_OK) {
        rc = names_keep(v->fs, v->state_dir, &key.vm, &key.run, err);
    }
    if (rc != VARVE_OK) {
        capture_kept_release(&kept);
        return rc; /* abort() ends the moment */
    }
    vss_end_moment(vss_take_moment(v, &key.run));
    vss_id(&key.run, kept.refpoint);
    kept.count = frozen->disk_count;
    for (i = 0; i < frozen->disk_count; i++) {
        key.disk = frozen->disks[i].id;
        if (names_are_kept(v->fs, v->state_dir, &key)) {
            vss_id(&key.run, kept.change_ids[i]);
        }
    }
    *out = kept;
    return VARVE_OK;
}

enum varve_err
vss_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
              const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
              struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct marking m = {.rc = VARVE_OK, .err = err};
    enum varve_err rc = names_list(v->fs, v->state_dir, vm, add_mark, &m, err);

    (void)before; /* the checkpoint's id is that of what is kept of it */
    rc = rc == VARVE_OK ? m.rc : rc;
    if (rc == VARVE_OK && !capture_marks_has(&m.marks, checkpoint)) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "nothing was kept of '%s'", checkpoint);
    }
    if (rc == VARVE_OK) {
        (void)snprintf(refpoint, CAPTURE_ID_MAX, "%s", checkpoint);
    }
    capture_marks_release(&m.marks);
    return rc;
}

enum varve_err
vss_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
         struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct guid run;

    if (vss_parse_id(&run, refpoint)) {
        return names_remove(v->fs, v->state_dir, vm, &run, err);
    }
    /* Of the time when this vm was frozen by reference points. */
    return refpoint_drop(&v->host.base, vm, refpoint, cancel, err);
}

enum varve_err
vss_abort(struct capture *c, const struct guid *vm, const char *checkpoint, struct cancel *cancel,
          struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct guid run;

    if (!vss_parse_id(&run, checkpoint)) {
        return refpoint_abort(&v->host.base, vm, checkpoint, cancel, err);
    }
    vss_end_moment(vss_take_moment(v, &run));
    return names_remove(v->fs, v->state_dir, vm, &run, err);
}
