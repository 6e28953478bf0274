/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "capture/export/export.h"
#include "capture/refpoint/refpoint.h"
#include "capture/vss/vss.h"
#include "inventory/inventory.h"
#include "wire/channel.h"

#define DIAL_MS 10000u

/* The first thing that is wrong decides the exit code; all of it is said. */
static void
note_problem(enum varve_err rc, const struct varve_error *why, struct varve_error *first)
{
    if (first->code == VARVE_OK) {
        *first = *why;
        first->code = rc;
    }
}

static void
say_disk(const struct capture_disk *d, size_t *problems)
{
    if (d->problem != NULL) {
        (void)printf("     disk %s: CANNOT be backed up: %s\n", d->name, d->problem);
        (*problems)++;
        return;
    }
    (void)printf("     disk %s: %" PRIu64 " MiB, %s, %s\n", d->name, d->size / (1024 * 1024),
                 d->format, d->tracked ? "changes are tracked" : "no change tracking");
    (void)printf("          %s\n", d->path);
}

static void
say_host(struct capture *capture, struct varve_error *first)
{
    struct capture_inventory inv;
    struct varve_error err;
    size_t problems = 0;
    size_t i;
    size_t k;
    enum varve_err rc = inventory_take(capture, &inv, &err);

    if (rc != VARVE_OK) {
        (void)printf("host      %s\n", err.msg);
        note_problem(rc, &err, first);
        return;
    }
    (void)printf("host      %s, %zu virtual machines\n", inv.provider, inv.count);
    for (i = 0; i < inv.notes.count; i++) {
        (void)printf("          %s\n", inv.notes.text[i]);
    }
    for (i = 0; i < inv.count; i++) {
        const struct capture_vm *vm = &inv.vms[i];
        char id[GUID_TEXT_SIZE];

        guid_format(&vm->id, id);
        (void)printf("vm   %s (%s), %s\n", vm->name, id, vm->state);
        (void)printf("     frozen by %s, read by %s: %s\n", capture->name, capture->source,
                     vm->reason);
        for (k = 0; k < vm->disk_count; k++) {
            say_disk(&vm->disks[k], &problems);
        }
    }
    capture_inventory_release(&inv);
    if (problems > 0) {
        rc = varve_error_set(&err, VARVE_ERR_IO, "%zu disks cannot be backed up", problems);
        note_problem(rc, &err, first);
    }
}

/* What the host must offer for capture = hyperv, one by one; false: it does not. */
static bool
say_hyperv(struct agent_host *host, struct varve_error *first)
{
    struct refpoint_findings findings;
    struct varve_error err;
    size_t i;
    enum varve_err rc = agent_ports_open(host, &err);

    if (rc != VARVE_OK) {
        (void)printf("hyper-v   %s\n", err.msg);
        note_problem(rc, &err, first);
        return false;
    }
    refpoint_probe(&findings, host->wmi, host->vdisk, &host->vdisk_why);
    for (i = 0; i < findings.count; i++) {
        const struct refpoint_finding *f = &findings.items[i];

        (void)printf("hyper-v   %s%s\n", f->code == VARVE_OK ? "" : "PROBLEM: ", f->text);
        if (f->code != VARVE_OK) {
            rc = varve_error_set(&err, f->code, "%s", f->text);
            note_problem(rc, &err, first);
        }
    }
    return rc == VARVE_OK;
}

/* The same for capture = vss. */
static bool
say_vss(struct agent_host *host, struct varve_error *first)
{
    struct vss_finding f;
    struct varve_error err;
    enum varve_err rc = agent_vss_ports_open(host, &err);

    if (rc == VARVE_OK) {
        vss_probe(&f, host->vss);
        rc = f.code == VARVE_OK ? VARVE_OK : varve_error_set(&err, f.code, "%s", f.text);
    }
    (void)printf("vss       %s%s\n",
                 rc == VARVE_OK ? "" : "PROBLEM: ", rc == VARVE_OK ? f.text : err.msg);
    if (rc != VARVE_OK) {
        note_problem(rc, &err, first);
    }
    return rc == VARVE_OK;
}

/* The same for capture = export: the folder; the host is asked when the machines are. */
static bool
say_export(const struct agent_conf *conf, struct varve_error *first)
{
    struct refpoint_finding f;
    struct varve_error err;

    export_probe(&f, fs_system(), conf->export_folder);
    (void)printf("export    %s%s\n", f.code == VARVE_OK ? "" : "PROBLEM: ", f.text);
    if (f.code != VARVE_OK) {
        note_problem(varve_error_set(&err, f.code, "%s", f.text), &err, first);
    }
    return true;
}

static bool
say_capture(struct agent_host *host, const struct agent_conf *conf, struct varve_error *first)
{
    switch ((enum agent_capture)conf->capture) {
    case AGENT_CAPTURE_HYPERV:
        return say_hyperv(host, first);
    case AGENT_CAPTURE_VSS:
        return say_vss(host, first);
    case AGENT_CAPTURE_EXPORT:
        return say_export(conf, first);
    case AGENT_CAPTURE_FOLDER:
    case AGENT_CAPTURE_SIM:
        break;
    }
    return true;
}

/* Only the handshake: a Hello would take the place of the running agent's connection. */
static void
say_collector(const struct enrolment *e, const struct identity *key, struct varve_error *first)
{
    struct channel *ch = NULL;
    struct varve_error err;
    enum varve_err rc = channel_dial(&ch, e->address, key, e->collector, NULL, DIAL_MS, NULL, &err);

    if (rc == VARVE_OK) {
        (void)printf("collector %s: reached, is who it must be, accepts this host's key\n",
                     e->address);
    } else {
        (void)printf("collector %s: %s\n", e->address, err.msg);
        note_problem(rc == VARVE_ERR_AUTH ? rc : VARVE_ERR_TIMEOUT, &err, first);
    }
    channel_close(ch);
}

enum varve_err
agent_doctor(const struct agent_conf *conf, struct varve_error *err)
{
    struct enrolment e;
    struct identity *key = NULL;
    struct agent_host host;
    struct varve_error first;
    enum varve_err rc;

    memset(&host, 0, sizeof(host));
    memset(&first, 0, sizeof(first));
    rc = enrolment_load(&e, &key, fs_system(), conf->state_dir, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)printf("agent     %s, enrolled as '%s'\n", AGENT_SOFTWARE, e.name);
    say_collector(&e, key, &first);
    if (say_capture(&host, conf, &first)) {
        rc = agent_host_open(&host, conf, key, err);
        if (rc == VARVE_OK) {
            say_host(host.capture, &first);
        } else {
            (void)printf("host      %s\n", err->msg);
            note_problem(rc, err, &first);
        }
    }
    agent_host_close(&host);
    identity_free(key);
    if (first.code != VARVE_OK) {
        *err = first;
        return first.code;
    }
    (void)printf("all is well\n");
    return VARVE_OK;
}
