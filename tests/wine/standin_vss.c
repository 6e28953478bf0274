/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vssapi.dll of a simulated host: each call goes to `hvsim ports`, which judges it, logs it and makes it fail when a
 * test wants that.  The objects are those of mingw-w64's <vsbackup.h>, not of the agent's own declarations: a method
 * that stood in another place there would be found here.  Methods that the agent has no business with are NULL.
 *
 * A call that VSS answers later is carried out at once; its IVssAsync says "pending" once, then how it went.
 */
#define COBJMACROS
#define CONST_VTABLE
#include "wine/standin_link.h"

#include <vss.h>

#include <vswriter.h>

#include <vsbackup.h>

#include <stdlib.h>
#include <string.h>

#include "base/guid.h"

#define E_BAD_STATE     ((HRESULT)0x80042301)
#define ASYNC_PENDING   ((HRESULT)0x00042309)
#define ASYNC_FINISHED  ((HRESULT)0x0004230A)
#define ASYNC_CANCELLED ((HRESULT)0x0004230B)

struct async {
    IVssAsync base;
    HRESULT result;
    LONG asked;
};

struct metadata {
    IVssExamineWriterMetadata base;
    json_t *writer;
};

struct backup {
    IVssBackupComponents base;
    json_int_t session;
    LONG context; /* -1: not set */
    json_t *writers;
    json_t *statuses;
};

HRESULT WINAPI standin_create(IVssBackupComponents **out);
void WINAPI standin_free_properties(VSS_SNAPSHOT_PROP *p);

/* ---- asking ---- */

static HRESULT
code_of(uint32_t number)
{
    return number >= 0x80000000u ? (HRESULT)number : HRESULT_FROM_WIN32(number);
}

/* Takes params (NULL: none).  *reply (NULL: not wanted) is the caller's. */
static HRESULT
ask(const struct backup *b, const char *op, json_t *params, json_t **reply)
{
    json_t *request = params != NULL ? params : json_object();
    uint32_t number = 0;
    json_t *o;

    (void)json_object_set_new(request, "op", json_string(op));
    (void)json_object_set_new(request, "session", json_integer(b->session));
    o = standin_ask(request, NULL, 0, &number);
    if (o == NULL) {
        return code_of(number);
    }
    if (reply != NULL) {
        *reply = o;
    } else {
        json_decref(o);
    }
    return S_OK;
}

static void
put_id(json_t *o, const char *key, const VSS_ID *id)
{
    char text[GUID_TEXT_SIZE];
    uint8_t mixed[16];
    struct guid g;

    memcpy(mixed, id, sizeof(mixed));
    guid_from_mixed(&g, mixed);
    guid_format(&g, text);
    (void)json_object_set_new(o, key, json_string(text));
}

static void
get_id(const json_t *o, const char *key, VSS_ID *id)
{
    const char *text = json_string_value(json_object_get(o, key));
    uint8_t mixed[16] = {0};
    struct guid g;

    if (text != NULL && guid_parse(&g, text)) {
        guid_to_mixed(&g, mixed);
    }
    memcpy(id, mixed, sizeof(mixed));
}

static void
put_text(json_t *o, const char *key, const wchar_t *text)
{
    char *utf8 = standin_utf8(text != NULL ? text : L"");

    (void)json_object_set_new(o, key, json_string(utf8));
    free(utf8);
}

static BSTR
get_bstr(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return standin_bstr(text != NULL ? text : "");
}

/* ---- IVssAsync ---- */

static HRESULT STDMETHODCALLTYPE
async_query_interface(IVssAsync *self, REFIID id, void **out)
{
    (void)self;
    (void)id;
    *out = NULL;
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE
async_add_ref(IVssAsync *self)
{
    (void)self;
    return 2;
}

static ULONG STDMETHODCALLTYPE
async_release(IVssAsync *self)
{
    free(self);
    return 0;
}

static HRESULT STDMETHODCALLTYPE
async_cancel(IVssAsync *self)
{
    ((struct async *)self)->result = ASYNC_CANCELLED;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
async_wait(IVssAsync *self, DWORD ms)
{
    (void)self;
    (void)ms;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
async_query_status(IVssAsync *self, HRESULT *result, INT *reserved)
{
    struct async *a = (struct async *)self;

    (void)reserved;
    *result = a->asked++ == 0 ? ASYNC_PENDING : a->result;
    return S_OK;
}

static const IVssAsyncVtbl async_methods = {
    .QueryInterface = async_query_interface,
    .AddRef = async_add_ref,
    .Release = async_release,
    .Cancel = async_cancel,
    .Wait = async_wait,
    .QueryStatus = async_query_status,
};

static HRESULT
answer_later(IVssAsync **out, HRESULT result)
{
    struct async *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return E_OUTOFMEMORY;
    }
    a->base.lpVtbl = &async_methods;
    a->result = FAILED(result) ? result : ASYNC_FINISHED;
    *out = &a->base;
    return S_OK;
}

/* ---- IVssExamineWriterMetadata ---- */

static ULONG STDMETHODCALLTYPE
metadata_release(IVssExamineWriterMetadata *self)
{
    json_decref(((struct metadata *)self)->writer);
    free(self);
    return 0;
}

static HRESULT STDMETHODCALLTYPE
metadata_identity(IVssExamineWriterMetadata *self, VSS_ID *instance, VSS_ID *writer, BSTR *name,
                  VSS_USAGE_TYPE *usage, VSS_SOURCE_TYPE *source)
{
    const struct metadata *m = (const struct metadata *)self;

    get_id(m->writer, "instance", instance);
    get_id(m->writer, "writer", writer);
    *name = get_bstr(m->writer, "name");
    *usage = VSS_UT_USERDATA;
    *source = VSS_ST_OTHER;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
metadata_counts(IVssExamineWriterMetadata *self, UINT *includes, UINT *excludes, UINT *components)
{
    const struct metadata *m = (const struct metadata *)self;

    *includes = 0;
    *excludes = 0;
    *components = (UINT)json_integer_value(json_object_get(m->writer, "components"));
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
metadata_save(IVssExamineWriterMetadata *self, BSTR *xml)
{
    *xml = get_bstr(((const struct metadata *)self)->writer, "document");
    return S_OK;
}

static const IVssExamineWriterMetadataVtbl metadata_methods = {
    .Release = metadata_release,
    .GetIdentity = metadata_identity,
    .GetFileCounts = metadata_counts,
    .SaveAsXML = metadata_save,
};

/* ---- IVssBackupComponents ---- */

static struct backup *
of(IVssBackupComponents *self)
{
    return (struct backup *)self;
}

static ULONG STDMETHODCALLTYPE
backup_release(IVssBackupComponents *self)
{
    struct backup *b = of(self);
    HRESULT hr = ask(b, "vss.release", NULL, NULL);

    (void)hr;
    json_decref(b->writers);
    json_decref(b->statuses);
    free(b);
    return 0;
}

static HRESULT STDMETHODCALLTYPE
backup_initialize(IVssBackupComponents *self, BSTR xml)
{
    (void)self;
    return xml == NULL ? S_OK : E_INVALIDARG;
}

static HRESULT STDMETHODCALLTYPE
backup_set_context(IVssBackupComponents *self, LONG context)
{
    of(self)->context = context;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
backup_set_state(IVssBackupComponents *self, boolean components, boolean bootable,
                 VSS_BACKUP_TYPE type, boolean partial)
{
    if (of(self)->context != VSS_CTX_BACKUP || components != 1 || bootable != 0 || partial != 0) {
        return E_BAD_STATE;
    }
    return ask(of(self), "vss.begin", json_pack("{s:i}", "type", (int)type), NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_enable(IVssBackupComponents *self, const VSS_ID *writers, UINT count)
{
    json_t *params = json_object();

    if (count != 1) {
        json_decref(params);
        return E_INVALIDARG;
    }
    put_id(params, "id", writers);
    return ask(of(self), "vss.enable_writer", params, NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_gather(IVssBackupComponents *self, IVssAsync **call)
{
    struct backup *b = of(self);
    json_t *reply = NULL;
    HRESULT hr = ask(b, "vss.gather", NULL, &reply);

    if (SUCCEEDED(hr)) {
        b->writers = json_incref(json_object_get(reply, "writers"));
        json_decref(reply);
    }
    return answer_later(call, hr);
}

static HRESULT STDMETHODCALLTYPE
backup_writer_count(IVssBackupComponents *self, UINT *count)
{
    *count = (UINT)json_array_size(of(self)->writers);
    return of(self)->writers != NULL ? S_OK : E_BAD_STATE;
}

static HRESULT STDMETHODCALLTYPE
backup_writer(IVssBackupComponents *self, UINT i, VSS_ID *instance, IVssExamineWriterMetadata **out)
{
    json_t *writer = json_array_get(of(self)->writers, i);
    struct metadata *m = calloc(1, sizeof(*m));

    if (writer == NULL || m == NULL) {
        free(m);
        return E_INVALIDARG;
    }
    m->base.lpVtbl = &metadata_methods;
    m->writer = json_incref(writer);
    get_id(writer, "instance", instance);
    *out = &m->base;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
backup_free_writers(IVssBackupComponents *self)
{
    json_decref(of(self)->writers);
    of(self)->writers = NULL;
    return S_OK;
}

static json_t *
component(const VSS_ID *instance, const VSS_ID *writer, VSS_COMPONENT_TYPE type,
          const wchar_t *path, const wchar_t *name)
{
    json_t *o = json_pack("{s:i}", "type", (int)type);

    put_id(o, "instance", instance);
    put_id(o, "writer", writer);
    put_text(o, "path", path);
    put_text(o, "name", name);
    return o;
}

static HRESULT STDMETHODCALLTYPE
backup_add(IVssBackupComponents *self, VSS_ID instance, VSS_ID writer, VSS_COMPONENT_TYPE type,
           LPCWSTR path, LPCWSTR name)
{
    return ask(of(self), "vss.add_component", component(&instance, &writer, type, path, name),
               NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_start_set(IVssBackupComponents *self, VSS_ID *set)
{
    json_t *reply = NULL;
    HRESULT hr = ask(of(self), "vss.start_set", NULL, &reply);

    if (SUCCEEDED(hr)) {
        get_id(reply, "id", set);
        json_decref(reply);
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE
backup_add_volume(IVssBackupComponents *self, VSS_PWSZ volume, VSS_ID provider, VSS_ID *snapshot)
{
    json_t *params = json_object();
    json_t *reply = NULL;
    size_t len = wcslen(volume);
    HRESULT hr;

    (void)provider;
    if (len == 0 || volume[len - 1] != L'\\') { /* a volume's name has its end */
        json_decref(params);
        return E_INVALIDARG;
    }
    put_text(params, "volume", volume);
    hr = ask(of(self), "vss.add_volume", params, &reply);
    if (SUCCEEDED(hr)) {
        get_id(reply, "id", snapshot);
        json_decref(reply);
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE
backup_prepare(IVssBackupComponents *self, IVssAsync **call)
{
    return answer_later(call, ask(of(self), "vss.prepare", NULL, NULL));
}

static HRESULT STDMETHODCALLTYPE
backup_freeze(IVssBackupComponents *self, IVssAsync **call)
{
    return answer_later(call, ask(of(self), "vss.freeze", NULL, NULL));
}

static HRESULT STDMETHODCALLTYPE
backup_complete(IVssBackupComponents *self, IVssAsync **call)
{
    return answer_later(call, ask(of(self), "vss.complete", NULL, NULL));
}

static HRESULT STDMETHODCALLTYPE
backup_abort(IVssBackupComponents *self)
{
    return ask(of(self), "vss.abort", NULL, NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_gather_status(IVssBackupComponents *self, IVssAsync **call)
{
    struct backup *b = of(self);
    json_t *reply = NULL;
    HRESULT hr = ask(b, "vss.status", NULL, &reply);

    if (SUCCEEDED(hr)) {
        json_decref(b->statuses);
        b->statuses = json_incref(json_object_get(reply, "writers"));
        json_decref(reply);
    }
    return answer_later(call, hr);
}

static HRESULT STDMETHODCALLTYPE
backup_status_count(IVssBackupComponents *self, UINT *count)
{
    *count = (UINT)json_array_size(of(self)->statuses);
    return of(self)->statuses != NULL ? S_OK : E_BAD_STATE;
}

static HRESULT STDMETHODCALLTYPE
backup_status(IVssBackupComponents *self, UINT i, VSS_ID *instance, VSS_ID *writer, BSTR *name,
              VSS_WRITER_STATE *state, HRESULT *failure)
{
    const json_t *o = json_array_get(of(self)->statuses, i);

    if (o == NULL) {
        return E_INVALIDARG;
    }
    get_id(o, "instance", instance);
    get_id(o, "writer", writer);
    *name = standin_bstr("a writer");
    *state = (VSS_WRITER_STATE)json_integer_value(json_object_get(o, "state"));
    *failure = (HRESULT)(uint32_t)json_integer_value(json_object_get(o, "failure"));
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
backup_free_status(IVssBackupComponents *self)
{
    json_decref(of(self)->statuses);
    of(self)->statuses = NULL;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
backup_succeeded(IVssBackupComponents *self, VSS_ID instance, VSS_ID writer,
                 VSS_COMPONENT_TYPE type, LPCWSTR path, LPCWSTR name, boolean succeeded)
{
    json_t *params = component(&instance, &writer, type, path, name);

    (void)json_object_set_new(params, "yes", json_boolean(succeeded));
    return ask(of(self), "vss.set_succeeded", params, NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_save(IVssBackupComponents *self, BSTR *xml)
{
    json_t *reply = NULL;
    HRESULT hr = ask(of(self), "vss.document", NULL, &reply);

    if (SUCCEEDED(hr)) {
        *xml = get_bstr(reply, "text");
        json_decref(reply);
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE
backup_delete(IVssBackupComponents *self, VSS_ID source, VSS_OBJECT_TYPE type, WINBOOL force,
              LONG *deleted, VSS_ID *left)
{
    json_t *params = json_object();

    (void)force;
    (void)left;
    if (type != VSS_OBJECT_SNAPSHOT_SET) {
        json_decref(params);
        return E_INVALIDARG;
    }
    *deleted = 1;
    put_id(params, "id", &source);
    return ask(of(self), "vss.delete_set", params, NULL);
}

static HRESULT STDMETHODCALLTYPE
backup_properties(IVssBackupComponents *self, VSS_ID snapshot, VSS_SNAPSHOT_PROP *out)
{
    json_t *params = json_object();
    json_t *reply = NULL;
    BSTR text;
    HRESULT hr;

    put_id(params, "id", &snapshot);
    hr = ask(of(self), "vss.device", params, &reply);
    if (FAILED(hr)) {
        return hr;
    }
    memset(out, 0, sizeof(*out));
    text = get_bstr(reply, "text");
    json_decref(reply);
    out->m_SnapshotId = snapshot;
    out->m_lSnapshotsCount = 1;
    out->m_pwszSnapshotDeviceObject = CoTaskMemAlloc((wcslen(text) + 1) * sizeof(*text));
    if (out->m_pwszSnapshotDeviceObject != NULL) {
        memcpy(out->m_pwszSnapshotDeviceObject, text, (wcslen(text) + 1) * sizeof(*text));
    }
    SysFreeString(text);
    return S_OK;
}

static const IVssBackupComponentsVtbl backup_methods = {
    .Release = backup_release,
    .InitializeForBackup = backup_initialize,
    .SetBackupState = backup_set_state,
    .GatherWriterMetadata = backup_gather,
    .GetWriterMetadataCount = backup_writer_count,
    .GetWriterMetadata = backup_writer,
    .FreeWriterMetadata = backup_free_writers,
    .AddComponent = backup_add,
    .PrepareForBackup = backup_prepare,
    .AbortBackup = backup_abort,
    .GatherWriterStatus = backup_gather_status,
    .GetWriterStatusCount = backup_status_count,
    .FreeWriterStatus = backup_free_status,
    .GetWriterStatus = backup_status,
    .SetBackupSucceeded = backup_succeeded,
    .SaveAsXML = backup_save,
    .BackupComplete = backup_complete,
    .SetContext = backup_set_context,
    .StartSnapshotSet = backup_start_set,
    .AddToSnapshotSet = backup_add_volume,
    .DoSnapshotSet = backup_freeze,
    .DeleteSnapshots = backup_delete,
    .GetSnapshotProperties = backup_properties,
    .EnableWriterClasses = backup_enable,
};

/* ---- the DLL ---- */

HRESULT WINAPI
standin_create(IVssBackupComponents **out)
{
    struct backup *b = calloc(1, sizeof(*b));
    uint32_t number = 0;
    json_t *reply;

    if (b == NULL) {
        return E_OUTOFMEMORY;
    }
    reply = standin_ask(json_pack("{s:s}", "op", "vss.open"), NULL, 0, &number);
    if (reply == NULL) {
        free(b);
        return code_of(number);
    }
    b->base.lpVtbl = &backup_methods;
    b->context = -1;
    b->session = json_integer_value(json_object_get(reply, "session"));
    json_decref(reply);
    *out = &b->base;
    return S_OK;
}

void WINAPI
standin_free_properties(VSS_SNAPSHOT_PROP *p)
{
    CoTaskMemFree(p->m_pwszSnapshotDeviceObject);
    memset(p, 0, sizeof(*p));
}
