/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/image_internal.h"

/* Where the part of p begins that is behind n further slashes; the end if there are fewer. */
static const char *
behind_slashes(const char *p, unsigned n)
{
    for (; *p != '\0' && n > 0; p++) {
        n -= *p == '/' ? 1u : 0u;
    }
    return p;
}

static bool
is_drive(const char *p)
{
    return ((p[0] >= 'A' && p[0] <= 'Z') || (p[0] >= 'a' && p[0] <= 'z')) && p[1] == ':';
}

/* What of a path, its '\' made '/', is behind drive, volume or server; p itself if it is relative. */
static const char *
behind_root(const char *p)
{
    const char *start = p;

    if (strncmp(p, "//?/UNC/", 8) == 0) {
        return behind_slashes(p + 8, 2);
    }
    if (strncmp(p, "//?/Volume{", 11) == 0 || strncmp(p, "//./Volume{", 11) == 0) {
        return behind_slashes(p + 4, 1);
    }
    if (strncmp(p, "//?/", 4) == 0 || strncmp(p, "//./", 4) == 0) {
        p += 4;
    } else if (p[0] == '/' && p[1] == '/') {
        return behind_slashes(p + 2, 2);
    }
    if (is_drive(p)) {
        p += 2;
    }
    while (p != start && *p == '/') {
        p++;
    }
    return p;
}

static bool
is_known(const struct parent_hint *h, const char *text, bool absolute)
{
    unsigned i;

    for (i = 0; i < h->path_count; i++) {
        if (h->paths[i].absolute == absolute && strcmp(h->paths[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

enum varve_err
parent_hint_add_path(struct parent_hint *h, const char *path, const char *what,
                     struct varve_error *err)
{
    char text[PARENT_PATH_SIZE] = {0};
    struct parent_path *p = &h->paths[h->path_count];
    const char *start;
    const char *name;
    bool absolute;
    bool here;
    size_t len = strlen(path) + 1;
    size_t i;

    if (len > sizeof(text) || h->path_count == PARENT_PATHS_MAX) {
        return VARVE_OK;
    }
    for (i = 0; i < len; i++) {
        text[i] = path[i] == '\\' ? '/' : path[i];
    }
    start = behind_root(text);
    here = path[0] == '/' && path[1] != '/';
    absolute = start != text || text[0] == '/';
    while (!here && (start[0] == '/' || (start[0] == '.' && start[1] == '/'))) {
        start += start[0] == '/' ? 1 : 2;
    }
    name = path_basename(start);
    if (strcmp(name, "") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        is_known(h, start, absolute)) {
        return VARVE_OK;
    }
    len = strlen(start) + 1;
    p->text = malloc(len);
    if (p->text == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(p->text, start, len);
    p->absolute = absolute;
    p->here = here;
    p->what = what;
    h->path_count++;
    return VARVE_OK;
}

void
parent_hint_release(struct parent_hint *h)
{
    unsigned i;

    for (i = 0; i < h->path_count; i++) {
        free(h->paths[i].text);
    }
    h->path_count = 0;
}
