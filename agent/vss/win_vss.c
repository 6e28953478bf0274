/* SPDX-License-Identifier: Apache-2.0 */
#include "vss/win_vss.h"

#include <windows.h>

#include <objbase.h>

#include <oleauto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/wide_win32.h"
#include "vss/abi_vss.h"
#include "vss/vss_code.h"

/* Only translation: which component, which volume and what a writer's state means is decided above the port. */

#define WAIT_SLICE_MS 250u /* between two looks at cancel */
#define STOP_MS       30000u

_Static_assert(sizeof(wchar_t) == sizeof(abi_char), "UTF-16");

struct win_port {
    struct vss_port base;
    HMODULE dll;
    CO_MTA_USAGE_COOKIE apartment;
    abi_vss_create create;
    abi_vss_free_properties free_properties;
};

struct win_session {
    struct vss_session base;
    const struct win_port *port;
    struct abi_vss_backup *backup;
};

static struct win_session *
of(struct vss_session *s)
{
    return (struct win_session *)s;
}

static enum varve_err
failed(abi_hresult hr, const char *what, struct varve_error *err)
{
    return vss_error(err, (uint32_t)hr, "VSS, %s", what);
}

static enum varve_err
check(abi_hresult hr, const char *what, struct varve_error *err)
{
    return FAILED(hr) ? failed(hr, what, err) : VARVE_OK;
}

static void
guid_out(struct guid *out, const struct abi_vss_id *in)
{
    uint8_t mixed[16];

    memcpy(mixed, in, sizeof(mixed));
    guid_from_mixed(out, mixed);
}

static struct abi_vss_id
guid_in(const struct guid *in)
{
    struct abi_vss_id out;
    uint8_t mixed[16];

    guid_to_mixed(in, mixed);
    memcpy(&out, mixed, sizeof(out));
    return out;
}

/* Frees the BSTR; NULL is "". */
static enum varve_err
take_bstr(char **out, abi_char *bstr, struct varve_error *err)
{
    enum varve_err rc = wide_to_utf8(out, bstr != NULL ? (const wchar_t *)bstr : L"", err);

    SysFreeString((BSTR)bstr);
    return rc;
}

/* ---- calls that take their time ---- */

static bool
is_cancelled(const struct vss_wait *wait)
{
    return wait->cancel != NULL && cancel_is_set(wait->cancel);
}

/* Takes the call. */
static enum varve_err
wait_for(struct abi_vss_async *call, const struct vss_wait *wait, const char *what,
         struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)wait->timeout_ms * 1000000u;
    abi_hresult result = (abi_hresult)VSS_S_ASYNC_PENDING;
    abi_hresult hr = S_OK;
    enum varve_err stopped = VARVE_OK;

    while (result == (abi_hresult)VSS_S_ASYNC_PENDING) {
        hr = call->vtbl->wait(call, WAIT_SLICE_MS);
        if (!FAILED(hr)) {
            hr = call->vtbl->query_status(call, &result, NULL);
        }
        if (FAILED(hr)) {
            break;
        }
        if (stopped == VARVE_OK && result == (abi_hresult)VSS_S_ASYNC_PENDING &&
            (is_cancelled(wait) || time_mono_ns() > deadline)) {
            /* It is told to stop, and has some more time to do so. */
            stopped = is_cancelled(wait) ? VARVE_ERR_CANCELLED : VARVE_ERR_TIMEOUT;
            deadline = time_mono_ns() + (uint64_t)STOP_MS * 1000000u;
            (void)call->vtbl->cancel(call);
        } else if (stopped != VARVE_OK && time_mono_ns() > deadline) {
            break;
        }
    }
    (void)call->vtbl->release(call);
    if (stopped != VARVE_OK && result != (abi_hresult)VSS_S_ASYNC_FINISHED) {
        return varve_error_set(err, stopped, "VSS, %s: %s", what,
                               stopped == VARVE_ERR_TIMEOUT ? "no answer in time" : "cancelled");
    }
    if (FAILED(hr) || FAILED(result)) {
        return failed(FAILED(hr) ? hr : result, what, err);
    }
    if (result != (abi_hresult)VSS_S_ASYNC_FINISHED) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "VSS, %s: the call was cancelled", what);
    }
    return VARVE_OK;
}

typedef abi_hresult (*slow_call)(struct abi_vss_backup *self, struct abi_vss_async **call);

static enum varve_err
slowly(struct vss_session *s, slow_call fn, const struct vss_wait *wait, const char *what,
       struct varve_error *err)
{
    struct abi_vss_async *call = NULL;
    enum varve_err rc = check(fn(of(s)->backup, &call), what, err);

    if (rc == VARVE_OK && call == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "VSS, %s: no call to wait for", what);
    }
    return rc == VARVE_OK ? wait_for(call, wait, what, err) : rc;
}

/* ---- a session ---- */

static void
session_release(struct vss_session *s)
{
    (void)of(s)->backup->vtbl->release(of(s)->backup);
    free(s);
}

static enum varve_err
session_begin(struct vss_session *s, uint32_t type, struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    enum varve_err rc = check(b->vtbl->initialize_for_backup(b, NULL), "InitializeForBackup", err);

    if (rc == VARVE_OK) {
        rc = check(b->vtbl->set_context(b, ABI_VSS_CTX_BACKUP), "SetContext", err);
    }
    if (rc == VARVE_OK) {
        rc = check(b->vtbl->set_backup_state(b, 1, 0, (int32_t)type, 0), "SetBackupState", err);
    }
    return rc;
}

static enum varve_err
session_enable_writer(struct vss_session *s, const struct guid *writer, struct varve_error *err)
{
    const struct abi_vss_id id = guid_in(writer);

    return check(of(s)->backup->vtbl->enable_writer_classes(of(s)->backup, &id, 1),
                 "EnableWriterClasses", err);
}

static enum varve_err
read_writer(struct abi_vss_backup *b, uint32_t i, struct vss_writer *w, struct varve_error *err)
{
    struct abi_vss_metadata *m = NULL;
    struct abi_vss_id instance;
    struct abi_vss_id same;
    struct abi_vss_id writer;
    abi_char *name = NULL;
    abi_char *xml = NULL;
    uint32_t includes = 0;
    uint32_t excludes = 0;
    uint32_t components = 0;
    int32_t usage = 0;
    int32_t source = 0;
    enum varve_err rc =
        check(b->vtbl->get_writer_metadata(b, i, &instance, &m), "GetWriterMetadata", err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc =
        check(m->vtbl->get_identity(m, &same, &writer, &name, &usage, &source), "GetIdentity", err);
    if (rc == VARVE_OK) {
        rc = take_bstr(&w->name, name, err);
    }
    if (rc == VARVE_OK) {
        rc = check(m->vtbl->get_file_counts(m, &includes, &excludes, &components), "GetFileCounts",
                   err);
    }
    if (rc == VARVE_OK) {
        rc = check(m->vtbl->save_as_xml(m, &xml), "SaveAsXML", err);
    }
    if (rc == VARVE_OK) {
        rc = take_bstr(&w->document, xml, err);
    }
    (void)m->vtbl->release(m);
    if (rc == VARVE_OK) {
        guid_out(&w->instance, &instance);
        guid_out(&w->writer, &writer);
        w->components = components;
    }
    return rc;
}

static enum varve_err
session_gather(struct vss_session *s, const struct vss_wait *wait, struct vss_writers *out,
               struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    struct vss_writers all = {0};
    uint32_t count = 0;
    uint32_t i;
    enum varve_err rc =
        slowly(s, b->vtbl->gather_writer_metadata, wait, "GatherWriterMetadata", err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = check(b->vtbl->get_writer_metadata_count(b, &count), "GetWriterMetadataCount", err);
    if (rc == VARVE_OK && count > VSS_WRITERS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "VSS has %u writers", count);
    }
    if (rc == VARVE_OK) {
        all.items = calloc((size_t)count + 1, sizeof(*all.items));
        rc = all.items != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < count; i++) {
        all.count = (size_t)i + 1;
        rc = read_writer(b, i, &all.items[i], err);
    }
    (void)b->vtbl->free_writer_metadata(b);
    if (rc != VARVE_OK) {
        vss_writers_release(&all);
        return rc;
    }
    *out = all;
    return VARVE_OK;
}

/* A component's names as Windows takes them; no path is NULL. */
static enum varve_err
component_names(const struct vss_component_id *c, wchar_t **path, wchar_t **name,
                struct varve_error *err)
{
    enum varve_err rc = wide_from_utf8(name, c->name, err);

    if (rc == VARVE_OK && c->path[0] != '\0') {
        rc = wide_from_utf8(path, c->path, err);
    }
    return rc;
}

static enum varve_err
session_add_component(struct vss_session *s, const struct vss_component_id *c,
                      struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    wchar_t *path = NULL;
    wchar_t *name = NULL;
    enum varve_err rc = component_names(c, &path, &name, err);

    if (rc == VARVE_OK) {
        rc = check(b->vtbl->add_component(b, guid_in(&c->instance), guid_in(&c->writer),
                                          (int32_t)c->type, (const abi_char *)path,
                                          (const abi_char *)name),
                   "AddComponent", err);
    }
    free(path);
    free(name);
    return rc;
}

static enum varve_err
session_start_set(struct vss_session *s, struct guid *set, struct varve_error *err)
{
    struct abi_vss_id id;
    enum varve_err rc =
        check(of(s)->backup->vtbl->start_snapshot_set(of(s)->backup, &id), "StartSnapshotSet", err);

    if (rc == VARVE_OK) {
        guid_out(set, &id);
    }
    return rc;
}

static enum varve_err
session_add_volume(struct vss_session *s, const char *volume, struct guid *snapshot,
                   struct varve_error *err)
{
    static const struct guid any_provider;
    struct abi_vss_backup *b = of(s)->backup;
    struct abi_vss_id id;
    wchar_t *wide = NULL;
    enum varve_err rc = wide_from_utf8(&wide, volume, err);

    if (rc == VARVE_OK) {
        rc = check(b->vtbl->add_to_snapshot_set(b, (abi_char *)wide, guid_in(&any_provider), &id),
                   "AddToSnapshotSet", err);
    }
    if (rc == VARVE_OK) {
        guid_out(snapshot, &id);
    }
    free(wide);
    return rc;
}

static enum varve_err
session_prepare(struct vss_session *s, const struct vss_wait *wait, struct varve_error *err)
{
    return slowly(s, of(s)->backup->vtbl->prepare_for_backup, wait, "PrepareForBackup", err);
}

static enum varve_err
session_freeze(struct vss_session *s, const struct vss_wait *wait, struct varve_error *err)
{
    return slowly(s, of(s)->backup->vtbl->do_snapshot_set, wait, "DoSnapshotSet", err);
}

static enum varve_err
session_status(struct vss_session *s, const struct vss_wait *wait, struct vss_statuses *out,
               struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    struct vss_statuses all = {0};
    uint32_t count = 0;
    uint32_t i;
    enum varve_err rc = slowly(s, b->vtbl->gather_writer_status, wait, "GatherWriterStatus", err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = check(b->vtbl->get_writer_status_count(b, &count), "GetWriterStatusCount", err);
    if (rc == VARVE_OK && count > VSS_WRITERS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "VSS has %u writers", count);
    }
    if (rc == VARVE_OK) {
        all.items = calloc((size_t)count + 1, sizeof(*all.items));
        rc = all.items != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < count; i++) {
        struct abi_vss_id instance;
        struct abi_vss_id writer;
        abi_char *name = NULL;
        abi_hresult failure = S_OK;
        int32_t state = 0;

        rc = check(b->vtbl->get_writer_status(b, i, &instance, &writer, &name, &state, &failure),
                   "GetWriterStatus", err);
        if (rc == VARVE_OK) {
            SysFreeString((BSTR)name);
            guid_out(&all.items[i].instance, &instance);
            guid_out(&all.items[i].writer, &writer);
            all.items[i].state = (uint32_t)state;
            all.items[i].failure = FAILED(failure) ? (uint32_t)failure : 0;
            all.count = (size_t)i + 1;
        }
    }
    (void)b->vtbl->free_writer_status(b);
    if (rc != VARVE_OK) {
        vss_statuses_release(&all);
        return rc;
    }
    *out = all;
    return VARVE_OK;
}

static enum varve_err
session_device(struct vss_session *s, const struct guid *snapshot, char out[VSS_DEVICE_MAX],
               struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    struct abi_vss_snapshot_prop prop;
    char *text = NULL;
    enum varve_err rc;

    memset(&prop, 0, sizeof(prop));
    rc = check(b->vtbl->get_snapshot_properties(b, guid_in(snapshot), &prop),
               "GetSnapshotProperties", err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = wide_to_utf8(&text, prop.device != NULL ? (const wchar_t *)prop.device : L"", err);
    of(s)->port->free_properties(&prop);
    if (rc == VARVE_OK && (text[0] == '\0' || strlen(text) >= VSS_DEVICE_MAX)) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "a shadow copy without a device");
    }
    if (rc == VARVE_OK) {
        (void)snprintf(out, VSS_DEVICE_MAX, "%s", text);
    }
    free(text);
    return rc;
}

static enum varve_err
session_set_succeeded(struct vss_session *s, const struct vss_component_id *c, bool succeeded,
                      struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    wchar_t *path = NULL;
    wchar_t *name = NULL;
    enum varve_err rc = component_names(c, &path, &name, err);

    if (rc == VARVE_OK) {
        rc = check(b->vtbl->set_backup_succeeded(b, guid_in(&c->instance), guid_in(&c->writer),
                                                 (int32_t)c->type, (const abi_char *)path,
                                                 (const abi_char *)name, succeeded ? 1 : 0),
                   "SetBackupSucceeded", err);
    }
    free(path);
    free(name);
    return rc;
}

static enum varve_err
session_document(struct vss_session *s, char **xml, struct varve_error *err)
{
    abi_char *text = NULL;
    enum varve_err rc =
        check(of(s)->backup->vtbl->save_as_xml(of(s)->backup, &text), "SaveAsXML", err);

    return rc == VARVE_OK ? take_bstr(xml, text, err) : rc;
}

static enum varve_err
session_complete(struct vss_session *s, const struct vss_wait *wait, struct varve_error *err)
{
    return slowly(s, of(s)->backup->vtbl->backup_complete, wait, "BackupComplete", err);
}

static enum varve_err
session_abort(struct vss_session *s, struct varve_error *err)
{
    return check(of(s)->backup->vtbl->abort_backup(of(s)->backup), "AbortBackup", err);
}

static enum varve_err
session_delete_set(struct vss_session *s, const struct guid *set, struct varve_error *err)
{
    struct abi_vss_backup *b = of(s)->backup;
    struct abi_vss_id left;
    int32_t deleted = 0;
    abi_hresult hr =
        b->vtbl->delete_snapshots(b, guid_in(set), ABI_VSS_OBJECT_SNAPSHOT_SET, 1, &deleted, &left);

    return (uint32_t)hr == VSS_E_OBJECT_NOT_FOUND ? VARVE_OK : check(hr, "DeleteSnapshots", err);
}

static const struct vss_session_ops session_ops = {
    .release = session_release,
    .begin = session_begin,
    .enable_writer = session_enable_writer,
    .gather = session_gather,
    .add_component = session_add_component,
    .start_set = session_start_set,
    .add_volume = session_add_volume,
    .prepare = session_prepare,
    .freeze = session_freeze,
    .status = session_status,
    .device = session_device,
    .set_succeeded = session_set_succeeded,
    .document = session_document,
    .complete = session_complete,
    .abort = session_abort,
    .delete_set = session_delete_set,
};

/* ---- the port ---- */

static void
port_close(struct vss_port *p)
{
    struct win_port *port = (struct win_port *)p;

    if (port->apartment != NULL) {
        (void)CoDecrementMTAUsage(port->apartment);
    }
    if (port->dll != NULL) {
        (void)FreeLibrary(port->dll);
    }
    free(port);
}

static enum varve_err
port_open(struct vss_port *p, struct vss_session **out, struct varve_error *err)
{
    const struct win_port *port = (const struct win_port *)p;
    struct win_session *s = calloc(1, sizeof(*s));
    enum varve_err rc;

    if (s == NULL) {
        return varve_error_nomem(err);
    }
    s->base.ops = &session_ops;
    s->port = port;
    rc = check(port->create(&s->backup), "CreateVssBackupComponents", err);
    if (rc != VARVE_OK) {
        free(s);
        return rc;
    }
    *out = &s->base;
    return VARVE_OK;
}

static enum varve_err
port_volume_root(struct vss_port *p, const char *path, char **root, struct varve_error *err)
{
    wchar_t volume[1024];
    wchar_t *wide = NULL;
    enum varve_err rc = wide_from_utf8(&wide, path, err);

    (void)p;
    if (rc == VARVE_OK && !GetVolumePathNameW(wide, volume, sizeof(volume) / sizeof(volume[0]))) {
        rc = varve_error_win32(err, GetLastError(), "the volume of '%s'", path);
    }
    if (rc == VARVE_OK) {
        rc = wide_to_utf8(root, volume, err);
    }
    free(wide);
    return rc;
}

static const struct vss_port_ops port_ops = {
    .close = port_close,
    .open = port_open,
    .volume_root = port_volume_root,
};

static FARPROC
find(const struct win_port *port, const char *name)
{
    return GetProcAddress(port->dll, name);
}

enum varve_err
win_vss_open(struct vss_port **out, struct varve_error *err)
{
    struct win_port *port = calloc(1, sizeof(*port));
    FARPROC create;
    FARPROC free_properties;
    HRESULT hr;

    if (port == NULL) {
        return varve_error_nomem(err);
    }
    port->base.ops = &port_ops;
    port->dll = LoadLibraryExW(L"vssapi.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (port->dll == NULL) {
        DWORD code = GetLastError();

        port_close(&port->base);
        (void)varve_error_win32(err, code, "loading vssapi.dll of the system");
        err->code = VARVE_ERR_UNSUPPORTED;
        return VARVE_ERR_UNSUPPORTED;
    }
    create = find(port, "CreateVssBackupComponentsInternal");
    free_properties = find(port, "VssFreeSnapshotPropertiesInternal");
    if (create == NULL || free_properties == NULL) {
        port_close(&port->base);
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "vssapi.dll of this system lacks what backups need");
    }
    memcpy(&port->create, &create, sizeof(create));
    memcpy(&port->free_properties, &free_properties, sizeof(free_properties));
    hr = CoIncrementMTAUsage(&port->apartment);
    if (FAILED(hr)) {
        port->apartment = NULL;
        port_close(&port->base);
        return vss_error(err, (uint32_t)hr, "COM, keeping the apartment");
    }
    /* Once per process; RPC_E_TOO_LATE: somebody did. */
    (void)CoInitializeSecurity(NULL, -1, NULL, NULL, RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                               RPC_C_IMP_LEVEL_IMPERSONATE, NULL, EOAC_STATIC_CLOAKING, NULL);
    *out = &port->base;
    return VARVE_OK;
}
