/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/win_wmi.h"

#include <stdlib.h>
#include <string.h>

#include "wmi/win_wmi_internal.h"

#include "os/wide_win32.h"
#include "wmi/hresult.h"

/* Only translation: which object, which order and what an error means is decided above the port. */

static enum varve_err
failed(HRESULT hr, struct varve_error *err, const char *doing, const char *what)
{
    if (hr == WBEM_S_TIMEDOUT) {
        return varve_error_set(err, VARVE_ERR_TIMEOUT, "%s '%.100s': WMI does not answer", doing,
                               what);
    }
    return hresult_error(err, (uint32_t)hr, "WMI", "%s '%.80s'", doing, what);
}

/* ---- reading ---- */

static enum varve_err
take_all(struct wmi_port *p, IEnumWbemClassObject *found, const char *wql, const char *const *names,
         struct wmi_objects *out, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK) {
        IWbemClassObject *com = NULL;
        struct wmi_object object;
        ULONG n = 0;
        HRESULT hr = IEnumWbemClassObject_Next(found, (LONG)p->timeout_ms, 1, &com, &n);

        if (hr == WBEM_S_FALSE || (SUCCEEDED(hr) && hr != WBEM_S_TIMEDOUT && n == 0)) {
            break;
        }
        if (hr == WBEM_S_TIMEDOUT || FAILED(hr)) {
            return failed(hr, err, "query", wql);
        }
        rc = win_wmi_copy(&object, com, true, names, err);
        if (rc == VARVE_OK) {
            rc = wmi_objects_take(out, &object, err);
        }
        (void)IWbemClassObject_Release(com);
    }
    return rc;
}

static enum varve_err
wmi_query(struct wmi_port *p, const char *wql, const char *const *names, struct wmi_objects *out,
          struct varve_error *err)
{
    IEnumWbemClassObject *found = NULL;
    IWbemServices *services = NULL;
    struct wmi_objects objects = {0};
    BSTR language = SysAllocString(L"WQL");
    BSTR text = NULL;
    HRESULT hr;
    enum varve_err rc = win_wmi_bstr(&text, wql, err);

    if (rc == VARVE_OK) {
        rc = win_wmi_enter(win_wmi(p), &services, err);
    }
    if (rc == VARVE_OK) {
        hr = IWbemServices_ExecQuery(services, language, text,
                                     WBEM_FLAG_FORWARD_ONLY | WBEM_FLAG_RETURN_IMMEDIATELY, NULL,
                                     &found);
        hr = SUCCEEDED(hr) ? win_wmi_seal(win_wmi(p), found) : hr;
        rc = FAILED(hr) ? failed(hr, err, "query", wql)
                        : take_all(p, found, wql, names, &objects, err);
        if (found != NULL) {
            (void)IEnumWbemClassObject_Release(found);
        }
        win_wmi_leave(services);
    }
    SysFreeString(language);
    SysFreeString(text);
    if (rc == VARVE_OK) {
        *out = objects;
    } else {
        wmi_objects_release(&objects);
    }
    return rc;
}

/* The object that a semisynchronous call gives.  What answers inside this process may give it at once
 * and no call. */
static HRESULT
await(struct wmi_port *p, IWbemCallResult *call, IWbemClassObject **object)
{
    HRESULT hr = S_OK;

    if (call != NULL) {
        hr = win_wmi_seal(win_wmi(p), call);
        if (SUCCEEDED(hr)) {
            hr = IWbemCallResult_GetResultObject(call, (LONG)p->timeout_ms, object);
        }
        (void)IWbemCallResult_Release(call);
    }
    return hr;
}

static HRESULT
get_object(struct wmi_port *p, IWbemServices *services, BSTR path, IWbemClassObject **object)
{
    IWbemCallResult *call = NULL;
    HRESULT hr =
        IWbemServices_GetObject(services, path, WBEM_FLAG_RETURN_IMMEDIATELY, NULL, object, &call);

    return FAILED(hr) ? hr : await(p, call, object);
}

static enum varve_err
find_object(struct wmi_port *p, IWbemServices *services, const char *path, IWbemClassObject **out,
            struct varve_error *err)
{
    BSTR text = NULL;
    HRESULT hr;
    enum varve_err rc = win_wmi_bstr(&text, path, err);

    if (rc == VARVE_OK) {
        hr = get_object(p, services, text, out);
        if (hr == WBEM_S_TIMEDOUT || FAILED(hr)) {
            rc = failed(hr, err, "object", path);
        } else if (*out == NULL) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "object '%.100s': WMI gave none", path);
        }
    }
    SysFreeString(text);
    return rc;
}

static enum varve_err
wmi_get(struct wmi_port *p, const char *path, const char *const *names, struct wmi_object *out,
        struct varve_error *err)
{
    IWbemServices *services = NULL;
    IWbemClassObject *com = NULL;
    enum varve_err rc = win_wmi_enter(win_wmi(p), &services, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = find_object(p, services, path, &com, err);
    if (rc == VARVE_OK) {
        rc = win_wmi_copy(out, com, true, names, err);
        (void)IWbemClassObject_Release(com);
    }
    win_wmi_leave(services);
    return rc;
}

static enum varve_err
wmi_class_has(struct wmi_port *p, const char *class_name, const char *property, bool *out,
              struct varve_error *err)
{
    IWbemServices *services = NULL;
    IWbemClassObject *com = NULL;
    wchar_t *name = NULL;
    HRESULT hr;
    enum varve_err rc = win_wmi_enter(win_wmi(p), &services, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    *out = false;
    rc = find_object(p, services, class_name, &com, err);
    if (rc == VARVE_OK && property == NULL) {
        *out = true;
    } else if (rc == VARVE_OK) {
        rc = wide_from_utf8(&name, property, err);
        if (rc == VARVE_OK) {
            hr = IWbemClassObject_Get(com, name, 0, NULL, NULL, NULL);
            *out = SUCCEEDED(hr);
            if (FAILED(hr) && hr != (HRESULT)WBEM_E_NOT_FOUND) {
                rc = failed(hr, err, "property", property);
            }
        }
        free(name);
    } else if (rc == VARVE_ERR_NOT_FOUND ||
               (err->source == VARVE_SRC_HRESULT &&
                err->native == (int64_t)(uint32_t)WBEM_E_INVALID_CLASS)) {
        rc = VARVE_OK; /* no such class */
    }
    if (com != NULL) {
        (void)IWbemClassObject_Release(com);
    }
    win_wmi_leave(services);
    return rc;
}

/* ---- methods ---- */

/* The class in "\\HOST\root\virtualization\v2:Msvm_X.Key="..."" or "Msvm_X.Key=...". */
static enum varve_err
class_of(char **out, const char *path, struct varve_error *err)
{
    const char *colon = path[0] == '\\' ? strchr(path, ':') : NULL;
    const char *begin = colon == NULL ? path : colon + 1;
    size_t len = strcspn(begin, ".=");
    char *name = malloc(len + 1);

    if (name == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(name, begin, len);
    name[len] = '\0';
    *out = name;
    return VARVE_OK;
}

/* An instance of the method's signature, or NULL for a method without parameters. */
static enum varve_err
make_arguments(struct wmi_port *p, IWbemServices *services, const char *object_path, BSTR method,
               const struct wmi_param *params, size_t count, IWbemClassObject **out,
               struct varve_error *err)
{
    IWbemClassObject *class = NULL;
    IWbemClassObject *signature = NULL;
    char *name = NULL;
    HRESULT hr;
    enum varve_err rc = class_of(&name, object_path, err);

    if (rc == VARVE_OK) {
        rc = find_object(p, services, name, &class, err);
    }
    if (rc == VARVE_OK) {
        hr = IWbemClassObject_GetMethod(class, method, 0, &signature, NULL);
        rc = FAILED(hr) ? failed(hr, err, "the method's class", name) : VARVE_OK;
    }
    if (rc == VARVE_OK && signature != NULL) {
        hr = IWbemClassObject_SpawnInstance(signature, 0, out);
        rc = FAILED(hr) ? failed(hr, err, "the method's signature in", name)
                        : win_wmi_put(*out, params, count, err);
    } else if (rc == VARVE_OK && count > 0) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "the method takes no parameters");
    }
    if (signature != NULL) {
        (void)IWbemClassObject_Release(signature);
    }
    if (class != NULL) {
        (void)IWbemClassObject_Release(class);
    }
    free(name);
    return rc;
}

static enum varve_err
call_method(struct wmi_port *p, IWbemServices *services, BSTR path, BSTR method,
            IWbemClassObject *arguments, const char *name, struct wmi_result *out,
            struct varve_error *err)
{
    IWbemClassObject *answer = NULL;
    IWbemCallResult *call = NULL;
    HRESULT hr = IWbemServices_ExecMethod(services, path, method, WBEM_FLAG_RETURN_IMMEDIATELY,
                                          NULL, arguments, &answer, &call);
    enum varve_err rc = VARVE_OK;

    if (SUCCEEDED(hr)) {
        hr = await(p, call, &answer);
    }
    if (hr == WBEM_S_TIMEDOUT || FAILED(hr)) {
        return failed(hr, err, "calling", name);
    }
    memset(out, 0, sizeof(*out));
    if (answer != NULL) {
        rc = win_wmi_copy(&out->out, answer, false, NULL, err);
        (void)IWbemClassObject_Release(answer);
    }
    if (rc == VARVE_OK) {
        out->return_value = wmi_integer_or(&out->out, "ReturnValue", 0);
    }
    return rc;
}

static enum varve_err
wmi_exec(struct wmi_port *p, const char *object_path, const char *method,
         const struct wmi_param *params, size_t count, struct wmi_result *out,
         struct varve_error *err)
{
    IWbemServices *services = NULL;
    IWbemClassObject *arguments = NULL;
    BSTR path = NULL;
    BSTR name = NULL;
    enum varve_err rc = win_wmi_bstr(&path, object_path, err);

    if (rc == VARVE_OK) {
        rc = win_wmi_bstr(&name, method, err);
    }
    if (rc == VARVE_OK) {
        rc = win_wmi_enter(win_wmi(p), &services, err);
    }
    if (rc == VARVE_OK) {
        rc = make_arguments(p, services, object_path, name, params, count, &arguments, err);
        if (rc == VARVE_OK) {
            rc = call_method(p, services, path, name, arguments, method, out, err);
        }
        if (arguments != NULL) {
            (void)IWbemClassObject_Release(arguments);
        }
        win_wmi_leave(services);
    }
    SysFreeString(path);
    SysFreeString(name);
    return rc;
}

/* ---- embedded instances ---- */

static enum varve_err
text_of(IWbemClassObject *instance, char **xml, struct varve_error *err)
{
    IWbemObjectTextSrc *writer = NULL;
    BSTR text = NULL;
    HRESULT hr = CoCreateInstance(&CLSID_WbemObjectTextSrc, NULL, CLSCTX_INPROC_SERVER,
                                  &IID_IWbemObjectTextSrc, (void **)&writer);
    enum varve_err rc;

    if (FAILED(hr)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this system does not write objects as text");
    }
    hr = IWbemObjectTextSrc_GetText(writer, 0, instance, WMI_OBJ_TEXT_CIM_DTD_2_0, NULL, &text);
    rc = FAILED(hr) ? hresult_error(err, (uint32_t)hr, "WMI", "writing an object as text")
                    : wide_to_utf8(xml, text, err);
    SysFreeString(text);
    (void)IWbemObjectTextSrc_Release(writer);
    return rc;
}

static enum varve_err
wmi_embed(struct wmi_port *p, const char *class_name, const struct wmi_param *properties,
          size_t count, char **xml, struct varve_error *err)
{
    IWbemServices *services = NULL;
    IWbemClassObject *class = NULL;
    IWbemClassObject *instance = NULL;
    HRESULT hr;
    enum varve_err rc = win_wmi_enter(win_wmi(p), &services, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = find_object(p, services, class_name, &class, err);
    if (rc == VARVE_OK) {
        hr = IWbemClassObject_SpawnInstance(class, 0, &instance);
        rc = FAILED(hr) ? failed(hr, err, "making an instance of", class_name)
                        : win_wmi_put(instance, properties, count, err);
    }
    if (rc == VARVE_OK) {
        rc = text_of(instance, xml, err);
    }
    if (instance != NULL) {
        (void)IWbemClassObject_Release(instance);
    }
    if (class != NULL) {
        (void)IWbemClassObject_Release(class);
    }
    win_wmi_leave(services);
    return rc;
}

const struct wmi_port_ops win_wmi_ops = {
    .close = win_wmi_close,
    .connect = win_wmi_connect,
    .query = wmi_query,
    .get = wmi_get,
    .class_has = wmi_class_has,
    .exec = wmi_exec,
    .embed = wmi_embed,
};
