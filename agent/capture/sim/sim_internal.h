/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_SIM_SIM_INTERNAL_H
#define VARVE_CAPTURE_SIM_SIM_INTERNAL_H

#include <jansson.h>

#include "capture/sim/sim.h"

/* Between two tries of what a busy vm refuses. */
#define SIM_BUSY_PAUSE_FIRST_MS 100u
#define SIM_BUSY_PAUSE_MS       2000u

#define SIM_LINE_MAX ((size_t)16 * 1024 * 1024)

struct sim {
    struct capture base;
    char *socket_path;
    struct capture_sim_times times;
};

/*
 * One request, one answer, over a new connection: sends the line (with its newline), returns the
 * answer's line without it; *reply is the caller's to free().  VARVE_ERR_IO: the host is not there,
 * or ended the connection; what was asked may have happened all the same.
 */
VARVE_CHECK enum varve_err sim_socket_exchange(const char *path, const char *line, size_t len,
                                               uint32_t timeout_ms, struct cancel *cancel,
                                               char **reply, size_t *reply_len,
                                               struct varve_error *err);

/*
 * Calls op; takes params (may be NULL).  *reply is a reference of the caller's.  A refusal of the host
 * is an error with its number.
 */
VARVE_CHECK enum varve_err sim_call(struct sim *s, const char *op, json_t *params,
                                    struct cancel *cancel, json_t **reply, struct varve_error *err);

/* The same for an op that changes nothing: asked again when the host was not there for a moment. */
VARVE_CHECK enum varve_err sim_query(struct sim *s, const char *op, json_t *params, json_t **reply,
                                     struct varve_error *err);

/* Calls op, which starts a job, and waits for its end.  *result is the job's (a reference of the
 * caller's); result may be NULL.  After a timeout or a cancel the job was asked to stop. */
VARVE_CHECK enum varve_err sim_run_job(struct sim *s, const char *op, json_t *params,
                                       uint32_t timeout_ms, struct cancel *cancel, json_t **result,
                                       struct varve_error *err);

/* The call was not refused: nobody knows what it did. */
bool sim_no_answer(enum varve_err rc, const struct varve_error *err);

/* Members of an object; a missing or wrong one is VARVE_ERR_PROTOCOL naming it. */
VARVE_CHECK enum varve_err sim_get_text(const json_t *o, const char *key, const char **out,
                                        struct varve_error *err);
VARVE_CHECK enum varve_err sim_get_id(const json_t *o, const char *key, char out[CAPTURE_ID_MAX],
                                      struct varve_error *err);
VARVE_CHECK enum varve_err sim_get_guid(const json_t *o, const char *key, struct guid *out,
                                        struct varve_error *err);
VARVE_CHECK enum varve_err sim_get_u64(const json_t *o, const char *key, uint64_t *out,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err sim_get_array(const json_t *o, const char *key, size_t max,
                                         const json_t **out, struct varve_error *err);
/* What is not there is the default. */
const char *sim_text_or(const json_t *o, const char *key, const char *fallback);
bool sim_true(const json_t *o, const char *key);

/* {"vm":"5B0C..."} */
json_t *sim_vm_param(const struct guid *vm);

/* NULL: no memory. */
char *sim_copy_string(const char *text);

/* A recovery checkpoint of the vm by tag, or by id (tag NULL); VARVE_ERR_NOT_FOUND.  *out is inside
 * *reply, which is the caller's. */
VARVE_CHECK enum varve_err sim_find_checkpoint(struct sim *s, const struct guid *vm,
                                               const char *tag, const char *id, json_t **reply,
                                               const json_t **out, struct varve_error *err);

/* The members of the interface, by file. */

/* sim.c */
VARVE_CHECK enum varve_err sim_marks(struct capture *c, const struct guid *vm,
                                     struct capture_marks *out, struct varve_error *err);

/* sim_read.c */
VARVE_CHECK enum varve_err sim_changes(struct capture *c, const struct capture_frozen *frozen,
                                       size_t disk, const char *since, uint64_t off, uint64_t len,
                                       struct extent_list *out, uint64_t *processed,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err sim_check(struct capture *c, const struct capture_frozen *frozen,
                                     size_t disk, struct varve_error *err);
VARVE_CHECK enum varve_err sim_files(struct capture *c, const struct capture_frozen *frozen,
                                     struct capture_files *out, struct varve_error *err);

/* sim_keep.c */
VARVE_CHECK enum varve_err sim_keep(struct capture *c, const struct capture_frozen *frozen,
                                    const struct capture_marks *before, struct cancel *cancel,
                                    struct capture_kept *out, struct varve_error *err);
VARVE_CHECK enum varve_err sim_find_kept(struct capture *c, const struct guid *vm,
                                         const char *checkpoint, const struct capture_marks *before,
                                         char refpoint[CAPTURE_ID_MAX], struct varve_error *err);
VARVE_CHECK enum varve_err sim_drop(struct capture *c, const struct guid *vm, const char *refpoint,
                                    struct cancel *cancel, struct varve_error *err);
VARVE_CHECK enum varve_err sim_abort(struct capture *c, const struct guid *vm,
                                     const char *checkpoint, struct cancel *cancel,
                                     struct varve_error *err);
VARVE_CHECK enum varve_err sim_wait_merged(struct capture *c, const struct guid *vm,
                                           uint32_t timeout_ms, struct cancel *cancel,
                                           struct notes *notes, struct varve_error *err);

/* sim_inventory.c */
VARVE_CHECK enum varve_err sim_list(struct capture *c, struct capture_inventory *out,
                                    struct varve_error *err);
VARVE_CHECK enum varve_err sim_get_vm(struct sim *s, const struct guid *vm, json_t **reply,
                                      const json_t **out, struct varve_error *err);
bool sim_vm_is_merging(const json_t *vm);
/* Waits until no checkpoint of the vm is being made, applied or taken away: only then it is known
 * what a call that was not answered has done. */
VARVE_CHECK enum varve_err sim_wait_quiet(struct sim *s, const struct guid *vm,
                                          struct varve_error *err);

#endif
