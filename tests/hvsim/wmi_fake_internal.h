/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_WMI_FAKE_INTERNAL_H
#define HVSIM_WMI_FAKE_INTERNAL_H

#include "hvsim/wmi_fake.h"

struct wmi_fake {
    struct wmi_port base;
    struct port_script *script;
    struct wmi_fake_options options;
    bool cluster;
    const char *word; /* of the log */
    bool connected;   /* since the last time somebody did */
};

#define WMI_FAKE_SPACE         "\\\\SIMHOST\\root\\virtualization\\v2:"
#define WMI_FAKE_CLUSTER_SPACE "\\\\SIMCLUSTER\\root\\HyperVCluster\\v2:"
/* False (and a broken rule): an absolute path of another namespace. */
bool wmi_fake_is_here(struct wmi_fake *f, const char *path);

#define WMI_FAKE_ID 64u

/* The last GUID of a path or an InstanceID; "" when there is none. */
void wmi_fake_guid(const char *path, char out[WMI_FAKE_ID]);
enum varve_err wmi_fake_hresult(struct varve_error *err, uint32_t n, const char *said);
const char *wmi_fake_text(const json_t *o, const char *key);

/* wmi_fake_objects.c: what stands at a class or behind an association; a new object is added to list. */
enum varve_err wmi_fake_select(struct wmi_fake *f, const char *class_name, const char *name,
                               struct wmi_objects *list, struct varve_error *err);
enum varve_err wmi_fake_associated(struct wmi_fake *f, const char *path, const char *assoc,
                                   const char *result, struct wmi_objects *list,
                                   struct varve_error *err);
enum varve_err wmi_fake_job(struct wmi_fake *f, const char *path, struct wmi_object *out,
                            struct varve_error *err);
/* An object by its path: a job, settings of a checkpoint, a reference point. */
enum varve_err wmi_fake_at(struct wmi_fake *f, const char *path, struct wmi_object *out,
                           struct varve_error *err);

void wmi_fake_begin(struct wmi_object *o, const char *class_name, const char *key, const char *id);
void wmi_fake_put(struct wmi_object *o, const char *name, const char *v);
void wmi_fake_take(struct wmi_objects *list, struct wmi_object *o);
json_t *wmi_fake_ask(struct wmi_fake *f, const char *op, const char *key, const char *id,
                     struct varve_error *err);
/* Checkpoints or reference points of a vm; only the one with this id, unless it is "". */
enum varve_err wmi_fake_moments(struct wmi_fake *f, const char *vm_id, const char *only,
                                bool points, struct wmi_objects *list, struct varve_error *err);

/* wmi_fake_group.c: vm groups and what is frozen of them */
bool wmi_fake_is_of_groups(const char *assoc, const char *result);
enum varve_err wmi_fake_group(struct wmi_fake *f, const char *id, const char *assoc,
                              const char *result, struct wmi_objects *list,
                              struct varve_error *err);

/* wmi_fake_methods.c */
enum varve_err wmi_fake_method(struct wmi_fake *f, const char *path, const char *method,
                               const struct wmi_param *params, size_t count, struct wmi_result *out,
                               struct varve_error *err);

#endif
