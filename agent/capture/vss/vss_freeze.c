/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/vss/vss_internal.h"
#include "os/path.h"
#include "vss/vss_code.h"

/* Whole backups that a writer made fail for a reason that passes. */
#define TRIES 3u

/* ---- how the writer did ---- */

enum varve_err
vss_check_writer(struct vss *v, struct vss_moment *m, struct cancel *cancel, const char *step,
                 struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = v->call_ms, .cancel = cancel};
    struct vss_statuses all = {0};
    size_t i;
    enum varve_err rc = m->session->ops->status(m->session, &wait, &all, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the Hyper-V VSS writer says nothing %s", step);
    for (i = 0; i < all.count; i++) {
        const struct vss_status *s = &all.items[i];

        if (!guid_equal(&s->instance, &m->instance)) {
            continue;
        }
        rc = VARVE_OK;
        if (s->failure != 0 || (s->state >= VSS_FAILED_FIRST && s->state <= VSS_FAILED_LAST)) {
            rc = vss_error(err, s->failure != 0 ? s->failure : VSS_E_WRITERERROR_NONRETRYABLE,
                           "the Hyper-V VSS writer %s, it %s", step, vss_state_name(s->state));
        }
        break;
    }
    vss_statuses_release(&all);
    return rc;
}

/* ---- the component of the vm ---- */

static enum varve_err
take_component(struct vss_moment *m, const struct vss_writer *w, struct varve_error *err)
{
    struct vss_metadata metadata;
    char id[GUID_TEXT_SIZE];
    size_t i;
    enum varve_err rc = vss_metadata_read(&metadata, w->document, strlen(w->document), err);

    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "the Hyper-V VSS writer");
    }
    guid_format_upper(&m->vm, id);
    if (metadata.count != w->components) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "the Hyper-V VSS writer has %zu components, but its document names "
                             "%zu",
                             w->components, metadata.count);
    }
    for (i = 0; rc == VARVE_OK && i < metadata.count; i++) {
        struct guid name;

        if (guid_parse(&name, metadata.components[i].name) && guid_equal(&name, &m->vm)) {
            m->component = metadata.components[i];
            memset(&metadata.components[i], 0, sizeof(metadata.components[i]));
            break;
        }
    }
    if (rc == VARVE_OK && m->component.name == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "the Hyper-V VSS writer does not offer the vm %s", id);
    }
    vss_metadata_release(&metadata);
    return rc;
}

enum varve_err
vss_no_writer(struct varve_error *err)
{
    return varve_error_set(
        err, VARVE_ERR_UNSUPPORTED,
        "this host has no Hyper-V VSS writer: it is there on Windows Server while "
        "the service 'vmms' runs ('vssadmin list writers')");
}

static enum varve_err
gather(struct vss *v, struct vss_moment *m, struct cancel *cancel, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = v->call_ms, .cancel = cancel};
    struct vss_writers writers = {0};
    size_t i;
    enum varve_err rc = m->session->ops->enable_writer(m->session, &vss_hyperv_writer, err);

    if (rc == VARVE_OK) {
        rc = m->session->ops->gather(m->session, &wait, &writers, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = vss_no_writer(err);
    for (i = 0; i < writers.count; i++) {
        struct vss_writer *w = &writers.items[i];

        if (guid_equal(&w->writer, &vss_hyperv_writer)) {
            m->writer = w->writer;
            m->instance = w->instance;
            rc = take_component(m, w, err);
            m->metadata = w->document;
            w->document = NULL;
            break;
        }
    }
    vss_writers_release(&writers);
    return rc;
}

/* ---- consistency ---- */

static bool
contains(const char *text, const char *part)
{
    size_t len = strlen(part);

    for (; strlen(text) >= len; text++) {
        char piece[32];

        (void)snprintf(piece, sizeof(piece), "%.*s", (int)len, text);
        if (path_has_suffix(piece, part)) { /* without case */
            return true;
        }
    }
    return false;
}

/*
 * The writer says in the component's caption how it will freeze the vm: "Online\web", "Offline\web"; older hosts:
 * "Backup Using Child Partition Snapshot\web", "Backup Using Saved State\web".  Only what is before the first
 * backslash is its own, and it may be in the host's language: what is not known claims least.
 */
static enum varve_err
look_at_caption(const struct vss *v, const struct vss_moment *m, struct capture_frozen *f,
                bool running, struct notes *notes, struct varve_error *err)
{
    const char *caption = m->component.caption;
    char how[64];

    (void)snprintf(how, sizeof(how), "%.*s", (int)strcspn(caption, "\\"), caption);
    f->consistency = running ? CAPTURE_CRASH : CAPTURE_OFFLINE;
    if (!running) {
        return VARVE_OK;
    }
    if (contains(how, "online") || contains(how, "child partition")) {
        f->consistency = CAPTURE_APPLICATION;
        return VARVE_OK;
    }
    if (!contains(how, "offline") && !contains(how, "saved state")) {
        notes_add(
            notes,
            "the point is called crash consistent: the VSS writer calls the vm's backup '%s', "
            "which is not known",
            how);
        return VARVE_OK;
    }
    if (v->no_saved_state) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the VSS writer would save the running vm for a moment ('%s'): its "
                               "guest cannot be asked (integration service 'backup', disks, file "
                               "systems)",
                               how);
    }
    notes_add(notes,
              "the vm was paused for a moment, and the point is crash consistent: its guest cannot "
              "be asked ('%s': integration service 'backup', disks, file systems)",
              how);
    return VARVE_OK;
}

/* ---- volumes ---- */

static enum varve_err
note_volume(struct vss *v, struct vss_moment *m, const char *path, struct varve_error *err)
{
    char *root = NULL;
    size_t i;
    enum varve_err rc = v->port->ops->volume_root(v->port, path, &root, err);

    for (i = 0; rc == VARVE_OK && root != NULL && i < m->volume_count; i++) {
        if (strcmp(m->volumes[i].root, root) == 0) {
            free(root);
            root = NULL;
        }
    }
    if (rc == VARVE_OK && root != NULL && m->volume_count == VSS_VOLUMES_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "the vm is on more than %u volumes",
                             VSS_VOLUMES_MAX);
    }
    if (rc == VARVE_OK && root != NULL) {
        m->volumes[m->volume_count++].root = root;
        root = NULL;
    }
    free(root);
    return rc;
}

static enum varve_err
add_volumes(struct vss *v, struct vss_moment *m, struct varve_error *err)
{
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < m->component.file_count; i++) {
        rc = note_volume(v, m, m->component.files[i].path, err);
    }
    if (rc == VARVE_OK && m->volume_count == 0) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the VSS writer names no file of the vm");
    }
    for (i = 0; rc == VARVE_OK && i < m->volume_count; i++) {
        rc = m->session->ops->add_volume(m->session, m->volumes[i].root, &m->volumes[i].snapshot,
                                         err);
        if (rc != VARVE_OK) {
            rc = varve_error_prefix(err, "volume '%s'", m->volumes[i].root);
        }
    }
    return rc;
}

/* There is one set on the host at a time: others wait. */
static enum varve_err
start_set(struct vss *v, struct vss_moment *m, struct cancel *cancel, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)v->busy_ms * 1000000u;

    for (;;) {
        enum varve_err rc = m->session->ops->start_set(m->session, &m->set, err);

        if (rc != VARVE_ERR_BUSY || time_mono_ns() > deadline) {
            return rc;
        }
        if (cancel_wait(cancel, v->pause_ms)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
    }
}

/* ---- one backup, up to the shadow copy ---- */

static enum varve_err
freeze(struct vss *v, struct vss_moment *m, struct cancel *cancel, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = v->call_ms, .cancel = cancel};
    size_t i;
    enum varve_err rc;

    m->under_way = true;
    rc = m->session->ops->prepare(m->session, &wait, err);
    if (rc == VARVE_OK) {
        rc = vss_check_writer(v, m, cancel, "before the freeze", err);
    }
    if (rc == VARVE_OK) {
        rc = m->session->ops->freeze(m->session, &wait, err);
    }
    if (rc == VARVE_OK) {
        rc = vss_check_writer(v, m, cancel, "after the freeze", err);
    }
    for (i = 0; rc == VARVE_OK && i < m->volume_count; i++) {
        rc =
            m->session->ops->device(m->session, &m->volumes[i].snapshot, m->volumes[i].device, err);
    }
    return rc;
}

/* The backup components document, without which the writer itself restores nothing. */
static enum varve_err
take_document(struct vss_moment *m, struct varve_error *err)
{
    bool has = false;
    enum varve_err rc = m->session->ops->document(m->session, &m->document, err);

    if (rc == VARVE_OK) {
        rc = vss_document_has(m->document, strlen(m->document), &m->writer, m->component.name, &has,
                              err);
    }
    if (rc == VARVE_OK && !has) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "the document of the backup does not name the vm");
    }
    return rc;
}

static enum varve_err
freeze_once(struct vss *v, const struct guid *vm, const struct guid *run, bool running,
            struct cancel *cancel, struct vss_moment **out, struct capture_frozen *f,
            struct notes *notes, struct varve_error *err)
{
    struct vss_moment *m = calloc(1, sizeof(*m));
    struct vss_component_id id = {0};
    enum varve_err rc;

    if (m == NULL) {
        return varve_error_nomem(err);
    }
    m->vm = *vm;
    m->run = *run;
    rc = v->port->ops->open(v->port, &m->session, err);
    if (rc == VARVE_OK) {
        /* Copy: the logs inside the guest are left to whoever backs them up. */
        rc = m->session->ops->begin(m->session, VSS_BACKUP_COPY, err);
    }
    if (rc == VARVE_OK) {
        rc = gather(v, m, cancel, err);
    }
    if (rc == VARVE_OK) {
        rc = look_at_caption(v, m, f, running, notes, err);
    }
    if (rc == VARVE_OK) {
        id.writer = m->writer;
        id.instance = m->instance;
        id.type = m->component.type;
        id.path = m->component.path;
        id.name = m->component.name;
        rc = m->session->ops->add_component(m->session, &id, err);
    }
    if (rc == VARVE_OK) {
        rc = start_set(v, m, cancel, err);
    }
    if (rc == VARVE_OK) {
        rc = add_volumes(v, m, err);
    }
    if (rc == VARVE_OK) {
        rc = freeze(v, m, cancel, err);
    }
    if (rc == VARVE_OK) {
        rc = take_document(m, err);
    }
    if (rc != VARVE_OK) {
        vss_end_moment(m);
        return rc;
    }
    *out = m;
    return VARVE_OK;
}

/* Asked when the shadow copy is there: the disks that the vm has. */
static enum varve_err
fill_frozen(struct vss *v, const struct vss_moment *m, const struct wmi_object *machine,
            struct capture_frozen *f, struct notes *notes, struct varve_error *err)
{
    struct wmi_object settings = {0};
    struct wmi_objects disks = {0};
    enum varve_err rc = refpoint_settings(&v->host, machine->path, &settings, err);

    if (rc == VARVE_OK) {
        rc = refpoint_disks(&v->host, settings.path, &disks, err);
    }
    if (rc == VARVE_OK) {
        f->vm = m->vm;
        f->generation =
            strstr(wmi_text_or(&settings, "VirtualSystemSubType", ""), ":2") != NULL ? 2 : 1;
        vss_id(&m->run, f->checkpoint);
        f->frozen_at_us = time_now_us();
        f->keeps = true;
        (void)snprintf(f->reason, sizeof(f->reason),
                       "shadow copy by the Hyper-V VSS writer ('%.*s'), changes found by hashing",
                       (int)strcspn(m->component.caption, "\\"), m->component.caption);
        rc = vss_find_disks(v, m, &disks, f, notes, err);
    }
    wmi_object_release(&settings);
    wmi_objects_release(&disks);
    return rc;
}

enum varve_err
vss_begin(struct capture *c, const struct guid *vm, const struct guid *run, struct cancel *cancel,
          struct capture_frozen *out, struct notes *notes, struct varve_error *err)
{
    struct vss *v = (struct vss *)c;
    struct vss_moment *m = NULL;
    struct wmi_object machine = {0};
    struct capture_frozen f;
    unsigned tries;
    enum varve_err rc = refpoint_vm(&v->host, vm, &machine, err);

    memset(&f, 0, sizeof(f));
    if (rc != VARVE_OK) {
        return rc;
    }
    for (tries = 1;; tries++) {
        rc = freeze_once(v, vm, run, wmi_integer_or(&machine, "EnabledState", 0) == 2, cancel, &m,
                         &f, notes, err);
        if (rc == VARVE_OK || tries == TRIES || err->source != VARVE_SRC_HRESULT ||
            !vss_is_retryable((uint32_t)err->native)) {
            break;
        }
        log_warn("capture", "tried again: %s", err->msg);
        if (cancel_wait(cancel, v->pause_ms)) {
            rc = varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
            break;
        }
    }
    if (rc == VARVE_OK) {
        rc = fill_frozen(v, m, &machine, &f, notes, err);
        if (rc != VARVE_OK) {
            vss_end_moment(m);
        }
    }
    wmi_object_release(&machine);
    if (rc != VARVE_OK) {
        capture_frozen_release(&f);
        return rc;
    }
    vss_put_moment(v, m);
    *out = f;
    return VARVE_OK;
}
