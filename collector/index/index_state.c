/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/file.h"

#define STATE_MAGIC "varve-index-1"
#define STATE_MAX   256u

void
index_boot_id(char out[INDEX_BOOT_ID_SIZE])
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

    out[0] = '\0';
    if (f == NULL) {
        return;
    }
    if (fgets(out, INDEX_BOOT_ID_SIZE, f) == NULL) {
        out[0] = '\0';
    }
    out[strcspn(out, "\n")] = '\0';
    (void)fclose(f);
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

bool
index_state_trusted(const char *folder, const char *boot_id)
{
    char clean[STATE_MAX];
    char dirty[STATE_MAX];
    struct varve_error err;
    uint8_t *text = NULL;
    char *path = NULL;
    size_t len = 0;
    bool trusted = false;

    path = index_path_of(folder, "state");
    if (path == NULL || fs_read_all(fs_system(), path, STATE_MAX, &text, &len, &err) != VARVE_OK) {
        goto out;
    }
    /* After a clean end the boot does not matter: the file was synced. */
    snprintf(clean, sizeof(clean), "%s\nclean\n", STATE_MAGIC);
    snprintf(dirty, sizeof(dirty), "%s\ndirty\n%s\n", STATE_MAGIC, boot_id);
    if (len >= strlen(clean) && memcmp(text, clean, strlen(clean)) == 0) {
        trusted = true;
    } else if (boot_id[0] != '\0' && len == strlen(dirty) && memcmp(text, dirty, len) == 0) {
        trusted = true;
    } else {
        log_info("index", "not ended cleanly before the machine went down, rebuilding folder=%s",
                 folder);
    }
out:
    free(text);
    free(path);
    return trusted;
}

enum varve_err
index_state_write(const char *folder, bool clean, const char *boot_id, struct varve_error *err)
{
    char text[STATE_MAX];
    char *path = NULL;
    enum varve_err rc;
    int len;

    path = index_path_of(folder, "state");
    if (path == NULL) {
        return varve_error_nomem(err);
    }
    len = snprintf(text, sizeof(text), "%s\n%s\n%s\n", STATE_MAGIC, clean ? "clean" : "dirty",
                   boot_id);
    rc = fs_write_durable(fs_system(), path, text, (size_t)len, false, err);
    free(path);
    return rc;
}
