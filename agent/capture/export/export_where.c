/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/export/export_internal.h"

#define SERVER_MAX 255u /* a DNS name */

static bool
is_separator(char c)
{
    return c == '/' || c == '\\';
}

static bool
is_drive(const char *path)
{
    return ((path[0] >= 'A' && path[0] <= 'Z') || (path[0] >= 'a' && path[0] <= 'z')) &&
           path[1] == ':';
}

static bool
is_unc(const char *path)
{
    return is_separator(path[0]) && is_separator(path[1]) && path[2] != '?' && path[2] != '.';
}

/* "//SERVER/SHARE..."; a server that is another machine for whoever asks is none. */
static bool
is_share_for_all(const char *folder)
{
    static const char *const selves[] = {"localhost", "127.", "::1"};
    const char *server = folder + 2;
    size_t len = strcspn(server, "/\\");
    size_t i;

    if (!is_unc(folder) || len == 0 || server[len] == '\0' ||
        strcspn(server + len + 1, "/\\") == 0) {
        return false;
    }
    for (i = 0; i < sizeof(selves) / sizeof(selves[0]); i++) {
        if (strncmp(server, selves[i], strlen(selves[i])) == 0) {
            return false;
        }
    }
    return true;
}

enum varve_err
export_check_server(const char *server, const char *folder, struct varve_error *err)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789.-_";

    if (server[0] == '\0' || strlen(server) > SERVER_MAX ||
        server[strspn(server, allowed)] != '\0') {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "hyperv-host = '%.80s' is no name of a host: give its name or IPv4 "
                               "address alone",
                               server);
    }
    return is_share_for_all(folder)
               ? VARVE_OK
               : varve_error_set(
                     err, VARVE_ERR_INVALID,
                     "export-folder = '%.80s': with hyperv-host it is a UNC path "
                     "(\\\\server\\share\\folder) that names one place on the host and here",
                     folder);
}

/* The host is given the path too: whole, and on Windows with the separator that it knows. */
enum varve_err
export_take_folder(struct export *x, const struct export_options *o, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    char *p;

    if (o->server != NULL) {
        rc = export_check_server(o->server, o->folder, err);
    } else if (!is_drive(o->folder) && !is_separator(o->folder[0])) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "export-folder = '%s': the host needs all of the path", o->folder);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    x->folder = refpoint_copy(o->folder);
    x->server = o->server != NULL ? refpoint_copy(o->server) : NULL;
    if (x->folder == NULL || (o->server != NULL && x->server == NULL)) {
        return varve_error_nomem(err);
    }
    if (is_drive(x->folder) || (is_separator(x->folder[0]) && is_separator(x->folder[1]))) {
        for (p = x->folder; *p != '\0'; p++) {
            *p = *p == '/' ? '\\' : *p;
        }
    }
    return VARVE_OK;
}

enum varve_err
export_reach(const struct export *x, const char *path, char **out, struct varve_error *err)
{
    size_t size;

    if (x->server == NULL || is_unc(path)) {
        *out = refpoint_copy(path);
    } else if (is_drive(path) && is_separator(path[2])) {
        size = strlen(x->server) + strlen(path) + 4;
        *out = malloc(size);
        if (*out != NULL) {
            (void)snprintf(*out, size, "\\\\%s\\%c$%s", x->server, path[0], path + 2);
        }
    } else {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "'%s' is of host %s and not shared", path,
                               x->server);
    }
    return *out != NULL ? VARVE_OK : varve_error_nomem(err);
}

enum varve_err
export_open_image(struct export *x, const char *path, struct image **out, struct varve_error *err)
{
    char *reached = NULL;
    enum varve_err rc = export_reach(x, path, &reached, err);

    if (rc == VARVE_OK) {
        rc = image_open(out, x->host_fs, reached, 0, err);
    }
    free(reached);
    return rc;
}
