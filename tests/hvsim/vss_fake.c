/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vss_fake.h"

#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"
#include "vss/vss_code.h"

struct fake_port {
    struct vss_port base;
    struct port_script *script;
    struct vss_fake_options options;
    size_t open;
};

struct fake_session {
    struct vss_session base;
    struct fake_port *port;
    struct guid id;
    bool prepared;
    bool complete;
};

static const struct vss_session_ops session_ops;

/* ---- asking the host ---- */

static json_t *
session_params(const struct fake_session *s)
{
    char id[GUID_TEXT_SIZE];

    guid_format(&s->id, id);
    return json_pack("{s:s}", "session", id);
}

static void
add_guid(json_t *o, const char *name, const struct guid *g)
{
    char text[GUID_TEXT_SIZE];

    guid_format(g, text);
    (void)json_object_set_new(o, name, json_string(text));
}

static void
get_guid(const json_t *o, const char *name, struct guid *out)
{
    const char *text = json_string_value(json_object_get(o, name));

    if (text == NULL || !guid_parse(out, text)) {
        memset(out, 0, sizeof(*out));
    }
}

/*
 * One call: noted, failed if that was asked for, carried out.  *reply (may be NULL) is the caller's to release.  Takes
 * params.
 */
static enum varve_err
call(struct fake_session *s, const char *name, const char *op, json_t *params, json_t **reply,
     struct varve_error *err)
{
    struct port_script *script = s->port->script;
    uint32_t number = 0;
    char text[160];
    json_t *o = NULL;
    bool after = false;
    bool fails = port_script_call(script, &after, "vss %s", name);

    if (fails && !after) {
        json_decref(params);
        return vss_error(err, script->number, "%s (injected)", name);
    }
    o = port_script_ask(script, op, params, &number, text);
    if (fails && strcmp(op, "vss.open") == 0) { /* what nobody holds is gone */
        json_decref(port_script_ask(script, "vss.release",
                                    json_pack("{s:O}", "session", json_object_get(o, "session")),
                                    &number, text));
    }
    if (fails) {
        json_decref(o);
        return vss_error(err, script->number, "%s (injected, but done)", name);
    }
    if (o == NULL) {
        return vss_error(err, number, "%s: %s", name, text);
    }
    if (reply != NULL) {
        *reply = o;
    } else {
        json_decref(o);
    }
    return VARVE_OK;
}

static enum varve_err
simple(struct vss_session *session, const char *name, const char *op, struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;

    return call(s, name, op, session_params(s), NULL, err);
}

/* ---- a session ---- */

static void
end(struct fake_session *s, bool abandoned)
{
    struct port_script *script = s->port->script;
    bool dead;

    mutex_lock(&script->lock);
    dead = *script->dead;
    s->port->open--;
    mutex_unlock(&script->lock);
    if (!dead || abandoned) { /* a release cannot fail; a dead process releases nothing itself */
        uint32_t number = 0;
        char text[160];

        if (s->prepared && !s->complete) {
            port_script_violation(script,
                                  "a backup that was begun is neither complete nor aborted");
        }
        json_decref(port_script_ask(script, "vss.release", session_params(s), &number, text));
    }
    free(s);
}

static void
fake_release(struct vss_session *session)
{
    end((struct fake_session *)session, false);
}

void
vss_fake_abandon(struct vss_session *session)
{
    ((struct fake_session *)session)->complete = true;
    end((struct fake_session *)session, true);
}

static enum varve_err
fake_begin(struct vss_session *s, uint32_t type, struct varve_error *err)
{
    if (type != VSS_BACKUP_COPY) {
        port_script_violation(((struct fake_session *)s)->port->script, "backup type %u", type);
    }
    return simple(s, "begin", "vss.begin", err);
}

static enum varve_err
fake_enable_writer(struct vss_session *session, const struct guid *writer, struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);

    add_guid(params, "writer", writer);
    return call(s, "enable_writer", "vss.enable", params, NULL, err);
}

static char *
with_caption(const char *document, const char *caption)
{
    const char *at = strstr(document, "caption=\"Online\\");
    size_t skip = strlen("caption=\"Online");

    return at != NULL ? sim_printf("%.*scaption=\"%s%s", (int)(at - document), document, caption,
                                   at + skip)
                      : sim_strdup(document);
}

static void
take_writer(const struct fake_port *p, const json_t *o, struct vss_writers *out)
{
    const char *document = json_string_value(json_object_get(o, "document"));
    struct vss_writer *w = sim_array_add(&out->items, &out->count, sizeof(*w));

    get_guid(o, "writer", &w->writer);
    get_guid(o, "instance", &w->instance);
    w->name = sim_strdup(json_string_value(json_object_get(o, "name")));
    w->document = p->options.caption != NULL ? with_caption(document, p->options.caption)
                                             : sim_strdup(document);
    w->components = (size_t)json_integer_value(json_object_get(o, "components")) +
                    (p->options.miscounts ? 1 : 0);
}

static enum varve_err
fake_gather(struct vss_session *session, const struct vss_wait *wait, struct vss_writers *out,
            struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *reply = NULL;
    json_t *o;
    size_t i;
    json_t *params = session_params(s);
    enum varve_err rc;

    (void)wait;
    memset(out, 0, sizeof(*out));
    if (s->port->options.drive != NULL) {
        (void)json_object_set_new(params, "drive", json_string(s->port->options.drive));
    }
    rc = call(s, "gather", "vss.gather", params, &reply, err);
    if (rc == VARVE_OK) {
        json_array_foreach(json_object_get(reply, "writers"), i, o)
        {
            if (!s->port->options.no_writer) {
                take_writer(s->port, o, out);
            }
        }
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_add_component(struct vss_session *session, const struct vss_component_id *c,
                   struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);

    add_guid(params, "instance", &c->instance);
    (void)json_object_set_new(params, "name", json_string(c->name));
    if (c->type != VSS_TYPE_FILEGROUP || c->path[0] != '\0') {
        port_script_violation(s->port->script, "component '%s' of type %u", c->name, c->type);
    }
    return call(s, "add_component", "vss.add_component", params, NULL, err);
}

static enum varve_err
fake_start_set(struct vss_session *session, struct guid *set, struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *reply = NULL;
    enum varve_err rc = call(s, "start_set", "vss.start_set", session_params(s), &reply, err);

    if (rc == VARVE_OK) {
        get_guid(reply, "set", set);
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_add_volume(struct vss_session *session, const char *volume, struct guid *snapshot,
                struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);
    json_t *reply = NULL;
    enum varve_err rc;

    (void)json_object_set_new(params, "volume", json_string(volume));
    rc = call(s, "add_volume", "vss.add_volume", params, &reply, err);
    if (rc == VARVE_OK) {
        get_guid(reply, "snapshot", snapshot);
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_prepare(struct vss_session *s, const struct vss_wait *wait, struct varve_error *err)
{
    (void)wait;
    ((struct fake_session *)s)->prepared = true;
    return simple(s, "prepare", "vss.prepare", err);
}

static enum varve_err
fake_freeze(struct vss_session *s, const struct vss_wait *wait, struct varve_error *err)
{
    (void)wait;
    return simple(s, "freeze", "vss.freeze", err);
}

static enum varve_err
fake_status(struct vss_session *session, const struct vss_wait *wait, struct vss_statuses *out,
            struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *reply = NULL;
    json_t *o;
    size_t i;
    enum varve_err rc = call(s, "status", "vss.status", session_params(s), &reply, err);

    (void)wait;
    memset(out, 0, sizeof(*out));
    if (rc == VARVE_OK) {
        json_array_foreach(json_object_get(reply, "writers"), i, o)
        {
            struct vss_status *one = sim_array_add(&out->items, &out->count, sizeof(*one));

            get_guid(o, "writer", &one->writer);
            get_guid(o, "instance", &one->instance);
            one->state = (uint32_t)json_integer_value(json_object_get(o, "state"));
            one->failure = (uint32_t)json_integer_value(json_object_get(o, "failure"));
        }
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_device(struct vss_session *session, const struct guid *snapshot, char out[VSS_DEVICE_MAX],
            struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);
    json_t *reply = NULL;
    enum varve_err rc;

    add_guid(params, "snapshot", snapshot);
    rc = call(s, "device", "vss.device", params, &reply, err);
    if (rc == VARVE_OK) {
        (void)snprintf(out, VSS_DEVICE_MAX, "%s",
                       json_string_value(json_object_get(reply, "device")));
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_set_succeeded(struct vss_session *session, const struct vss_component_id *c, bool succeeded,
                   struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);

    (void)json_object_set_new(params, "name", json_string(c->name));
    (void)json_object_set_new(params, "yes", json_boolean(succeeded));
    return call(s, "set_succeeded", "vss.succeeded", params, NULL, err);
}

static enum varve_err
fake_document(struct vss_session *session, char **xml, struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    const char *other = s->port->options.document;
    json_t *reply = NULL;
    enum varve_err rc = call(s, "document", "vss.document", session_params(s), &reply, err);

    if (rc == VARVE_OK) {
        *xml = sim_strdup(other != NULL ? other
                                        : json_string_value(json_object_get(reply, "document")));
        json_decref(reply);
    }
    return rc;
}

static enum varve_err
fake_complete(struct vss_session *session, const struct vss_wait *wait, struct varve_error *err)
{
    enum varve_err rc = simple(session, "complete", "vss.complete", err);

    (void)wait;
    if (rc == VARVE_OK) {
        ((struct fake_session *)session)->complete = true;
    }
    return rc;
}

static enum varve_err
fake_abort(struct vss_session *session, struct varve_error *err)
{
    ((struct fake_session *)session)->complete = true; /* whatever comes of it, it was said */
    return simple(session, "abort", "vss.abort", err);
}

static enum varve_err
fake_delete_set(struct vss_session *session, const struct guid *set, struct varve_error *err)
{
    struct fake_session *s = (struct fake_session *)session;
    json_t *params = session_params(s);

    if (!s->complete) {
        port_script_violation(s->port->script, "a set is deleted before its backup is complete");
    }
    add_guid(params, "set", set);
    return call(s, "delete_set", "vss.delete_set", params, NULL, err);
}

static const struct vss_session_ops session_ops = {
    .release = fake_release,
    .begin = fake_begin,
    .enable_writer = fake_enable_writer,
    .gather = fake_gather,
    .add_component = fake_add_component,
    .start_set = fake_start_set,
    .add_volume = fake_add_volume,
    .prepare = fake_prepare,
    .freeze = fake_freeze,
    .status = fake_status,
    .device = fake_device,
    .set_succeeded = fake_set_succeeded,
    .document = fake_document,
    .complete = fake_complete,
    .abort = fake_abort,
    .delete_set = fake_delete_set,
};

/* ---- the port ---- */

static void
fake_close(struct vss_port *port)
{
    struct fake_port *p = (struct fake_port *)port;

    if (p->open != 0) {
        port_script_violation(p->script, "%zu sessions were left open", p->open);
    }
    free(p);
}

static enum varve_err
fake_open(struct vss_port *port, struct vss_session **out, struct varve_error *err)
{
    struct fake_port *p = (struct fake_port *)port;
    struct fake_session *s = sim_alloc(sizeof(*s));
    json_t *reply = NULL;
    enum varve_err rc;

    s->base.ops = &session_ops;
    s->port = p;
    rc = call(s, "open", "vss.open", json_object(), &reply, err);
    if (rc != VARVE_OK) {
        free(s);
        return rc;
    }
    get_guid(reply, "session", &s->id);
    json_decref(reply);
    mutex_lock(&p->script->lock);
    p->open++;
    mutex_unlock(&p->script->lock);
    *out = &s->base;
    return VARVE_OK;
}

static enum varve_err
fake_volume_root(struct vss_port *port, const char *path, char **root, struct varve_error *err)
{
    struct fake_port *p = (struct fake_port *)port;
    bool after;

    if (port_script_call(p->script, &after, "vss volume_root")) {
        return vss_error(err, p->script->number, "the volume of '%s' (injected)", path);
    }
    *root = sim_strdup("/");
    return VARVE_OK;
}

static const struct vss_port_ops port_ops = {
    .close = fake_close,
    .open = fake_open,
    .volume_root = fake_volume_root,
};

struct vss_port *
vss_fake_new(struct port_script *script, const struct vss_fake_options *options)
{
    struct fake_port *p = sim_alloc(sizeof(*p));

    p->base.ops = &port_ops;
    p->script = script;
    p->options = *options;
    return &p->base;
}

size_t
vss_fake_open_count(const struct vss_port *p)
{
    return ((const struct fake_port *)p)->open;
}
