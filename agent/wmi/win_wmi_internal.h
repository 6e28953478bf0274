/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_WIN_WMI_INTERNAL_H
#define VARVE_WMI_WIN_WMI_INTERNAL_H

#define COBJMACROS
#include <windows.h>

#include <wbemcli.h>

#include "os/thread.h"
#include "wmi/wmi_port.h"

/* ---- win_wmi_connect.c: the apartment and the connection ---- */
struct win_wmi {
    struct wmi_port base;
    BSTR wmi_namespace; /* with "\\\\SERVER\\" before it when remote */
    bool remote;
    CO_MTA_USAGE_COOKIE apartment;
    struct mutex lock; /* services */
    IWbemServices *services;
};

struct win_wmi *win_wmi(struct wmi_port *p);
VARVE_CHECK enum varve_err win_wmi_connect(struct wmi_port *p, struct varve_error *err);
void win_wmi_close(struct wmi_port *p);
/* Enters the multithreaded apartment and takes the connection; win_wmi_leave() gives both back. */
VARVE_CHECK enum varve_err win_wmi_enter(struct win_wmi *w, IWbemServices **out,
                                         struct varve_error *err);
void win_wmi_leave(IWbemServices *services);
/* Before the first call to what another machine gave. */
HRESULT win_wmi_seal(const struct win_wmi *w, void *object);

/* ---- win_wmi.c ---- */
extern const struct wmi_port_ops win_wmi_ops;

/* win_wmi_value.c: between VARIANT and struct wmi_value; only translation. */

/* A BSTR for SysFreeString(). */
VARVE_CHECK enum varve_err win_wmi_bstr(BSTR *out, const char *text, struct varve_error *err);

/* The wanted properties of a COM object; with is_object also its path and class. */
VARVE_CHECK enum varve_err win_wmi_copy(struct wmi_object *out, IWbemClassObject *from,
                                        bool is_object, const char *const *names,
                                        struct varve_error *err);

/* Sets the parameters on an instance of a signature or of a class. */
VARVE_CHECK enum varve_err win_wmi_put(IWbemClassObject *to, const struct wmi_param *params,
                                       size_t count, struct varve_error *err);

#endif
