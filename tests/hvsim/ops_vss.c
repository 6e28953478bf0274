/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdlib.h>
#include <string.h>

static uint32_t
op_open(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid session;
    uint32_t rc = sim_vss_open(h, &session, err);

    (void)request;
    if (rc == SIM_OK) {
        reply_guid(reply, "session", &session);
    }
    return rc;
}

static uint32_t
op_begin(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_begin(h, &session, err);
}

static uint32_t
op_enable(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    const struct guid writer = op_guid(request, "writer");

    (void)reply;
    return sim_vss_enable(h, &session, &writer, err);
}

/* Another writer of the host, unless only the Hyper-V writer was asked for. */
static json_t *
describe_other(void)
{
    static const char id[] = "e8132975-6f93-4464-a53e-1050253ae220";

    return json_pack("{s:s,s:s,s:s,s:i,s:s}", "writer", id, "instance", id, "name", "System Writer",
                     "components", 1, "document",
                     "<WRITER_METADATA><IDENTIFICATION "
                     "writerId=\"e8132975-6f93-4464-a53e-1050253ae220\" "
                     "instanceId=\"e8132975-6f93-4464-a53e-1050253ae220\"/><BACKUP_LOCATIONS>"
                     "<FILE_GROUP componentName=\"System Files\"/></BACKUP_LOCATIONS>"
                     "</WRITER_METADATA>");
}

static uint32_t
op_gather(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    struct sim_vss_session *s = NULL;
    json_t *writers = NULL;
    json_t *o = NULL;
    char *document = NULL;
    uint32_t rc = sim_vss_gather(h, &session, err);

    if (rc == SIM_OK) {
        rc = sim_vss_find(h, &session, &s, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    writers = json_array();
    if (!s->writer_enabled) {
        (void)json_array_append_new(writers, describe_other());
    }
    o = json_object();
    document = sim_vss_writer_document(h, op_text(request, "drive", ""));
    reply_guid(o, "writer", &sim_vss_writer_id);
    reply_guid(o, "instance", &h->vss.instance);
    reply_text(o, "name", "Microsoft Hyper-V VSS Writer");
    reply_u64(o, "components", sim_vss_component_count(h));
    reply_text(o, "document", document);
    free(document);
    (void)json_array_append_new(writers, o);
    (void)json_object_set_new(reply, "writers", writers);
    return SIM_OK;
}

static uint32_t
op_add_component(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    const struct guid instance = op_guid(request, "instance");
    const struct guid vm = op_guid(request, "name");

    (void)reply;
    return sim_vss_add(h, &session, &instance, &vm, err);
}

static uint32_t
op_start_set(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    struct guid set;
    uint32_t rc = sim_vss_start_set(h, &session, &set, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "set", &set);
    }
    return rc;
}

static uint32_t
op_add_volume(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    struct guid snapshot;
    uint32_t rc = sim_vss_add_volume(h, &session, op_text(request, "volume", ""), &snapshot, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "snapshot", &snapshot);
    }
    return rc;
}

static uint32_t
op_prepare(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_prepare(h, &session, err);
}

static uint32_t
op_freeze(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_freeze(h, &session, err);
}

static uint32_t
op_status(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    struct sim_vss_session *s = NULL;
    uint32_t rc = sim_vss_find(h, &session, &s, err);
    json_t *o = NULL;

    if (rc == SIM_OK) {
        o = json_object();
        reply_guid(o, "writer", &sim_vss_writer_id);
        reply_guid(o, "instance", &h->vss.instance);
        reply_u64(o, "state", s->writer_state);
        reply_u64(o, "failure", s->writer_failure);
        (void)json_object_set_new(reply, "writers", json_pack("[o]", o));
    }
    return rc;
}

static uint32_t
op_device(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    const struct guid snapshot = op_guid(request, "snapshot");
    struct sim_vss_session *s = NULL;
    char *path = NULL;
    uint32_t rc = sim_vss_find(h, &session, &s, err);

    if (rc == SIM_OK && (s->step != SIM_VSS_FROZEN || !guid_equal(&snapshot, &s->snapshot))) {
        rc = sim_fail(err, SIM_VSS_NOT_FOUND, "no such snapshot");
    }
    if (rc == SIM_OK) {
        path = sim_vss_device(h, &snapshot);
        reply_text(reply, "device", path);
        free(path);
    }
    return rc;
}

static uint32_t
op_succeeded(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    const struct guid vm = op_guid(request, "name");

    (void)reply;
    return sim_vss_succeeded(h, &session, &vm, op_bool(request, "yes", true), err);
}

static uint32_t
op_document(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    struct sim_vss_session *s = NULL;
    char *document = NULL;
    uint32_t rc = sim_vss_find(h, &session, &s, err);

    if (rc == SIM_OK) {
        document = sim_vss_backup_document(h, s);
        reply_text(reply, "document", document);
        free(document);
    }
    return rc;
}

static uint32_t
op_complete(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_complete(h, &session, err);
}

static uint32_t
op_abort(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_abort(h, &session, err);
}

static uint32_t
op_delete_set(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");
    const struct guid set = op_guid(request, "set");

    (void)reply;
    return sim_vss_delete_set(h, &session, &set, err);
}

static uint32_t
op_release(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct guid session = op_guid(request, "session");

    (void)reply;
    return sim_vss_release(h, &session, err);
}

/* ---- test side ---- */

static uint32_t
op_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    size_t sets = 0;

    (void)request;
    (void)err;
    for (size_t i = 0; i < h->vss.count; i++) {
        sets += guid_is_zero(&h->vss.sessions[i].snapshot) ? 0 : 1;
    }
    reply_u64(reply, "sessions", h->vss.count);
    reply_u64(reply, "sets", sets);
    return SIM_OK;
}

static uint32_t
op_fail(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    static const struct {
        const char *name;
        enum sim_vss_step step;
    } steps[] = {
        {"prepare", SIM_VSS_PREPARED}, {"freeze", SIM_VSS_FROZEN}, {"complete", SIM_VSS_COMPLETE}};
    const char *name = op_text(request, "step", "");

    (void)reply;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (strcmp(name, steps[i].name) == 0) {
            h->vss.fault.step = steps[i].step;
            h->vss.fault.hresult = (uint32_t)op_u64(request, "hresult", 0x800423F3u);
            h->vss.fault.times = (unsigned)op_u64(request, "times", 1);
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_INVALID, "'step' is prepare, freeze or complete, not '%.40s'", name);
}

const struct op vss_ops[] = {
    {"vss.open", "", op_open},
    {"vss.begin", "session:g!", op_begin},
    {"vss.enable", "session:g! writer:g!", op_enable},
    {"vss.gather", "session:g! drive:s", op_gather},
    {"vss.add_component", "session:g! instance:g! name:g!", op_add_component},
    {"vss.start_set", "session:g!", op_start_set},
    {"vss.add_volume", "session:g! volume:s!", op_add_volume},
    {"vss.prepare", "session:g!", op_prepare},
    {"vss.freeze", "session:g!", op_freeze},
    {"vss.status", "session:g!", op_status},
    {"vss.device", "session:g! snapshot:g!", op_device},
    {"vss.succeeded", "session:g! name:g! yes:b", op_succeeded},
    {"vss.document", "session:g!", op_document},
    {"vss.complete", "session:g!", op_complete},
    {"vss.abort", "session:g!", op_abort},
    {"vss.delete_set", "session:g! set:g!", op_delete_set},
    {"vss.release", "session:g!", op_release},
    {"vss.list", "", op_list},
    {"vss.fail", "step:s! hresult:i times:i", op_fail},
    {NULL, NULL, NULL},
};
