/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cli/print.h"

/* json_object_set_new() takes the value also when it fails, and NULL is a failure it reports: a
 * line with a missing field is never printed as if it were whole. */
struct object {
    json_t *json;
    bool failed;
};

static struct object
begin(void)
{
    struct object o = {json_object(), false};

    return o;
}

static void
put(struct object *o, const char *key, json_t *value)
{
    if (json_object_set_new(o->json, key, value) != 0) {
        o->failed = true;
    }
}

static json_t *
end(struct object *o)
{
    if (o->failed) {
        json_decref(o->json);
        return NULL;
    }
    return o->json;
}

enum varve_err
print_json_line(FILE *out, json_t *object, struct varve_error *err)
{
    int failed;

    if (object == NULL) {
        return varve_error_nomem(err);
    }
    failed = json_dumpf(object, out, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    (void)fputc('\n', out);
    (void)fflush(out);
    return failed == 0 ? VARVE_OK
                       : varve_error_set(err, VARVE_ERR_IO, "the output could not be written");
}

json_t *
json_text(const char *text)
{
    json_t *json = json_string(text); /* escapes control characters; NULL when it is not UTF-8 */
    char *clean;

    if (json == NULL) {
        clean = print_clean(text);
        json = clean == NULL ? NULL : json_string(clean);
        free(clean);
    }
    return json;
}

json_t *
json_bytes(uint64_t n)
{
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

json_t *
json_time(int64_t us)
{
    char text[TIME_TEXT_SIZE];

    if (us == 0) {
        return json_null();
    }
    time_format(us, text);
    return json_string(text);
}

json_t *
json_id(const ProtobufCBinaryData *id)
{
    char text[GUID_TEXT_SIZE];
    struct guid guid;

    if (id->len != sizeof(guid.bytes)) {
        return json_null();
    }
    memcpy(guid.bytes, id->data, sizeof(guid.bytes));
    guid_format(&guid, text);
    return json_string(text);
}

static json_t *
json_hex(const ProtobufCBinaryData *data)
{
    static const char digits[] = "0123456789abcdef";
    char text[129];

    if (data->len == 0 || data->len > 64) {
        return json_null();
    }
    for (size_t i = 0; i < data->len; i++) {
        text[2 * i] = digits[data->data[i] >> 4];
        text[2 * i + 1] = digits[data->data[i] & 15];
    }
    text[2 * data->len] = '\0';
    return json_string(text);
}

json_t *
json_error(const struct varve_error *e)
{
    struct object o = begin();

    put(&o, "code", json_text(varve_err_name(e->code)));
    put(&o, "message", json_text(e->msg));
    if (e->native != 0) {
        put(&o, "native", json_integer(e->native));
    }
    return end(&o);
}

static json_t *
json_wire_error(const Varve__V1__Error *e)
{
    struct varve_error error = {.code = VARVE_OK};

    if (e == NULL) {
        return json_null();
    }
    (void)varve_error_set(&error,
                          e->code > 0 && e->code < VARVE_ERR_COUNT ? (enum varve_err)e->code
                                                                   : VARVE_ERR_INTERNAL,
                          "%s", e->message);
    error.native = e->native;
    return json_error(&error);
}

static json_t *
json_texts(char *const *texts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_text(texts[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *
json_host(const Varve__V1__HostInfo *h)
{
    struct object o = begin();

    put(&o, "id", json_id(&h->id));
    put(&o, "name", json_text(h->name));
    put(&o, "state", json_text(h->state));
    put(&o, "connected", json_boolean(h->connected));
    put(&o, "address", json_text(h->address));
    put(&o, "software", json_text(h->software));
    put(&o, "system", json_text(h->system));
    put(&o, "provider", json_text(h->provider));
    put(&o, "enrolled_at", json_time(h->enrolled_at_us));
    put(&o, "last_seen", json_time(h->last_seen_us));
    put(&o, "invite_expires_at", json_time(h->invite_expires_us));
    put(&o, "public_key", json_hex(&h->public_key));
    put(&o, "tenant", json_text(h->tenant));
    return end(&o);
}

static json_t *
json_vm_disk(const Varve__V1__InventoryDisk *d)
{
    struct object o = begin();

    put(&o, "id", json_id(&d->id));
    put(&o, "name", json_text(d->name));
    put(&o, "path", json_text(d->path));
    put(&o, "size", json_bytes(d->size));
    put(&o, "format", json_text(d->format));
    put(&o, "logical_sector", json_bytes(d->logical_sector));
    put(&o, "tracked", json_boolean(d->tracked));
    put(&o, "problem", json_text(d->problem));
    return end(&o);
}

json_t *
json_vm(const Varve__V1__VmInfo *v)
{
    struct object o = begin();
    json_t *disks = json_array();

    put(&o, "id", v->vm == NULL ? json_null() : json_id(&v->vm->id));
    put(&o, "name", json_text(v->vm == NULL ? "" : v->vm->name));
    put(&o, "host_id", json_id(&v->host_id));
    put(&o, "host_name", json_text(v->host_name));
    put(&o, "host_connected", json_boolean(v->host_connected));
    put(&o, "points", json_bytes(v->points));
    put(&o, "latest_point_at", json_time(v->latest_point_us));
    put(&o, "tenant", json_text(v->tenant));
    put(&o, "native_id",
        json_id(v->native_id.len > 0 || v->vm == NULL ? &v->native_id : &v->vm->id));
    if (v->vm != NULL) {
        put(&o, "state", json_text(v->vm->state));
        put(&o, "generation", json_bytes(v->vm->generation));
        put(&o, "capture", json_text(v->vm->capture));
        put(&o, "source", json_text(v->vm->source));
        put(&o, "reason", json_text(v->vm->reason));
        for (size_t i = 0; i < v->vm->n_disks; i++) {
            o.failed |= json_array_append_new(disks, json_vm_disk(v->vm->disks[i])) != 0;
        }
    }
    put(&o, "disks", disks);
    return end(&o);
}

static json_t *
json_point_disk(const Varve__V1__PointDiskInfo *d)
{
    struct object o = begin();

    put(&o, "id", json_id(&d->id));
    put(&o, "name", json_text(d->name));
    put(&o, "path", json_text(d->path));
    put(&o, "size", json_bytes(d->size));
    put(&o, "logical_sector", json_bytes(d->logical_sector));
    put(&o, "block_size", json_bytes(d->block_size));
    put(&o, "root", json_hex(&d->root));
    put(&o, "incremental", json_boolean(d->incremental));
    put(&o, "reason", json_text(d->reason));
    put(&o, "tracked_bytes", json_bytes(d->tracked_bytes));
    put(&o, "read_bytes", json_bytes(d->read_bytes));
    put(&o, "sent_bytes", json_bytes(d->sent_bytes));
    put(&o, "new_bytes", json_bytes(d->new_bytes));
    put(&o, "has_change_id", json_boolean(d->has_change_id));
    return end(&o);
}

json_t *
json_point(const Varve__V1__PointInfo *p)
{
    struct object o = begin();
    json_t *disks = json_array();

    put(&o, "id", json_id(&p->id));
    put(&o, "seq", json_bytes(p->seq));
    put(&o, "vm_id", json_id(&p->vm_id));
    put(&o, "vm_name", json_text(p->vm_name));
    put(&o, "host_name", json_text(p->host_name));
    put(&o, "run_id", json_id(&p->run_id));
    put(&o, "frozen_at", json_time(p->frozen_at_us));
    put(&o, "published_at", json_time(p->published_at_us));
    put(&o, "consistency", json_text(p->consistency));
    put(&o, "capture", json_text(p->capture));
    put(&o, "source", json_text(p->source));
    put(&o, "reason", json_text(p->reason));
    for (size_t i = 0; i < p->n_disks; i++) {
        o.failed |= json_array_append_new(disks, json_point_disk(p->disks[i])) != 0;
    }
    put(&o, "disks", disks);
    put(&o, "files", json_texts(p->files, p->n_files));
    return end(&o);
}

json_t *
json_run(const Varve__V1__RunInfo *r)
{
    struct object o = begin();

    put(&o, "run_id", json_id(&r->run_id));
    put(&o, "vm_id", json_id(&r->vm_id));
    put(&o, "vm_name", json_text(r->vm_name));
    put(&o, "host_name", json_text(r->host_name));
    put(&o, "phase", json_text(r->phase));
    put(&o, "waits", json_text(r->waits));
    put(&o, "incremental", json_boolean(r->incremental));
    put(&o, "planned_bytes", json_bytes(r->planned_bytes));
    put(&o, "tracked_bytes", json_bytes(r->tracked_bytes));
    put(&o, "read_bytes", json_bytes(r->read_bytes));
    put(&o, "sent_bytes", json_bytes(r->sent_bytes));
    put(&o, "new_bytes", json_bytes(r->new_bytes));
    put(&o, "stored_bytes", json_bytes(r->stored_bytes));
    put(&o, "started_at", json_time(r->started_at_us));
    put(&o, "ended_at", json_time(r->ended_at_us));
    put(&o, "point_id", json_id(&r->point_id));
    put(&o, "point_seq", r->point_seq == 0 ? json_null() : json_bytes(r->point_seq));
    put(&o, "error", json_wire_error(r->error));
    put(&o, "warnings", json_texts(r->warnings, r->n_warnings));
    return end(&o);
}

json_t *
json_problem(const Varve__V1__VerifyProblem *p)
{
    struct object o = begin();

    put(&o, "point_id", json_id(&p->point_id));
    put(&o, "vm_name", json_text(p->vm_name));
    put(&o, "point_seq", json_bytes(p->point_seq));
    put(&o, "disk", json_text(p->disk));
    put(&o, "offset", json_bytes(p->offset));
    put(&o, "length", json_bytes(p->length));
    put(&o, "error", json_wire_error(p->error));
    return end(&o);
}

json_t *
json_patrol(const Varve__V1__PatrolInfo *p)
{
    struct object o;

    if (p == NULL) {
        return json_null();
    }
    o = begin();
    put(&o, "running", json_boolean(p->running));
    put(&o, "pass_began_at", json_time(p->pass_began_us));
    put(&o, "last_finished_at", json_time(p->last_finished_us));
    put(&o, "bytes_done", json_bytes(p->bytes_done));
    put(&o, "bytes_total", json_bytes(p->bytes_total));
    put(&o, "problems", json_bytes(p->problems));
    put(&o, "damaged", json_bytes(p->damaged));
    put(&o, "points_hit", json_bytes(p->points_hit));
    put(&o, "disks_waiting", json_bytes(p->disks_waiting));
    put(&o, "first_hit", json_text(p->first_hit));
    return end(&o);
}

json_t *
json_status(const Varve__V1__StatusReply *s)
{
    struct object o = begin();
    json_t *runs = json_array();

    put(&o, "software", json_text(s->software));
    put(&o, "started_at", json_time(s->started_at_us));
    put(&o, "listen", json_text(s->listen));
    put(&o, "store", json_text(s->store));
    put(&o, "key_path", json_text(s->key_path));
    put(&o, "chunk_size", json_bytes(s->chunk_size));
    put(&o, "hosts", json_bytes(s->hosts));
    put(&o, "hosts_connected", json_bytes(s->hosts_connected));
    put(&o, "vms", json_bytes(s->vms));
    put(&o, "points", json_bytes(s->points));
    put(&o, "logical_bytes", json_bytes(s->logical_bytes));
    put(&o, "chunks", json_bytes(s->chunks));
    put(&o, "raw_bytes", json_bytes(s->raw_bytes));
    put(&o, "stored_bytes", json_bytes(s->stored_bytes));
    put(&o, "free_bytes", json_bytes(s->free_bytes));
    for (size_t i = 0; i < s->n_runs; i++) {
        o.failed |= json_array_append_new(runs, json_run(s->runs[i])) != 0;
    }
    put(&o, "runs", runs);
    put(&o, "patrol", json_patrol(s->patrol));
    put(&o, "problems", json_texts(s->problems, s->n_problems));
    return end(&o);
}
