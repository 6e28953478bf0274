/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"
#include "os/path.h"

/*
 * Whose a checkpoint is.  "varve run <run> of <owner>": the owner is a random id that stands in <state_dir>/refpoint/owner
 * from the first checkpoint on, so that two agents on one host, or one that has lost its state, never take each other's
 * checkpoints for their own.  A checkpoint of a group has no owner in its name, and is never swept.
 */
#define PREFIX     "varve run "
#define OF         " of "
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define OF_LEN     (sizeof(OF) - 1)
#define GUID_LEN   (GUID_TEXT_SIZE - 1)

void
refpoint_tag(const struct guid *run, const struct guid *owner, char out[REFPOINT_TAG_SIZE])
{
    char text[GUID_TEXT_SIZE];
    char of[GUID_TEXT_SIZE] = "";

    guid_format(run, text);
    if (owner != NULL) {
        guid_format(owner, of);
    }
    (void)snprintf(out, REFPOINT_TAG_SIZE, PREFIX "%s%s%s", text, owner != NULL ? OF : "", of);
}

bool
refpoint_tag_read(const char *name, struct guid *run, struct guid *owner)
{
    char text[GUID_TEXT_SIZE];
    size_t len = strlen(name);

    memset(owner, 0, sizeof(*owner));
    if (len < PREFIX_LEN + GUID_LEN || strncmp(name, PREFIX, PREFIX_LEN) != 0) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)GUID_LEN, name + PREFIX_LEN);
    name += PREFIX_LEN + GUID_LEN;
    return guid_parse(run, text) && (name[0] == '\0' || (strncmp(name, OF, OF_LEN) == 0 &&
                                                         guid_parse(owner, name + OF_LEN)));
}

static enum varve_err
read_owner(struct refpoint *r, const char *path, struct guid *out, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];
    uint8_t *data = NULL;
    size_t len = 0;
    enum varve_err rc = fs_read_all(r->fs, path, 256, &data, &len, err);

    if (rc == VARVE_OK) {
        (void)snprintf(text, sizeof(text), "%.*s", (int)(len < GUID_LEN ? len : GUID_LEN),
                       (const char *)data);
        if (len < GUID_LEN || !guid_parse(out, text)) {
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' is no id", path);
        }
    }
    free(data);
    return rc;
}

enum varve_err
refpoint_owner(struct refpoint *r, struct guid *out, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE + 1];
    uint8_t random[16];
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc;

    mutex_lock(&r->lock);
    rc = path_join(&dir, r->state_dir, "refpoint", err);
    if (rc == VARVE_OK) {
        rc = path_join(&path, dir, "owner", err);
    }
    if (rc == VARVE_OK && guid_is_zero(&r->owner)) {
        rc = read_owner(r, path, &r->owner, err);
        if (rc == VARVE_ERR_NOT_FOUND || rc == VARVE_ERR_CORRUPT) {
            randombytes_buf(random, sizeof(random));
            guid_from_random(&r->owner, random);
            guid_format(&r->owner, text);
            (void)snprintf(text + GUID_LEN, 2, "\n");
            rc = fs_mkdir(r->fs, dir, err);
            if (rc == VARVE_OK) {
                rc = fs_write_durable(r->fs, path, text, GUID_LEN + 1, false, err);
            }
        }
        if (rc != VARVE_OK) {
            memset(&r->owner, 0, sizeof(r->owner));
        }
    }
    *out = r->owner;
    mutex_unlock(&r->lock);
    free(dir);
    free(path);
    return rc;
}

/* ---- sweeping ---- */

struct sweep {
    struct refpoint *r;
    struct guid owner;
    bool (*known)(void *arg, const struct guid *run);
    void *arg;
    struct cancel *cancel;
    struct notes *notes; /* NULL: only the log */
};

static void
say(struct sweep *s, const char *what, const struct wmi_object *cp)
{
    char text[NOTES_TEXT];
    char when[TIME_TEXT_SIZE] = "?";
    int64_t us;

    if (refpoint_time(&us, wmi_text_or(cp, "CreationTime", ""))) {
        time_format(us, when);
    }
    (void)snprintf(text, sizeof(text), "%s: '%.90s' of %s", what,
                   wmi_text_or(cp, "ElementName", ""), when);
    log_warn("capture", "%s", text);
    if (s->notes != NULL) {
        notes_add(s->notes, "%s", text);
    }
}

static void
sweep_one(struct sweep *s, const struct guid *vm, const struct wmi_object *cp)
{
    const char *id = wmi_text_or(cp, "InstanceID", "");
    struct varve_error why;
    struct guid owner;
    struct guid run;

    if (!refpoint_is_recovery(cp)) {
        return;
    }
    if (!refpoint_tag_read(wmi_text_or(cp, "ElementName", ""), &run, &owner) ||
        guid_is_zero(&s->owner) || !guid_equal(&owner, &s->owner)) {
        if (s->notes != NULL) {
            say(s, "somebody else's recovery checkpoint stands on the vm and is left alone", cp);
        }
        return;
    }
    if (s->known(s->arg, &run)) {
        return;
    }
    if (refpoint_abort(&s->r->base, vm, id, s->cancel, &why) == VARVE_OK) {
        say(s, "a checkpoint that an earlier run left was removed", cp);
    } else {
        log_warn("capture", "%s", why.msg);
        say(s, "a checkpoint that an earlier run left cannot be removed", cp);
    }
}

static enum varve_err
sweep_vm(struct sweep *s, const struct guid *vm, struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_objects list = {0};
    size_t i;
    enum varve_err rc = refpoint_vm(s->r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = refpoint_checkpoints(s->r, machine.path, &list, err);
    }
    /* Listed first, asked for then: a run that began in between is known, one that ended has nothing left. */
    for (i = 0; rc == VARVE_OK && i < list.count; i++) {
        sweep_one(s, vm, &list.items[i]);
    }
    wmi_object_release(&machine);
    wmi_objects_release(&list);
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

enum varve_err
refpoint_sweep(struct capture *c, const struct guid *vm,
               bool (*known)(void *arg, const struct guid *run), void *arg, struct cancel *cancel,
               struct notes *notes, struct varve_error *err)
{
    static const char *const names[] = {"Name", NULL};
    struct refpoint *r = (struct refpoint *)c;
    struct sweep s = {.r = r, .known = known, .arg = arg, .cancel = cancel, .notes = notes};
    struct wmi_objects machines = {0};
    struct guid id;
    size_t i;
    enum varve_err rc = refpoint_owner(r, &s.owner, err);

    if (rc == VARVE_OK && vm != NULL) {
        return sweep_vm(&s, vm, err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_query(&r->wmi, "SELECT * FROM Msvm_ComputerSystem", names, &machines, err);
    }
    for (i = 0; rc == VARVE_OK && i < machines.count; i++) {
        if (cancel != NULL && cancel_is_set(cancel)) {
            rc = varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        } else if (guid_parse(&id, wmi_text_or(&machines.items[i], "Name", ""))) {
            rc = sweep_vm(&s, &id, err);
        }
    }
    wmi_objects_release(&machines);
    return rc;
}
