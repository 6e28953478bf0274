/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/names.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
same_text(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

/* Windows gives these to devices, with whatever suffix. */
static bool
is_device_name(const char *name)
{
    static const char *const words[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
    size_t stem = strcspn(name, ".");

    while (stem > 0 && name[stem - 1] == ' ') {
        stem--;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (stem == strlen(words[i]) && same_text(name, words[i], stem)) {
            return true;
        }
    }
    return stem == 4 && (same_text(name, "com", 3) || same_text(name, "lpt", 3)) &&
           name[3] >= '0' && name[3] <= '9';
}

void
names_clean_part(const char *in, size_t len, const char *fallback, char out[NAMES_PART_MAX + 1])
{
    size_t used = 0;
    size_t at = 0;

    while (at < len) {
        const uint8_t *p = (const uint8_t *)in + at;
        size_t n = utf8_len((const char *)p, len - at);
        bool bad = n == 0 || utf8_is_control((const char *)p, n) ||
                   (n == 1 && strchr("<>:\"/\\|?*", (char)p[0]) != NULL);
        size_t keep = bad ? 1 : n;

        /* One byte is kept free for the '_' in front of a device name. */
        if (used + keep > NAMES_PART_MAX - 1) {
            break;
        }
        if (bad) {
            out[used] = '_';
        } else {
            memcpy(out + used, p, n);
        }
        used += keep;
        at += n == 0 ? 1 : n;
    }
    while (used > 0 && (out[used - 1] == '.' || out[used - 1] == ' ')) {
        used--;
    }
    out[used] = '\0';
    if (used == 0) {
        (void)snprintf(out, NAMES_PART_MAX + 1, "%s", fallback);
    } else if (is_device_name(out)) {
        memmove(out + 1, out, used + 1);
        out[0] = '_';
    }
}

void
names_strip_suffix(char *name)
{
    static const char *const suffixes[] = {".vhdx", ".avhdx", ".vhds", ".vhd",
                                           ".avhd", ".raw",   ".img"};
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t n = strlen(suffixes[i]);

        if (len > n && same_text(name + len - n, suffixes[i], n)) {
            name[len - n] = '\0';
            return;
        }
    }
}

void
names_init(struct names *n)
{
    memset(n, 0, sizeof(*n));
}

void
names_release(struct names *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->taken[i]);
    }
    free(n->taken);
    memset(n, 0, sizeof(*n));
}

/* Files are kept as they are, folders with a '/' behind. */
static bool
is_taken(const struct names *n, const char *name, bool as_folder)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < n->count; i++) {
        size_t has = strlen(n->taken[i]);
        bool folder = n->taken[i][has - 1] == '/';

        if (folder == as_folder && has - (folder ? 1 : 0) == len &&
            same_text(n->taken[i], name, len)) {
            return true;
        }
    }
    return false;
}

/* Remembers a copy of name. */
static enum varve_err
take(struct names *n, const char *name, struct varve_error *err)
{
    char *copy = strdup(name);

    if (copy == NULL) {
        return varve_error_nomem(err);
    }
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 16 : n->cap * 2;
        char **taken = realloc(n->taken, cap * sizeof(*taken));

        if (taken == NULL) {
            free(copy);
            return varve_error_nomem(err);
        }
        n->taken = taken;
        n->cap = cap;
    }
    n->taken[n->count++] = copy;
    return VARVE_OK;
}

enum varve_err
names_unique(struct names *n, const char *prefix, const char *stem, const char *suffix, char **out,
             struct varve_error *err)
{
    size_t size = strlen(prefix) + strlen(stem) + strlen(suffix) + 24;
    char *name = malloc(size);
    enum varve_err rc;

    if (name == NULL) {
        return varve_error_nomem(err);
    }
    (void)snprintf(name, size, "%s%s%s", prefix, stem, suffix);
    /* At most one more try than there are names. */
    for (size_t i = 2; is_taken(n, name, false) || is_taken(n, name, true); i++) {
        (void)snprintf(name, size, "%s%s-%zu%s", prefix, stem, i, suffix);
    }
    rc = take(n, name, err);
    if (rc != VARVE_OK) {
        free(name);
        return rc;
    }
    *out = name;
    return VARVE_OK;
}

/* Appends part and a '/' to the folder's path in prefix; a file of that name makes it "part_". */
static enum varve_err
enter_folder(struct names *n, char *prefix, size_t size, const char *part, struct varve_error *err)
{
    size_t used = strlen(prefix);
    bool known;

    used += (size_t)snprintf(prefix + used, size - used, "%s", part);
    while (used + 2 < size && is_taken(n, prefix, false)) {
        prefix[used++] = '_';
        prefix[used] = '\0';
    }
    if (used + 2 > size) { /* no name of NAMES_DEPTH parts is that long */
        return varve_error_set(err, VARVE_ERR_LIMIT, "'%.64s...' is too long for a name", prefix);
    }
    known = is_taken(n, prefix, true);
    prefix[used] = '/';
    prefix[used + 1] = '\0';
    return known ? VARVE_OK : take(n, prefix, err);
}

enum varve_err
names_config(struct names *n, const char *folder, const char *name, char **out,
             struct varve_error *err)
{
    char prefix[(NAMES_DEPTH + 2) * (NAMES_PART_MAX + 16)];
    char part[NAMES_PART_MAX + 1];
    unsigned depth = 0;
    enum varve_err rc;

    prefix[0] = '\0';
    rc = enter_folder(n, prefix, sizeof(prefix), folder, err);
    while (rc == VARVE_OK) {
        size_t len = strcspn(name, "/\\");
        const char *rest = name + len + strspn(name + len, "/\\");

        if (*rest == '\0') {
            names_clean_part(name, len, "file", part);
            return names_unique(n, prefix, part, "", out, err);
        }
        if (len > 0 && depth < NAMES_DEPTH) {
            names_clean_part(name, len, "folder", part);
            rc = enter_folder(n, prefix, sizeof(prefix), part, err);
            depth++;
        }
        name = rest;
    }
    return rc;
}
