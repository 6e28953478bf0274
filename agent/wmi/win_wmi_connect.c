/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/win_wmi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wmi/hresult.h"
#include "wmi/win_wmi_internal.h"

struct win_wmi *
win_wmi(struct wmi_port *p)
{
    return (struct win_wmi *)p;
}

enum varve_err
win_wmi_enter(struct win_wmi *w, IWbemServices **out, struct varve_error *err)
{
    HRESULT hr = CoInitializeEx(NULL, COINIT_MULTITHREADED);

    if (FAILED(hr)) {
        return hresult_error(err, (uint32_t)hr, "COM", "entering the apartment");
    }
    mutex_lock(&w->lock);
    *out = w->services;
    if (*out != NULL) {
        (void)IWbemServices_AddRef(*out);
    }
    mutex_unlock(&w->lock);
    if (*out == NULL) {
        CoUninitialize();
        return varve_error_set(err, VARVE_ERR_CLOSED, "'%ls' is not connected: no answer",
                               w->wmi_namespace);
    }
    return VARVE_OK;
}

void
win_wmi_leave(IWbemServices *services)
{
    (void)IWbemServices_Release(services);
    CoUninitialize();
}

/*
 * Proxies of another machine's objects, enumerators and answers included, do not take over what their parent was told; on this machine
 * the process's own settings do (connect_services()).  An object inside this process has no proxy: E_NOINTERFACE is harmless.
 */
HRESULT
win_wmi_seal(const struct win_wmi *w, void *object)
{
    HRESULT hr;

    if (!w->remote) {
        return S_OK;
    }
    hr = CoSetProxyBlanket((IUnknown *)object, RPC_C_AUTHN_DEFAULT, RPC_C_AUTHZ_DEFAULT,
                           COLE_DEFAULT_PRINCIPAL, RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                           RPC_C_IMP_LEVEL_IMPERSONATE, NULL, EOAC_DEFAULT);
    return hr == E_NOINTERFACE ? S_OK : hr;
}

static enum varve_err
connect_services(const struct win_wmi *w, IWbemServices **out, struct varve_error *err)
{
    IWbemLocator *locator = NULL;
    HRESULT hr;
    enum varve_err rc = VARVE_OK;

    /* Once per process; RPC_E_TOO_LATE: somebody did. */
    (void)CoInitializeSecurity(NULL, -1, NULL, NULL, RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
                               RPC_C_IMP_LEVEL_IMPERSONATE, NULL, EOAC_NONE, NULL);
    hr = CoCreateInstance(&CLSID_WbemLocator, NULL, CLSCTX_INPROC_SERVER, &IID_IWbemLocator,
                          (void **)&locator);
    if (FAILED(hr)) {
        return hresult_error(err, (uint32_t)hr, "COM", "finding WMI");
    }
    hr = IWbemLocator_ConnectServer(locator, w->wmi_namespace, NULL, NULL, NULL,
                                    WBEM_FLAG_CONNECT_USE_MAX_WAIT, NULL, NULL, out);
    if (FAILED(hr)) {
        rc = hresult_error(err, (uint32_t)hr, "WMI", "connecting to '%ls'", w->wmi_namespace);
    } else {
        if (!w->remote) {
            (void)CoSetProxyBlanket((IUnknown *)*out, RPC_C_AUTHN_WINNT, RPC_C_AUTHZ_NONE, NULL,
                                    RPC_C_AUTHN_LEVEL_PKT_PRIVACY, RPC_C_IMP_LEVEL_IMPERSONATE,
                                    NULL, EOAC_NONE);
        }
        hr = win_wmi_seal(w, *out);
        if (FAILED(hr)) {
            rc = hresult_error(err, (uint32_t)hr, "COM", "sealing the connection to '%ls'",
                               w->wmi_namespace);
            (void)IWbemServices_Release(*out);
            *out = NULL;
        }
    }
    (void)IWbemLocator_Release(locator);
    return rc;
}

enum varve_err
win_wmi_connect(struct wmi_port *p, struct varve_error *err)
{
    struct win_wmi *w = win_wmi(p);
    IWbemServices *made = NULL;
    IWbemServices *old;
    HRESULT hr = CoInitializeEx(NULL, COINIT_MULTITHREADED);
    enum varve_err rc;

    if (FAILED(hr)) {
        return hresult_error(err, (uint32_t)hr, "COM", "entering the apartment");
    }
    rc = connect_services(w, &made, err);
    if (rc == VARVE_OK) {
        mutex_lock(&w->lock);
        old = w->services;
        w->services = made;
        mutex_unlock(&w->lock);
        if (old != NULL) { /* calls that go on hold it themselves */
            (void)IWbemServices_Release(old);
        }
    }
    CoUninitialize();
    return rc;
}

void
win_wmi_close(struct wmi_port *p)
{
    struct win_wmi *w = win_wmi(p);

    if (w->services != NULL) {
        (void)IWbemServices_Release(w->services);
    }
    (void)CoDecrementMTAUsage(w->apartment);
    SysFreeString(w->wmi_namespace);
    mutex_destroy(&w->lock);
    free(w);
}

static enum varve_err
name_space(struct win_wmi *w, const char *server, const char *wmi_namespace,
           struct varve_error *err)
{
    size_t size = strlen(server) + strlen(wmi_namespace) + 4;
    char *text = malloc(size);
    enum varve_err rc;

    if (text == NULL) {
        return varve_error_nomem(err);
    }
    (void)snprintf(text, size, "\\\\%s\\%s", server, wmi_namespace);
    rc = win_wmi_bstr(&w->wmi_namespace, text, err);
    free(text);
    return rc;
}

enum varve_err
win_wmi_open(struct wmi_port **out, const char *server, const char *wmi_namespace,
             struct varve_error *err)
{
    struct win_wmi *w = calloc(1, sizeof(*w));
    HRESULT hr;
    enum varve_err rc;

    if (w == NULL) {
        return varve_error_nomem(err);
    }
    w->remote = server != NULL && server[0] != '\0';
    rc = w->remote ? name_space(w, server, wmi_namespace, err)
                   : win_wmi_bstr(&w->wmi_namespace, wmi_namespace, err);
    if (rc == VARVE_OK) {
        hr = CoIncrementMTAUsage(&w->apartment);
        rc =
            FAILED(hr) ? hresult_error(err, (uint32_t)hr, "COM", "making the apartment") : VARVE_OK;
    }
    if (rc != VARVE_OK) {
        SysFreeString(w->wmi_namespace);
        free(w);
        return rc;
    }
    mutex_init(&w->lock);
    w->base.ops = &win_wmi_ops;
    w->base.timeout_ms = WMI_CALL_MS;
    *out = &w->base;
    return VARVE_OK;
}
