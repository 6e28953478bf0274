/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_WMI_CALL_H
#define VARVE_WMI_WMI_CALL_H

#include "os/thread.h"
#include "wmi/wmi_port.h"

/*
 * What every user of the port does in the same way: asking again after VMMS was away, and methods that
 * answer by a job.
 *
 * Asking changes nothing, so a question to a connection that is gone is asked again on a new one, some
 * times, with growing pauses.  A method is called once: after VARVE_ERR_CLOSED, VARVE_ERR_TIMEOUT or
 * "the job is gone" nobody knows what it did, and the caller looks (wmi_unanswered()).
 */
struct wmi_times {
    uint32_t retry_ms;      /* first pause of asking again; doubled, WMI_TRIES times */
    uint32_t poll_first_ms; /* between two looks at a job; doubled up to poll_ms */
    uint32_t poll_ms;
    uint32_t stop_ms; /* how long a job that was asked to stop is waited for */
};

#define WMI_TRIES 6u

extern const struct wmi_times wmi_default_times;

struct wmi {
    struct wmi_port *port; /* borrowed */
    struct wmi_times times;
};

VARVE_CHECK enum varve_err wmi_query(struct wmi *w, const char *wql, const char *const *names,
                                     struct wmi_objects *out, struct varve_error *err);
VARVE_CHECK enum varve_err wmi_class_has(struct wmi *w, const char *class_name,
                                         const char *property, bool *out, struct varve_error *err);

/* ASSOCIATORS OF {path} WHERE AssocClass=assoc ResultClass=result. */
VARVE_CHECK enum varve_err wmi_associators(struct wmi *w, const char *path, const char *assoc,
                                           const char *result, const char *const *names,
                                           struct wmi_objects *out, struct varve_error *err);

/* The one instance of a service class; *path is the caller's to free(). */
VARVE_CHECK enum varve_err wmi_service(struct wmi *w, const char *class_name, char **path,
                                       struct varve_error *err);

/* An embedded instance, by the system when it can, else by cim_xml_write(). */
VARVE_CHECK enum varve_err wmi_embed(struct wmi *w, const char *class_name,
                                     const struct wmi_param *properties, size_t count, char **xml,
                                     struct varve_error *err);

/* Who said how a call ended. */
enum wmi_end {
    WMI_END_UNKNOWN = 0, /* nobody: the way to it or to its result, our own time limit, a cancel */
    WMI_END_RETURNED,    /* the method, by its ReturnValue */
    WMI_END_JOB          /* its job */
};

struct wmi_method {
    const char *service; /* class of the service */
    const char *name;
    const struct wmi_param *params;
    size_t count;
    const char *out_ref;      /* [out] REF of the result when it ends at once; NULL: none */
    const char *result_class; /* of the result when it ends by a job; NULL: no result */
    const char *const *result_names;
    uint32_t timeout_ms; /* of the job */
    enum wmi_end *end;   /* set by the call; NULL: nobody asks */
};

/*
 * Calls the method and waits for its job.  With result_class *result is the one object it made (the
 * caller releases it); else result may be NULL.  A ReturnValue or ErrorCode that is no success is an
 * error with that number (hresult_code()), with the text of the job's errors.  After timeout_ms or a
 * cancel the job is asked to stop and waited for; one that was done all the same counts as done.
 */
VARVE_CHECK enum varve_err wmi_call(struct wmi *w, const struct wmi_method *m,
                                    struct cancel *cancel, struct wmi_object *result,
                                    struct varve_error *err);

/* The host has no such namespace (WBEM_E_INVALID_NAMESPACE), which may be as it should; not any other error. */
bool wmi_no_namespace(const struct varve_error *err);

/* The call may or may not have been carried out. */
bool wmi_unanswered(enum varve_err rc, const struct varve_error *err);

#endif
