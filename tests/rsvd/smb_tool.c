/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The clients of SMB and of shared disks by hand, for tests against servers of others.
 *
 *   smb_tool OPTION... COMMAND          (options: lab.h)
 *
 *   state                  what was agreed on: "dialect=0x0311 cipher=2 encrypted=no"
 *   read FILE OFF LEN      the bytes, on standard output
 *   hold FILE              opens it, says "open", waits for a line on standard input, reads 8 MiB
 *
 * On disks, by MS-RSVD:
 *   disk FILE              "version=2 size=... sector=512 physical=4096 format=4"
 *   snapshots FILE         ids, one a line
 *   snapshot FILE ID       makes one;  delete FILE ID  removes it;  keep FILE ID  leaves a reference point
 *   write FILE OFF LEN C   LEN times the character C
 *   full FILE ID OUT       reads a snapshot into the file OUT
 *   changes FILE ID SINCE OUT  reads what changed since a snapshot or reference point into OUT, as it is;
 *                          says "read=<bytes>"
 *
 * On failure "ERROR <code>: <message>" on standard error, exit code 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "rsvd/lab.h"
#include "source/rsvd/rsvd_disk.h"
#include "source/rsvd/source_rsvd.h"

#define READ_MAX (64u * 1024 * 1024)
#define CHUNK    65536u
#define PIECE    (4u * 1024 * 1024)

static enum varve_err
read_file(struct smb *s, const struct smb_file_id *id, uint64_t off, size_t len,
          struct varve_error *err)
{
    uint8_t *bytes = len <= READ_MAX ? malloc(len + 1) : NULL;
    enum varve_err rc = bytes == NULL ? varve_error_nomem(err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = smb_read(s, id, bytes, len, off, err);
    }
    if (rc == VARVE_OK && fwrite(bytes, 1, len, stdout) != len) {
        rc = varve_error_set(err, VARVE_ERR_IO, "writing to standard output");
    }
    free(bytes);
    return rc;
}

static enum varve_err
with_file(struct smb *s, char **arg, struct varve_error *err)
{
    struct smb_create how = {.name = arg[1],
                             .access = SMB_ACCESS_READ_DATA | SMB_ACCESS_READ_ATTRIBUTES};
    struct smb_created created;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, SMB_FRAME_MAX);
    rc = smb_create(s, &how, &created, &reply, err);
    if (rc == VARVE_OK && strcmp(arg[0], "hold") == 0) {
        printf("open\n");
        (void)fflush(stdout);
        (void)getchar();
        rc = read_file(s, &created.id, 0, 8u * 1024 * 1024, err);
    } else if (rc == VARVE_OK) {
        rc = read_file(s, &created.id, strtoull(arg[2], NULL, 10),
                       (size_t)strtoull(arg[3], NULL, 10), err);
    }
    if (rc == VARVE_OK) {
        rc = smb_close_file(s, &created.id, err);
    }
    buf_release(&reply);
    return rc;
}

static enum varve_err
show_state(struct smb *s, char **arg, struct varve_error *err)
{
    struct smb_state st;
    enum varve_err rc = smb_echo(s, err);

    (void)arg;
    smb_get_state(s, &st);
    printf("dialect=0x%04x cipher=%u encrypted=%s\n", st.dialect, (unsigned)st.cipher,
           st.encrypted ? "yes" : "no");
    return rc;
}

/* ---- disks ---- */

static enum varve_err
show_disk(struct rsvd_disk *d, struct varve_error *err)
{
    struct rsvd_disk_info disk;
    struct rsvd_info info;
    enum varve_err rc = rsvd_get_disk_info(d, &disk, err);

    if (rc == VARVE_OK) {
        rc = rsvd_check(d, err);
    }
    if (rc == VARVE_OK) {
        rsvd_get_info(d, &info);
        printf("version=%u size=%" PRIu64 " sector=%u physical=%u format=%u\n", info.version,
               info.virtual_size, (unsigned)info.sector, (unsigned)info.physical,
               (unsigned)disk.format);
    }
    return rc;
}

static enum varve_err
show_snapshots(struct rsvd_disk *d, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];
    struct guid *ids = NULL;
    size_t count = 0;
    size_t i;
    enum varve_err rc = rsvd_snapshot_list(d, &ids, &count, err);

    for (i = 0; rc == VARVE_OK && i < count; i++) {
        guid_format(&ids[i], text);
        printf("%s\n", text);
    }
    free(ids);
    return rc;
}

static const struct guid writer = {{0x77, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6}};

/* A disk's own handle has no way to write: opened again, as a node of the cluster does. */
static enum varve_err
write_disk(struct smb *s, char **arg, struct varve_error *err)
{
    struct rsvd_open o = {.version = 2, .initiator = writer, .host = "node"};
    uint8_t data[RSVD_OPEN_V2_SIZE];
    struct smb_context context = {rsvd_context_name, RSVD_CONTEXT_NAME_SIZE, data, 0};
    struct smb_create how = {.access = 0x00020083,
                             .options = SMB_OPTION_NO_BUFFERING,
                             .contexts = &context,
                             .context_count = 1};
    uint32_t len = (uint32_t)strtoul(arg[3], NULL, 10);
    uint8_t *bytes = len <= SMB_READ_MAX ? malloc(len + 1) : NULL;
    struct smb_created created;
    struct buf reply;
    struct buf name;
    enum varve_err rc = bytes == NULL ? varve_error_nomem(err) : VARVE_OK;

    buf_init(&reply, SMB_FRAME_MAX);
    buf_init(&name, 1024);
    if (rc == VARVE_OK) {
        memset(bytes, arg[4][0], len);
        rc = buf_printf(&name, err, "%s%s", arg[1], RSVD_SUFFIX);
    }
    if (rc == VARVE_OK) {
        how.name = (const char *)name.data;
        rc = rsvd_open_put(data, &context.data_len, &o, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_create(s, &how, &created, &reply, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_write(s, &created.id, bytes, len, strtoull(arg[2], NULL, 10), err);
    }
    buf_release(&reply);
    buf_release(&name);
    free(bytes);
    return rc;
}

static enum varve_err
with_disk(struct smb *s, char **arg, struct varve_error *err)
{
    struct rsvd_disk *d = NULL;
    struct guid id = {{0}};
    enum varve_err rc = VARVE_OK;

    if (strcmp(arg[0], "disk") != 0 && strcmp(arg[0], "snapshots") != 0 &&
        !guid_parse(&id, arg[2])) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is no id", arg[2]);
    }
    rc = rsvd_disk_open(&d, s, arg[1], &writer, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (strcmp(arg[0], "disk") == 0) {
        rc = show_disk(d, err);
    } else if (strcmp(arg[0], "snapshots") == 0) {
        rc = show_snapshots(d, err);
    } else if (strcmp(arg[0], "snapshot") == 0) {
        rc = rsvd_snapshot_create(d, &id, err);
    } else {
        rc = rsvd_snapshot_delete(d, &id, strcmp(arg[0], "keep") == 0, err);
    }
    rsvd_close(d);
    return rc;
}

/* ---- as a backup does it ---- */

static enum varve_err
copy(struct source *source, const struct walk_changes *changes, FILE *out, struct varve_error *err)
{
    struct source_info info;
    struct extent e;
    struct walk w;
    uint64_t total = 0;
    uint8_t *bytes = malloc(PIECE);
    enum varve_err rc = bytes == NULL ? varve_error_nomem(err) : VARVE_OK;

    source_get_info(source, &info);
    walk_init(&w, source, changes, info.size, CHUNK, 0);
    while (rc == VARVE_OK) {
        rc = walk_next(&w, PIECE, &e, err);
        if (rc != VARVE_OK || e.length == 0) {
            break;
        }
        rc = source_read(source, bytes, (size_t)e.length, e.offset, err);
        if (rc == VARVE_OK && (fseek(out, (long)e.offset, SEEK_SET) != 0 ||
                               fwrite(bytes, 1, (size_t)e.length, out) != e.length)) {
            rc = varve_error_set(err, VARVE_ERR_IO, "writing the copy");
        }
        total += e.length;
    }
    walk_release(&w);
    free(bytes);
    printf("read=%" PRIu64 "\n", total);
    return rc;
}

static enum varve_err
backup(struct smb *s, char **arg, struct varve_error *err)
{
    bool full = strcmp(arg[0], "full") == 0;
    struct source_rsvd_since since = {0};
    struct walk_changes changes = {0};
    struct source *source = NULL;
    FILE *out = NULL;
    struct guid id;
    enum varve_err rc;

    if (!guid_parse(&id, arg[2]) || (!full && !guid_parse(&since.since, arg[3]))) {
        smb_close(s);
        return varve_error_set(err, VARVE_ERR_INVALID, "that is no id");
    }
    rc = source_rsvd_open(&source, s, arg[1], &id, err);
    if (rc == VARVE_OK && !full) {
        rc = source_rsvd_changes(source, &since, &changes, err);
    }
    if (rc == VARVE_OK) {
        out = fopen(arg[full ? 3 : 4], full ? "wb" : "r+b");
        rc = out == NULL ? varve_error_set(err, VARVE_ERR_IO, "no file to write to") : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = copy(source, full ? NULL : &changes, out, err);
    }
    if (out != NULL && fclose(out) != 0 && rc == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_IO, "writing the copy");
    }
    source_close(source);
    return rc;
}

static const struct {
    const char *name;
    int count;
    bool takes; /* the connection */
    enum varve_err (*run)(struct smb *s, char **arg, struct varve_error *err);
} commands[] = {
    {"state", 1, false, show_state},    {"read", 4, false, with_file},
    {"hold", 2, false, with_file},      {"disk", 2, false, with_disk},
    {"snapshots", 2, false, with_disk}, {"snapshot", 3, false, with_disk},
    {"delete", 3, false, with_disk},    {"keep", 3, false, with_disk},
    {"write", 5, false, write_disk},    {"full", 4, true, backup},
    {"changes", 5, true, backup},
};

int
main(int argc, char **argv)
{
    struct varve_error err;
    struct smb *s = NULL;
    struct lab lab;
    size_t i = 0;
    enum varve_err rc;

    if (lab_parse(&lab, argc, argv)) {
        while (i < sizeof(commands) / sizeof(commands[0]) &&
               (lab.count != commands[i].count || strcmp(lab.command[0], commands[i].name) != 0)) {
            i++;
        }
    } else {
        i = sizeof(commands) / sizeof(commands[0]);
    }
    if (i == sizeof(commands) / sizeof(commands[0])) {
        fprintf(stderr, "usage: smb_tool --server HOST --share NAME [OPTION...] COMMAND\n");
        return 2;
    }
    rc = lab_connect(&lab, &s, &err);
    if (rc == VARVE_OK) {
        rc = commands[i].run(s, lab.command, &err);
        if (!commands[i].takes) {
            smb_close(s);
        }
    }
    if (rc != VARVE_OK) {
        fprintf(stderr, "ERROR %s: %s\n", varve_err_name(rc), err.msg);
        return 1;
    }
    return 0;
}
