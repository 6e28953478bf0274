/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define STATE_MAGIC "varve-index-1"
#define STATE_MAX   256u

void
index_boot_id(char out[INDEX_BOOT_ID_SIZE])
{
    struct varve_error unknown;

    if (process_boot_id(out, &unknown) != VARVE_OK) {
        out[0] = '\0';
    }
}

char *
index_path_of(const char *folder, const char *name)
{
    char *path = malloc(strlen(folder) + strlen(name) + 2);

    if (path != NULL) {
        sprintf(path, "%s/%s", folder, name);
    }
    return path;
}

/* The file as it was written: "" when it cannot be read. */
static void
state_read(struct fs *fs, const char *folder, char out[STATE_MAX])
{
    struct varve_error err;
    uint8_t *text = NULL;
    char *path = index_path_of(folder, "state");
    size_t len = 0;

    out[0] = '\0';
    if (path != NULL && fs_read_all(fs, path, STATE_MAX - 1, &text, &len, &err) == VARVE_OK) {
        memcpy(out, text, len);
        out[len] = '\0';
    }
    free(text);
    free(path);
}

static bool
state_begins(const char *text, const char *state, const char *boot_id, const char **rest)
{
    char want[STATE_MAX];
    size_t len;

    (void)snprintf(want, sizeof(want), "%s\n%s\n%s%s", STATE_MAGIC, state, boot_id,
                   boot_id[0] != '\0' ? "\n" : "");
    len = strlen(want);
    *rest = text + len;
    return strncmp(text, want, len) == 0;
}

bool
index_state_trusted(struct fs *fs, const char *folder, const char *boot_id, unsigned *ends)
{
    char text[STATE_MAX];

    state_read(fs, folder, text);
    return index_state_decode(text, folder, boot_id, ends);
}

bool
index_state_decode(const char *text, const char *folder, const char *boot_id, unsigned *ends)
{
    const char *rest;

    *ends = 0;
    if (text[0] == '\0') {
        return false;
    }
    /* After a clean end the boot does not matter: the file was synced. */
    if (state_begins(text, "clean", "", &rest)) {
        return true;
    }
    if (boot_id[0] == '\0' || !state_begins(text, "dirty", boot_id, &rest)) {
        log_info("index", "not ended cleanly before the machine went down, rebuilding folder=%s",
                 folder);
        return false;
    }
    *ends = 1 + (rest[0] >= '0' && rest[0] <= '9' ? (unsigned)(rest[0] - '0') : 0);
    if (*ends >= INDEX_UNCLEAN_ENDS_MAX) {
        log_warn("index", "the process ended uncleanly %u times in a row, rebuilding folder=%s",
                 *ends, folder);
        *ends = 0;
        return false;
    }
    return true;
}

static enum varve_err
state_write(struct fs *fs, const char *folder, const char *text, struct varve_error *err)
{
    char *path = index_path_of(folder, "state");
    enum varve_err rc;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    rc = fs_write_durable(fs, path, text, strlen(text), false, err);
    free(path);
    return rc;
}

enum varve_err
index_state_write_clean(struct fs *fs, const char *folder, const char *boot_id,
                        struct varve_error *err)
{
    char text[STATE_MAX];

    (void)snprintf(text, sizeof(text), "%s\nclean\n%s\n", STATE_MAGIC, boot_id);
    return state_write(fs, folder, text, err);
}

enum varve_err
index_state_write_dirty(struct fs *fs, const char *folder, const char *boot_id, unsigned ends,
                        struct varve_error *err)
{
    char text[STATE_MAX];

    (void)snprintf(text, sizeof(text), "%s\ndirty\n%s\n%u\n", STATE_MAGIC, boot_id, ends);
    return state_write(fs, folder, text, err);
}
