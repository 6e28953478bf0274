/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "os/private_win32.h"
#include "os/wide_win32.h"

/*
 * The file system of Windows.  What each durability promise of file.h rests on:
 *
 *   file_sync   FlushFileBuffers(): data and metadata of the file, and the medium's cache.
 *   rename_*    MoveFileExW(MOVEFILE_WRITE_THROUGH): does not return before the move is on disk.
 *   sync_dir    FlushFileBuffers() of the folder where the file system allows it.  NTFS and ReFS log
 *               changes of names in order, so that a name is at least as durable as what was flushed
 *               after it was made; a file system that refuses is believed to do the same.
 *
 * All files are opened so that others may read, write, rename and delete them, as on POSIX systems.
 * What somebody else holds without sharing is VARVE_ERR_BUSY.
 *
 * A handle is synchronous: reads of many threads at different offsets are right, one after the other.
 */
struct win_file {
    struct file base;
    HANDLE handle;
    char *path; /* for messages */
};

#define IO_MAX ((size_t)1 << 30) /* one call moves at most this much */

/* Virus scanners and indexers open what is new for a moment: a rename over such a file is tried again. */
#define RENAME_TRIES    20
#define RENAME_PAUSE_MS 50u

#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)

const char *const file_private_hint =
    "run 'icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F'";

static struct win_file *
of(struct file *f)
{
    return (struct win_file *)f;
}

static bool
offset_fits(uint64_t off, size_t len)
{
    return off <= INT64_MAX && len <= (uint64_t)INT64_MAX - off;
}

static enum varve_err
offset_error(const struct win_file *wf, uint64_t off, size_t len, struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_INVALID,
                           "%zu bytes at %" PRIu64 " of '%s' are beyond any file", len, off,
                           wf->path);
}

/* A path through a file is "path not found" for Windows, and a folder opened as a file "access denied":
 * nobody would look for these behind such words. */
static enum varve_err
open_error(DWORD code, wchar_t *wide, const char *doing, const char *path, struct varve_error *err)
{
    wchar_t *last = wcsrchr(wide, L'\\');
    DWORD attributes;

    if (code == ERROR_ACCESS_DENIED) {
        attributes = GetFileAttributesW(wide);
        if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
            return varve_error_set(err, VARVE_ERR_INVALID, "%s '%s': it is a folder", doing, path);
        }
    } else if (code == ERROR_PATH_NOT_FOUND && last != NULL) {
        *last = L'\0';
        attributes = GetFileAttributesW(wide);
        if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) == 0) {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "%s '%s': what it is to be in is not a folder", doing, path);
        }
    }
    return varve_error_win32(err, code, "%s '%s'", doing, path);
}

static enum varve_err
open_handle(HANDLE *out, const char *path, enum file_mode mode, struct varve_error *err)
{
    const char *doing = mode == FILE_CREATE_NEW ? "creating" : "opening";
    DWORD access = mode == FILE_READ ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
    PSECURITY_DESCRIPTOR sd = NULL;
    SECURITY_ATTRIBUTES attributes;
    wchar_t *wide = NULL;
    enum varve_err rc;

    rc = wide_path(&wide, path, err);
    if (rc == VARVE_OK && mode == FILE_CREATE_NEW) {
        rc = private_attributes(&attributes, false, &sd, err);
    }
    if (rc == VARVE_OK) {
        *out = CreateFileW(wide, access, SHARE_ALL, mode == FILE_CREATE_NEW ? &attributes : NULL,
                           mode == FILE_CREATE_NEW ? CREATE_NEW : OPEN_EXISTING,
                           FILE_ATTRIBUTE_NORMAL, NULL);
        if (*out == INVALID_HANDLE_VALUE) {
            rc = open_error(GetLastError(), wide, doing, path, err);
        }
    }
    (void)LocalFree(sd);
    free(wide);
    return rc;
}

static enum varve_err
win_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
         struct varve_error *err)
{
    struct win_file *wf = calloc(1, sizeof(*wf));
    enum varve_err rc;

    if (wf == NULL) {
        return varve_error_nomem(err);
    }
    wf->path = _strdup(path);
    rc = wf->path == NULL ? varve_error_nomem(err) : open_handle(&wf->handle, path, mode, err);
    if (rc != VARVE_OK) {
        free(wf->path);
        free(wf);
        return rc;
    }
    wf->base.ops = fs->ops;
    *out = &wf->base;
    return VARVE_OK;
}

static void
win_close(struct file *f)
{
    struct win_file *wf = of(f);

    (void)CloseHandle(wf->handle);
    free(wf->path);
    free(wf);
}

static OVERLAPPED
position(uint64_t off)
{
    OVERLAPPED at;

    memset(&at, 0, sizeof(at));
    at.Offset = (DWORD)(off & 0xFFFFFFFFu);
    at.OffsetHigh = (DWORD)(off >> 32);
    return at;
}

static enum varve_err
win_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    struct win_file *wf = of(f);
    size_t done = 0;

    if (!offset_fits(off, len)) {
        return offset_error(wf, off, len, err);
    }
    while (done < len) {
        DWORD part = (DWORD)(len - done < IO_MAX ? len - done : IO_MAX);
        OVERLAPPED at = position(off + done);
        DWORD n = 0;

        if (!ReadFile(wf->handle, (uint8_t *)buf + done, part, &n, &at)) {
            DWORD code = GetLastError();

            if (code == ERROR_HANDLE_EOF) {
                break;
            }
            return varve_error_win32(err, code, "reading %zu bytes at %" PRIu64 " of '%s'", len,
                                     off, wf->path);
        }
        if (n == 0) {
            break;
        }
        done += n;
    }
    *got = done;
    return VARVE_OK;
}

static enum varve_err
win_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct win_file *wf = of(f);
    size_t done = 0;

    if (!offset_fits(off, len)) {
        return offset_error(wf, off, len, err);
    }
    while (done < len) {
        DWORD part = (DWORD)(len - done < IO_MAX ? len - done : IO_MAX);
        OVERLAPPED at = position(off + done);
        DWORD n = 0;

        if (!WriteFile(wf->handle, (const uint8_t *)buf + done, part, &n, &at)) {
            return varve_error_win32(err, GetLastError(),
                                     "writing %zu bytes at %" PRIu64 " of '%s'", len, off,
                                     wf->path);
        }
        done += n;
    }
    return VARVE_OK;
}

static enum varve_err
win_sync(struct file *f, struct varve_error *err)
{
    struct win_file *wf = of(f);

    if (!FlushFileBuffers(wf->handle)) {
        return varve_error_win32(err, GetLastError(), "syncing '%s'", wf->path);
    }
    return VARVE_OK;
}

static enum varve_err
win_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    struct win_file *wf = of(f);
    FILE_END_OF_FILE_INFO end;

    if (!offset_fits(size, 0)) {
        return offset_error(wf, size, 0, err);
    }
    end.EndOfFile.QuadPart = (LONGLONG)size;
    if (!SetFileInformationByHandle(wf->handle, FileEndOfFileInfo, &end, sizeof(end))) {
        return varve_error_win32(err, GetLastError(),
                                 "setting the size of '%s' to %" PRIu64 " bytes", wf->path, size);
    }
    return VARVE_OK;
}

/* The identity of a file has 128 bits on ReFS; folding them keeps what a cycle check needs. */
static void
identity(HANDLE handle, const BY_HANDLE_FILE_INFORMATION *info, struct file_stat *out)
{
    FILE_ID_INFO id;
    uint64_t half[2];

    out->inode = (uint64_t)info->nFileIndexHigh << 32 | info->nFileIndexLow;
    out->device = info->dwVolumeSerialNumber;
    if (GetFileInformationByHandleEx(handle, FileIdInfo, &id, sizeof(id))) {
        memcpy(half, &id.FileId, sizeof(half));
        out->inode = half[0] ^ half[1];
        out->device = id.VolumeSerialNumber;
    }
}

static enum varve_err
stat_handle(HANDLE handle, const char *path, struct file_stat *out, struct varve_error *err)
{
    BY_HANDLE_FILE_INFORMATION info;

    if (!GetFileInformationByHandle(handle, &info)) {
        return varve_error_win32(err, GetLastError(), "looking at '%s'", path);
    }
    out->is_dir = (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
    out->is_regular = !out->is_dir && GetFileType(handle) == FILE_TYPE_DISK;
    out->size = out->is_dir ? 0 : (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow;
    out->mtime_us = ((int64_t)((uint64_t)info.ftLastWriteTime.dwHighDateTime << 32 |
                               info.ftLastWriteTime.dwLowDateTime) -
                     INT64_C(116444736000000000)) /
                    10; /* 100 ns since 1601 */
    identity(handle, &info, out);
    out->is_private = private_is(handle);
    return VARVE_OK;
}

static enum varve_err
win_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    return stat_handle(of(f)->handle, of(f)->path, out, err);
}

static enum varve_err
win_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    wchar_t *wide = NULL;
    HANDLE handle = INVALID_HANDLE_VALUE;
    enum varve_err rc = wide_path(&wide, path, err);

    (void)fs;
    if (rc == VARVE_OK) {
        /* Nothing but attributes and the access list: works on what others hold for themselves. */
        handle = CreateFileW(wide, FILE_READ_ATTRIBUTES | READ_CONTROL, SHARE_ALL, NULL,
                             OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
        rc = handle == INVALID_HANDLE_VALUE
                 ? varve_error_win32(err, GetLastError(), "looking at '%s'", path)
                 : stat_handle(handle, path, out, err);
    }
    if (handle != INVALID_HANDLE_VALUE) {
        (void)CloseHandle(handle);
    }
    free(wide);
    return rc;
}

static enum varve_err
move(const char *from, const char *to, DWORD flags, struct varve_error *err)
{
    wchar_t *wide_from = NULL;
    wchar_t *wide_to = NULL;
    int left = RENAME_TRIES;
    DWORD code = 0;
    enum varve_err rc = wide_path(&wide_from, from, err);

    if (rc == VARVE_OK) {
        rc = wide_path(&wide_to, to, err);
    }
    while (rc == VARVE_OK && !MoveFileExW(wide_from, wide_to, flags | MOVEFILE_WRITE_THROUGH)) {
        code = GetLastError();
        if ((code != ERROR_ACCESS_DENIED && code != ERROR_SHARING_VIOLATION) || --left == 0) {
            rc = varve_error_win32(err, code, "renaming '%s' to '%s'", from, to);
        } else {
            Sleep(RENAME_PAUSE_MS);
        }
    }
    free(wide_from);
    free(wide_to);
    return rc;
}

static enum varve_err
win_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return move(from, to, 0, err);
}

static enum varve_err
win_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return move(from, to, MOVEFILE_REPLACE_EXISTING, err);
}

static enum varve_err
win_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    wchar_t *wide = NULL;
    DWORD attributes;
    BOOL ok;
    enum varve_err rc = wide_path(&wide, path, err);

    (void)fs;
    if (rc == VARVE_OK) {
        attributes = GetFileAttributesW(wide);
        if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
            ok = RemoveDirectoryW(wide);
        } else {
            ok = DeleteFileW(wide);
        }
        if (!ok) {
            rc = varve_error_win32(err, GetLastError(), "removing '%s'", path);
        }
    }
    free(wide);
    return rc;
}

static enum varve_err
win_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    PSECURITY_DESCRIPTOR sd = NULL;
    SECURITY_ATTRIBUTES attributes;
    wchar_t *wide = NULL;
    enum varve_err rc = wide_path(&wide, path, err);

    (void)fs;
    if (rc == VARVE_OK) {
        rc = private_attributes(&attributes, true, &sd, err);
    }
    if (rc == VARVE_OK && !CreateDirectoryW(wide, &attributes)) {
        rc = varve_error_win32(err, GetLastError(), "making folder '%s'", path);
    }
    (void)LocalFree(sd);
    free(wide);
    return rc;
}

static enum varve_err
win_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct file_stat st;
    wchar_t *wide = NULL;
    HANDLE handle;
    DWORD code;
    enum varve_err rc = win_stat(fs, path, &st, err);

    if (rc == VARVE_OK && !st.is_dir) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "syncing '%s': it is not a folder", path);
    }
    if (rc == VARVE_OK) {
        rc = wide_path(&wide, path, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    handle = CreateFileW(wide, GENERIC_WRITE, SHARE_ALL, NULL, OPEN_EXISTING,
                         FILE_FLAG_BACKUP_SEMANTICS, NULL);
    free(wide);
    if (handle == INVALID_HANDLE_VALUE) {
        return VARVE_OK; /* refused: see the top of this file */
    }
    code = FlushFileBuffers(handle) ? ERROR_SUCCESS : GetLastError();
    (void)CloseHandle(handle);
    switch (code) {
    case ERROR_SUCCESS:
    case ERROR_ACCESS_DENIED:
    case ERROR_INVALID_FUNCTION:
    case ERROR_INVALID_HANDLE:
    case ERROR_INVALID_PARAMETER:
    case ERROR_NOT_SUPPORTED:
        return VARVE_OK;
    default:
        return varve_error_win32(err, code, "syncing folder '%s'", path);
    }
}

/* A link or junction is not a folder here, so that a walk cannot leave its tree or run in a circle. */
static enum varve_err
list_entry(const WIN32_FIND_DATAW *found, bool (*cb)(void *arg, const char *name, bool is_dir),
           void *arg, bool *go_on, struct varve_error *err)
{
    bool is_dir = (found->dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0 &&
                  (found->dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) == 0;
    char *name = NULL;
    enum varve_err rc;

    if (wcscmp(found->cFileName, L".") == 0 || wcscmp(found->cFileName, L"..") == 0) {
        return VARVE_OK;
    }
    rc = wide_to_utf8(&name, found->cFileName, err);
    if (rc == VARVE_OK) {
        *go_on = cb(arg, name, is_dir);
    }
    free(name);
    return rc;
}

static enum varve_err
win_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
         void *arg, struct varve_error *err)
{
    WIN32_FIND_DATAW found;
    wchar_t *wide = NULL;
    wchar_t *pattern = NULL;
    HANDLE find = INVALID_HANDLE_VALUE;
    bool go_on = true;
    DWORD code;
    enum varve_err rc = wide_path(&wide, path, err);

    (void)fs;
    if (rc != VARVE_OK) {
        goto out;
    }
    pattern = calloc(wcslen(wide) + 3, sizeof(*pattern));
    if (pattern == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    (void)wcscpy(pattern, wide);
    (void)wcscat(pattern, wide[wcslen(wide) - 1] == L'\\' ? L"*" : L"\\*");
    find = FindFirstFileExW(pattern, FindExInfoBasic, &found, FindExSearchNameMatch, NULL,
                            FIND_FIRST_EX_LARGE_FETCH);
    if (find == INVALID_HANDLE_VALUE) {
        code = GetLastError();
        if (code != ERROR_FILE_NOT_FOUND) { /* an empty root folder has not even "." */
            rc = varve_error_win32(err, code, "listing folder '%s'", path);
        }
        goto out;
    }
    do {
        rc = list_entry(&found, cb, arg, &go_on, err);
    } while (rc == VARVE_OK && go_on && FindNextFileW(find, &found));
    code = GetLastError();
    if (rc == VARVE_OK && go_on && code != ERROR_NO_MORE_FILES) {
        rc = varve_error_win32(err, code, "listing folder '%s'", path);
    }
out:
    if (find != INVALID_HANDLE_VALUE) {
        (void)FindClose(find);
    }
    free(pattern);
    free(wide);
    return rc;
}

static enum varve_err
win_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    ULARGE_INTEGER free_to_us;
    wchar_t *wide = NULL;
    enum varve_err rc = wide_path(&wide, path, err);

    (void)fs;
    if (rc == VARVE_OK && !GetDiskFreeSpaceExW(wide, &free_to_us, NULL, NULL)) {
        rc = varve_error_win32(err, GetLastError(), "asking for the free space of '%s'", path);
    }
    if (rc == VARVE_OK) {
        *out = free_to_us.QuadPart;
    }
    free(wide);
    return rc;
}

static const struct fs_ops win_ops = {
    .open = win_open,
    .close = win_close,
    .read = win_read,
    .write = win_write,
    .sync = win_sync,
    .truncate = win_truncate,
    .fstat = win_fstat,
    .stat = win_stat,
    .rename_new = win_rename_new,
    .rename_over = win_rename_over,
    .remove = win_remove,
    .mkdir = win_mkdir,
    .sync_dir = win_sync_dir,
    .list = win_list,
    .free_bytes = win_free_bytes,
};

static struct fs win_fs = {.ops = &win_ops};

struct fs *
fs_system(void)
{
    return &win_fs;
}
