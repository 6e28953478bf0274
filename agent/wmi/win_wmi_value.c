/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wmi/win_wmi_internal.h"

#include "os/wide_win32.h"
#include "wmi/hresult.h"

#define CIM_BASE 0xFFFu /* CIMTYPE without CIM_FLAG_ARRAY */

enum varve_err
win_wmi_bstr(BSTR *out, const char *text, struct varve_error *err)
{
    wchar_t *wide = NULL;
    enum varve_err rc = wide_from_utf8(&wide, text, err);

    if (rc == VARVE_OK) {
        *out = SysAllocString(wide);
        rc = *out == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    free(wide);
    return rc;
}

static enum wmi_type
type_of(CIMTYPE cim)
{
    switch ((unsigned)cim & CIM_BASE) {
    case CIM_BOOLEAN:
        return WMI_BOOL;
    case CIM_UINT8:
        return WMI_UINT8;
    case CIM_UINT16:
        return WMI_UINT16;
    case CIM_UINT64:
        return WMI_UINT64;
    case CIM_SINT8:
    case CIM_SINT16:
    case CIM_SINT32:
    case CIM_UINT32:
    case CIM_SINT64:
        return WMI_UINT32;
    case CIM_STRING:
    case CIM_DATETIME:
        return WMI_STRING;
    case CIM_REFERENCE:
        return WMI_REF;
    default: /* floats, embedded objects: nothing of ours asks for them */
        return WMI_NULL;
    }
}

/* WMI hands 64-bit numbers over as decimal text, and unsigned 32-bit ones in a signed box. */
static int64_t
integer_of(enum wmi_type type, const VARIANT *v)
{
    switch (V_VT(v)) {
    case VT_BOOL:
        return V_BOOL(v) != VARIANT_FALSE;
    case VT_UI1:
        return V_UI1(v);
    case VT_I1:
        return V_I1(v);
    case VT_I2:
        return V_I2(v);
    case VT_UI2:
        return V_UI2(v);
    case VT_I4:
        return type == WMI_UINT32 ? (int64_t)(uint32_t)V_I4(v) : V_I4(v);
    case VT_UI4:
        return V_UI4(v);
    case VT_I8:
        return V_I8(v);
    case VT_UI8:
        return (int64_t)V_UI8(v);
    case VT_BSTR:
        return type == WMI_UINT64 ? (int64_t)wcstoull(V_BSTR(v), NULL, 10)
                                  : wcstoll(V_BSTR(v), NULL, 10);
    default:
        return 0;
    }
}

static enum varve_err
add_scalar(struct wmi_object *out, const char *name, enum wmi_type type, const VARIANT *v,
           struct varve_error *err)
{
    char *text = NULL;
    enum varve_err rc;

    if (type != WMI_STRING && type != WMI_REF) {
        return wmi_object_add_integer(out, name, type, integer_of(type, v), err);
    }
    if (V_VT(v) != VT_BSTR) {
        return wmi_object_add_null(out, name, err);
    }
    rc = wide_to_utf8(&text, V_BSTR(v) == NULL ? L"" : V_BSTR(v), err);
    if (rc == VARVE_OK) {
        rc = wmi_object_add_text(out, name, type, text, err);
    }
    free(text);
    return rc;
}

/* One element as a VARIANT of its own; VariantClear() it. */
static HRESULT
element(const VARIANT *v, LONG i, VARIANT *out)
{
    SAFEARRAY *array = V_ARRAY(v);
    VARTYPE type = (VARTYPE)(V_VT(v) & VT_TYPEMASK);

    VariantInit(out);
    if (type == VT_VARIANT) {
        return SafeArrayGetElement(array, &i, out);
    }
    V_VT(out) = type;
    return SafeArrayGetElement(array, &i, &V_I8(out)); /* the union's one place */
}

static enum varve_err
add_array(struct wmi_object *out, const char *name, enum wmi_type type, const VARIANT *v,
          struct varve_error *err)
{
    LONG first = 0;
    LONG last = -1;
    size_t n;
    size_t i;
    int64_t *integers = NULL;
    char **texts = NULL;
    enum varve_err rc = VARVE_OK;

    if (FAILED(SafeArrayGetLBound(V_ARRAY(v), 1, &first)) ||
        FAILED(SafeArrayGetUBound(V_ARRAY(v), 1, &last)) || last < first - 1) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the array '%s' has no bounds", name);
    }
    n = (size_t)((int64_t)last - first + 1);
    if (n > WMI_ARRAY_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "'%s' has %zu elements", name, n);
    }
    integers = calloc(n + 1, sizeof(*integers));
    texts = calloc(n + 1, sizeof(*texts));
    if (integers == NULL || texts == NULL) {
        rc = varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < n; i++) {
        VARIANT item;
        HRESULT hr = element(v, first + (LONG)i, &item);

        if (FAILED(hr)) {
            rc = hresult_error(err, (uint32_t)hr, "an array", "'%s'", name);
        } else if (type == WMI_STRING || type == WMI_REF) {
            rc = wide_to_utf8(&texts[i],
                              V_VT(&item) == VT_BSTR && V_BSTR(&item) != NULL ? V_BSTR(&item) : L"",
                              err);
        } else {
            integers[i] = integer_of(type, &item);
        }
        (void)VariantClear(&item);
    }
    if (rc == VARVE_OK) {
        rc = type == WMI_STRING || type == WMI_REF
                 ? wmi_object_add_texts(out, name, (const char *const *)texts, n, err)
                 : wmi_object_add_integers(out, name, type, integers, n, err);
    }
    for (i = 0; texts != NULL && i < n; i++) {
        free(texts[i]);
    }
    free(texts);
    free(integers);
    return rc;
}

static enum varve_err
add_property(struct wmi_object *out, const char *name, const VARIANT *v, CIMTYPE cim,
             struct varve_error *err)
{
    enum wmi_type type = type_of(cim);

    if (type == WMI_NULL || V_VT(v) == VT_NULL || V_VT(v) == VT_EMPTY) {
        return wmi_object_add_null(out, name, err);
    }
    return (V_VT(v) & VT_ARRAY) != 0 ? add_array(out, name, type, v, err)
                                     : add_scalar(out, name, type, v, err);
}

/* A system property as text; "" when there is none. */
static enum varve_err
system_text(IWbemClassObject *from, const wchar_t *name, char **out, struct varve_error *err)
{
    VARIANT v;
    enum varve_err rc;

    VariantInit(&v);
    if (FAILED(IWbemClassObject_Get(from, name, 0, &v, NULL, NULL)) || V_VT(&v) != VT_BSTR) {
        rc = wide_to_utf8(out, L"", err);
    } else {
        rc = wide_to_utf8(out, V_BSTR(&v), err);
    }
    (void)VariantClear(&v);
    return rc;
}

static enum varve_err
start_object(struct wmi_object *out, IWbemClassObject *from, struct varve_error *err)
{
    char *path = NULL;
    char *relative = NULL;
    char *name = NULL;
    enum varve_err rc = system_text(from, L"__PATH", &path, err);

    if (rc == VARVE_OK) {
        rc = system_text(from, L"__RELPATH", &relative, err);
    }
    if (rc == VARVE_OK) {
        rc = system_text(from, L"__CLASS", &name, err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_init(out, path, relative, name, err);
    }
    free(path);
    free(relative);
    free(name);
    return rc;
}

static enum varve_err
copy_properties(struct wmi_object *out, IWbemClassObject *from, const char *const *names,
                struct varve_error *err)
{
    HRESULT hr = IWbemClassObject_BeginEnumeration(from, WBEM_FLAG_NONSYSTEM_ONLY);
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && SUCCEEDED(hr)) {
        BSTR wide = NULL;
        char *name = NULL;
        CIMTYPE cim = CIM_EMPTY;
        VARIANT v;

        VariantInit(&v);
        hr = IWbemClassObject_Next(from, 0, &wide, &v, &cim, NULL);
        if (hr == WBEM_S_NO_MORE_DATA) {
            break;
        }
        if (SUCCEEDED(hr)) {
            rc = wide_to_utf8(&name, wide, err);
        }
        if (SUCCEEDED(hr) && rc == VARVE_OK && wmi_wanted(names, name)) {
            rc = add_property(out, name, &v, cim, err);
        }
        free(name);
        SysFreeString(wide);
        (void)VariantClear(&v);
    }
    (void)IWbemClassObject_EndEnumeration(from);
    if (rc == VARVE_OK && FAILED(hr)) {
        rc = hresult_error(err, (uint32_t)hr, "WMI", "reading an object");
    }
    return rc;
}

enum varve_err
win_wmi_copy(struct wmi_object *out, IWbemClassObject *from, bool is_object,
             const char *const *names, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    if (is_object) {
        rc = start_object(out, from, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_properties(out, from, names, err);
    }
    if (rc != VARVE_OK) {
        wmi_object_release(out);
    }
    return rc;
}

/* ---- the other way ---- */

static enum varve_err
text_array(VARIANT *v, const struct wmi_param *p, struct varve_error *err)
{
    SAFEARRAY *array = SafeArrayCreateVector(VT_BSTR, 0, (ULONG)p->count);
    enum varve_err rc = array == NULL ? varve_error_nomem(err) : VARVE_OK;
    LONG i;

    for (i = 0; rc == VARVE_OK && (size_t)i < p->count; i++) {
        BSTR text = NULL;

        rc = win_wmi_bstr(&text, p->texts[i], err);
        if (rc == VARVE_OK && FAILED(SafeArrayPutElement(array, &i, text))) { /* copies it */
            rc = varve_error_nomem(err);
        }
        SysFreeString(text);
    }
    if (rc != VARVE_OK) {
        if (array != NULL) {
            (void)SafeArrayDestroy(array);
        }
        return rc;
    }
    V_VT(v) = VT_ARRAY | VT_BSTR;
    V_ARRAY(v) = array;
    return VARVE_OK;
}

static enum varve_err
variant_of(VARIANT *v, const struct wmi_param *p, struct varve_error *err)
{
    char decimal[24];
    enum varve_err rc = VARVE_OK;

    if (p->texts != NULL) {
        return text_array(v, p, err);
    }
    switch (p->type) {
    case WMI_BOOL:
        V_VT(v) = VT_BOOL;
        V_BOOL(v) = p->integer != 0 ? VARIANT_TRUE : VARIANT_FALSE;
        return VARVE_OK;
    case WMI_UINT8:
        V_VT(v) = VT_UI1;
        V_UI1(v) = (BYTE)p->integer;
        return VARVE_OK;
    case WMI_UINT16:
    case WMI_UINT32:
        V_VT(v) = VT_I4;
        V_I4(v) = (LONG)(uint32_t)p->integer;
        return VARVE_OK;
    case WMI_UINT64:
        (void)snprintf(decimal, sizeof(decimal), "%" PRIu64, (uint64_t)p->integer);
        rc = win_wmi_bstr(&V_BSTR(v), decimal, err);
        break;
    case WMI_STRING:
    case WMI_REF:
        rc = win_wmi_bstr(&V_BSTR(v), p->text, err);
        break;
    case WMI_NULL:
        V_VT(v) = VT_NULL;
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        V_VT(v) = VT_BSTR;
    }
    return rc;
}

enum varve_err
win_wmi_put(IWbemClassObject *to, const struct wmi_param *params, size_t count,
            struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        wchar_t *name = NULL;
        HRESULT hr;
        VARIANT v;

        VariantInit(&v);
        rc = wide_from_utf8(&name, params[i].name, err);
        if (rc == VARVE_OK) {
            rc = variant_of(&v, &params[i], err);
        }
        if (rc == VARVE_OK) {
            hr = IWbemClassObject_Put(to, name, 0, &v, 0);
            if (FAILED(hr)) {
                rc = hresult_error(err, (uint32_t)hr, "WMI", "setting '%s'", params[i].name);
            }
        }
        (void)VariantClear(&v);
        free(name);
    }
    return rc;
}
