/* SPDX-License-Identifier: Apache-2.0 */
#include "job/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "hash/crc32c.h"
#include "os/path.h"

#define JOURNAL_MAGIC "varve-journal-1"
#define KEPT_MAGIC    "varve-kept-1"
#define SUFFIX        ".run"
#define RUNS_MAX      4096u

static const char *const state_names[] = {
    [JOURNAL_FREEZING] = "freezing",     [JOURNAL_FROZEN] = "frozen",
    [JOURNAL_READING] = "reading",       [JOURNAL_KEEPING] = "keeping",
    [JOURNAL_COMMITTING] = "committing", [JOURNAL_COMMITTED] = "committed",
    [JOURNAL_UNDOING] = "undoing",
};

const char *
journal_state_name(enum journal_state state)
{
    return state_names[state];
}

void
journal_entry_release(struct journal_entry *e)
{
    capture_marks_release(&e->marks);
    free(e->base);
    free(e->disks);
    free(e->skips);
    capture_marks_release(&e->ours);
    capture_marks_release(&e->note.before);
    memset(e, 0, sizeof(*e));
}

/* ---- writing ---- */

struct writer {
    struct buf text;
    struct varve_error *err;
    enum varve_err rc; /* the first failure; later calls do nothing */
};

static void
put_text(struct writer *w, const char *text)
{
    if (w->rc == VARVE_OK) {
        w->rc = buf_append(&w->text, text, strlen(text), w->err);
    }
}

/* Bytes that would end a word or a line go as %XX. */
static void
put_word(struct writer *w, const char *text)
{
    char piece[4];

    put_text(w, " ");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c <= 0x20 || c == '%' || c == 0x7F) {
            (void)snprintf(piece, sizeof(piece), "%%%02X", c);
        } else {
            piece[0] = (char)c;
            piece[1] = '\0';
        }
        put_text(w, piece);
    }
}

static void
put_guid(struct writer *w, const struct guid *g)
{
    char text[GUID_TEXT_SIZE];

    guid_format(g, text);
    put_word(w, text);
}

static void
put_u64(struct writer *w, uint64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, v);
    put_word(w, text);
}

static void
put_line(struct writer *w, const char *key, const char *value)
{
    if (value[0] != '\0') {
        put_text(w, key);
        put_word(w, value);
        put_text(w, "\n");
    }
}

static void
put_end(struct writer *w)
{
    char text[24];

    if (w->rc == VARVE_OK) {
        (void)snprintf(text, sizeof(text), "end %08" PRIX32 "\n",
                       crc32c(w->text.data, w->text.len));
        put_text(w, text);
    }
}

static void
put_lists(struct writer *w, const struct journal_entry *e)
{
    size_t i;

    for (i = 0; i < e->marks.count; i++) {
        put_line(w, "mark", e->marks.ids[i]);
    }
    for (i = 0; i < e->ours.count; i++) {
        put_line(w, "ours", e->ours.ids[i]);
    }
    if (e->note.begun_us > 0) {
        put_text(w, "begun");
        put_u64(w, (uint64_t)e->note.begun_us);
        put_text(w, "\n");
    }
    for (i = 0; i < e->note.before.count; i++) {
        put_line(w, "before", e->note.before.ids[i]);
    }
    for (i = 0; i < e->skip_count; i++) {
        put_text(w, "skip");
        put_guid(w, &e->skips[i].id);
        put_word(w, e->skips[i].reason);
        put_text(w, "\n");
    }
    for (i = 0; i < e->base_count; i++) {
        put_text(w, "base");
        put_guid(w, &e->base[i].id);
        put_u64(w, e->base[i].size);
        put_word(w, e->base[i].change_id);
        put_text(w, "\n");
    }
    for (i = 0; i < e->disk_count; i++) {
        put_text(w, "disk");
        put_guid(w, &e->disks[i].id);
        put_word(w, e->disks[i].since);
        put_word(w, e->disks[i].reason);
        put_text(w, "\n");
    }
}

static void
put_entry(struct writer *w, const struct journal_entry *e)
{
    put_text(w, JOURNAL_MAGIC "\nrun");
    put_guid(w, &e->run);
    put_text(w, "\nvm");
    put_guid(w, &e->vm);
    put_text(w, "\n");
    put_line(w, "state", state_names[e->state]);
    put_line(w, "full", e->full ? "yes" : "no");
    put_line(w, "keep-tried", e->keep_tried ? "yes" : "no");
    put_line(w, "foreign", e->foreign ? "yes" : "");
    if (e->way.name[0] != '\0') {
        put_text(w, "method");
        put_word(w, e->way.name);
        put_word(w, e->way.reason);
        put_text(w, "\n");
    }
    put_line(w, "base-refpoint", e->base_refpoint);
    put_line(w, "checkpoint", e->checkpoint);
    put_line(w, "refpoint", e->refpoint);
    if (!guid_is_zero(&e->point)) {
        put_text(w, "point");
        put_guid(w, &e->point);
        put_text(w, "\n");
    }
    if (e->failure != VARVE_OK) {
        put_text(w, "failure");
        put_u64(w, e->failure);
        put_word(w, e->failure_text);
        put_text(w, "\n");
    }
    put_lists(w, e);
    put_end(w);
}

static enum varve_err
entry_path(char **out, const char *state_dir, const char *folder, const struct guid *id,
           const char *suffix, struct varve_error *err)
{
    char name[GUID_TEXT_SIZE + 32];
    char text[GUID_TEXT_SIZE];

    guid_format(id, text);
    (void)snprintf(name, sizeof(name), "%s/%s%s", folder, text, suffix);
    return path_join(out, state_dir, name, err);
}

/* Makes the folder if it is missing, and writes the file so that both are there after a power cut, the file whole. */
static enum varve_err
write_whole(struct fs *fs, const char *state_dir, const char *folder, const struct guid *id,
            const char *suffix, const struct buf *text, struct varve_error *err)
{
    struct file_stat st;
    struct varve_error why;
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc;

    rc = path_join(&dir, state_dir, folder, err);
    if (rc == VARVE_OK) {
        rc = entry_path(&path, state_dir, folder, id, suffix, err);
    }
    /* Where the file is, its folder has been synced; where only the folder is, that may have failed. */
    if (rc == VARVE_OK && fs_stat(fs, path, &st, &why) != VARVE_OK) {
        rc = fs_mkdir_durable(fs, dir, err);
    }
    if (rc == VARVE_OK) {
        rc = fs_write_durable(fs, path, text->data, text->len, false, err);
    }
    free(dir);
    free(path);
    return rc;
}

enum varve_err
journal_write(struct fs *fs, const char *state_dir, const struct journal_entry *e,
              struct varve_error *err)
{
    struct writer w = {.err = err};

    buf_init(&w.text, JOURNAL_FILE_MAX);
    put_entry(&w, e);
    if (w.rc == VARVE_OK) {
        w.rc = write_whole(fs, state_dir, "journal", &e->run, SUFFIX, &w.text, err);
    }
    buf_release(&w.text);
    return w.rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "writing the journal");
}

enum varve_err
kept_write(struct fs *fs, const char *state_dir, const struct guid *vm,
           const struct capture_marks *list, struct varve_error *err)
{
    struct writer w = {.err = err};
    size_t i;

    buf_init(&w.text, JOURNAL_FILE_MAX);
    put_text(&w, KEPT_MAGIC "\n");
    for (i = 0; i < list->count; i++) {
        put_line(&w, "refpoint", list->ids[i]);
    }
    put_end(&w);
    if (w.rc == VARVE_OK) {
        w.rc = write_whole(fs, state_dir, "kept", vm, "", &w.text, err);
    }
    buf_release(&w.text);
    return w.rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "writing the kept points");
}

enum varve_err
journal_remove(struct fs *fs, const char *state_dir, const struct guid *run,
               struct varve_error *err)
{
    char *path = NULL;
    char *dir = NULL;
    enum varve_err rc;

    rc = entry_path(&path, state_dir, "journal", run, SUFFIX, err);
    if (rc == VARVE_OK) {
        rc = fs_remove(fs, path, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = VARVE_OK;
        }
    }
    if (rc == VARVE_OK) {
        rc = path_join(&dir, state_dir, "journal", err);
    }
    if (rc == VARVE_OK) {
        rc = fs_sync_dir(fs, dir, err);
    }
    free(path);
    free(dir);
    return rc;
}

/* ---- reading from disk ---- */

enum varve_err
journal_read(struct fs *fs, const char *state_dir, const struct guid *run,
             struct journal_entry *out, struct varve_error *err)
{
    uint8_t *text = NULL;
    char *path = NULL;
    size_t len = 0;
    enum varve_err rc;

    rc = entry_path(&path, state_dir, "journal", run, SUFFIX, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = fs_read_all(fs, path, JOURNAL_FILE_MAX, &text, &len, err);
    if (rc == VARVE_OK) {
        rc = journal_parse(out, text, len, err);
        if (rc == VARVE_OK && !guid_equal(&out->run, run)) {
            journal_entry_release(out);
            rc = varve_error_set(err, VARVE_ERR_CORRUPT, "it is the journal of another run");
        }
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "journal '%s'", path);
        }
    }
    free(text);
    free(path);
    return rc;
}

enum varve_err
kept_read(struct fs *fs, const char *state_dir, const struct guid *vm, struct capture_marks *out,
          struct varve_error *err)
{
    uint8_t *text = NULL;
    char *path = NULL;
    size_t len = 0;
    enum varve_err rc;

    rc = entry_path(&path, state_dir, "kept", vm, "", err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = fs_read_all(fs, path, JOURNAL_FILE_MAX, &text, &len, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        memset(out, 0, sizeof(*out));
        rc = VARVE_OK;
    } else if (rc == VARVE_OK) {
        rc = kept_parse(out, text, len, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "'%s'", path);
        }
    }
    free(text);
    free(path);
    return rc;
}

struct run_list {
    struct guid *items;
    size_t count;
    bool failed;
};

static bool
list_entry(void *arg, const char *name, bool is_dir)
{
    struct run_list *l = arg;
    char text[GUID_TEXT_SIZE];
    struct guid id;
    struct guid *items;

    /* A ".tmp" that a crash left is no entry. */
    if (is_dir || strlen(name) != GUID_TEXT_SIZE - 1 + strlen(SUFFIX) ||
        strcmp(name + GUID_TEXT_SIZE - 1, SUFFIX) != 0) {
        return true;
    }
    memcpy(text, name, GUID_TEXT_SIZE - 1);
    text[GUID_TEXT_SIZE - 1] = '\0';
    if (!guid_parse(&id, text) || l->count == RUNS_MAX) {
        return true;
    }
    items = realloc(l->items, (l->count + 1) * sizeof(*items));
    if (items == NULL) {
        l->failed = true;
        return false;
    }
    l->items = items;
    l->items[l->count++] = id;
    return true;
}

enum varve_err
journal_list(struct fs *fs, const char *state_dir, struct guid **runs, size_t *count,
             struct varve_error *err)
{
    struct run_list l = {0};
    char *dir = NULL;
    enum varve_err rc;

    rc = path_join(&dir, state_dir, "journal", err);
    if (rc == VARVE_OK) {
        rc = fs_list(fs, dir, list_entry, &l, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = VARVE_OK; /* no run yet */
        }
        if (rc == VARVE_OK && l.failed) {
            rc = varve_error_nomem(err);
        }
    }
    free(dir);
    if (rc != VARVE_OK) {
        free(l.items);
        return rc;
    }
    *runs = l.items;
    *count = l.count;
    return VARVE_OK;
}
