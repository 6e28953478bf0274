/* SPDX-License-Identifier: Apache-2.0 */
#include "vss/vss_xml.h"

#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vss/vss_port.h"
#include "wmi/xml_scan.h"

#define GUID_SIZE 48u /* as text, braces and all */

static enum varve_err
malformed(struct varve_error *err, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "a document of VSS: %s", what);
}

/*
 * Walks over the elements.  enter() is called for each beginning, leave() for each end, with the depth of the
 * element (1 = the root).
 */
struct walker {
    struct xml_scan scan;
    enum varve_err (*enter)(void *arg, const struct xml_token *t, unsigned depth,
                            struct varve_error *err);
    void (*leave)(void *arg, unsigned depth);
    void *arg;
};

static enum varve_err
walk(struct walker *w, struct varve_error *err)
{
    unsigned depth = 0;
    bool any = false;

    for (;;) {
        struct xml_token t;
        enum varve_err rc = xml_next(&w->scan, &t, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (t.kind == XML_END_OF_TEXT) {
            return depth == 0 && any ? VARVE_OK : malformed(err, "it does not end");
        }
        if (t.kind == XML_OPEN) {
            any = true;
            if (++depth > VSS_XML_DEPTH) {
                return varve_error_set(err, VARVE_ERR_LIMIT,
                                       "a document of VSS: more than %u levels", VSS_XML_DEPTH);
            }
            rc = w->enter(w->arg, &t, depth, err);
            if (rc != VARVE_OK) {
                return rc;
            }
        }
        if (t.kind == XML_CLOSE || t.empty) {
            if (depth == 0) {
                return malformed(err, "more ends than beginnings");
            }
            w->leave(w->arg, depth--);
        }
    }
}

static enum varve_err
text_attribute(const struct xml_token *t, const char *name, char **out, struct varve_error *err)
{
    char text[VSS_TEXT_MAX];
    size_t len;
    enum varve_err rc = xml_attribute(t, name, text, sizeof(text), err);

    if (rc != VARVE_OK) {
        return rc;
    }
    len = strlen(text) + 1;
    *out = malloc(len);
    if (*out == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(*out, text, len);
    return VARVE_OK;
}

static enum varve_err
guid_attribute(const struct xml_token *t, const char *name, struct guid *out,
               struct varve_error *err)
{
    char text[GUID_SIZE];
    enum varve_err rc = xml_attribute(t, name, text, sizeof(text), err);

    if (rc == VARVE_OK && !guid_parse(out, text)) {
        rc = malformed(err, "an id that is no GUID");
    }
    return rc;
}

/* ---- writer metadata ---- */

struct reader {
    struct vss_metadata *out;
    bool right_root;
    bool identified;
    unsigned locations; /* depth of BACKUP_LOCATIONS; 0: not inside */
    bool in_component;
    size_t files; /* of all components */
};

static enum varve_err
add_component(struct reader *r, const struct xml_token *t, struct varve_error *err)
{
    struct vss_metadata *m = r->out;
    struct vss_component *items;
    struct vss_component *c;
    enum varve_err rc;

    if (m->count == VSS_COMPONENTS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a writer with more than %u components",
                               VSS_COMPONENTS_MAX);
    }
    items = realloc(m->components, (m->count + 1) * sizeof(*items));
    if (items == NULL) {
        return varve_error_nomem(err);
    }
    m->components = items;
    c = &items[m->count++];
    memset(c, 0, sizeof(*c));
    c->type = xml_is(t, "DATABASE") ? VSS_TYPE_DATABASE : VSS_TYPE_FILEGROUP;
    rc = text_attribute(t, "logicalPath", &c->path, err);
    if (rc == VARVE_OK) {
        rc = text_attribute(t, "componentName", &c->name, err);
    }
    if (rc == VARVE_OK) {
        rc = text_attribute(t, "caption", &c->caption, err);
    }
    if (rc == VARVE_OK && c->name[0] == '\0') {
        rc = malformed(err, "a component without a name");
    }
    return rc;
}

static enum varve_err
add_file(struct reader *r, const struct xml_token *t, struct varve_error *err)
{
    struct vss_component *c = &r->out->components[r->out->count - 1];
    struct vss_file *items;
    struct vss_file *f;
    char recursive[8];
    enum varve_err rc;

    if (r->files == VSS_FILES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "components with more than %u files",
                               VSS_FILES_MAX);
    }
    items = realloc(c->files, (c->file_count + 1) * sizeof(*items));
    if (items == NULL) {
        return varve_error_nomem(err);
    }
    c->files = items;
    f = &items[c->file_count++];
    r->files++;
    memset(f, 0, sizeof(*f));
    rc = text_attribute(t, "path", &f->path, err);
    if (rc == VARVE_OK) {
        rc = text_attribute(t, "filespec", &f->spec, err);
    }
    if (rc == VARVE_OK) {
        rc = xml_attribute(t, "recursive", recursive, sizeof(recursive), err);
        f->recursive = rc == VARVE_OK && strcmp(recursive, "yes") == 0;
    }
    return rc;
}

static enum varve_err
metadata_enter(void *arg, const struct xml_token *t, unsigned depth, struct varve_error *err)
{
    struct reader *r = arg;
    enum varve_err rc;

    if (depth == 1) {
        r->right_root = xml_is(t, "WRITER_METADATA");
        return r->right_root ? VARVE_OK : malformed(err, "no writer metadata");
    }
    if (depth == 2 && xml_is(t, "IDENTIFICATION")) {
        r->identified = true;
        rc = guid_attribute(t, "writerId", &r->out->writer, err);
        return rc == VARVE_OK ? guid_attribute(t, "instanceId", &r->out->instance, err) : rc;
    }
    if (depth == 2 && xml_is(t, "BACKUP_LOCATIONS")) {
        r->locations = depth;
        return VARVE_OK;
    }
    if (r->locations != 0 && depth == r->locations + 1) {
        if (!xml_is(t, "FILE_GROUP") && !xml_is(t, "DATABASE")) {
            return VARVE_OK;
        }
        r->in_component = true;
        return add_component(r, t, err);
    }
    if (r->in_component && depth == r->locations + 2 &&
        (xml_is(t, "FILE_LIST") || xml_is(t, "DATABASE_FILES") || xml_is(t, "DATABASE_LOGFILES"))) {
        return add_file(r, t, err);
    }
    return VARVE_OK;
}

static void
metadata_leave(void *arg, unsigned depth)
{
    struct reader *r = arg;

    if (r->locations != 0 && depth == r->locations + 1) {
        r->in_component = false;
    } else if (depth == r->locations) {
        r->locations = 0;
    }
}

enum varve_err
vss_metadata_read(struct vss_metadata *out, const char *text, size_t len, struct varve_error *err)
{
    struct reader r = {.out = out};
    struct walker w = {.enter = metadata_enter, .leave = metadata_leave, .arg = &r};
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    if (len > VSS_DOCUMENT_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a document of VSS of %zu bytes", len);
    }
    xml_scan_init(&w.scan, text, len);
    rc = walk(&w, err);
    if (rc == VARVE_OK && !r.identified) {
        rc = malformed(err, "a writer without an id");
    }
    if (rc != VARVE_OK) {
        vss_metadata_release(out);
    }
    return rc;
}

void
vss_component_release(struct vss_component *c)
{
    size_t i;

    for (i = 0; i < c->file_count; i++) {
        free(c->files[i].path);
        free(c->files[i].spec);
    }
    free(c->files);
    free(c->path);
    free(c->name);
    free(c->caption);
    memset(c, 0, sizeof(*c));
}

void
vss_metadata_release(struct vss_metadata *m)
{
    size_t i;

    for (i = 0; i < m->count; i++) {
        vss_component_release(&m->components[i]);
    }
    free(m->components);
    memset(m, 0, sizeof(*m));
}

/* ---- backup components ---- */

struct seeker {
    const struct guid *writer;
    const char *name;
    bool in_writer;
    bool found;
};

static enum varve_err
document_enter(void *arg, const struct xml_token *t, unsigned depth, struct varve_error *err)
{
    struct seeker *s = arg;
    char text[VSS_TEXT_MAX];
    struct guid id;
    enum varve_err rc;

    if (depth == 1) {
        return xml_is(t, "BACKUP_COMPONENTS") ? VARVE_OK : malformed(err, "no backup components");
    }
    if (depth == 2 && xml_is(t, "WRITER_COMPONENTS")) {
        rc = guid_attribute(t, "writerId", &id, err);
        s->in_writer = rc == VARVE_OK && guid_equal(&id, s->writer);
        return rc;
    }
    if (depth == 3 && s->in_writer && xml_is(t, "COMPONENT")) {
        rc = xml_attribute(t, "componentName", text, sizeof(text), err);
        /* The names of this writer's components are ASCII: GUIDs. */
        s->found = s->found || (rc == VARVE_OK && strlen(text) == strlen(s->name) &&
                                path_has_suffix(text, s->name));
        return rc;
    }
    return VARVE_OK;
}

static void
document_leave(void *arg, unsigned depth)
{
    struct seeker *s = arg;

    s->in_writer = s->in_writer && depth != 2;
}

enum varve_err
vss_document_has(const char *text, size_t len, const struct guid *writer, const char *name,
                 bool *out, struct varve_error *err)
{
    struct seeker s = {.writer = writer, .name = name};
    struct walker w = {.enter = document_enter, .leave = document_leave, .arg = &s};
    enum varve_err rc;

    if (len > VSS_DOCUMENT_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a document of VSS of %zu bytes", len);
    }
    xml_scan_init(&w.scan, text, len);
    rc = walk(&w, err);
    if (rc == VARVE_OK) {
        *out = s.found;
    }
    return rc;
}
