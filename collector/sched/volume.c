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

void
volumes_release(struct volumes *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free(v->names[i]);
    }
    free(v->names);
    memset(v, 0, sizeof(*v));
}

static bool
has_name(const struct volumes *v, const char *name)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

enum varve_err
volumes_of_vm(struct volumes *out, const struct vm_row *row, struct varve_error *err)
{
    struct volumes v = {calloc(row->vm.disk_count + 1, sizeof(char *)), 0};
    enum varve_err rc = v.names != NULL ? VARVE_OK : varve_error_nomem(err);

    for (size_t i = 0; i < row->vm.disk_count && rc == VARVE_OK; i++) {
        const char *path = row->vm.disks[i].path;
        char name[NAME_SIZE];

        name_volume(name, path != NULL ? path : "", row->host_name);
        if (!has_name(&v, name)) {
            v.names[v.count] = strdup(name);
            rc = v.names[v.count] != NULL ? VARVE_OK : varve_error_nomem(err);
            v.count += rc == VARVE_OK ? 1 : 0;
        }
    }
    if (rc != VARVE_OK) {
        volumes_release(&v);
        return rc;
    }
    *out = v;
    return VARVE_OK;
}
