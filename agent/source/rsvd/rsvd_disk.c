/* SPDX-License-Identifier: Apache-2.0 */
#include "source/rsvd/rsvd_disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/rsvd/rsvd_internal.h"

#define OUTPUT_MAX     (SMB_OUTPUT_MAX + 4096u)
#define SENSE_RETRIES  2u
#define UNIT_ATTENTION 0xC05CFF01u /* to ...06: told once, then gone */

static bool
refused_by_server(const struct varve_error *err)
{
    return err->source == VARVE_SRC_NTSTATUS;
}

/* ---- the tunnel ---- */

enum varve_err
rsvd_operate(struct rsvd_disk *d, uint32_t fsctl, uint32_t code, const void *request,
             size_t request_len, uint32_t max_output, struct buf *out, struct smb_bytes *body,
             struct varve_error *err)
{
    struct buf in;
    uint32_t status = 0;
    uint64_t id;
    enum varve_err rc;

    mutex_lock(&d->lock);
    id = ++d->request_id;
    mutex_unlock(&d->lock);
    buf_init(&in, 4096);
    rc = rsvd_tunnel_put(&in, code, id, request, request_len, err);
    if (rc == VARVE_OK) {
        rc = smb_ioctl(d->smb, &d->file, fsctl, in.data, in.len, max_output, out, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "%s", rsvd_operation_name(code));
        }
    }
    if (rc == VARVE_OK) {
        rc = rsvd_tunnel_read(body, &status, code, id, out->data, out->len, err);
    }
    if (rc == VARVE_OK && status != NT_SUCCESS) {
        rc = smb_status_error(err, status, "%s", rsvd_operation_name(code));
    }
    buf_release(&in);
    return rc;
}

/* ---- opening ---- */

static enum varve_err
disk_new(struct rsvd_disk **out, struct smb *smb, struct varve_error *err)
{
    struct rsvd_disk *d = calloc(1, sizeof(*d));

    if (d == NULL) {
        return varve_error_nomem(err);
    }
    d->smb = smb;
    mutex_init(&d->lock);
    *out = d;
    return VARVE_OK;
}

void
rsvd_close(struct rsvd_disk *d)
{
    struct varve_error ignored;

    if (d == NULL) {
        return;
    }
    if (d->opened) {
        enum varve_err rc = smb_close_file(d->smb, &d->file, &ignored);

        (void)rc; /* the connection's end closes it too */
    }
    mutex_destroy(&d->lock);
    free(d);
}

/* The path as SMB has it, and with the suffix that makes it a disk. */
static enum varve_err
share_path(struct buf *out, const char *path, bool disk, struct varve_error *err)
{
    size_t i;
    enum varve_err rc = buf_printf(out, err, "%s%s", path, disk ? RSVD_SUFFIX : "");

    for (i = 0; rc == VARVE_OK && i < out->len; i++) {
        out->data[i] = out->data[i] == '/' ? '\\' : out->data[i];
    }
    return rc;
}

/* Some servers want a disk to be opened for writing even by those who only read. */
static enum varve_err
create(struct rsvd_disk *d, const char *name, const struct smb_context *contexts, size_t count,
       struct smb_created *created, struct buf *reply, struct varve_error *err)
{
    struct smb_create how = {.name = name,
                             .access = SMB_ACCESS_READ_DATA | SMB_ACCESS_READ_ATTRIBUTES |
                                       SMB_ACCESS_READ_CONTROL,
                             .options = SMB_OPTION_NO_BUFFERING,
                             .contexts = contexts,
                             .context_count = count};
    enum varve_err rc = smb_create(d->smb, &how, created, reply, err);

    if (rc == VARVE_ERR_DENIED) {
        how.access |= SMB_ACCESS_WRITE_DATA;
        rc = smb_create(d->smb, &how, created, reply, err);
    }
    if (rc == VARVE_OK) {
        d->file = created->id;
        d->opened = true;
    }
    return rc;
}

static void
close_again(struct rsvd_disk *d)
{
    struct varve_error ignored;

    if (d->opened) {
        enum varve_err rc = smb_close_file(d->smb, &d->file, &ignored);

        (void)rc;
        d->opened = false;
    }
}

/* One try by one version.  VARVE_OK with version 0 in info: a file was opened, and no disk. */
static enum varve_err
open_by(struct rsvd_disk *d, const char *name, unsigned version, const struct guid *initiator,
        struct varve_error *err)
{
    struct rsvd_open o = {.version = version, .initiator = *initiator, .host = "varve"};
    uint8_t data[RSVD_OPEN_V2_SIZE];
    struct smb_context context = {rsvd_context_name, RSVD_CONTEXT_NAME_SIZE, data, 0};
    const struct smb_context *answer;
    struct smb_created created;
    struct rsvd_opened opened = {0};
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, SMB_FRAME_MAX);
    memset(&d->info, 0, sizeof(d->info));
    rc = rsvd_open_put(data, &context.data_len, &o, err);
    if (rc == VARVE_OK) {
        rc = create(d, name, &context, 1, &created, &reply, err);
    }
    if (rc == VARVE_OK) {
        answer = smb_created_context(&created, rsvd_context_name, RSVD_CONTEXT_NAME_SIZE);
        if (answer != NULL) {
            rc = rsvd_open_read(&opened, answer->data, answer->data_len, err);
        }
        if (rc == VARVE_OK && answer != NULL) {
            d->info.version = opened.version;
            if (opened.has_geometry) {
                d->info.virtual_size = opened.virtual_size;
                d->info.sector = opened.sector;
                d->info.physical = opened.physical;
            }
        }
    }
    buf_release(&reply);
    return rc;
}

/* Whether what was opened is a disk to the server, when the context did not come back. */
static enum varve_err
ask_support(struct rsvd_disk *d, struct varve_error *err)
{
    uint32_t support = 0;
    uint32_t state = 0;
    struct buf out;
    enum varve_err rc;

    buf_init(&out, 4096);
    rc = smb_ioctl(d->smb, &d->file, RSVD_FSCTL_SUPPORT, NULL, 0, 8, &out, err);
    if (rc == VARVE_OK) {
        rc = rsvd_support_read(&support, &state, out.data, out.len, err);
    }
    if (rc == VARVE_OK && support != 0 && state != 0) {
        d->info.version = support == RSVD_SUPPORT_V1 ? 1 : 2;
    }
    if (rc != VARVE_OK && refused_by_server(err)) {
        rc = VARVE_OK; /* version stays 0 */
    }
    buf_release(&out);
    return rc;
}

static enum varve_err
geometry(struct rsvd_disk *d, struct varve_error *err)
{
    struct rsvd_initial initial;
    struct smb_bytes body;
    struct buf out;
    enum varve_err rc;

    buf_init(&out, 4096);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_GET_INITIAL_INFO, NULL, 0, 4096, &out, &body, err);
    if (rc == VARVE_OK) {
        rc = rsvd_initial_read(&initial, &body, err);
    }
    if (rc == VARVE_OK) {
        d->info.virtual_size = initial.virtual_size;
        d->info.sector = initial.sector;
        d->info.physical = initial.physical;
    }
    buf_release(&out);
    return rc;
}

static enum varve_err
no_shared_disks(struct rsvd_disk *d, const char *path, struct varve_error *err)
{
    struct smb_created created;
    struct smb_create how = {.name = path, .access = SMB_ACCESS_READ_ATTRIBUTES};
    struct buf reply;
    enum varve_err rc;

    if (!d->opened) { /* is it the disk or the file that is not there? */
        buf_init(&reply, SMB_FRAME_MAX);
        rc = smb_create(d->smb, &how, &created, &reply, err);
        buf_release(&reply);
        if (rc != VARVE_OK) {
            return rc;
        }
        d->file = created.id;
        d->opened = true;
    }
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "the server has '%s', but offers no remote shared virtual disks "
                           "(MS-RSVD): that is done by scale-out file servers of Windows Server "
                           "2012 R2 and later",
                           path);
}

/* By version 2, then by version 1; says what it means when neither works. */
static enum varve_err
open_path(struct rsvd_disk *d, const char *plain, const char *name, const struct guid *initiator,
          struct varve_error *err)
{
    unsigned version;
    enum varve_err rc = VARVE_OK;

    for (version = 2; version >= 1; version--) {
        rc = open_by(d, name, version, initiator, err);
        if (rc == VARVE_OK && d->info.version == 0) {
            rc = ask_support(d, err);
        }
        if (rc != VARVE_OK && !refused_by_server(err)) {
            return rc;
        }
        if (rc == VARVE_OK && d->info.version != 0) {
            return VARVE_OK;
        }
        if (rc == VARVE_ERR_BUSY || rc == VARVE_ERR_DENIED) {
            return rc;
        }
        if (version == 2) {
            close_again(d);
        }
    }
    /* What servers without RSVD say to the name: it is no name, or a stream that is not there. */
    if (rc == VARVE_OK || err->native == NT_OBJECT_NAME_INVALID ||
        err->native == NT_OBJECT_NAME_NOT_FOUND || rc == VARVE_ERR_UNSUPPORTED) {
        return no_shared_disks(d, plain, err);
    }
    return rc;
}

enum varve_err
rsvd_disk_open(struct rsvd_disk **out, struct smb *smb, const char *path,
               const struct guid *initiator, struct varve_error *err)
{
    struct rsvd_disk *d = NULL;
    struct buf plain;
    struct buf name;
    enum varve_err rc;

    buf_init(&plain, 4096);
    buf_init(&name, 4096);
    rc = share_path(&plain, path, false, err);
    if (rc == VARVE_OK) {
        rc = share_path(&name, path, true, err);
    }
    if (rc == VARVE_OK) {
        rc = disk_new(&d, smb, err);
    }
    if (rc == VARVE_OK) {
        rc = open_path(d, (const char *)plain.data, (const char *)name.data, initiator, err);
    }
    if (rc == VARVE_OK && d->info.virtual_size == 0) {
        rc = geometry(d, err);
    }
    buf_release(&plain);
    buf_release(&name);
    if (rc != VARVE_OK) {
        rsvd_close(d);
        return varve_error_prefix(err, "shared disk '%s'", path);
    }
    *out = d;
    return VARVE_OK;
}

/* ---- snapshots ---- */

/*
 * A snapshot is chosen by an extended attribute.  Windows' own test suite sends that context alone; whether such
 * an open can be read without an initiator is said nowhere.  So it is tried, and else the context of
 * a shared disk goes along.
 */
static enum varve_err
open_target(struct rsvd_disk *d, const char *name, const struct guid *snapshot,
            const struct guid *initiator, bool with_disk, struct varve_error *err)
{
    struct rsvd_open o = {.version = 2, .initiator = *initiator, .host = "varve"};
    uint8_t target[RSVD_TARGET_SIZE];
    uint8_t data[RSVD_OPEN_V2_SIZE];
    struct smb_context contexts[2] = {
        {RSVD_EA_CONTEXT, 4, target, sizeof(target)},
        {rsvd_context_name, RSVD_CONTEXT_NAME_SIZE, data, 0},
    };
    uint8_t sector[4096];
    struct smb_created created;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, SMB_FRAME_MAX);
    rsvd_target_put(target, snapshot);
    rc = rsvd_open_put(data, &contexts[1].data_len, &o, err);
    if (rc == VARVE_OK) {
        rc = create(d, name, contexts, with_disk ? 2 : 1, &created, &reply, err);
    }
    if (rc == VARVE_OK) {
        d->info.version = 2;
        rc = rsvd_read(d, sector, sizeof(sector), 0, err);
    }
    buf_release(&reply);
    return rc;
}

enum varve_err
rsvd_snapshot_open(struct rsvd_disk **out, struct smb *smb, const char *path,
                   const struct guid *snapshot, const struct guid *initiator,
                   struct varve_error *err)
{
    struct rsvd_disk *d = NULL;
    char text[GUID_TEXT_SIZE];
    struct buf name;
    enum varve_err rc;

    buf_init(&name, 4096);
    rc = share_path(&name, path, true, err);
    if (rc == VARVE_OK) {
        rc = disk_new(&d, smb, err);
    }
    if (rc == VARVE_OK) {
        rc = open_target(d, (const char *)name.data, snapshot, initiator, false, err);
        if (rc != VARVE_OK && rc != VARVE_ERR_NOT_FOUND && refused_by_server(err)) {
            close_again(d);
            rc = open_target(d, (const char *)name.data, snapshot, initiator, true, err);
        }
    }
    buf_release(&name);
    if (rc != VARVE_OK) {
        rsvd_close(d);
        guid_format(snapshot, text);
        return varve_error_prefix(err, "snapshot %s of '%s'", text, path);
    }
    *out = d;
    return VARVE_OK;
}

/* ---- what can be asked of any ---- */

void
rsvd_get_info(const struct rsvd_disk *d, struct rsvd_info *out)
{
    *out = d->info;
}

enum varve_err
rsvd_get_disk_info(struct rsvd_disk *d, struct rsvd_disk_info *out, struct varve_error *err)
{
    static const uint8_t zeros[RSVD_DISK_INFO_SIZE];
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_GET_DISK_INFO, zeros, sizeof(zeros), 4096, &reply,
                      &body, err);
    if (rc == VARVE_OK) {
        rc = rsvd_disk_info_read(out, &body, err);
    }
    buf_release(&reply);
    return rc;
}

enum varve_err
rsvd_check(struct rsvd_disk *d, struct varve_error *err)
{
    struct smb_bytes body;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, OUTPUT_MAX);
    rc = rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_CHECK_CONNECTION, NULL, 0, 4096, &reply, &body, err);
    buf_release(&reply);
    return rc;
}

/* ---- reading ---- */

/* Asks for what the server keeps of a failed request, and adds it to the error. */
static void
explain(struct rsvd_disk *d, struct varve_error *err)
{
    uint8_t request[RSVD_SRB_SIZE] = {(uint8_t)err->native};
    struct varve_error ignored;
    struct varve_error told = *err;
    struct rsvd_sense sense;
    struct smb_bytes body;
    struct buf reply;

    buf_init(&reply, OUTPUT_MAX);
    if (rsvd_operate(d, RSVD_FSCTL_SYNC, RSVD_SRB_STATUS, request, sizeof(request), 4096, &reply,
                     &body, &ignored) == VARVE_OK &&
        rsvd_srb_read(&sense, request[0], &body, &ignored) == VARVE_OK) {
        (void)varve_error_set(
            err, told.code, "%s; SRB status 0x%02x, SCSI status 0x%02x, sense %x/%02x/%02x",
            told.msg, sense.srb_status, sense.scsi_status, sense.key, sense.asc, sense.ascq);
        err->source = told.source;
        err->native = told.native;
    }
    buf_release(&reply);
}

enum varve_err
rsvd_read(struct rsvd_disk *d, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    unsigned tries;
    enum varve_err rc = VARVE_OK;

    for (tries = 0; tries < SENSE_RETRIES; tries++) {
        rc = smb_read(d->smb, &d->file, buf, len, off, err);
        if (rc == VARVE_OK || !refused_by_server(err) || err->native < UNIT_ATTENTION ||
            err->native > UNIT_ATTENTION + 5) {
            break;
        }
    }
    if (rc != VARVE_OK && refused_by_server(err) &&
        ((uint64_t)err->native & 0xFFFFFF00u) == 0xC05C0000u) {
        explain(d, err);
    }
    return rc;
}
