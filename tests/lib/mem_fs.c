/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/mem_fs.h"

#include <stdlib.h>
#include <string.h>

#include "os/path.h"

#define PAGE ((size_t)4096)

struct mem_file {
    char *path; /* NULL: free slot */
    uint8_t **pages;
    size_t page_count; /* room in pages; what is behind is zeros */
    uint64_t size;
};

struct mem_fs {
    struct fs fs;
    struct mem_file files[MEM_FS_FILES];
    size_t used;
};

struct mem_handle {
    struct file file;
    struct mem_fs *fs;
    struct mem_file *of;
};

static struct mem_file *
find(struct mem_fs *m, const char *path)
{
    size_t i;

    for (i = 0; i < MEM_FS_FILES; i++) {
        if (m->files[i].path != NULL && strcmp(m->files[i].path, path) == 0) {
            return &m->files[i];
        }
    }
    return NULL;
}

static enum varve_err
create(struct mem_fs *m, const char *path, struct mem_file **out, struct varve_error *err)
{
    size_t len = strlen(path) + 1;
    size_t i = 0;

    while (i < MEM_FS_FILES && m->files[i].path != NULL) {
        i++;
    }
    if (i == MEM_FS_FILES) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u files", MEM_FS_FILES);
    }
    m->files[i].path = malloc(len);
    if (m->files[i].path == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(m->files[i].path, path, len);
    *out = &m->files[i];
    return VARVE_OK;
}

static enum varve_err
page_for_writing(struct mem_fs *m, struct mem_file *f, uint64_t page, uint8_t **out,
                 struct varve_error *err)
{
    if (page >= f->page_count) {
        size_t count = f->page_count == 0 ? 64 : f->page_count;
        uint8_t **pages;

        while (count <= page) {
            count *= 2;
        }
        pages = realloc(f->pages, count * sizeof(*pages));
        if (pages == NULL) {
            return varve_error_nomem(err);
        }
        memset(pages + f->page_count, 0, (count - f->page_count) * sizeof(*pages));
        f->pages = pages;
        f->page_count = count;
    }
    if (f->pages[page] == NULL) {
        f->pages[page] = calloc(1, PAGE);
        if (f->pages[page] == NULL) {
            return varve_error_nomem(err);
        }
        m->used += PAGE;
    }
    *out = f->pages[page];
    return VARVE_OK;
}

static enum varve_err
put(struct mem_fs *m, struct mem_file *f, const uint8_t *data, size_t len, uint64_t off,
    struct varve_error *err)
{
    if (off > MEM_FS_FILE_MAX || len > MEM_FS_FILE_MAX - off) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a file in memory is too long");
    }
    while (len > 0) {
        size_t in_page = (size_t)(off % PAGE);
        size_t n = PAGE - in_page < len ? PAGE - in_page : len;
        uint8_t *page = NULL;
        enum varve_err rc = page_for_writing(m, f, off / PAGE, &page, err);

        if (rc != VARVE_OK || page == NULL) {
            return rc;
        }
        memcpy(page + in_page, data, n);
        data += n;
        off += n;
        len -= n;
        f->size = off > f->size ? off : f->size;
    }
    return VARVE_OK;
}

static void
get(const struct mem_file *f, uint8_t *buf, size_t len, uint64_t off)
{
    while (len > 0) {
        size_t in_page = (size_t)(off % PAGE);
        size_t n = PAGE - in_page < len ? PAGE - in_page : len;
        const uint8_t *page = off / PAGE < f->page_count ? f->pages[off / PAGE] : NULL;

        if (page == NULL) {
            memset(buf, 0, n);
        } else {
            memcpy(buf, page + in_page, n);
        }
        buf += n;
        off += n;
        len -= n;
    }
}

/* What is cut off must not come back when the file grows again. */
static enum varve_err
set_size(struct mem_fs *m, struct mem_file *f, uint64_t size, struct varve_error *err)
{
    uint64_t page;

    if (size > MEM_FS_FILE_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a file in memory is too long");
    }
    for (page = size / PAGE; size < f->size && page < f->page_count; page++) {
        if (f->pages[page] == NULL) {
            continue;
        }
        if (page == size / PAGE && size % PAGE != 0) {
            memset(f->pages[page] + size % PAGE, 0, PAGE - (size_t)(size % PAGE));
        } else {
            free(f->pages[page]);
            f->pages[page] = NULL;
            m->used -= PAGE;
        }
    }
    f->size = size;
    return VARVE_OK;
}

static enum varve_err
mem_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
         struct varve_error *err)
{
    struct mem_fs *m = (struct mem_fs *)fs;
    struct mem_file *of = find(m, path);
    struct mem_handle *h;
    enum varve_err rc = VARVE_OK;

    if (mode == FILE_CREATE_NEW && of != NULL) {
        return varve_error_set(err, VARVE_ERR_EXISTS, "'%s' exists", path);
    }
    if (mode != FILE_CREATE_NEW && of == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no '%s'", path);
    }
    h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return varve_error_nomem(err);
    }
    if (of == NULL) {
        rc = create(m, path, &of, err);
        if (rc != VARVE_OK) {
            free(h);
            return rc;
        }
    }
    h->file.ops = fs->ops;
    h->fs = m;
    h->of = of;
    *out = &h->file;
    return VARVE_OK;
}

static void
mem_close(struct file *f)
{
    free(f);
}

static enum varve_err
mem_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    const struct mem_file *of = ((struct mem_handle *)f)->of;

    (void)err;
    *got = 0;
    if (off < of->size) {
        *got = of->size - off < len ? (size_t)(of->size - off) : len;
        get(of, buf, *got, off);
    }
    return VARVE_OK;
}

/* Pages that nobody wrote are holes. */
static enum varve_err
mem_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
         struct varve_error *err)
{
    const struct mem_file *of = ((struct mem_handle *)f)->of;
    uint64_t page = off / PAGE;

    (void)err;
    *hole = off < of->size && (page >= of->page_count || of->pages[page] == NULL);
    *len = max;
    if (off >= of->size) {
        return VARVE_OK;
    }
    while (page * PAGE < of->size && (page >= of->page_count || of->pages[page] == NULL) == *hole) {
        page++;
        if (page * PAGE - off >= max) {
            return VARVE_OK;
        }
    }
    *len = page * PAGE < of->size ? page * PAGE - off : of->size - off;
    *len = *len < max ? *len : max;
    return VARVE_OK;
}

static enum varve_err
mem_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct mem_handle *h = (struct mem_handle *)f;

    return put(h->fs, h->of, buf, len, off, err);
}

static enum varve_err
mem_sync(struct file *f, struct varve_error *err)
{
    (void)f;
    (void)err;
    return VARVE_OK;
}

static enum varve_err
mem_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    struct mem_handle *h = (struct mem_handle *)f;

    return set_size(h->fs, h->of, size, err);
}

static void
fill_stat(const struct mem_fs *m, const struct mem_file *f, struct file_stat *out)
{
    memset(out, 0, sizeof(*out));
    out->size = f->size;
    out->inode = (uint64_t)(f - m->files) + 1;
    out->is_regular = true;
    out->is_private = true;
}

static enum varve_err
mem_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    const struct mem_handle *h = (const struct mem_handle *)f;

    (void)err;
    fill_stat(h->fs, h->of, out);
    return VARVE_OK;
}

static enum varve_err
mem_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    struct mem_fs *m = (struct mem_fs *)fs;
    const struct mem_file *f = find(m, path);

    if (f == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no '%s'", path);
    }
    fill_stat(m, f, out);
    return VARVE_OK;
}

static enum varve_err
unsupported(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "not in memory");
}

static enum varve_err
mem_rename(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    (void)from;
    (void)to;
    return unsupported(err);
}

static enum varve_err
mem_path(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    (void)path;
    return unsupported(err);
}

static enum varve_err
mem_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
         void *arg, struct varve_error *err)
{
    struct mem_fs *m = (struct mem_fs *)fs;
    size_t i;

    (void)path;
    (void)err;
    for (i = 0; i < MEM_FS_FILES; i++) {
        if (m->files[i].path != NULL && !cb(arg, path_basename(m->files[i].path), false)) {
            break;
        }
    }
    return VARVE_OK;
}

static enum varve_err
mem_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    (void)path;
    (void)out;
    return unsupported(err);
}

static const struct fs_ops mem_ops = {
    .open = mem_open,
    .close = mem_close,
    .read = mem_read,
    .write = mem_write,
    .sync = mem_sync,
    .truncate = mem_truncate,
    .fstat = mem_fstat,
    .hole = mem_hole,
    .stat = mem_stat,
    .rename_new = mem_rename,
    .rename_over = mem_rename,
    .remove = mem_path,
    .mkdir = mem_path,
    .sync_dir = mem_path,
    .list = mem_list,
    .free_bytes = mem_free_bytes,
};

struct mem_fs *
mem_fs_new(void)
{
    struct mem_fs *m = calloc(1, sizeof(*m));

    if (m != NULL) {
        m->fs.ops = &mem_ops;
    }
    return m;
}

void
mem_fs_free(struct mem_fs *m)
{
    size_t i;
    size_t page;

    if (m == NULL) {
        return;
    }
    for (i = 0; i < MEM_FS_FILES; i++) {
        for (page = 0; page < m->files[i].page_count; page++) {
            free(m->files[i].pages[page]);
        }
        free(m->files[i].pages);
        free(m->files[i].path);
    }
    free(m);
}

struct fs *
mem_fs_fs(struct mem_fs *m)
{
    return &m->fs;
}

enum varve_err
mem_fs_put(struct mem_fs *m, const char *path, const void *data, size_t len, uint64_t off,
           struct varve_error *err)
{
    struct mem_file *f = find(m, path);
    enum varve_err rc = VARVE_OK;

    if (f == NULL) {
        rc = create(m, path, &f, err);
    }
    return rc == VARVE_OK && f != NULL ? put(m, f, data, len, off, err) : rc;
}

enum varve_err
mem_fs_set_size(struct mem_fs *m, const char *path, uint64_t size, struct varve_error *err)
{
    struct mem_file *f = find(m, path);
    enum varve_err rc = VARVE_OK;

    if (f == NULL) {
        rc = create(m, path, &f, err);
    }
    return rc == VARVE_OK && f != NULL ? set_size(m, f, size, err) : rc;
}

void
mem_fs_get(struct mem_fs *m, const char *path, void *buf, size_t len, uint64_t off)
{
    const struct mem_file *f = find(m, path);

    if (f == NULL) {
        memset(buf, 0, len);
    } else {
        get(f, buf, len, off);
    }
}

uint64_t
mem_fs_size(struct mem_fs *m, const char *path)
{
    const struct mem_file *f = find(m, path);

    return f == NULL ? 0 : f->size;
}

size_t
mem_fs_used(const struct mem_fs *m)
{
    return m->used;
}
