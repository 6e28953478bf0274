/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash/crc32c.h"
#include "job/journal.h"

#define JOURNAL_MAGIC "varve-journal-1"
#define KEPT_MAGIC    "varve-kept-1"

#define WORDS_MAX 4u
#define WORD_MAX  1024u

struct line {
    char words[WORDS_MAX][WORD_MAX];
    size_t count;
};

struct reader {
    const uint8_t *text;
    size_t len;
    size_t at;
    unsigned number; /* of the line, from 1 */
    struct varve_error *err;
};

static enum varve_err
bad_line(const struct reader *r, const char *what)
{
    return varve_error_set(r->err, VARVE_ERR_CORRUPT, "line %u %s", r->number, what);
}

static int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* One word ends at a space or a newline; %XX is a byte, and never NUL. */
static bool
read_word(struct reader *r, char out[WORD_MAX])
{
    size_t n = 0;

    while (r->at < r->len && r->text[r->at] != ' ' && r->text[r->at] != '\n') {
        uint8_t c = r->text[r->at++];

        if (c == '%') {
            int high = r->len - r->at >= 2 ? hex_digit(r->text[r->at]) : -1;
            int low = high >= 0 ? hex_digit(r->text[r->at + 1]) : -1;

            if (low < 0) {
                return false;
            }
            c = (uint8_t)(high * 16 + low);
            r->at += 2;
        }
        if (c == '\0' || n + 1 == WORD_MAX) {
            return false;
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

static enum varve_err
read_line(struct reader *r, struct line *out)
{
    out->count = 0;
    r->number++;
    for (;;) {
        if (out->count == WORDS_MAX || !read_word(r, out->words[out->count])) {
            return bad_line(r, "has a word too many, too long or badly written");
        }
        out->count++;
        if (r->at == r->len) {
            return bad_line(r, "is cut off");
        }
        if (r->text[r->at++] == '\n') {
            return VARVE_OK;
        }
    }
}

/* The whole is right: the magic stands in front and the sum at the end.  Only then lines are read. */
static enum varve_err
open_text(struct reader *r, const uint8_t *text, size_t len, const char *magic,
          struct varve_error *err)
{
    static const char end_form[] = "end 00000000\n";
    size_t end_len = sizeof(end_form) - 1;
    size_t magic_len = strlen(magic);
    char want[sizeof(end_form)];

    r->text = text;
    r->err = err;
    r->number = 1;
    r->at = magic_len + 1;
    if (len < magic_len + 1 + end_len || memcmp(text, magic, magic_len) != 0 ||
        text[magic_len] != '\n') {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "it does not begin with '%s', or is too short", magic);
    }
    r->len = len - end_len;
    (void)snprintf(want, sizeof(want), "end %08" PRIX32 "\n", crc32c(text, r->len));
    if (memcmp(text + r->len, want, end_len) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "its sum is wrong: it was changed or cut");
    }
    return VARVE_OK;
}

static bool
copy_word(char *out, size_t cap, const char *word)
{
    size_t len = strlen(word);

    if (len >= cap) {
        return false;
    }
    memcpy(out, word, len + 1);
    return true;
}

static bool
parse_u64(uint64_t *out, const char *word)
{
    uint64_t v = 0;

    if (*word == '\0' || strlen(word) > 19) {
        return false;
    }
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(*word - '0');
    }
    *out = v;
    return true;
}

static bool
parse_bool(bool *out, const char *word)
{
    *out = strcmp(word, "yes") == 0;
    return *out || strcmp(word, "no") == 0;
}

static bool
parse_state(enum journal_state *out, const char *word)
{
    int s;

    for (s = JOURNAL_FREEZING; s <= JOURNAL_UNDOING; s++) {
        if (strcmp(word, journal_state_name((enum journal_state)s)) == 0) {
            *out = (enum journal_state)s;
            return true;
        }
    }
    return false;
}

static enum varve_err
add_base(struct reader *r, struct journal_entry *e, const struct line *l)
{
    struct journal_base b;
    struct journal_base *more;

    memset(&b, 0, sizeof(b));
    if (l->count != 4 || !guid_parse(&b.id, l->words[1]) || !parse_u64(&b.size, l->words[2]) ||
        !copy_word(b.change_id, sizeof(b.change_id), l->words[3]) ||
        e->base_count == CAPTURE_DISKS_MAX) {
        return bad_line(r, "is no base disk");
    }
    more = realloc(e->base, (e->base_count + 1) * sizeof(*more));
    if (more == NULL) {
        return varve_error_nomem(r->err);
    }
    e->base = more;
    e->base[e->base_count++] = b;
    return VARVE_OK;
}

static enum varve_err
add_disk(struct reader *r, struct journal_entry *e, const struct line *l)
{
    struct journal_disk d;
    struct journal_disk *more;

    memset(&d, 0, sizeof(d));
    if (l->count != 4 || !guid_parse(&d.id, l->words[1]) ||
        !copy_word(d.since, sizeof(d.since), l->words[2]) ||
        !copy_word(d.reason, sizeof(d.reason), l->words[3]) || e->disk_count == CAPTURE_DISKS_MAX) {
        return bad_line(r, "is no disk");
    }
    more = realloc(e->disks, (e->disk_count + 1) * sizeof(*more));
    if (more == NULL) {
        return varve_error_nomem(r->err);
    }
    e->disks = more;
    e->disks[e->disk_count++] = d;
    return VARVE_OK;
}

static enum varve_err
add_skip(struct reader *r, struct journal_entry *e, const struct line *l)
{
    struct journal_skip k;
    struct journal_skip *more;

    memset(&k, 0, sizeof(k));
    if (l->count != 3 || !guid_parse(&k.id, l->words[1]) ||
        !copy_word(k.reason, sizeof(k.reason), l->words[2]) || e->skip_count == CAPTURE_DISKS_MAX) {
        return bad_line(r, "is no disk that is left out");
    }
    more = realloc(e->skips, (e->skip_count + 1) * sizeof(*more));
    if (more == NULL) {
        return varve_error_nomem(r->err);
    }
    e->skips = more;
    e->skips[e->skip_count++] = k;
    return VARVE_OK;
}

static bool
take_failure(struct journal_entry *e, const struct line *l)
{
    uint64_t code;

    if (l->count != 3 || !parse_u64(&code, l->words[1]) || code == 0 || code >= VARVE_ERR_COUNT ||
        !copy_word(e->failure_text, sizeof(e->failure_text), l->words[2])) {
        return false;
    }
    e->failure = (enum varve_err)code;
    return true;
}

/* Written when it is settled. */
static bool
take_method(struct journal_entry *e, const struct line *l)
{
    e->way.settled = true;
    return l->count == 3 && l->words[1][0] != '\0' &&
           copy_word(e->way.name, sizeof(e->way.name), l->words[1]) &&
           copy_word(e->way.reason, sizeof(e->way.reason), l->words[2]);
}

static bool
take_word(struct journal_entry *e, const char *key, const char *word, bool *known)
{
    *known = true;
    if (strcmp(key, "run") == 0) {
        return guid_parse(&e->run, word);
    }
    if (strcmp(key, "vm") == 0) {
        return guid_parse(&e->vm, word);
    }
    if (strcmp(key, "state") == 0) {
        return parse_state(&e->state, word);
    }
    if (strcmp(key, "full") == 0) {
        return parse_bool(&e->full, word);
    }
    if (strcmp(key, "keep-tried") == 0) {
        return parse_bool(&e->keep_tried, word);
    }
    if (strcmp(key, "foreign") == 0) {
        return parse_bool(&e->foreign, word);
    }
    if (strcmp(key, "begun") == 0) {
        uint64_t begun = 0;
        bool good = parse_u64(&begun, word) && begun <= INT64_MAX;

        e->note.begun_us = good ? (int64_t)begun : 0;
        return good;
    }
    if (strcmp(key, "base-refpoint") == 0) {
        return copy_word(e->base_refpoint, sizeof(e->base_refpoint), word);
    }
    if (strcmp(key, "checkpoint") == 0) {
        return copy_word(e->checkpoint, sizeof(e->checkpoint), word);
    }
    if (strcmp(key, "refpoint") == 0) {
        return copy_word(e->refpoint, sizeof(e->refpoint), word);
    }
    if (strcmp(key, "point") == 0) {
        return guid_parse(&e->point, word);
    }
    *known = false;
    return false;
}

/* The list that lines of this key are of; NULL: none. */
static struct capture_marks *
list_of(struct journal_entry *e, const char *key)
{
    if (strcmp(key, "mark") == 0) {
        return &e->marks;
    }
    if (strcmp(key, "ours") == 0) {
        return &e->ours;
    }
    return strcmp(key, "before") == 0 ? &e->note.before : NULL;
}

static enum varve_err
take_line(struct reader *r, struct journal_entry *e, const struct line *l)
{
    const char *key = l->words[0];
    struct capture_marks *list;
    bool known = false;

    if (strcmp(key, "base") == 0) {
        return add_base(r, e, l);
    }
    if (strcmp(key, "disk") == 0) {
        return add_disk(r, e, l);
    }
    if (strcmp(key, "skip") == 0) {
        return add_skip(r, e, l);
    }
    if (strcmp(key, "failure") == 0) {
        return take_failure(e, l) ? VARVE_OK : bad_line(r, "is no failure");
    }
    if (strcmp(key, "method") == 0) {
        return take_method(e, l) ? VARVE_OK : bad_line(r, "is no method");
    }
    if (l->count != 2) {
        return bad_line(r, "must have two words");
    }
    list = list_of(e, key);
    if (list != NULL) {
        enum varve_err rc = capture_marks_add(list, l->words[1], r->err);

        return rc == VARVE_ERR_LIMIT ? bad_line(r, "is an id too many or too long") : rc;
    }
    if (take_word(e, key, l->words[1], &known)) {
        return VARVE_OK;
    }
    return bad_line(r, known ? "has a bad value" : "has an unknown key");
}

enum varve_err
journal_parse(struct journal_entry *out, const uint8_t *text, size_t len, struct varve_error *err)
{
    struct journal_entry e;
    struct reader r;
    struct line *line = NULL;
    enum varve_err rc;

    memset(&e, 0, sizeof(e));
    rc = open_text(&r, text, len, JOURNAL_MAGIC, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    line = malloc(sizeof(*line));
    if (line == NULL) {
        return varve_error_nomem(err);
    }
    while (rc == VARVE_OK && r.at < r.len) {
        rc = read_line(&r, line);
        if (rc == VARVE_OK) {
            rc = take_line(&r, &e, line);
        }
    }
    if (rc == VARVE_OK && e.foreign && e.state < JOURNAL_COMMITTED) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "another host's run is in state '%s'",
                             e.state == 0 ? "" : journal_state_name(e.state));
    }
    if (rc == VARVE_OK && (e.state == 0 || guid_is_zero(&e.run) || guid_is_zero(&e.vm))) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "it names no run, vm or state");
    }
    free(line);
    if (rc != VARVE_OK) {
        journal_entry_release(&e);
        return rc;
    }
    *out = e;
    return VARVE_OK;
}

enum varve_err
kept_parse(struct capture_marks *out, const uint8_t *text, size_t len, struct varve_error *err)
{
    struct capture_marks list = {0};
    struct reader r;
    struct line *line = NULL;
    enum varve_err rc;

    rc = open_text(&r, text, len, KEPT_MAGIC, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    line = malloc(sizeof(*line));
    if (line == NULL) {
        return varve_error_nomem(err);
    }
    while (rc == VARVE_OK && r.at < r.len) {
        rc = read_line(&r, line);
        if (rc == VARVE_OK && (line->count != 2 || strcmp(line->words[0], "refpoint") != 0)) {
            rc = bad_line(&r, "is no reference point");
        }
        if (rc == VARVE_OK) {
            rc = capture_marks_add(&list, line->words[1], err);
            if (rc == VARVE_ERR_LIMIT) {
                rc = bad_line(&r, "is a reference point too many or too long");
            }
        }
    }
    free(line);
    if (rc != VARVE_OK) {
        capture_marks_release(&list);
        return rc;
    }
    *out = list;
    return VARVE_OK;
}
