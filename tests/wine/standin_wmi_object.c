/* SPDX-License-Identifier: Apache-2.0 */
#include "wine/standin_wmi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "hvsim/port_wire.h"
#include "wmi/cim_xml.h"

static standin_slot object_table[sizeof(IWbemClassObjectVtbl) / sizeof(standin_slot)];
static standin_slot writer_table[sizeof(IWbemObjectTextSrcVtbl) / sizeof(standin_slot)];

/* ---- values: numbers.md of the WMI documentation says which VARIANT a CIM type is ---- */

static CIMTYPE
cim_of(enum wmi_type type)
{
    switch (type) {
    case WMI_BOOL:
        return CIM_BOOLEAN;
    case WMI_UINT8:
        return CIM_UINT8;
    case WMI_UINT16:
        return CIM_UINT16;
    case WMI_UINT32:
        return CIM_UINT32;
    case WMI_UINT64:
        return CIM_UINT64;
    case WMI_REF:
        return CIM_REFERENCE;
    default:
        return CIM_STRING;
    }
}

static VARTYPE
vt_of(enum wmi_type type)
{
    switch (type) {
    case WMI_BOOL:
        return VT_BOOL;
    case WMI_UINT8:
        return VT_UI1;
    case WMI_UINT16:
    case WMI_UINT32:
        return VT_I4;
    default:
        return VT_BSTR;
    }
}

static void
scalar(VARIANT *out, enum wmi_type type, int64_t integer, const char *text)
{
    char decimal[24];

    V_VT(out) = vt_of(type);
    switch (V_VT(out)) {
    case VT_BOOL:
        V_BOOL(out) = integer != 0 ? VARIANT_TRUE : VARIANT_FALSE;
        break;
    case VT_UI1:
        V_UI1(out) = (BYTE)integer;
        break;
    case VT_I4:
        V_I4(out) = (LONG)(uint32_t)integer;
        break;
    default:
        (void)snprintf(decimal, sizeof(decimal), "%" PRIu64, (uint64_t)integer);
        V_BSTR(out) = standin_bstr(text != NULL ? text : decimal);
    }
}

static void
array(VARIANT *out, const struct wmi_value *v)
{
    VARTYPE vt = vt_of(v->type);
    SAFEARRAY *a = SafeArrayCreateVector(vt, 0, (ULONG)v->count);

    for (LONG i = 0; a != NULL && (size_t)i < v->count; i++) {
        VARIANT item;

        scalar(&item, v->type, v->integers != NULL ? v->integers[i] : 0,
               v->texts != NULL ? v->texts[i] : NULL);
        (void)SafeArrayPutElement(a, &i,
                                  vt == VT_BSTR ? (void *)V_BSTR(&item) : (void *)&V_I8(&item));
        (void)VariantClear(&item);
    }
    V_VT(out) = VT_ARRAY | vt;
    V_ARRAY(out) = a;
}

static void
value_out(VARIANT *out, CIMTYPE *cim, const struct wmi_value *v)
{
    if (cim != NULL) {
        *cim =
            v->type == WMI_NULL ? CIM_STRING : cim_of(v->type) | (v->is_array ? CIM_FLAG_ARRAY : 0);
    }
    if (out == NULL) {
        return;
    }
    VariantInit(out);
    if (v->type == WMI_NULL) {
        V_VT(out) = VT_NULL;
    } else if (v->is_array) {
        array(out, v);
    } else {
        scalar(out, v->type, v->integer, v->text);
    }
}

/* ---- IWbemClassObject ---- */

static HRESULT
class_has(const struct standin_com *self, const char *property)
{
    uint32_t number = 0;
    json_t *reply = standin_ask(
        json_pack("{s:s,s:s,s:s}", "op", "wmi.class", "class", self->name, "property", property),
        NULL, 0, &number);
    bool has = json_is_true(json_object_get(reply, "has"));

    json_decref(reply);
    return reply == NULL ? standin_hresult(number) : has ? S_OK : (HRESULT)WBEM_E_NOT_FOUND;
}

static HRESULT STDMETHODCALLTYPE
object_get(struct standin_com *self, LPCWSTR wide, LONG flags, VARIANT *out, CIMTYPE *cim,
           LONG *flavor)
{
    char *name = standin_utf8(wide);
    const struct wmi_value *v = NULL;
    const char *system = NULL;
    HRESULT hr = S_OK;

    (void)flags;
    (void)flavor;
    if (self->kind == STANDIN_CLASS) {
        hr = class_has(self, name);
        free(name);
        return hr;
    }
    if (strcmp(name, "__PATH") == 0) {
        system = self->object.path;
    } else if (strcmp(name, "__RELPATH") == 0) {
        system = self->object.relpath;
    } else if (strcmp(name, "__CLASS") == 0) {
        system = self->object.class_name;
    } else {
        v = wmi_find(&self->object, name);
    }
    if (system != NULL && out != NULL) {
        V_VT(out) = VT_BSTR;
        V_BSTR(out) = standin_bstr(system);
    } else if (v != NULL) {
        value_out(out, cim, v);
    } else {
        hr = (HRESULT)WBEM_E_NOT_FOUND;
    }
    free(name);
    return hr;
}

static HRESULT STDMETHODCALLTYPE
object_begin(struct standin_com *self, LONG flags)
{
    self->at = 0;
    return flags == WBEM_FLAG_NONSYSTEM_ONLY ? S_OK : (HRESULT)WBEM_E_INVALID_PARAMETER;
}

static HRESULT STDMETHODCALLTYPE
object_next(struct standin_com *self, LONG flags, BSTR *name, VARIANT *out, CIMTYPE *cim,
            LONG *flavor)
{
    const struct wmi_property *p;

    (void)flags;
    (void)flavor;
    if (self->at >= self->object.count) {
        return (HRESULT)WBEM_S_NO_MORE_DATA;
    }
    p = &self->object.properties[self->at++];
    *name = standin_bstr(p->name);
    value_out(out, cim, &p->value);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
object_end(struct standin_com *self)
{
    (void)self;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
object_get_method(struct standin_com *self, LPCWSTR wide, LONG flags, IWbemClassObject **in,
                  IWbemClassObject **out)
{
    char *method = standin_utf8(wide);
    uint32_t number = 0;
    json_t *reply;

    (void)flags;
    (void)out;
    *in = NULL;
    if (self->kind != STANDIN_CLASS) { /* an instance does not know its methods' signatures */
        free(method);
        return (HRESULT)WBEM_E_ILLEGAL_OPERATION;
    }
    reply = standin_ask(
        json_pack("{s:s,s:s,s:s}", "op", "wmi.signature", "class", self->name, "method", method),
        NULL, 0, &number);
    free(method);
    if (reply == NULL) {
        return standin_hresult(number);
    }
    if (json_array_size(json_object_get(reply, "in")) > 0) {
        *in = (IWbemClassObject *)(void *)standin_new(STANDIN_SIGNATURE, NULL,
                                                      json_incref(json_object_get(reply, "in")));
    }
    json_decref(reply);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE
object_spawn(struct standin_com *self, LONG flags, IWbemClassObject **out)
{
    struct standin_com *c = NULL;

    (void)flags;
    *out = NULL;
    if (self->kind == STANDIN_CLASS || self->kind == STANDIN_SIGNATURE) {
        c = standin_new(STANDIN_ARGUMENTS, self->name, json_array());
    }
    if (c == NULL) {
        return (HRESULT)WBEM_E_ILLEGAL_OPERATION;
    }
    c->types = self->kind == STANDIN_SIGNATURE ? json_incref(self->json) : NULL;
    *out = (IWbemClassObject *)(void *)c;
    return S_OK;
}

/* The type of a parameter; WMI_NULL: there is no such one. */
static enum wmi_type
type_in(const json_t *signature, const char *name)
{
    const json_t *p;
    size_t i;

    json_array_foreach(signature, i, p)
    {
        if (strcmp(json_string_value(json_object_get(p, "name")), name) == 0) {
            return (enum wmi_type)json_integer_value(json_object_get(p, "type"));
        }
    }
    return WMI_NULL;
}

static json_t *
value_in(const VARIANT *v)
{
    char *text;
    json_t *out;

    switch (V_VT(v)) {
    case VT_BOOL:
        return json_integer(V_BOOL(v) != VARIANT_FALSE);
    case VT_UI1:
        return json_integer(V_UI1(v));
    case VT_I4:
        return json_integer(V_I4(v));
    case VT_BSTR:
        text = standin_utf8(V_BSTR(v));
        out = json_string(text);
        free(text);
        return out;
    default:
        return NULL;
    }
}

static enum wmi_type
type_by_variant(VARTYPE vt)
{
    return vt == VT_BOOL  ? WMI_BOOL
           : vt == VT_UI1 ? WMI_UINT8
           : vt == VT_I4  ? WMI_UINT32
                          : WMI_STRING;
}

static HRESULT STDMETHODCALLTYPE
object_put(struct standin_com *self, LPCWSTR wide, LONG flags, VARIANT *v, CIMTYPE cim)
{
    char *name = standin_utf8(wide);
    enum wmi_type type = type_in(self->types, name);
    json_t *value;
    HRESULT hr = S_OK;

    if (self->kind != STANDIN_ARGUMENTS || flags != 0 || cim != 0) {
        hr = (HRESULT)WBEM_E_INVALID_PARAMETER;
    } else if (self->types == NULL) {
        hr = class_has(self, name); /* of a class: only what it has can be put */
        type = type_by_variant(V_VT(v));
    } else if (type == WMI_NULL) {
        hr = (HRESULT)WBEM_E_NOT_FOUND;
    }
    value = SUCCEEDED(hr) && V_VT(v) == vt_of(type) ? value_in(v) : NULL;
    if (SUCCEEDED(hr) && value == NULL) {
        hr = (HRESULT)WBEM_E_TYPE_MISMATCH;
    }
    if (SUCCEEDED(hr)) {
        (void)json_array_append_new(
            self->json, json_pack("{s:s,s:i,s:o}", "name", name, "type", (int)type, "v", value));
    }
    free(name);
    return hr;
}

const standin_slot *
standin_object_table(void)
{
    if (object_table[0] == NULL) {
        standin_table(object_table, sizeof(object_table) / sizeof(standin_slot));
        object_table[STANDIN_AT(IWbemClassObjectVtbl, Get)] = (standin_slot)object_get;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, Put)] = (standin_slot)object_put;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, BeginEnumeration)] =
            (standin_slot)object_begin;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, Next)] = (standin_slot)object_next;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, EndEnumeration)] = (standin_slot)object_end;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, GetMethod)] = (standin_slot)object_get_method;
        object_table[STANDIN_AT(IWbemClassObjectVtbl, SpawnInstance)] = (standin_slot)object_spawn;
    }
    return object_table;
}

/* ---- IWbemObjectTextSrc ---- */

static HRESULT STDMETHODCALLTYPE
writer_text(struct standin_com *self, LONG flags, IWbemClassObject *object, ULONG format,
            IWbemContext *ctx, BSTR *out)
{
    const struct standin_com *from = (const struct standin_com *)(void *)object;
    struct port_wire_params *params = calloc(1, sizeof(*params));
    struct varve_error err;
    char *xml = NULL;
    HRESULT hr = (HRESULT)WBEM_E_FAILED;

    (void)self;
    (void)flags;
    (void)ctx;
    if (params != NULL && format == WMI_OBJ_TEXT_CIM_DTD_2_0 && from->kind == STANDIN_ARGUMENTS &&
        from->name != NULL && port_wire_params_read(from->json, params, &err) == VARVE_OK &&
        cim_xml_write(from->name, params->items, params->count, &xml, &err) == VARVE_OK) {
        *out = standin_bstr(xml);
        hr = S_OK;
    }
    free(xml);
    free(params);
    return hr;
}

const standin_slot *
standin_writer_table(void)
{
    if (writer_table[0] == NULL) {
        standin_table(writer_table, sizeof(writer_table) / sizeof(standin_slot));
        writer_table[STANDIN_AT(IWbemObjectTextSrcVtbl, GetText)] = (standin_slot)writer_text;
    }
    return writer_table;
}
