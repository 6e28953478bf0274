/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/volume.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CSV_FOLDER "\\clusterstorage\\"

static bool
is_slash(char c)
{
    return c == '\\' || c == '/';
}

/* Does text begin with prefix, in any case and with either slash? */
static bool
begins(const char *text, const char *prefix)
{
    for (; *prefix != '\0'; text++, prefix++) {
        bool same = is_slash(*prefix)
                        ? is_slash(*text)
                        : tolower((unsigned char)*text) == tolower((unsigned char)*prefix);

        if (!same) {
            return false;
        }
    }
    return true;
}

/* Length of `parts` names of a path and the slashes between them. */
static size_t
names_len(const char *path, unsigned parts)
{
    size_t n = 0;

    for (;;) {
        while (path[n] != '\0' && !is_slash(path[n])) {
            n++;
        }
        if (--parts == 0 || path[n] == '\0') {
            return n;
        }
        n++;
    }
}

/* Where the common part of a path begins (*len bytes of it name the volume); NULL: there is none. */
static const char *
common_part(const char *path, size_t *len)
{
    if (begins(path, "\\\\?\\UNC\\")) {
        *len = names_len(path + 8, 2);
        return path + 8;
    }
    if (begins(path, "\\\\?\\")) {
        path += 4;
    } else if (begins(path, "\\\\") && path[2] != '.') {
        *len = names_len(path + 2, 2);
        return path + 2;
    }
    if (isalpha((unsigned char)path[0]) && path[1] == ':' && begins(path + 2, CSV_FOLDER)) {
        *len = sizeof(CSV_FOLDER) - 1 + names_len(path + 2 + sizeof(CSV_FOLDER) - 1, 1);
        return path + 2;
    }
    return NULL;
}

bool
volume_path_is_common(const char *path)
{
    size_t len;

    return common_part(path, &len) != NULL;
}

/* Longer ones are cut: what is the same so far is taken for the same. */
#define NAME_SIZE 256u

static void
name_volume(char out[NAME_SIZE], const char *path, const char *host)
{
    size_t len = 0;
    const char *common = common_part(path, &len);

    if (begins(path, "\\\\?\\")) {
        path += 4;
    }
    if (common != NULL) {
        (void)snprintf(out, NAME_SIZE, "%s%.*s", begins(common, CSV_FOLDER) ? "" : "\\\\", (int)len,
                       common);
        for (char *p = out; *p != '\0'; p++) {
            *p = (char)(*p == '/' ? '\\' : tolower((unsigned char)*p));
        }
    } else if (isalpha((unsigned char)path[0]) && path[1] == ':') {
        (void)snprintf(out, NAME_SIZE, "%c: of %s", toupper((unsigned char)path[0]), host);
    } else {
        (void)snprintf(out, NAME_SIZE, "the disks of %s", host);
    }
}

static void
name_disk(char out[NAME_SIZE], const char *path, const char *host)
{
    size_t len = 0;
    const char *common = common_part(path, &len);

    if (common != NULL) {
        (void)snprintf(out, NAME_SIZE, "%s%s", begins(common, CSV_FOLDER) ? "" : "\\\\", common);
    } else {
        (void)snprintf(out, NAME_SIZE, "%s of %s", path, host);
    }
    for (char *p = out; *p != '\0'; p++) {
        *p = (char)(*p == '/' ? '\\' : tolower((unsigned char)*p));
    }
}

static void
release(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
}

void
volumes_release(struct volumes *v)
{
    release(v->names, v->count);
    release(v->shared, v->shared_count);
    memset(v, 0, sizeof(*v));
}

/* Once. */
static enum varve_err
add(char **names, size_t *count, const char *name, struct varve_error *err)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(names[i], name) == 0) {
            return VARVE_OK;
        }
    }
    names[*count] = strdup(name);
    if (names[*count] == NULL) {
        return varve_error_nomem(err);
    }
    (*count)++;
    return VARVE_OK;
}

enum varve_err
volumes_of_vm(struct volumes *out, const struct vm_row *row, struct varve_error *err)
{
    struct volumes v = {.names = calloc(row->vm.disk_count + 1, sizeof(char *)),
                        .shared = calloc(row->vm.disk_count + 1, sizeof(char *))};
    enum varve_err rc = v.names != NULL && v.shared != NULL ? VARVE_OK : varve_error_nomem(err);

    for (size_t i = 0; i < row->vm.disk_count && rc == VARVE_OK; i++) {
        const struct inv_disk *d = &row->vm.disks[i];
        const char *path = d->path != NULL ? d->path : "";
        char name[NAME_SIZE];

        name_volume(name, path, row->host_name);
        rc = add(v.names, &v.count, name, err);
        if (rc == VARVE_OK && d->shared) {
            name_disk(name, path, row->host_name);
            rc = add(v.shared, &v.shared_count, name, err);
        }
    }
    if (rc != VARVE_OK) {
        volumes_release(&v);
        return rc;
    }
    *out = v;
    return VARVE_OK;
}
