/* SPDX-License-Identifier: Apache-2.0 */
#include "os/wide_win32.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define PATH_MAX_UNITS 32767 /* CreateFileW */

enum varve_err
wide_from_utf8(wchar_t **out, const char *text, struct varve_error *err)
{
    wchar_t *wide;
    int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);

    if (n <= 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.64s' is not UTF-8", text);
    }
    wide = calloc((size_t)n, sizeof(*wide));
    if (wide == NULL) {
        return varve_error_nomem(err);
    }
    (void)MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, n);
    *out = wide;
    return VARVE_OK;
}

enum varve_err
wide_to_utf8(char **out, const wchar_t *text, struct varve_error *err)
{
    char *narrow;
    int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);

    if (n <= 0) {
        return varve_error_win32(err, GetLastError(), "a text from Windows");
    }
    narrow = malloc((size_t)n);
    if (narrow == NULL) {
        return varve_error_nomem(err);
    }
    (void)WideCharToMultiByte(CP_UTF8, 0, text, -1, narrow, n, NULL, NULL);
    *out = narrow;
    return VARVE_OK;
}

/* Length of what the full path is written behind, and that text: "\\server" loses its first "\". */
static const wchar_t *
long_prefix(const wchar_t *full, size_t *skip)
{
    *skip = 0;
    if (wcsncmp(full, L"\\\\?\\", 4) == 0 || wcsncmp(full, L"\\\\.\\", 4) == 0) {
        return L"";
    }
    if (wcsncmp(full, L"\\\\", 2) == 0) {
        *skip = 2;
        return L"\\\\?\\UNC\\";
    }
    return L"\\\\?\\";
}

enum varve_err
wide_path(wchar_t **out, const char *path, struct varve_error *err)
{
    wchar_t *wide = NULL;
    wchar_t *full = NULL;
    wchar_t *result;
    const wchar_t *prefix;
    size_t skip;
    size_t size;
    DWORD n;
    enum varve_err rc;

    rc = wide_from_utf8(&wide, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (wide[0] == L'\0') {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "a path is empty");
        goto out;
    }
    full = calloc(PATH_MAX_UNITS + 1, sizeof(*full));
    if (full == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    n = GetFullPathNameW(wide, PATH_MAX_UNITS, full, NULL); /* turns '/' into '\' */
    if (n == 0 || n >= PATH_MAX_UNITS) {
        rc = n == 0
                 ? varve_error_win32(err, GetLastError(), "the path '%s'", path)
                 : varve_error_set(err, VARVE_ERR_INVALID, "the path '%.64s...' is too long", path);
        goto out;
    }
    prefix = long_prefix(full, &skip);
    size = wcslen(prefix) + n - skip + 1;
    result = calloc(size, sizeof(*result));
    if (result == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    (void)wcscpy(result, prefix);
    (void)wcscat(result, full + skip);
    *out = result;
out:
    free(full);
    free(wide);
    return rc;
}
