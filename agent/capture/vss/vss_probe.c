/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/vss/vss_internal.h"

static void
note(struct vss_finding *f, enum varve_err code, const char *text)
{
    f->code = code;
    (void)snprintf(f->text, sizeof(f->text), "%s", text);
}

static enum varve_err
ask_writers(struct vss_session *s, struct vss_finding *f, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = VSS_CALL_MS};
    struct vss_writers writers = {0};
    size_t i;
    enum varve_err rc = s->ops->begin(s, VSS_BACKUP_COPY, err);

    if (rc == VARVE_OK) {
        rc = s->ops->enable_writer(s, &vss_hyperv_writer, err);
    }
    if (rc == VARVE_OK) {
        rc = s->ops->gather(s, &wait, &writers, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = vss_no_writer(err);
    for (i = 0; i < writers.count; i++) {
        const struct vss_writer *w = &writers.items[i];
        struct vss_metadata metadata;

        if (!guid_equal(&w->writer, &vss_hyperv_writer)) {
            continue;
        }
        rc = vss_metadata_read(&metadata, w->document, strlen(w->document), err);
        if (rc == VARVE_OK) {
            f->code = VARVE_OK;
            (void)snprintf(f->text, sizeof(f->text),
                           "the VSS writer '%s' answers and has %zu components, its document names "
                           "%zu%s",
                           w->name, w->components, metadata.count,
                           w->components == metadata.count ? "" : ": backups will be refused");
            f->code = w->components == metadata.count ? VARVE_OK : VARVE_ERR_PROTOCOL;
            vss_metadata_release(&metadata);
        }
    }
    vss_writers_release(&writers);
    return rc;
}

void
vss_probe(struct vss_finding *out, struct vss_port *port)
{
    struct vss_session *s = NULL;
    struct varve_error err;
    enum varve_err rc = port->ops->open(port, &s, &err);

    if (rc == VARVE_OK) {
        rc = ask_writers(s, out, &err);
    }
    vss_session_release(s);
    if (rc != VARVE_OK) {
        note(out, rc, err.msg);
    }
}
