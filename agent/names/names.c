/* SPDX-License-Identifier: Apache-2.0 */
#include "names/names.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "os/path.h"
#include "os/thread.h"

/*
 * Header, little endian: magic, u16 version, u16 whether it is finished, u32 chunk size, u64 size of the disk, GUIDs
 * of vm, run and disk, 32 random bytes, SHA-256 of all before it; zeros up to NAMES_HEADER.  Then 32 bytes a chunk: its name XOR
 * the random bytes, or for a chunk of zeros the random bytes inverted.  32 zeros are "not said".
 *
 * The random bytes make every file's content its own: a block of another, older file that a file system shows
 * after a power cut, or a sector that reads as zeros, never passes for a name.
 */
#define NAMES_HEADER  4096u
#define NAMES_MAGIC   "VARVNAME"
#define NAMES_VERSION 1u

#define AT_VERSION 8u
#define AT_WHOLE   10u
#define AT_CHUNK   12u
#define AT_SIZE    16u
#define AT_VM      24u
#define AT_RUN     40u
#define AT_DISK    56u
#define AT_PAD     72u
#define AT_HASH    104u
#define HEADER_END (AT_HASH + CHUNK_ID_SIZE)

/* <vm>.<run>.<disk>.names */
#define FILE_NAME_SIZE (3 * GUID_TEXT_SIZE + 6)

struct names {
    struct file *file;
    struct names_key key;
    struct names_shape shape;
    uint64_t chunks;
    uint8_t pad[CHUNK_ID_SIZE];
    struct mutex lock; /* failed, error */
    bool failed;
    struct varve_error error;
};

/* ---- paths ---- */

static void
file_name(char out[FILE_NAME_SIZE], const struct names_key *key, const char *suffix)
{
    char vm[GUID_TEXT_SIZE];
    char run[GUID_TEXT_SIZE];
    char disk[GUID_TEXT_SIZE];

    guid_format(&key->vm, vm);
    guid_format(&key->run, run);
    guid_format(&key->disk, disk);
    (void)snprintf(out, FILE_NAME_SIZE, "%s.%s.%s.%s", vm, run, disk, suffix);
}

/* The opposite; *kept: .names, not .part. */
static bool
parse_file_name(struct names_key *key, bool *kept, const char *name)
{
    struct guid *const parts[] = {&key->vm, &key->run, &key->disk};
    size_t i;

    for (i = 0; i < 3; i++) {
        char text[GUID_TEXT_SIZE];

        if (strlen(name) <= GUID_TEXT_SIZE || name[GUID_TEXT_SIZE - 1] != '.') {
            return false;
        }
        (void)snprintf(text, sizeof(text), "%s", name);
        if (!guid_parse(parts[i], text)) {
            return false;
        }
        name += GUID_TEXT_SIZE;
    }
    *kept = strcmp(name, "names") == 0;
    return *kept || strcmp(name, "part") == 0;
}

static enum varve_err
file_path(char **dir, char **path, const char *state_dir, const struct names_key *key,
          const char *suffix, struct varve_error *err)
{
    char name[FILE_NAME_SIZE];
    enum varve_err rc = path_join(dir, state_dir, "names", err);

    file_name(name, key, suffix);
    return rc == VARVE_OK ? path_join(path, *dir, name, err) : rc;
}

/* ---- header ---- */

static void
put_header(uint8_t head[NAMES_HEADER], const struct names_key *key, const struct names_shape *shape,
           const uint8_t pad[CHUNK_ID_SIZE], bool whole)
{
    struct chunk_id hash;

    memset(head, 0, NAMES_HEADER);
    memcpy(head, NAMES_MAGIC, 8);
    put_le16(head + AT_VERSION, NAMES_VERSION);
    put_le16(head + AT_WHOLE, whole ? 1 : 0);
    put_le32(head + AT_CHUNK, shape->chunk_size);
    put_le64(head + AT_SIZE, shape->size);
    memcpy(head + AT_VM, key->vm.bytes, sizeof(key->vm.bytes));
    memcpy(head + AT_RUN, key->run.bytes, sizeof(key->run.bytes));
    memcpy(head + AT_DISK, key->disk.bytes, sizeof(key->disk.bytes));
    memcpy(head + AT_PAD, pad, CHUNK_ID_SIZE);
    chunk_id_of(&hash, head, AT_HASH);
    memcpy(head + AT_HASH, hash.bytes, CHUNK_ID_SIZE);
}

/* The header that these would have, but for the random bytes. */
static bool
header_fits(const uint8_t head[NAMES_HEADER], const struct names_key *key,
            const struct names_shape *shape, bool whole)
{
    uint8_t want[NAMES_HEADER];

    put_header(want, key, shape, head + AT_PAD, whole);
    return memcmp(head, want, HEADER_END) == 0;
}

/* Takes the file. */
static enum varve_err
names_new(struct names **out, struct file *file, const struct names_key *key,
          const struct names_shape *shape, const uint8_t pad[CHUNK_ID_SIZE],
          struct varve_error *err)
{
    struct names *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        file_close(file);
        return varve_error_nomem(err);
    }
    n->file = file;
    n->key = *key;
    n->shape = *shape;
    n->chunks = shape->size / shape->chunk_size + (shape->size % shape->chunk_size != 0 ? 1 : 0);
    memcpy(n->pad, pad, CHUNK_ID_SIZE);
    mutex_init(&n->lock);
    *out = n;
    return VARVE_OK;
}

static enum varve_err
open_existing(struct names **out, struct fs *fs, const char *path, enum file_mode mode,
              const struct names_key *key, const struct names_shape *shape, struct varve_error *err)
{
    uint8_t head[NAMES_HEADER];
    struct file *file = NULL;
    size_t got = 0;
    enum varve_err rc = file_open(fs, &file, path, mode, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = file_read(file, head, sizeof(head), 0, &got, err);
    if (rc == VARVE_OK &&
        (got != sizeof(head) || !header_fits(head, key, shape, mode == FILE_READ))) {
        rc = varve_error_set(err, VARVE_ERR_STALE, "'%s' is damaged, or of a disk of another size",
                             path);
    }
    if (rc != VARVE_OK) {
        file_close(file);
        return rc;
    }
    return names_new(out, file, key, shape, head + AT_PAD, err);
}

static enum varve_err
create(struct names **out, struct fs *fs, const char *path, const struct names_key *key,
       const struct names_shape *shape, struct varve_error *err)
{
    uint8_t head[NAMES_HEADER];
    uint8_t pad[CHUNK_ID_SIZE];
    struct file *file = NULL;
    enum varve_err rc = file_open(fs, &file, path, FILE_CREATE_NEW, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    randombytes_buf(pad, sizeof(pad));
    put_header(head, key, shape, pad, false);
    rc = file_write(file, head, sizeof(head), 0, err);
    if (rc != VARVE_OK) {
        file_close(file);
        return rc;
    }
    return names_new(out, file, key, shape, pad, err);
}

enum varve_err
names_begin(struct names **out, struct fs *fs, const char *state_dir, const struct names_key *key,
            const struct names_shape *shape, struct varve_error *err)
{
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = file_path(&dir, &path, state_dir, key, "part", err);

    if (rc == VARVE_OK) {
        rc = fs_mkdir(fs, dir, err);
    }
    if (rc == VARVE_OK) {
        rc = open_existing(out, fs, path, FILE_READ_WRITE, key, shape, err);
        if (rc == VARVE_ERR_STALE) { /* what a crash left of its beginning */
            rc = fs_remove(fs, path, err);
            rc = rc == VARVE_OK ? VARVE_ERR_NOT_FOUND : rc;
        }
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = create(out, fs, path, key, shape, err);
        }
    }
    free(dir);
    free(path);
    return rc;
}

enum varve_err
names_open(struct names **out, struct fs *fs, const char *state_dir, const struct names_key *key,
           const struct names_shape *shape, struct varve_error *err)
{
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = file_path(&dir, &path, state_dir, key, "names", err);

    if (rc == VARVE_OK) {
        rc = open_existing(out, fs, path, FILE_READ, key, shape, err);
    }
    free(dir);
    free(path);
    return rc;
}

void
names_close(struct names *n)
{
    if (n != NULL) {
        file_close(n->file);
        mutex_destroy(&n->lock);
        free(n);
    }
}

/* ---- chunks ---- */

static void
encode(const struct names *n, uint8_t *out, size_t count, const uint8_t *present,
       const struct chunk_id *ids)
{
    size_t named = 0;
    size_t i;
    size_t k;

    for (i = 0; i < count; i++) {
        bool zero = ((present[i / 8] >> (i % 8)) & 1) == 0;
        const uint8_t *id = zero ? NULL : ids[named++].bytes;

        for (k = 0; k < CHUNK_ID_SIZE; k++) {
            out[i * CHUNK_ID_SIZE + k] = (uint8_t)(n->pad[k] ^ (zero ? 0xFFu : id[k]));
        }
    }
}

static bool
batch_fits(const struct names *n, uint64_t first, size_t count)
{
    return count <= NAMES_BATCH && first <= n->chunks && count <= n->chunks - first;
}

void
names_put(struct names *n, uint64_t first, size_t count, const uint8_t *present,
          const struct chunk_id *ids)
{
    uint8_t bytes[NAMES_BATCH * CHUNK_ID_SIZE];
    struct varve_error err;
    enum varve_err rc = varve_error_set(&err, VARVE_ERR_INTERNAL, "names past the end of a disk");

    if (batch_fits(n, first, count)) {
        encode(n, bytes, count, present, ids);
        rc = file_write(n->file, bytes, count * CHUNK_ID_SIZE, NAMES_HEADER + first * CHUNK_ID_SIZE,
                        &err);
    }
    if (rc != VARVE_OK) {
        mutex_lock(&n->lock);
        if (!n->failed) {
            n->failed = true;
            n->error = err;
        }
        mutex_unlock(&n->lock);
    }
}

void
names_same(struct names *n, uint64_t first, size_t count, const uint8_t *present,
           const struct chunk_id *ids, bool *same)
{
    uint8_t then[NAMES_BATCH * CHUNK_ID_SIZE];
    uint8_t now[NAMES_BATCH * CHUNK_ID_SIZE];
    struct varve_error err;
    size_t got = 0;
    size_t i;

    if (!batch_fits(n, first, count) ||
        file_read(n->file, then, count * CHUNK_ID_SIZE, NAMES_HEADER + first * CHUNK_ID_SIZE, &got,
                  &err) != VARVE_OK) {
        got = 0;
    }
    memset(same, 0, count * sizeof(*same));
    encode(n, now, got / CHUNK_ID_SIZE, present, ids);
    for (i = 0; i < got / CHUNK_ID_SIZE; i++) {
        same[i] = memcmp(now + i * CHUNK_ID_SIZE, then + i * CHUNK_ID_SIZE, CHUNK_ID_SIZE) == 0;
    }
}

enum varve_err
names_finish(struct names *n, struct varve_error *err)
{
    uint8_t head[NAMES_HEADER];
    bool failed;
    enum varve_err rc;

    mutex_lock(&n->lock);
    failed = n->failed;
    if (failed) {
        *err = n->error;
    }
    mutex_unlock(&n->lock);
    if (failed) {
        return err->code;
    }
    rc = file_sync(n->file, err); /* before the header says that it is there */
    if (rc == VARVE_OK) {
        put_header(head, &n->key, &n->shape, n->pad, true);
        rc = file_write(n->file, head, sizeof(head), 0, err);
    }
    return rc == VARVE_OK ? file_sync(n->file, err) : rc;
}

/* ---- all disks of a run ---- */

struct found_file {
    struct names_key key;
    bool kept;
};

struct found {
    const struct guid *vm;  /* NULL: any */
    const struct guid *run; /* NULL: any */
    struct found_file *files;
    size_t count;
    bool no_memory;
};

static bool
take_name(void *arg, const char *name, bool is_dir)
{
    struct found *f = arg;
    struct found_file file = {0};
    struct found_file *files;

    if (is_dir || !parse_file_name(&file.key, &file.kept, name) ||
        (f->vm != NULL && !guid_equal(&file.key.vm, f->vm)) ||
        (f->run != NULL && !guid_equal(&file.key.run, f->run))) {
        return true;
    }
    files = realloc(f->files, (f->count + 1) * sizeof(*files));
    if (files == NULL) {
        f->no_memory = true;
        return false;
    }
    f->files = files;
    f->files[f->count++] = file;
    return true;
}

/* No folder yet is no names. */
static enum varve_err
find(struct found *f, struct fs *fs, const char *state_dir, struct varve_error *err)
{
    char *dir = NULL;
    enum varve_err rc = path_join(&dir, state_dir, "names", err);

    if (rc == VARVE_OK) {
        rc = fs_list(fs, dir, take_name, f, err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    if (rc == VARVE_OK && f->no_memory) {
        rc = varve_error_nomem(err);
    }
    free(dir);
    return rc;
}

static void
found_release(struct found *f)
{
    free(f->files);
}

/* Whatever its size: is it finished? */
static bool
is_whole(struct fs *fs, const char *path)
{
    uint8_t head[NAMES_HEADER];
    struct file *file = NULL;
    struct varve_error err;
    size_t got = 0;
    bool whole = false;

    if (file_open(fs, &file, path, FILE_READ, &err) == VARVE_OK) {
        whole = file_read(file, head, sizeof(head), 0, &got, &err) == VARVE_OK &&
                got == sizeof(head) && get_le16(head + AT_WHOLE) == 1;
        file_close(file);
    }
    return whole;
}

/* *kept: it was finished, and is now under its last name. */
static enum varve_err
keep_one(struct fs *fs, const char *state_dir, const struct names_key *key, bool *kept,
         struct varve_error *err)
{
    char *dir = NULL;
    char *from = NULL;
    char *to_dir = NULL;
    char *to = NULL;
    enum varve_err rc = file_path(&dir, &from, state_dir, key, "part", err);

    if (rc == VARVE_OK) {
        rc = file_path(&to_dir, &to, state_dir, key, "names", err);
    }
    if (rc == VARVE_OK) {
        *kept = is_whole(fs, from);
        rc = *kept ? fs_rename_over(fs, from, to, err) : fs_remove(fs, from, err);
    }
    free(dir);
    free(from);
    free(to_dir);
    free(to);
    return rc;
}

static enum varve_err
sync_folder(struct fs *fs, const char *state_dir, struct varve_error *err)
{
    char *dir = NULL;
    enum varve_err rc = path_join(&dir, state_dir, "names", err);

    if (rc == VARVE_OK) {
        rc = fs_sync_dir(fs, dir, err);
    }
    free(dir);
    return rc;
}

enum varve_err
names_keep(struct fs *fs, const char *state_dir, const struct guid *vm, const struct guid *run,
           struct varve_error *err)
{
    struct found f = {.vm = vm, .run = run};
    size_t kept = 0;
    size_t i;
    enum varve_err rc = find(&f, fs, state_dir, err);

    for (i = 0; rc == VARVE_OK && i < f.count; i++) {
        bool one = f.files[i].kept;

        rc = one ? VARVE_OK : keep_one(fs, state_dir, &f.files[i].key, &one, err);
        kept += one ? 1 : 0;
    }
    if (rc == VARVE_OK && f.count > 0) {
        rc = sync_folder(fs, state_dir, err);
    }
    if (rc == VARVE_OK && kept == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the run has no names to keep");
    }
    found_release(&f);
    return rc;
}

static enum varve_err
remove_one(struct fs *fs, const char *state_dir, const struct names_key *key, bool kept,
           struct varve_error *err)
{
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = file_path(&dir, &path, state_dir, key, kept ? "names" : "part", err);

    if (rc == VARVE_OK) {
        rc = fs_remove(fs, path, err);
    }
    free(dir);
    free(path);
    return rc;
}

enum varve_err
names_remove(struct fs *fs, const char *state_dir, const struct guid *vm, const struct guid *run,
             struct varve_error *err)
{
    struct found f = {.vm = vm, .run = run};
    size_t i;
    enum varve_err rc = find(&f, fs, state_dir, err);

    for (i = 0; rc == VARVE_OK && i < f.count; i++) {
        rc = remove_one(fs, state_dir, &f.files[i].key, f.files[i].kept, err);
    }
    found_release(&f);
    return rc;
}

bool
names_are_kept(struct fs *fs, const char *state_dir, const struct names_key *key)
{
    struct varve_error err;
    char *dir = NULL;
    char *path = NULL;
    bool kept =
        file_path(&dir, &path, state_dir, key, "names", &err) == VARVE_OK && is_whole(fs, path);

    free(dir);
    free(path);
    return kept;
}

void
names_sweep(struct fs *fs, const char *state_dir)
{
    struct found f = {0};
    struct varve_error err;
    size_t i;
    enum varve_err rc = find(&f, fs, state_dir, &err);

    for (i = 0; rc == VARVE_OK && i < f.count; i++) {
        if (!f.files[i].kept) {
            rc = remove_one(fs, state_dir, &f.files[i].key, false, &err);
        }
    }
    found_release(&f); /* one that stays takes room and does no harm */
}

enum varve_err
names_list(struct fs *fs, const char *state_dir, const struct guid *vm,
           void (*cb)(void *arg, const struct guid *run), void *arg, struct varve_error *err)
{
    struct found f = {.vm = vm};
    size_t i;
    enum varve_err rc = find(&f, fs, state_dir, err);

    for (i = 0; rc == VARVE_OK && i < f.count; i++) {
        if (f.files[i].kept) {
            cb(arg, &f.files[i].key.run);
        }
    }
    found_release(&f);
    return rc;
}
