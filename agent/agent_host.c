/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "capture/absent/absent.h"
#include "capture/choice/choice.h"
#include "capture/collection/collection.h"
#include "capture/export/export.h"
#include "capture/folder/folder.h"
#include "capture/refpoint/refpoint.h"
#include "capture/sim/sim.h"
#include "capture/vss/vss.h"
#include "source/source_virtdisk.h"

/* ---- the ways to freeze a vm of a Hyper-V host; what one lacks is said in `why` ---- */

static struct refpoint_options
refpoint_options(const struct agent_host *h, const struct agent_conf *conf)
{
    const struct refpoint_options options = {
        .wmi = h->wmi,
        .vdisk = h->vdisk,
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .consistency = (enum refpoint_consistency)conf->consistency,
    };

    return options;
}

static enum varve_err
open_refpoint(struct capture **out, struct agent_host *h, const struct agent_conf *conf,
              struct varve_error *err)
{
    const struct refpoint_options options = refpoint_options(h, conf);

    if (h->vdisk == NULL) {
        *err = h->vdisk_why;
        return err->code;
    }
    return capture_refpoint_open(out, &options, err);
}

static enum varve_err
open_set(void *arg, const char *path, const struct guid *snapshot, struct source **out,
         struct varve_error *err)
{
    return set_server_open(arg, path, snapshot, out, err);
}

/* A file of credentials that is wrong keeps VHD sets from being read, and nothing else. */
static enum varve_err
open_collection(struct capture **out, struct agent_host *h, const struct agent_conf *conf,
                struct varve_error *err)
{
    struct collection_options options = {
        .host = refpoint_options(h, conf), .cluster = h->cluster, .open_set = open_set};
    struct varve_error why;

    h->sets.fs = fs_system();
    h->sets.credentials = conf->file_server_credentials;
    h->sets.address = conf->file_server_address;
    h->sets.shares = conf->set_shares;
    h->sets.encrypt = conf->file_server_encrypt;
    options.open_arg = &h->sets;
    if (h->vdisk == NULL) {
        *err = h->vdisk_why;
        return err->code;
    }
    if (set_server_check(&h->sets, &why) != VARVE_OK) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "the way to file servers: %s", why.msg);
    }
    return capture_collection_open(out, &options, err);
}

static enum varve_err
open_vss(struct capture **out, struct agent_host *h, const struct agent_conf *conf,
         struct varve_error *err)
{
    const struct vss_options options = {
        .wmi = h->wmi,
        .vss = h->vss,
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .no_saved_state = conf->saved_state == AGENT_SAVED_STATE_REFUSE,
    };

    if (h->vss == NULL) {
        *err = h->vss_why;
        return err->code;
    }
    return capture_vss_open(out, &options, err);
}

static enum varve_err
open_export(struct capture **out, struct agent_host *h, const struct agent_conf *conf,
            struct varve_error *err)
{
    const struct export_options options = {
        .wmi = h->wmi,
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .folder = conf->export_folder,
        .server = conf->hyperv_host,
        .consistency = (enum refpoint_consistency)conf->consistency,
    };

    if (conf->export_folder == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "export-folder is not set");
    }
    return capture_export_open(out, &options, err);
}

#define NOT_FOR_ALL ~0u

static const struct way {
    unsigned conf; /* enum agent_capture that orders it for all */
    enum varve_err (*open)(struct capture **out, struct agent_host *h,
                           const struct agent_conf *conf, struct varve_error *err);
    struct choice_member member;
} ways[] = {
    {NOT_FOR_ALL,
     open_collection,
     {.name = "collection",
      .family = COLLECTION_FAMILY,
      .special = true,
      .fits = capture_collection_fits}},
    {AGENT_CAPTURE_HYPERV,
     open_refpoint,
     {.name = "refpoint", .family = "", .fits = choice_fits_refpoint}},
    {AGENT_CAPTURE_EXPORT,
     open_export,
     {.name = "export", .family = "", .fits = choice_fits_refpoint, .adapt = capture_export_adapt}},
    {AGENT_CAPTURE_VSS,
     open_vss,
     {.name = "vss", .family = "hash:", .fits = choice_fits_alone, .adapt = capture_vss_adapt}},
};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

/*
 * What is missing for good closes a way; trouble that may pass must not, or a host that has just started would be read in
 * another way.  A way that nobody ordered may fail as it likes, while another was ordered for all.
 */
static enum varve_err
open_ways(struct choice_options *o, struct agent_host *h, const struct agent_conf *conf,
          struct varve_error *err)
{
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; i < WAYS; i++) {
        struct choice_member *m = &o->members[o->count++];
        enum varve_err opened;

        *m = ways[i].member;
        opened = ways[i].open(&m->capture, h, conf, &m->why);
        if (conf->capture == ways[i].conf) {
            o->method = m->name;
        }
        if (rc == VARVE_OK && opened != VARVE_OK && opened != VARVE_ERR_UNSUPPORTED &&
            opened != VARVE_ERR_NOT_FOUND && conf->capture == AGENT_CAPTURE_AUTO) {
            *err = m->why;
            rc = opened;
        }
    }
    return rc;
}

static enum varve_err
open_hyperv(struct agent_host *h, const struct agent_conf *conf, struct varve_error *err)
{
    struct choice_options options = {.method = CAPTURE_WAY_AUTO};
    struct choice_rule *rules = NULL;
    char *text = NULL;
    size_t i;
    enum varve_err rc = h->wmi == NULL ? agent_ports_open(h, conf->hyperv_host, err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = h->wmi->ops->connect(h->wmi, err);
        /* Early after a start VMMS may not answer yet: what asks next tries again for a while. */
        rc = rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_DENIED ? rc : VARVE_OK;
        h->no_hyperv = rc == VARVE_ERR_UNSUPPORTED;
        rc = h->no_hyperv ? varve_error_prefix(err, "the Hyper-V role is not installed") : rc;
    }
    if (rc == VARVE_OK && conf->methods != NULL) {
        text = strdup(conf->methods);
        rc = text != NULL ? choice_rules_parse(&rules, &options.rule_count, text, err)
                          : varve_error_nomem(err);
        rc = rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "methods");
    }
    if (rc == VARVE_OK) {
        options.rules = rules;
        rc = open_ways(&options, h, conf, err);
        for (i = 0; rc != VARVE_OK && i < options.count; i++) {
            capture_close(options.members[i].capture);
        }
    }
    if (rc == VARVE_OK) {
        rc = capture_choice_open(&h->capture, &options, err);
    }
    free(rules);
    free(text);
    return rc == VARVE_OK ? VARVE_OK
                          : varve_error_prefix(err, "the virtual machines of this host cannot be "
                                                    "reached ('varve-agent doctor' says more)");
}

enum varve_err
agent_host_open(struct agent_host *h, const struct agent_conf *conf, const struct identity *key,
                struct varve_error *err)
{
    switch ((enum agent_capture)conf->capture) {
    case AGENT_CAPTURE_SIM:
        return capture_sim_open(&h->capture, conf->sim_socket, err);
    case AGENT_CAPTURE_AUTO:
    case AGENT_CAPTURE_HYPERV:
    case AGENT_CAPTURE_VSS:
    case AGENT_CAPTURE_EXPORT:
        return open_hyperv(h, conf, err);
    case AGENT_CAPTURE_FOLDER:
        break;
    }
    return capture_folder_open(&h->capture, fs_system(), conf->folder, identity_public(key),
                               IDENTITY_KEY_SIZE, err);
}

enum varve_err
agent_host_absent(struct agent_host *h, const struct varve_error *why, struct varve_error *err)
{
    return capture_absent_open(&h->capture, "no Hyper-V role", why, err);
}

bool
agent_host_appeared(struct agent_host *h)
{
    struct varve_error err;

    return h->wmi->ops->connect(h->wmi, &err) == VARVE_OK;
}

void
agent_host_close(struct agent_host *h)
{
    capture_close(h->capture);
    wmi_port_close(h->wmi);
    wmi_port_close(h->cluster);
    vdisk_port_close(h->vdisk);
    vss_port_close(h->vss);
    memset(h, 0, sizeof(*h));
}

enum varve_err
agent_host_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
                  struct varve_error *err)
{
    const struct agent_host *h = arg;
    struct capture *c = capture_of(h->capture, frozen);
    const char *path = frozen->disks[disk].path;

    if (strcmp(c->source, "export") == 0) {
        return capture_export_source(c, frozen, disk, out, err);
    }
    if (strcmp(c->name, "collection") == 0) {
        enum varve_err rc = capture_collection_source(c, frozen, disk, out, err);

        if (rc != VARVE_OK || *out != NULL) {
            return rc;
        }
    }
    return strncmp(c->source, "virtdisk", 8) == 0
               ? source_virtdisk_open(out, h->vdisk, fs_system(), path, err)
               : source_file_open(out, fs_system(), path, frozen->allow_raw, err);
}
