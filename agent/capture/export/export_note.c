/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/export/export_internal.h"
#include "os/path.h"

/* A note is "varve-export 1\n", the folder's path, "\n".  One that does not end so is damaged: its folder was not made. */
#define NOTE_HEAD "varve-export 1\n"
#define NOTE_MAX  ((size_t)64 * 1024)

static enum varve_err
note_path(struct export *x, const char *name, char **dir, char **path, struct varve_error *err)
{
    enum varve_err rc = path_join(dir, x->host.state_dir, "export", err);

    return rc == VARVE_OK ? path_join(path, *dir, name, err) : rc;
}

enum varve_err
export_note_write(struct export *x, const struct guid *run, const char *folder,
                  struct varve_error *err)
{
    char name[GUID_TEXT_SIZE];
    size_t head = strlen(NOTE_HEAD);
    size_t len = strlen(folder);
    char *text = malloc(head + len + 2);
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = text != NULL ? VARVE_OK : varve_error_nomem(err);

    guid_format(run, name);
    if (rc == VARVE_OK) {
        memcpy(text, NOTE_HEAD, head);
        memcpy(text + head, folder, len);
        text[head + len] = '\n';
        rc = note_path(x, name, &dir, &path, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_mkdir_durable(x->host.fs, dir, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_write_durable(x->host.fs, path, text, head + len + 1, false, err);
    }
    free(text);
    free(dir);
    free(path);
    return rc;
}

/* *folder NULL: the note is damaged. */
static enum varve_err
read_note(struct export *x, const char *path, char **folder, struct varve_error *err)
{
    uint8_t *data = NULL;
    size_t head = strlen(NOTE_HEAD);
    size_t len = 0;
    enum varve_err rc = fs_read_all(x->host.fs, path, NOTE_MAX, &data, &len, err);

    *folder = NULL;
    if (rc == VARVE_OK && len > head + 1 && memcmp(data, NOTE_HEAD, head) == 0 &&
        data[len - 1] == '\n' && memchr(data, 0, len) == NULL) {
        data[len - 1] = '\0';
        *folder = refpoint_copy((char *)data + head);
        rc = *folder != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    free(data);
    return rc;
}

/* Ours is a folder "varve-<run>" and no other, whatever the note says. */
static bool
is_of_run(const char *folder, const char *run)
{
    size_t len = strlen(folder);
    size_t tail = strlen("varve-") + strlen(run);

    return len > tail && (folder[len - tail - 1] == '/' || folder[len - tail - 1] == '\\') &&
           strncmp(folder + len - tail, "varve-", strlen("varve-")) == 0 &&
           strcmp(folder + len - strlen(run), run) == 0;
}

enum varve_err
export_clean(struct export *x, const struct guid *run, struct varve_error *err)
{
    char name[GUID_TEXT_SIZE];
    char *dir = NULL;
    char *path = NULL;
    char *folder = NULL;
    enum varve_err rc;

    guid_format(run, name);
    rc = note_path(x, name, &dir, &path, err);
    if (rc == VARVE_OK) {
        rc = read_note(x, path, &folder, err);
    }
    if (rc == VARVE_OK && folder != NULL && is_of_run(folder, name)) {
        rc = export_remove(x->host_fs, folder, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_remove(x->host.fs, path, err);
    }
    free(dir);
    free(path);
    free(folder);
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

static bool
add_run(void *arg, const char *name, bool is_dir)
{
    struct capture_marks *runs = arg;
    struct varve_error ignored;
    struct guid run;

    return is_dir || !guid_parse(&run, name) || capture_marks_add(runs, name, &ignored) == VARVE_OK;
}

void
export_sweep(struct export *x)
{
    struct capture_marks runs = {0};
    struct varve_error err;
    struct guid run;
    char *dir = NULL;
    size_t i;
    enum varve_err rc = path_join(&dir, x->host.state_dir, "export", &err);

    if (rc == VARVE_OK) {
        rc = fs_list(x->host.fs, dir, add_run, &runs, &err);
    }
    for (i = 0; i < runs.count; i++) {
        if (guid_parse(&run, runs.ids[i]) && !export_has_run(x, &run) &&
            export_clean(x, &run, &err) != VARVE_OK) {
            log_warn("capture", "the exported folder of an earlier run is still there: %s",
                     err.msg);
        }
    }
    if (rc != VARVE_OK && rc != VARVE_ERR_NOT_FOUND) {
        log_warn("capture", "%s", err.msg);
    }
    capture_marks_release(&runs);
    free(dir);
}
