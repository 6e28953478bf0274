/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "hvsim/port_server_internal.h"
#include "hvsim/sim_base.h"
#include "vss/vss_code.h"

/* The session that a request names; also what its texts and GUIDs are. */

static const char *
text_of(const struct port_call *c, const char *key)
{
    const char *v = json_string_value(json_object_get(c->request, key));

    return v != NULL ? v : "";
}

static void
guid_of(const struct port_call *c, const char *key, struct guid *out)
{
    if (!guid_parse(out, text_of(c, key))) {
        memset(out, 0, sizeof(*out));
    }
}

static json_t *
guid_json(const struct guid *g)
{
    char text[GUID_TEXT_SIZE];

    guid_format(g, text);
    return json_string(text);
}

static struct vss_session *
session_of(const struct port_call *c, bool take, struct varve_error *err)
{
    int64_t id = json_integer_value(json_object_get(c->request, "session"));
    struct port_server *s = c->server;
    struct vss_session *found = NULL;

    mutex_lock(&s->lock);
    for (size_t i = 0; i < s->session_count; i++) {
        if (s->sessions[i].id == id && s->sessions[i].pid == c->pid) {
            found = s->sessions[i].session;
            if (take) {
                sim_array_remove(s->sessions, &s->session_count, sizeof(s->sessions[0]), i);
            }
            break;
        }
    }
    mutex_unlock(&s->lock);
    if (found == NULL) {
        (void)vss_error(err, VSS_E_OBJECT_NOT_FOUND, "no such session");
    }
    return found;
}

static json_t *
open_session(struct port_call *c, struct varve_error *err)
{
    struct port_server *s = c->server;
    struct vss_session *session = NULL;
    struct port_session *p;
    json_int_t number;

    if (s->vss->ops->open(s->vss, &session, err) != VARVE_OK) {
        return NULL;
    }
    mutex_lock(&s->lock);
    p = sim_array_add(&s->sessions, &s->session_count, sizeof(*p));
    p->id = ++s->next_handle;
    p->pid = c->pid;
    p->session = session;
    number = p->id;
    mutex_unlock(&s->lock);
    return json_pack("{s:I}", "session", number);
}

static json_t *
release(struct port_call *c, struct varve_error *err)
{
    struct vss_session *s = session_of(c, true, err);

    if (s == NULL) {
        return NULL;
    }
    s->ops->release(s);
    return json_object();
}

static json_t *
gather(struct vss_session *s, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = VSS_CALL_MS};
    struct vss_writers writers;
    json_t *list;

    if (s->ops->gather(s, &wait, &writers, err) != VARVE_OK) {
        return NULL;
    }
    list = json_array();
    for (size_t i = 0; i < writers.count; i++) {
        const struct vss_writer *w = &writers.items[i];

        (void)json_array_append_new(
            list, json_pack("{s:o,s:o,s:s,s:I,s:s}", "writer", guid_json(&w->writer), "instance",
                            guid_json(&w->instance), "name", w->name, "components",
                            (json_int_t)w->components, "document", w->document));
    }
    vss_writers_release(&writers);
    return json_pack("{s:o}", "writers", list);
}

static json_t *
status(struct vss_session *s, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = VSS_CALL_MS};
    struct vss_statuses all;
    json_t *list;

    if (s->ops->status(s, &wait, &all, err) != VARVE_OK) {
        return NULL;
    }
    list = json_array();
    for (size_t i = 0; i < all.count; i++) {
        (void)json_array_append_new(list, json_pack("{s:o,s:o,s:I,s:I}", "writer",
                                                    guid_json(&all.items[i].writer), "instance",
                                                    guid_json(&all.items[i].instance), "state",
                                                    (json_int_t)all.items[i].state, "failure",
                                                    (json_int_t)all.items[i].failure));
    }
    vss_statuses_release(&all);
    return json_pack("{s:o}", "writers", list);
}

/* What gives a GUID or a text. */
static json_t *
set_and_device(struct port_call *c, struct vss_session *s, const char *op, struct varve_error *err)
{
    char device[VSS_DEVICE_MAX];
    struct guid id;
    char *text = NULL;
    json_t *out = NULL;

    if (strcmp(op, "vss.start_set") == 0) {
        return s->ops->start_set(s, &id, err) == VARVE_OK ? json_pack("{s:o}", "id", guid_json(&id))
                                                          : NULL;
    }
    if (strcmp(op, "vss.add_volume") == 0) {
        char *volume = port_server_to_linux(text_of(c, "volume"));

        if (s->ops->add_volume(s, volume, &id, err) == VARVE_OK) {
            out = json_pack("{s:o}", "id", guid_json(&id));
        }
        free(volume);
        return out;
    }
    if (strcmp(op, "vss.document") == 0) {
        if (s->ops->document(s, &text, err) == VARVE_OK) {
            out = json_pack("{s:s}", "text", text);
        }
        free(text);
        return out;
    }
    guid_of(c, "id", &id);
    if (s->ops->device(s, &id, device, err) == VARVE_OK) {
        char *shown = port_server_to_windows(device);

        text = sim_printf("\\\\?\\%s", shown);
        out = json_pack("{s:s}", "text", text);
        free(shown);
        free(text);
    }
    return out;
}

/* What only succeeds or fails. */
static enum varve_err
act(struct port_call *c, struct vss_session *s, const char *op, struct varve_error *err)
{
    const struct vss_wait wait = {.timeout_ms = VSS_CALL_MS};
    struct vss_component_id component = {
        .type = (uint32_t)json_integer_value(json_object_get(c->request, "type")),
        .path = text_of(c, "path"),
        .name = text_of(c, "name")};
    struct guid id;

    guid_of(c, "id", &id);
    guid_of(c, "writer", &component.writer);
    guid_of(c, "instance", &component.instance);
    if (strcmp(op, "vss.begin") == 0) {
        return s->ops->begin(s, component.type, err);
    }
    if (strcmp(op, "vss.enable_writer") == 0) {
        return s->ops->enable_writer(s, &id, err);
    }
    if (strcmp(op, "vss.add_component") == 0) {
        return s->ops->add_component(s, &component, err);
    }
    if (strcmp(op, "vss.prepare") == 0) {
        return s->ops->prepare(s, &wait, err);
    }
    if (strcmp(op, "vss.freeze") == 0) {
        return s->ops->freeze(s, &wait, err);
    }
    if (strcmp(op, "vss.set_succeeded") == 0) {
        return s->ops->set_succeeded(s, &component,
                                     json_is_true(json_object_get(c->request, "yes")), err);
    }
    if (strcmp(op, "vss.complete") == 0) {
        return s->ops->complete(s, &wait, err);
    }
    if (strcmp(op, "vss.abort") == 0) {
        return s->ops->abort(s, err);
    }
    if (strcmp(op, "vss.delete_set") == 0) {
        return s->ops->delete_set(s, &id, err);
    }
    return vss_error(err, 0x80070057u, "no such op '%.40s'", op);
}

json_t *
port_server_vss(struct port_call *c, const char *op, struct varve_error *err)
{
    struct vss_session *s;

    if (strcmp(op, "vss.open") == 0) {
        return open_session(c, err);
    }
    if (strcmp(op, "vss.release") == 0) {
        return release(c, err);
    }
    s = session_of(c, false, err);
    if (s == NULL) {
        return NULL;
    }
    if (strcmp(op, "vss.gather") == 0) {
        return gather(s, err);
    }
    if (strcmp(op, "vss.status") == 0) {
        return status(s, err);
    }
    if (strcmp(op, "vss.start_set") == 0 || strcmp(op, "vss.add_volume") == 0 ||
        strcmp(op, "vss.document") == 0 || strcmp(op, "vss.device") == 0) {
        return set_and_device(c, s, op, err);
    }
    return act(c, s, op, err) == VARVE_OK ? json_object() : NULL;
}

void
port_server_forget_sessions(struct port_server *s, int64_t pid)
{
    struct vss_session *one;

    do {
        one = NULL;
        mutex_lock(&s->lock);
        for (size_t i = s->session_count; one == NULL && i-- > 0;) {
            if (pid == 0 || s->sessions[i].pid == pid) {
                one = s->sessions[i].session;
                sim_array_remove(s->sessions, &s->session_count, sizeof(s->sessions[0]), i);
            }
        }
        mutex_unlock(&s->lock);
        if (one != NULL) {
            vss_fake_abandon(one); /* asks the host, which takes the lock */
        }
    } while (one != NULL);
}
