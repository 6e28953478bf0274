/* SPDX-License-Identifier: Apache-2.0 */
#define INITGUID
#include "wine/standin_wmi.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "hvsim/port_wire.h"

#define TABLE(name, vtbl) static standin_slot name[sizeof(vtbl) / sizeof(standin_slot)]

TABLE(factory_table, IClassFactoryVtbl);
TABLE(locator_table, IWbemLocatorVtbl);
TABLE(services_table, IWbemServicesVtbl);
TABLE(list_table, IEnumWbemClassObjectVtbl);
TABLE(result_table, IWbemCallResultVtbl);

HRESULT WINAPI standin_get_class(REFCLSID wanted, REFIID riid, void **out);
BOOL WINAPI DllMain(HINSTANCE self, DWORD why, LPVOID reserved);

HRESULT
standin_hresult(uint32_t number)
{
    return number >= 0x80000000u ? (HRESULT)number : (HRESULT)WBEM_E_FAILED;
}

/* ---- every object ---- */

static HRESULT STDMETHODCALLTYPE
not_there(struct standin_com *self)
{
    (void)self;
    return E_NOTIMPL;
}

static ULONG STDMETHODCALLTYPE
add_ref(struct standin_com *self)
{
    return (ULONG)InterlockedIncrement(&self->refs);
}

static ULONG STDMETHODCALLTYPE
release(struct standin_com *self)
{
    LONG left = InterlockedDecrement(&self->refs);

    if (left == 0) {
        wmi_object_release(&self->object);
        json_decref(self->json);
        json_decref(self->types);
        if (self->whose != NULL) {
            (void)release(self->whose);
        }
        free(self->name);
        free(self);
    }
    return (ULONG)left;
}

static REFIID
iid_of(enum standin_kind kind)
{
    switch (kind) {
    case STANDIN_FACTORY:
        return &IID_IClassFactory;
    case STANDIN_LOCATOR:
        return &IID_IWbemLocator;
    case STANDIN_SERVICES:
        return &IID_IWbemServices;
    case STANDIN_LIST:
        return &IID_IEnumWbemClassObject;
    case STANDIN_RESULT:
        return &IID_IWbemCallResult;
    case STANDIN_WRITER:
        return &IID_IWbemObjectTextSrc;
    case STANDIN_SECURITY:
        return &IID_IClientSecurity;
    default:
        return &IID_IWbemClassObject;
    }
}

static HRESULT STDMETHODCALLTYPE
query_interface(struct standin_com *self, REFIID riid, void **out)
{
    *out = NULL;
    if (self->remote && IsEqualIID(riid, &IID_IClientSecurity)) {
        struct standin_com *c = standin_new(STANDIN_SECURITY, NULL, NULL);

        if (c == NULL) {
            return E_OUTOFMEMORY;
        }
        (void)add_ref(self);
        c->whose = self;
        *out = c;
        return S_OK;
    }
    if (!IsEqualIID(riid, &IID_IUnknown) && !IsEqualIID(riid, iid_of(self->kind))) {
        return E_NOINTERFACE; /* IClientSecurity too: what is of this machine is no proxy */
    }
    (void)add_ref(self);
    *out = self;
    return S_OK;
}

void
standin_table(standin_slot *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        table[i] = (standin_slot)not_there;
    }
    table[0] = (standin_slot)query_interface;
    table[1] = (standin_slot)add_ref;
    table[2] = (standin_slot)release;
}

static const standin_slot *
table_of(enum standin_kind kind)
{
    switch (kind) {
    case STANDIN_FACTORY:
        return factory_table;
    case STANDIN_LOCATOR:
        return locator_table;
    case STANDIN_SERVICES:
        return services_table;
    case STANDIN_LIST:
        return list_table;
    case STANDIN_RESULT:
        return result_table;
    case STANDIN_WRITER:
        return standin_writer_table();
    case STANDIN_SECURITY:
        return standin_security_table();
    default:
        return standin_object_table();
    }
}

struct standin_com *
standin_new(enum standin_kind kind, const char *name, json_t *json)
{
    struct standin_com *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        json_decref(json);
        return NULL;
    }
    c->vtable = table_of(kind);
    c->refs = 1;
    c->kind = kind;
    c->name = name != NULL ? _strdup(name) : NULL;
    c->json = json;
    return c;
}

struct standin_com *
standin_object(const json_t *j)
{
    struct standin_com *c = standin_new(STANDIN_OBJECT, NULL, NULL);
    struct varve_error err;

    if (c != NULL && port_wire_object_read(j, &c->object, &err) != VARVE_OK) {
        (void)release(c);
        c = NULL;
    }
    return c;
}

/* ---- IEnumWbemClassObject ---- */

static HRESULT STDMETHODCALLTYPE
list_next(struct standin_com *self, LONG timeout, ULONG count, IWbemClassObject **out, ULONG *got)
{
    ULONG n = 0;

    (void)timeout;
    if (!standin_may_call(self)) {
        return E_ACCESSDENIED;
    }
    while (n < count && self->at < json_array_size(self->json)) {
        struct standin_com *c = standin_object(json_array_get(self->json, self->at++));

        if (c == NULL) {
            return (HRESULT)WBEM_E_FAILED;
        }
        out[n++] = (IWbemClassObject *)(void *)c;
    }
    *got = n;
    return n == count ? WBEM_S_NO_ERROR : WBEM_S_FALSE;
}

/* ---- IWbemCallResult ---- */

static HRESULT STDMETHODCALLTYPE
result_object(struct standin_com *self, LONG timeout, IWbemClassObject **out)
{
    (void)timeout;
    if (!standin_may_call(self)) {
        return E_ACCESSDENIED;
    }
    if (self->name != NULL) {
        *out = (IWbemClassObject *)(void *)standin_new(STANDIN_CLASS, self->name, NULL);
    } else {
        *out = (IWbemClassObject *)(void *)standin_object(self->json);
    }
    return *out != NULL ? WBEM_S_NO_ERROR : (HRESULT)WBEM_E_FAILED;
}

/* ---- IWbemServices ---- */

static const char *
space_of(const struct standin_com *services)
{
    return services->cluster ? "cluster" : "";
}

static HRESULT STDMETHODCALLTYPE
services_query(struct standin_com *self, BSTR language, BSTR query, LONG flags, IWbemContext *ctx,
               IEnumWbemClassObject **out)
{
    char *wql = standin_utf8(query);
    uint32_t number = 0;
    struct standin_com *list;
    json_t *reply;

    (void)ctx;
    *out = NULL;
    if (!standin_may_call(self)) {
        free(wql);
        return E_ACCESSDENIED;
    }
    if (wcscmp(language, L"WQL") != 0 ||
        flags != (WBEM_FLAG_FORWARD_ONLY | WBEM_FLAG_RETURN_IMMEDIATELY)) {
        free(wql);
        return (HRESULT)WBEM_E_INVALID_PARAMETER;
    }
    reply = standin_ask(
        json_pack("{s:s,s:s,s:s}", "op", "wmi.query", "space", space_of(self), "wql", wql), NULL, 0,
        &number);
    free(wql);
    if (reply == NULL) {
        return standin_hresult(number);
    }
    list = standin_new(STANDIN_LIST, NULL, json_incref(json_object_get(reply, "objects")));
    json_decref(reply);
    if (list == NULL) {
        return E_OUTOFMEMORY;
    }
    list->remote = self->remote;
    *out = (IEnumWbemClassObject *)(void *)list;
    return WBEM_S_NO_ERROR;
}

/* Both calls below are made to answer later, through an IWbemCallResult, as a system does. */
static HRESULT
answer_later(const struct standin_com *services, const char *name, json_t *json, LONG flags,
             IWbemCallResult **call)
{
    struct standin_com *c;

    if (flags != WBEM_FLAG_RETURN_IMMEDIATELY || call == NULL || *call != NULL) {
        json_decref(json);
        return (HRESULT)WBEM_E_INVALID_PARAMETER;
    }
    c = standin_new(STANDIN_RESULT, name, json);
    if (c == NULL) {
        return E_OUTOFMEMORY;
    }
    c->remote = services->remote;
    *call = (IWbemCallResult *)(void *)c;
    return WBEM_S_NO_ERROR;
}

static HRESULT STDMETHODCALLTYPE
services_get(struct standin_com *self, BSTR wide, LONG flags, IWbemContext *ctx,
             IWbemClassObject **object, IWbemCallResult **call)
{
    char *path = standin_utf8(wide);
    bool is_class = strchr(path, '=') == NULL;
    uint32_t number = 0;
    json_t *reply;
    HRESULT hr;

    (void)ctx;
    (void)object;
    if (!standin_may_call(self)) {
        free(path);
        return E_ACCESSDENIED;
    }
    reply = standin_ask(json_pack("{s:s,s:s,s:s}", "op", is_class ? "wmi.class" : "wmi.get",
                                  "space", space_of(self), is_class ? "class" : "path", path),
                        NULL, 0, &number);
    if (reply == NULL) {
        hr = standin_hresult(number);
    } else if (is_class && !json_is_true(json_object_get(reply, "has"))) {
        hr = (HRESULT)WBEM_E_NOT_FOUND;
    } else {
        hr = answer_later(self, is_class ? path : NULL,
                          is_class ? NULL : json_incref(json_object_get(reply, "object")), flags,
                          call);
    }
    json_decref(reply);
    free(path);
    return hr;
}

static HRESULT STDMETHODCALLTYPE
services_exec(struct standin_com *self, BSTR wide_path, BSTR wide_method, LONG flags,
              IWbemContext *ctx, IWbemClassObject *in, IWbemClassObject **out,
              IWbemCallResult **call)
{
    const struct standin_com *arguments = (const struct standin_com *)(void *)in;
    char *path = standin_utf8(wide_path);
    char *method = standin_utf8(wide_method);
    uint32_t number = 0;
    json_t *reply;
    json_t *given;
    HRESULT hr;

    (void)ctx;
    (void)out;
    if (!standin_may_call(self)) {
        free(path);
        free(method);
        return E_ACCESSDENIED;
    }
    reply =
        standin_ask(json_pack("{s:s,s:s,s:s,s:s,s:o}", "op", "wmi.exec", "space", space_of(self),
                              "path", path, "method", method, "params",
                              arguments != NULL ? json_deep_copy(arguments->json) : json_array()),
                    NULL, 0, &number);
    free(path);
    free(method);
    if (reply == NULL) {
        return standin_hresult(number);
    }
    given = json_object_get(reply, "out");
    (void)json_array_append_new(json_object_get(given, "properties"),
                                json_pack("{s:s,s:i,s:O}", "name", "ReturnValue", "type",
                                          WMI_UINT32, "v", json_object_get(reply, "return_value")));
    hr = answer_later(self, NULL, json_incref(given), flags, call);
    json_decref(reply);
    return hr;
}

/* ---- IWbemLocator and the way to it ---- */

static HRESULT STDMETHODCALLTYPE
locator_connect(struct standin_com *self, const BSTR where, const BSTR user, const BSTR password,
                const BSTR locale, LONG flags, const BSTR authority, IWbemContext *ctx,
                IWbemServices **out)
{
    const wchar_t *rest = where;
    char *server = standin_server(where, &rest);
    bool cluster = _wcsicmp(rest, L"ROOT\\HyperVCluster\\v2") == 0;
    struct standin_com *services;
    uint32_t number = 0;
    json_t *reply;

    (void)self;
    (void)locale;
    (void)flags;
    (void)authority;
    (void)ctx;
    *out = NULL;
    if (user != NULL || password != NULL ||
        (!cluster &&
         _wcsicmp(rest, L"ROOT\\virtualization\\v2") != 0)) { /* as the process's own account */
        free(server);
        return (HRESULT)WBEM_E_INVALID_NAMESPACE;
    }
    reply = standin_ask(json_pack("{s:s,s:s,s:s}", "op", "wmi.connect", "space",
                                  cluster ? "cluster" : "", "server", server != NULL ? server : ""),
                        NULL, 0, &number);
    services = reply != NULL ? standin_new(STANDIN_SERVICES, NULL, NULL) : NULL;
    if (services != NULL) {
        services->remote = server != NULL;
        services->cluster = cluster;
    }
    free(server);
    if (reply == NULL) {
        return standin_hresult(number);
    }
    json_decref(reply);
    *out = (IWbemServices *)(void *)services;
    return services != NULL ? WBEM_S_NO_ERROR : E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE
factory_create(struct standin_com *self, IUnknown *outer, REFIID riid, void **out)
{
    struct standin_com *c;
    HRESULT hr;

    *out = NULL;
    if (outer != NULL) {
        return CLASS_E_NOAGGREGATION;
    }
    c = standin_new(IsEqualCLSID(self->wanted, &CLSID_WbemLocator) ? STANDIN_LOCATOR
                                                                   : STANDIN_WRITER,
                    NULL, NULL);
    if (c == NULL) {
        return E_OUTOFMEMORY;
    }
    hr = query_interface(c, riid, out);
    (void)release(c);
    return hr;
}

HRESULT WINAPI
standin_get_class(REFCLSID wanted, REFIID riid, void **out)
{
    struct standin_com *c;
    HRESULT hr;

    *out = NULL;
    if (!IsEqualCLSID(wanted, &CLSID_WbemLocator) &&
        !IsEqualCLSID(wanted, &CLSID_WbemObjectTextSrc)) {
        return CLASS_E_CLASSNOTAVAILABLE;
    }
    c = standin_new(STANDIN_FACTORY, NULL, NULL);
    if (c == NULL) {
        return E_OUTOFMEMORY;
    }
    c->wanted =
        IsEqualCLSID(wanted, &CLSID_WbemLocator) ? &CLSID_WbemLocator : &CLSID_WbemObjectTextSrc;
    hr = query_interface(c, riid, out);
    (void)release(c);
    return hr;
}

static void
make_tables(void)
{
    standin_table(factory_table, sizeof(factory_table) / sizeof(standin_slot));
    factory_table[STANDIN_AT(IClassFactoryVtbl, CreateInstance)] = (standin_slot)factory_create;
    standin_table(locator_table, sizeof(locator_table) / sizeof(standin_slot));
    locator_table[STANDIN_AT(IWbemLocatorVtbl, ConnectServer)] = (standin_slot)locator_connect;
    standin_table(services_table, sizeof(services_table) / sizeof(standin_slot));
    services_table[STANDIN_AT(IWbemServicesVtbl, ExecQuery)] = (standin_slot)services_query;
    services_table[STANDIN_AT(IWbemServicesVtbl, GetObject)] = (standin_slot)services_get;
    services_table[STANDIN_AT(IWbemServicesVtbl, ExecMethod)] = (standin_slot)services_exec;
    standin_table(list_table, sizeof(list_table) / sizeof(standin_slot));
    list_table[STANDIN_AT(IEnumWbemClassObjectVtbl, Next)] = (standin_slot)list_next;
    standin_table(result_table, sizeof(result_table) / sizeof(standin_slot));
    result_table[STANDIN_AT(IWbemCallResultVtbl, GetResultObject)] = (standin_slot)result_object;
    (void)standin_object_table();
    (void)standin_writer_table();
    (void)standin_security_table();
}

BOOL WINAPI
DllMain(HINSTANCE self, DWORD why, LPVOID reserved)
{
    (void)self;
    (void)reserved;
    if (why == DLL_PROCESS_ATTACH) {
        make_tables();
    }
    return TRUE;
}
