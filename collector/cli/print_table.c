/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/print.h"

struct print_table {
    char **cells; /* headers first */
    size_t count;
    size_t cap;
    size_t columns;
    bool *right;
    bool failed;
};

static void
add_cell(struct print_table *t, const char *text)
{
    char *copy = print_clean(text);

    if (copy != NULL && t->count == t->cap) {
        size_t cap = t->cap == 0 ? 64 : t->cap * 2;
        char **cells = realloc(t->cells, cap * sizeof(*cells));

        if (cells != NULL) {
            t->cells = cells;
            t->cap = cap;
        }
    }
    if (copy == NULL || t->count == t->cap) {
        free(copy);
        t->failed = true;
        return;
    }
    t->cells[t->count++] = copy;
}

struct print_table *
print_table_new(const char *const *headers, size_t columns)
{
    struct print_table *t = calloc(1, sizeof(*t));
    bool *right = calloc(columns, sizeof(*right));

    if (t == NULL || right == NULL) {
        free(t);
        free(right);
        return NULL;
    }
    t->columns = columns;
    t->right = right;
    for (size_t i = 0; i < columns; i++) {
        right[i] = headers[i][0] == '>';
        add_cell(t, headers[i] + (right[i] ? 1 : 0));
    }
    return t;
}

void
print_table_cell(struct print_table *t, const char *text)
{
    if (t != NULL) {
        add_cell(t, text == NULL || text[0] == '\0' ? "-" : text);
    }
}

/* Characters, not bytes.  Wide characters of East Asia count as one: good enough for names. */
static size_t
text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((uint8_t)*text & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

static void
pad(FILE *out, size_t n)
{
    while (n-- > 0) {
        (void)fputc(' ', out);
    }
}

enum varve_err
print_table_print(const struct print_table *t, FILE *out, struct varve_error *err)
{
    size_t *widths;

    if (t == NULL || t->failed) {
        return varve_error_nomem(err);
    }
    widths = calloc(t->columns, sizeof(*widths));
    if (widths == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t width = text_width(t->cells[i]);

        if (width > widths[i % t->columns]) {
            widths[i % t->columns] = width;
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        size_t space = widths[column] - text_width(t->cells[i]);
        bool last = column + 1 == t->columns;

        if (t->right[column]) {
            pad(out, space);
        }
        (void)fputs(t->cells[i], out);
        if (!t->right[column] && !last) {
            pad(out, space);
        }
        (void)fputs(last ? "\n" : "  ", out);
    }
    free(widths);
    return VARVE_OK;
}

void
print_table_free(struct print_table *t)
{
    if (t != NULL) {
        for (size_t i = 0; i < t->count; i++) {
            free(t->cells[i]);
        }
        free(t->cells);
        free(t->right);
        free(t);
    }
}
