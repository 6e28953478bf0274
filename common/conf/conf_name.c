/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "conf/conf_internal.h"

#define NAME_MAX_LEN 64u

const struct conf_option *
conf_find(const struct conf_program *program, const char *name)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (strcmp(program->options[i].name, name) == 0) {
            return &program->options[i];
        }
    }
    return NULL;
}

static size_t
min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/*
 * How many letters must be put in, taken out, replaced or exchanged with their neighbour to make b
 * of a (optimal string alignment), row by row.  Both at most NAME_MAX_LEN long.
 */
static size_t
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t *before = rows[0];
    size_t *last = rows[1];
    size_t *row = rows[2];

    for (size_t j = 0; j <= b_len; j++) {
        last[j] = j;
        before[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *oldest = before;

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] =
                min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j]) {
                row[j] = before[j - 2] + 1;
            }
        }
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_len];
}

struct best {
    const char *name;
    size_t distance;
};

static void
consider(struct best *best, const char *wrong, const char *known)
{
    size_t wrong_len = strlen(wrong);
    size_t known_len = strlen(known);
    const char *key = strchr(known, '.');
    size_t most = known_len < 6 ? 1 : known_len / 3; /* further is another word, not a slip */
    size_t d;

    if (wrong_len > NAME_MAX_LEN || known_len > NAME_MAX_LEN) {
        return;
    }
    d = distance(wrong, wrong_len, known, known_len);
    if (key != NULL && strcmp(key + 1, wrong) == 0) {
        d = 1; /* only the section is missing */
    }
    if (d <= most && d <= 3 && d < best->distance) {
        best->name = known;
        best->distance = d;
    }
}

const char *
conf_nearest(const struct conf_program *program, const char *name, bool with_common)
{
    static const char *const common[] = {CONF_COMMON_NAMES};
    struct best best = {NULL, SIZE_MAX};

    for (size_t i = 0; i < program->option_count; i++) {
        consider(&best, name, program->options[i].name);
    }
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]) && with_common; i++) {
        consider(&best, name, common[i]);
    }
    return best.name;
}
