/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/sim/sim_internal.h"

#define MERGE_PAUSE_MS 200u
#define DESTROY_TRIES  3u /* when the host itself says that it failed */

/* The reference point in the host's list; VARVE_ERR_NOT_FOUND. */
static enum varve_err
kept_from_list(struct sim *s, const struct capture_frozen *frozen, const char *refpoint,
               struct capture_kept *out, struct varve_error *err)
{
    struct capture_kept kept = {0};
    json_t *reply = NULL;
    const json_t *points = NULL;
    const json_t *point;
    size_t i;
    size_t k;
    enum varve_err rc;

    rc = sim_query(s, "refpoint.list", sim_vm_param(&frozen->vm), &reply, err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "refpoints", CAPTURE_MARKS_MAX, &points, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    kept.change_ids = calloc(frozen->disk_count + 1, sizeof(*kept.change_ids));
    if (kept.change_ids == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    kept.count = frozen->disk_count;
    (void)snprintf(kept.refpoint, sizeof(kept.refpoint), "%s", refpoint);
    rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no reference point '%s'", refpoint);
    json_array_foreach(points, i, point)
    {
        const json_t *d;

        if (strcmp(sim_text_or(point, "id", ""), refpoint) != 0) {
            continue;
        }
        rc = VARVE_OK;
        /* Joined by VirtualDiskId: the order of the disks means nothing. */
        json_array_foreach(json_object_get(point, "disks"), k, d)
        {
            const char *change_id = sim_text_or(d, "change_id", "");
            struct guid id;
            size_t n;

            if (!guid_parse(&id, sim_text_or(d, "id", "")) || strlen(change_id) >= CAPTURE_ID_MAX) {
                continue;
            }
            for (n = 0; n < frozen->disk_count; n++) {
                if (guid_equal(&id, &frozen->disks[n].id)) {
                    (void)snprintf(kept.change_ids[n], CAPTURE_ID_MAX, "%s", change_id);
                }
            }
        }
    }
    if (rc == VARVE_OK) {
        *out = kept;
        memset(&kept, 0, sizeof(kept));
    }
out:
    capture_kept_release(&kept);
    json_decref(reply);
    return rc;
}

enum varve_err
sim_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
              const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
              struct varve_error *err)
{
    struct capture_marks now = {0};
    json_t *reply = NULL;
    const json_t *cp = NULL;
    size_t found = 0;
    size_t i;
    enum varve_err rc;

    rc = sim_wait_quiet((struct sim *)c, vm, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = sim_find_checkpoint((struct sim *)c, vm, NULL, checkpoint, &reply, &cp, err);
    if (rc == VARVE_OK) {
        json_decref(reply);
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "checkpoint '%s' was not converted",
                               checkpoint);
    }
    if (rc != VARVE_ERR_NOT_FOUND) {
        return rc;
    }
    rc = sim_marks(c, vm, &now, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; i < now.count; i++) {
        if (!capture_marks_has(before, now.ids[i])) {
            memcpy(refpoint, now.ids[i], CAPTURE_ID_MAX);
            found++;
        }
    }
    capture_marks_release(&now);
    if (found != 1) {
        return varve_error_set(
            err, VARVE_ERR_NOT_FOUND,
            "%zu reference points are newer than the run: none is taken for ours", found);
    }
    return VARVE_OK;
}

/* One try; what the host did although it said otherwise counts. */
static enum varve_err
convert_once(struct sim *s, const struct capture_frozen *frozen, const struct capture_marks *before,
             char refpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct varve_error why;
    json_t *result = NULL;
    enum varve_err rc;

    rc = sim_run_job(s, "refpoint.convert", json_pack("{s:s}", "checkpoint", frozen->checkpoint),
                     s->times.convert_ms, NULL, &result, err);
    if (rc == VARVE_OK) {
        rc = sim_get_id(result, "refpoint", refpoint, err);
        json_decref(result);
        return rc;
    }
    if (sim_find_kept(&s->base, &frozen->vm, frozen->checkpoint, before, refpoint, &why) ==
        VARVE_OK) {
        return VARVE_OK;
    }
    return rc;
}

enum varve_err
sim_keep(struct capture *c, const struct capture_frozen *frozen, const struct capture_marks *before,
         struct cancel *cancel, struct capture_kept *out, struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    char refpoint[CAPTURE_ID_MAX];
    enum varve_err rc;

    (void)cancel; /* converting is not given up half way */
    rc = convert_once(s, frozen, before, refpoint, err);
    if (sim_no_answer(rc, err)) {
        /* The host was away and has been looked at since: it did not do it, so it is asked again. */
        rc = convert_once(s, frozen, before, refpoint, err);
    }
    if (rc == VARVE_OK) {
        rc = kept_from_list(s, frozen, refpoint, out, err);
    }
    return rc;
}

/* NOT_FOUND after an error means that it did happen, or that somebody else did it. */
static enum varve_err
destroy(struct sim *s, const char *op, const char *key, const char *id, struct cancel *cancel,
        struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)s->times.busy_ms * 1000000;
    uint32_t pause_ms = SIM_BUSY_PAUSE_FIRST_MS;
    unsigned failures = 0;
    enum varve_err rc;

    for (;;) {
        bool no_answer;

        rc =
            sim_run_job(s, op, json_pack("{s:s}", key, id), s->times.convert_ms, cancel, NULL, err);
        if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
            return VARVE_OK;
        }
        no_answer = sim_no_answer(rc, err);
        if (rc == VARVE_ERR_IO && !no_answer && ++failures == DESTROY_TRIES) {
            return rc;
        }
        if ((rc != VARVE_ERR_BUSY && rc != VARVE_ERR_IO) || time_mono_ns() > deadline) {
            return rc;
        }
        if (cancel == NULL) {
            thread_sleep_ms(pause_ms);
        } else if (cancel_wait(cancel, pause_ms)) {
            return rc;
        }
        pause_ms = pause_ms * 2 > SIM_BUSY_PAUSE_MS ? SIM_BUSY_PAUSE_MS : pause_ms * 2;
    }
}

enum varve_err
sim_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
         struct varve_error *err)
{
    (void)vm;
    return destroy((struct sim *)c, "refpoint.destroy", "refpoint", refpoint, cancel, err);
}

enum varve_err
sim_abort(struct capture *c, const struct guid *vm, const char *checkpoint, struct cancel *cancel,
          struct varve_error *err)
{
    (void)vm;
    return destroy((struct sim *)c, "checkpoint.destroy", "checkpoint", checkpoint, cancel, err);
}

/* An export without storage, by whatever program, switches merging off: our checkpoint's files would
 * stay for ever. */
static void
enable_merging(struct sim *s, const struct guid *vm, const json_t *machine, struct notes *notes)
{
    struct varve_error err;
    json_t *reply = NULL;

    if (!json_is_false(json_object_get(machine, "merge_enabled"))) {
        return;
    }
    if (sim_call(s, "merge.enable", sim_vm_param(vm), NULL, &reply, &err) == VARVE_OK) {
        notes_add(notes, "merging was switched off for this vm; it was switched on again");
        json_decref(reply);
    } else {
        notes_add(notes, "merging is switched off for this vm: %s", err.msg);
    }
}

enum varve_err
sim_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    struct sim *s = (struct sim *)c;
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000;

    for (;;) {
        json_t *reply = NULL;
        const json_t *machine = NULL;
        bool merging;
        enum varve_err rc = sim_get_vm(s, vm, &reply, &machine, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        enable_merging(s, vm, machine, notes);
        merging = sim_vm_is_merging(machine);
        json_decref(reply);
        if (!merging) {
            return VARVE_OK;
        }
        if (time_mono_ns() > deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT,
                                   "the host still merges after %" PRIu32 " s", timeout_ms / 1000);
        }
        if (cancel_wait(cancel, MERGE_PAUSE_MS)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
    }
}
