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
say_host(struct agent_host *host, const struct agent_conf *conf, struct varve_error *first)
{
    struct capture *capture = host->capture;
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
        (void)printf("     frozen by %s, read by %s: %s\n",
                     vm->capture != NULL ? vm->capture : capture->name,
                     vm->source != NULL ? vm->source : capture->source, vm->reason);
        for (k = 0; k < vm->disk_count; k++) {
            say_disk(&vm->disks[k], &problems);
        }
    }
    if (agent_conf_is_hyperv(conf) && conf->hyperv_host == NULL) {
        rc = agent_doctor_sets(&host->sets, &inv, &err);
        if (rc != VARVE_OK) {
            note_problem(rc, &err, first);
        }
    }
    capture_inventory_release(&inv);
    if (problems > 0) {
        rc = varve_error_set(&err, VARVE_ERR_IO, "%zu disks cannot be backed up", problems);
        note_problem(rc, &err, first);
    }
}

/* A finding that stands in the way of what was ordered is a problem; of one way of several it is a remark. */
static void
say_finding(const char *what, enum varve_err code, const char *text, bool ordered,
            struct varve_error *first)
{
    struct varve_error err;

    (void)printf("%-9s %s%s\n", what,
                 code == VARVE_OK ? ""
                 : ordered        ? "PROBLEM: "
                                  : "cannot be: ",
                 text);
    if (code != VARVE_OK && ordered) {
        note_problem(varve_error_set(&err, code, "%s", text), &err, first);
    }
}

/* What the host must offer for reference points, one by one. */
static void
say_refpoint(struct agent_host *host, bool ordered, struct varve_error *first)
{
    struct refpoint_findings findings;
    size_t i;

    refpoint_probe(&findings, host->wmi, host->vdisk, &host->vdisk_why);
    for (i = 0; i < findings.count; i++) {
        say_finding("hyper-v", findings.items[i].code, findings.items[i].text, ordered, first);
    }
}

static void
say_vss(struct agent_host *host, bool ordered, struct varve_error *first)
{
    struct vss_finding f;

    if (host->vss == NULL) {
        say_finding("vss", host->vss_why.code, host->vss_why.msg, ordered, first);
        return;
    }
    vss_probe(&f, host->vss);
    say_finding("vss", f.code, f.text, ordered, first);
}

/* The folder; the host is asked when the machines are. */
static void
say_export(const struct agent_conf *conf, bool ordered, struct varve_error *first)
{
    struct refpoint_finding f;

    export_probe(&f, fs_system(), conf->export_folder);
    say_finding("export", f.code, f.text, ordered, first);
}

/* What the ways that are asked for need of the host; false: nothing else can be asked. */
static bool
say_capture(struct agent_host *host, const struct agent_conf *conf, struct varve_error *first)
{
    bool any = conf->capture == AGENT_CAPTURE_AUTO;
    struct varve_error mine = {0};
    struct varve_error err;

    if (!agent_conf_is_hyperv(conf)) {
        return true;
    }
    if (agent_ports_open(host, conf->hyperv_host, &err) != VARVE_OK) {
        say_finding("hyper-v", err.code, err.msg, true, first);
        return false;
    }
    if (any || conf->capture == AGENT_CAPTURE_HYPERV) {
        say_refpoint(host, !any, &mine);
    }
    if (any || conf->capture == AGENT_CAPTURE_VSS) {
        say_vss(host, !any, &mine);
    }
    if (mine.code != VARVE_OK) {
        note_problem(mine.code, &mine, first);
        return false;
    }
    if (conf->capture == AGENT_CAPTURE_EXPORT || (any && conf->export_folder != NULL)) {
        say_export(conf, true, first);
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
            say_host(&host, conf, &first);
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
