/* SPDX-License-Identifier: Apache-2.0 */
#include "os/path.h"

#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define BACKSLASH_IS_SLASH 1
#else
#define BACKSLASH_IS_SLASH 0
#endif

static bool
is_slash(char c)
{
    return c == '/' || (BACKSLASH_IS_SLASH && c == '\\');
}

static bool
is_absolute(const char *path)
{
    return is_slash(path[0]) || (BACKSLASH_IS_SLASH && path[0] != '\0' && path[1] == ':');
}

static enum varve_err
copy(char **out, const char *s, size_t len, struct varve_error *err)
{
    char *p = malloc(len + 1);

    if (p == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(p, s, len);
    p[len] = '\0';
    *out = p;
    return VARVE_OK;
}

enum varve_err
path_join(char **out, const char *a, const char *b, struct varve_error *err)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    size_t slash;
    char *p;

    if (a_len == 0 || is_absolute(b)) {
        return copy(out, b, b_len, err);
    }
    slash = is_slash(a[a_len - 1]) ? 0 : 1;
    p = malloc(a_len + slash + b_len + 1);
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(p, a, a_len);
    if (slash == 1) {
        p[a_len] = '/';
    }
    memcpy(p + a_len + slash, b, b_len + 1);
    *out = p;
    return VARVE_OK;
}

enum varve_err
path_dirname(char **out, const char *path, struct varve_error *err)
{
    size_t len = strlen(path);

    while (len > 1 && is_slash(path[len - 1])) {
        len--;
    }
    while (len > 0 && !is_slash(path[len - 1])) {
        len--;
    }
    while (len > 1 && is_slash(path[len - 1])) {
        len--;
    }
    return len == 0 ? copy(out, ".", 1, err) : copy(out, path, len, err);
}

const char *
path_basename(const char *path)
{
    const char *name = path;

    for (; *path != '\0'; path++) {
        if (is_slash(*path)) {
            name = path + 1;
        }
    }
    return name;
}

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
path_has_suffix(const char *path, const char *suffix)
{
    size_t len = strlen(path);
    size_t tail = strlen(suffix);

    if (tail > len) {
        return false;
    }
    for (size_t i = 0; i < tail; i++) {
        if (lower(path[len - tail + i]) != lower(suffix[i])) {
            return false;
        }
    }
    return true;
}

bool
path_is_plain_name(const char *name)
{
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    for (const char *s = name; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '/' || c == '\\' || c < 0x20 || c == 0x7F) {
            return false;
        }
    }
    return true;
}
