/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "capture/refpoint/refpoint_internal.h"
#include "os/path.h"

/*
 * A note is lines of text: "varve-refpoint 1", "begun <microseconds>", "before <id>" for each checkpoint,
 * "end".  One that does not end so is damaged and says nothing.
 */
#define NOTE_MAX  ((size_t)512 * 1024)
#define NOTE_HEAD "varve-refpoint 1\n"

static enum varve_err
note_path(struct refpoint *r, const struct guid *run, char **dir, char **path,
          struct varve_error *err)
{
    char name[GUID_TEXT_SIZE];
    enum varve_err rc = path_join(dir, r->state_dir, "refpoint", err);

    guid_format(run, name);
    return rc == VARVE_OK ? path_join(path, *dir, name, err) : rc;
}

enum varve_err
refpoint_note_write(struct refpoint *r, const struct guid *run, const struct capture_note *n,
                    struct varve_error *err)
{
    char *dir = NULL;
    char *path = NULL;
    struct buf b;
    size_t i;
    enum varve_err rc = note_path(r, run, &dir, &path, err);

    buf_init(&b, NOTE_MAX);
    if (rc == VARVE_OK) {
        rc = buf_printf(&b, err, NOTE_HEAD "begun %" PRId64 "\n", n->begun_us);
    }
    for (i = 0; rc == VARVE_OK && i < n->before.count; i++) {
        rc = buf_printf(&b, err, "before %s\n", n->before.ids[i]);
    }
    if (rc == VARVE_OK) {
        rc = buf_append(&b, "end\n", 4, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_mkdir_durable(r->fs, dir, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_write_durable(r->fs, path, b.data, b.len, false, err);
    }
    buf_release(&b);
    free(dir);
    free(path);
    return rc;
}

static enum varve_err
parse(char *text, struct capture_note *out, struct varve_error *err)
{
    char *line = text;
    char *end;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && (end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        if (strcmp(line, "end") == 0) {
            return VARVE_OK;
        }
        if (strncmp(line, "begun ", 6) == 0) {
            out->begun_us = strtoll(line + 6, NULL, 10);
        } else if (strncmp(line, "before ", 7) == 0) {
            rc = capture_marks_add(&out->before, line + 7, err);
        }
        line = end + 1;
    }
    return rc != VARVE_OK ? rc
                          : varve_error_set(err, VARVE_ERR_CORRUPT, "a checkpoint's note is cut");
}

enum varve_err
refpoint_note_read(struct refpoint *r, const struct guid *run, struct capture_note *out,
                   struct varve_error *err)
{
    struct capture_note n = {0};
    uint8_t *data = NULL;
    char *text = NULL;
    char *dir = NULL;
    char *path = NULL;
    size_t len = 0;
    enum varve_err rc = note_path(r, run, &dir, &path, err);

    if (rc == VARVE_OK) {
        rc = fs_read_all(r->fs, path, NOTE_MAX, &data, &len, err);
    }
    if (rc == VARVE_OK) {
        text = calloc(1, len + 1);
        rc = text != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        memcpy(text, data, len);
        rc = strncmp(text, NOTE_HEAD, strlen(NOTE_HEAD)) == 0
                 ? parse(text + strlen(NOTE_HEAD), &n, err)
                 : varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' is no checkpoint's note", path);
    }
    if (rc == VARVE_OK) {
        *out = n;
    } else {
        capture_marks_release(&n.before);
    }
    free(data);
    free(text);
    free(dir);
    free(path);
    return rc;
}

void
refpoint_note_remove(struct refpoint *r, const struct guid *run)
{
    struct varve_error err;
    char *dir = NULL;
    char *path = NULL;

    if (note_path(r, run, &dir, &path, &err) == VARVE_OK) {
        enum varve_err rc = fs_remove(r->fs, path, &err);

        (void)rc; /* one that stays does no harm */
    }
    free(dir);
    free(path);
}
