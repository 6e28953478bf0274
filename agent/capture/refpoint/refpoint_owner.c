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
 * checkpoints for their own.  A checkpoint of a group has no name, its parts have: "varve run <run> of <owner> (group)".
 * Each is swept by the way that makes them, since only as a whole a group's can go.
 */
#define PREFIX     "varve run "
#define OF         " of "
#define GROUP      " (group)"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define OF_LEN     (sizeof(OF) - 1)
#define GUID_LEN   (GUID_TEXT_SIZE - 1)

void
refpoint_tag_write(const struct refpoint_tag *tag, char out[REFPOINT_TAG_SIZE])
{
    bool owned = !guid_is_zero(&tag->owner);
    char run[GUID_TEXT_SIZE];
    char owner[GUID_TEXT_SIZE] = "";

    guid_format(&tag->run, run);
    if (owned) {
        guid_format(&tag->owner, owner);
    }
    (void)snprintf(out, REFPOINT_TAG_SIZE, PREFIX "%s%s%s%s", run, owned ? OF : "", owner,
                   tag->group ? GROUP : "");
}

/* A GUID at the beginning of *text, which is moved behind it. */
static bool
take_guid(struct guid *out, const char **text)
{
    char id[GUID_TEXT_SIZE];

    (void)snprintf(id, sizeof(id), "%s", *text);
    if (strlen(id) != GUID_LEN || !guid_parse(out, id)) {
        return false;
    }
    *text += GUID_LEN;
    return true;
}

bool
refpoint_tag_read(const char *name, struct refpoint_tag *out)
{
    struct refpoint_tag tag = {0};

    if (strncmp(name, PREFIX, PREFIX_LEN) != 0) {
        return false;
    }
    name += PREFIX_LEN;
    if (!take_guid(&tag.run, &name)) {
        return false;
    }
    if (strncmp(name, OF, OF_LEN) == 0) {
        name += OF_LEN;
        if (!take_guid(&tag.owner, &name)) {
            return false;
        }
        tag.group = strcmp(name, GROUP) == 0;
    }
    *out = tag;
    return name[0] == '\0' || tag.group;
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
    static struct mutex making = MUTEX_INIT; /* several ways, one owner */
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc;

    mutex_lock(&making);
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
            rc = fs_mkdir_durable(r->fs, dir, err);
            if (rc == VARVE_OK) {
                rc = fs_write_durable(r->fs, path, text, GUID_LEN + 1, false, err);
            }
        }
        if (rc != VARVE_OK) {
            memset(&r->owner, 0, sizeof(r->owner));
        }
    }
    *out = r->owner;
    mutex_unlock(&making);
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
    bool of_group = refpoint_way_of(s->r) != &refpoint_way_vm;
    struct refpoint_tag tag;
    struct varve_error why;

    if (!refpoint_is_recovery(cp)) {
        return;
    }
    if (!refpoint_tag_read(wmi_text_or(cp, "ElementName", ""), &tag) || guid_is_zero(&s->owner) ||
        !guid_equal(&tag.owner, &s->owner)) {
        if (s->notes != NULL) {
            say(s,
                of_group ? "somebody else's checkpoint of the vm group is left alone"
                         : "somebody else's recovery checkpoint stands on the vm and is left alone",
                cp);
        }
        return;
    }
    if (tag.group != of_group || s->known(s->arg, &tag.run)) {
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
