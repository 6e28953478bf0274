/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_STEP ((size_t)8 * 1024 * 1024)

uint32_t
sim_pread(int fd, void *buf, size_t len, uint64_t off, const char *name, struct sim_error *err)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sim_fail_errno(err, errno, "reading '%s'", name);
        }
        if (n == 0) {
            return sim_fail(err, SIM_IO, "'%s' ends %zu bytes after %llu, %zu were wanted", name,
                            done, (unsigned long long)off, len);
        }
        done += (size_t)n;
    }
    return SIM_OK;
}

uint32_t
sim_pwrite(int fd, const void *buf, size_t len, uint64_t off, const char *name,
           struct sim_error *err)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(off + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sim_fail_errno(err, errno, "writing '%s'", name);
        }
        done += (size_t)n;
    }
    return SIM_OK;
}

uint32_t
sim_punch(int fd, uint64_t off, uint64_t len, const char *name, struct sim_error *err)
{
    if (len != 0 &&
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) != 0) {
        return sim_fail_errno(err, errno, "punching a hole into '%s'", name);
    }
    return SIM_OK;
}

uint32_t
sim_truncate(int fd, uint64_t size, const char *name, struct sim_error *err)
{
    if (ftruncate(fd, (off_t)size) != 0) {
        return sim_fail_errno(err, errno, "setting the size of '%s'", name);
    }
    return SIM_OK;
}

uint32_t
sim_size(int fd, uint64_t *out, const char *name, struct sim_error *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return sim_fail_errno(err, errno, "size of '%s'", name);
    }
    *out = (uint64_t)st.st_size;
    return SIM_OK;
}

bool
sim_next_data(int fd, uint64_t off, uint64_t size, uint64_t *start, uint64_t *end)
{
    off_t data;
    off_t hole;

    if (off >= size) {
        return false;
    }
    data = lseek(fd, (off_t)off, SEEK_DATA);
    if (data < 0) {
        if (errno == ENXIO) {
            return false;
        }
        *start = off; /* a file system that knows no holes */
        *end = size;
        return true;
    }
    hole = lseek(fd, data, SEEK_HOLE);
    *start = (uint64_t)data;
    *end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
    return *start < size;
}

static uint32_t
copy_stretch(int in, int out, uint64_t off, uint64_t end, uint8_t *buf, const char *from,
             const char *to, struct sim_error *err)
{
    uint32_t rc = SIM_OK;
    off_t in_off = (off_t)off;
    off_t out_off = (off_t)off;

    while ((uint64_t)in_off < end) {
        ssize_t n =
            copy_file_range(in, &in_off, out, &out_off, (size_t)(end - (uint64_t)in_off), 0);

        if (n <= 0) {
            break; /* not supported between these two: by hand */
        }
    }
    for (off = (uint64_t)in_off; off < end && rc == SIM_OK;) {
        size_t n = end - off < COPY_STEP ? (size_t)(end - off) : COPY_STEP;

        rc = sim_pread(in, buf, n, off, from, err);
        if (rc == SIM_OK) {
            rc = sim_pwrite(out, buf, n, off, to, err);
        }
        off += n;
    }
    return rc;
}

uint32_t
sim_copy_sparse(const char *from, const char *to, struct sim_error *err)
{
    uint8_t *buf = NULL;
    uint64_t size = 0;
    uint64_t start = 0;
    uint64_t end = 0;
    uint32_t rc;
    int in = -1;
    int out = -1;

    in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", from);
        goto out;
    }
    out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out < 0) {
        rc = sim_fail_errno(err, errno, "creating '%s'", to);
        goto out;
    }
    rc = sim_size(in, &size, from, err);
    if (rc == SIM_OK) {
        rc = sim_truncate(out, size, to, err);
    }
    buf = sim_alloc(COPY_STEP);
    for (uint64_t off = 0; rc == SIM_OK && sim_next_data(in, off, size, &start, &end); off = end) {
        rc = copy_stretch(in, out, start, end, buf, from, to, err);
    }
out:
    free(buf);
    if (in >= 0) {
        (void)close(in);
    }
    if (out >= 0) {
        (void)close(out);
        if (rc != SIM_OK) {
            (void)unlink(to);
        }
    }
    return rc;
}

uint32_t
sim_write_text(const char *path, const char *text, struct sim_error *err)
{
    char *tmp = sim_printf("%s.tmp", path);
    uint32_t rc = SIM_OK;
    int fd = -1;

    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "creating '%s'", tmp);
        goto out;
    }
    rc = sim_pwrite(fd, text, strlen(text), 0, tmp, err);
    (void)close(fd);
    if (rc == SIM_OK && rename(tmp, path) != 0) {
        rc = sim_fail_errno(err, errno, "replacing '%s'", path);
    }
out:
    free(tmp);
    return rc;
}

uint32_t
sim_mkdir(const char *path, struct sim_error *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return sim_fail_errno(err, errno, "making folder '%s'", path);
    }
    return SIM_OK;
}

uint32_t
sim_remove_tree(const char *path, struct sim_error *err)
{
    struct dirent *entry = NULL;
    struct stat st;
    uint32_t rc = SIM_OK;
    DIR *dir = NULL;

    if (lstat(path, &st) != 0) {
        return errno == ENOENT ? SIM_OK : sim_fail_errno(err, errno, "looking at '%s'", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return unlink(path) == 0 ? SIM_OK : sim_fail_errno(err, errno, "removing '%s'", path);
    }
    dir = opendir(path);
    if (dir == NULL) {
        return sim_fail_errno(err, errno, "listing '%s'", path);
    }
    while (rc == SIM_OK && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char *child = sim_printf("%s/%s", path, entry->d_name);

            rc = sim_remove_tree(child, err);
            free(child);
        }
    }
    (void)closedir(dir);
    if (rc == SIM_OK && rmdir(path) != 0) {
        rc = sim_fail_errno(err, errno, "removing folder '%s'", path);
    }
    return rc;
}

bool
sim_all_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;

    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}
