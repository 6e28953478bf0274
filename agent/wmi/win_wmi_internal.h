/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_WIN_WMI_INTERNAL_H
#define VARVE_WMI_WIN_WMI_INTERNAL_H

#define COBJMACROS
#include <windows.h>

#include <wbemcli.h>

#include "wmi/wmi_port.h"

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
