/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/cim_xml.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define NAME_MAX_BYTES 256u

enum token_kind { TOKEN_END_OF_TEXT, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_TEXT };

struct token {
    enum token_kind kind;
    const char *name; /* of an element; not terminated */
    size_t name_len;
    const char *attributes;
    size_t attributes_len;
    bool empty;       /* <x/> */
    bool raw;         /* text of CDATA */
    const char *text; /* as it stands, entities and all */
    size_t text_len;
};

struct reader {
    const char *p;
    const char *end;
    unsigned depth;
    struct wmi_object *out;
    bool has_instance;
    bool done;
    unsigned instance_depth;

    /* The property that is open. */
    unsigned property_depth; /* 0: none */
    bool is_array;
    char name[NAME_MAX_BYTES];
    char type[NAME_MAX_BYTES];
    bool in_value;
    bool has_value;
    struct buf text; /* of the value that is open, or the last one */
    char **values;   /* of an array */
    size_t value_count;
};

static enum varve_err
malformed(struct varve_error *err, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "embedded instance: %s", what);
}

/* ---- tokens ---- */

static bool
starts(const struct reader *r, const char *with)
{
    size_t len = strlen(with);

    return (size_t)(r->end - r->p) >= len && memcmp(r->p, with, len) == 0;
}

static const char *
find(const struct reader *r, const char *what)
{
    size_t len = strlen(what);
    const char *p;

    for (p = r->p; (size_t)(r->end - p) >= len; p++) {
        if (memcmp(p, what, len) == 0) {
            return p;
        }
    }
    return NULL;
}

/* The '>' of a tag; those inside quotes do not count. */
static const char *
tag_end(const struct reader *r)
{
    char quote = '\0';
    const char *p;

    for (p = r->p; p < r->end; p++) {
        if (quote != '\0') {
            quote = *p == quote ? '\0' : quote;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (*p == '>') {
            return p;
        }
    }
    return NULL;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum varve_err
next_tag(struct reader *r, struct token *t, struct varve_error *err)
{
    const char *end = tag_end(r);
    const char *p;

    if (end == NULL) {
        return malformed(err, "a tag does not end");
    }
    p = r->p + 1;
    t->kind = TOKEN_OPEN;
    if (p < end && *p == '/') {
        t->kind = TOKEN_CLOSE;
        p++;
    }
    t->name = p;
    while (p < end && !is_space(*p) && *p != '/') {
        p++;
    }
    t->name_len = (size_t)(p - t->name);
    t->attributes = p;
    t->attributes_len = (size_t)(end - p);
    t->empty = end[-1] == '/' && t->kind == TOKEN_OPEN;
    if (t->empty && t->attributes_len > 0) {
        t->attributes_len--;
    }
    r->p = end + 1;
    return t->name_len > 0 ? VARVE_OK : malformed(err, "a tag without a name");
}

static enum varve_err
next_token(struct reader *r, struct token *t, struct varve_error *err)
{
    const char *end;

    memset(t, 0, sizeof(*t));
    for (;;) {
        if (r->p == r->end || *r->p == '\0') {
            t->kind = TOKEN_END_OF_TEXT;
            return VARVE_OK;
        }
        if (*r->p != '<') {
            t->kind = TOKEN_TEXT;
            t->text = r->p;
            while (r->p < r->end && *r->p != '<' && *r->p != '\0') {
                r->p++;
            }
            t->text_len = (size_t)(r->p - t->text);
            return VARVE_OK;
        }
        if (starts(r, "<![CDATA[")) {
            t->kind = TOKEN_TEXT;
            t->raw = true;
            t->text = r->p + 9;
            end = find(r, "]]>");
            if (end == NULL) {
                return malformed(err, "a CDATA section does not end");
            }
            t->text_len = (size_t)(end - t->text);
            r->p = end + 3;
            return VARVE_OK;
        }
        if (starts(r, "<!--")) {
            end = find(r, "-->");
            end = end != NULL ? end + 2 : NULL;
        } else if (starts(r, "<?") || starts(r, "<!")) {
            end = find(r, ">");
        } else {
            return next_tag(r, t, err);
        }
        if (end == NULL) {
            return malformed(err, "a declaration does not end");
        }
        r->p = end + 1;
    }
}

static bool
is_element(const struct token *t, const char *name)
{
    return t->name_len == strlen(name) && memcmp(t->name, name, t->name_len) == 0;
}

/* ---- text ---- */

static size_t
utf8_put(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0u | (c >> 6));
        out[1] = (char)(0x80u | (c & 0x3Fu));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0u | (c >> 12));
        out[1] = (char)(0x80u | ((c >> 6) & 0x3Fu));
        out[2] = (char)(0x80u | (c & 0x3Fu));
        return 3;
    }
    out[0] = (char)(0xF0u | (c >> 18));
    out[1] = (char)(0x80u | ((c >> 12) & 0x3Fu));
    out[2] = (char)(0x80u | ((c >> 6) & 0x3Fu));
    out[3] = (char)(0x80u | (c & 0x3Fu));
    return 4;
}

/* The inside of "&...;"; 0: none that is known. */
static uint32_t
entity(const char *p, size_t len)
{
    static const struct {
        const char *name;
        uint32_t c;
    } names[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    uint32_t c = 0;
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i].name) == len && memcmp(names[i].name, p, len) == 0) {
            return names[i].c;
        }
    }
    if (len < 2 || len > 8 || p[0] != '#') {
        return 0;
    }
    for (i = p[1] == 'x' ? 2 : 1; i < len; i++) {
        uint32_t digit = p[i] >= '0' && p[i] <= '9'   ? (uint32_t)(p[i] - '0')
                         : p[i] >= 'a' && p[i] <= 'f' ? (uint32_t)(p[i] - 'a' + 10)
                         : p[i] >= 'A' && p[i] <= 'F' ? (uint32_t)(p[i] - 'A' + 10)
                                                      : 99;
        uint32_t base = p[1] == 'x' ? 16 : 10;

        if (digit >= base) {
            return 0;
        }
        c = c * base + digit;
    }
    return c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? 0 : c;
}

static enum varve_err
append_text(struct buf *b, const char *p, size_t len, bool raw, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && len > 0) {
        const char *semi = !raw && *p == '&' ? memchr(p, ';', len) : NULL;
        uint32_t c = semi != NULL ? entity(p + 1, (size_t)(semi - p) - 1) : 0;
        char bytes[4];
        size_t used = 1;

        if (!raw && *p == '&' && c == 0) {
            return malformed(err, "an unknown entity");
        }
        if (c != 0) {
            rc = buf_append(b, bytes, utf8_put(bytes, c), err);
            used = (size_t)(semi - p) + 1;
        } else {
            rc = buf_append(b, p, 1, err);
        }
        p += used;
        len -= used;
    }
    return rc;
}

/* The value of an attribute; "" when it is not there. */
static enum varve_err
attribute(const struct token *t, const char *name, char out[NAME_MAX_BYTES],
          struct varve_error *err)
{
    const char *p = t->attributes;
    const char *end = p + t->attributes_len;
    struct buf b;
    enum varve_err rc = VARVE_OK;

    out[0] = '\0';
    while (rc == VARVE_OK && p < end) {
        const char *key;
        const char *close;
        size_t key_len;

        while (p < end && is_space(*p)) {
            p++;
        }
        key = p;
        while (p < end && *p != '=' && !is_space(*p)) {
            p++;
        }
        key_len = (size_t)(p - key);
        while (p < end && (is_space(*p) || *p == '=')) {
            p++;
        }
        if (key_len == 0 || p >= end) {
            break;
        }
        close = *p == '"' || *p == '\'' ? memchr(p + 1, *p, (size_t)(end - p) - 1) : NULL;
        if (close == NULL) {
            return malformed(err, "an attribute without quotes");
        }
        if (key_len == strlen(name) && memcmp(key, name, key_len) == 0) {
            buf_init(&b, NAME_MAX_BYTES - 1);
            rc = append_text(&b, p + 1, (size_t)(close - p) - 1, false, err);
            if (rc == VARVE_OK && b.len > 0) {
                memcpy(out, b.data, b.len);
            }
            out[b.len] = '\0';
            buf_release(&b);
            return rc;
        }
        p = close + 1;
    }
    return rc;
}

/* ---- the instance ---- */

static void
forget_values(struct reader *r)
{
    size_t i;

    for (i = 0; i < r->value_count; i++) {
        free(r->values[i]);
    }
    free(r->values);
    r->values = NULL;
    r->value_count = 0;
}

static enum wmi_type
type_of(const char *name)
{
    static const struct {
        const char *name;
        enum wmi_type type;
    } types[] = {{"boolean", WMI_BOOL},  {"uint8", WMI_UINT8},   {"sint8", WMI_UINT32},
                 {"uint16", WMI_UINT16}, {"sint16", WMI_UINT32}, {"uint32", WMI_UINT32},
                 {"sint32", WMI_UINT32}, {"uint64", WMI_UINT64}, {"sint64", WMI_UINT64}};
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].type;
        }
    }
    return WMI_STRING;
}

static bool
parse_integer(enum wmi_type type, const char *text, int64_t *out)
{
    uint64_t limit = INT64_MAX;
    uint64_t v = 0;
    bool minus = *text == '-';

    if (type == WMI_BOOL) {
        *out = strcmp(text, "TRUE") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        return true;
    }
    text += minus ? 1 : 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(unsigned char)*text - '0';

        if (*text < '0' || *text > '9' || v > (limit - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

static enum varve_err
end_array(struct reader *r, enum wmi_type type, struct varve_error *err)
{
    int64_t *integers;
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (type == WMI_STRING) {
        return wmi_object_add_texts(r->out, r->name, (const char *const *)r->values, r->value_count,
                                    err);
    }
    integers = calloc(r->value_count + 1, sizeof(*integers));
    if (integers == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < r->value_count; i++) {
        if (!parse_integer(type, r->values[i], &integers[i])) {
            rc = malformed(err, "a number that is none");
        }
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_integers(r->out, r->name, type, integers, r->value_count, err);
    }
    free(integers);
    return rc;
}

static enum varve_err
end_property(struct reader *r, struct varve_error *err)
{
    enum wmi_type type = type_of(r->type);
    int64_t integer = 0;

    r->property_depth = 0;
    if (r->out->count == CIM_XML_PROPERTIES) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u properties",
                               CIM_XML_PROPERTIES);
    }
    if (!r->has_value) {
        return wmi_object_add_null(r->out, r->name, err);
    }
    if (r->is_array) {
        return end_array(r, type, err);
    }
    if (type == WMI_STRING) {
        return wmi_object_add_text(r->out, r->name, type, (const char *)r->text.data, err);
    }
    if (!parse_integer(type, (const char *)r->text.data, &integer)) {
        return malformed(err, "a number that is none");
    }
    return wmi_object_add_integer(r->out, r->name, type, integer, err);
}

static enum varve_err
end_value(struct reader *r, struct varve_error *err)
{
    char **values;
    enum varve_err rc = buf_append(&r->text, "", 1, err);

    r->in_value = false;
    r->has_value = true;
    if (rc != VARVE_OK || !r->is_array) {
        return rc;
    }
    if (r->value_count == WMI_ARRAY_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u values",
                               WMI_ARRAY_MAX);
    }
    values = realloc(r->values, (r->value_count + 1) * sizeof(*values));
    if (values == NULL) {
        return varve_error_nomem(err);
    }
    r->values = values;
    r->values[r->value_count] = malloc(r->text.len);
    if (r->values[r->value_count] == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(r->values[r->value_count++], r->text.data, r->text.len);
    return VARVE_OK;
}

static enum varve_err
open_element(struct reader *r, const struct token *t, struct varve_error *err)
{
    char class_name[NAME_MAX_BYTES];
    enum varve_err rc = VARVE_OK;

    if (++r->depth > CIM_XML_DEPTH) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u levels",
                               CIM_XML_DEPTH);
    }
    if (!r->has_instance && is_element(t, "INSTANCE")) {
        rc = attribute(t, "CLASSNAME", class_name, err);
        if (rc == VARVE_OK) {
            rc = wmi_object_init(r->out, "", "", class_name, err);
        }
        r->has_instance = rc == VARVE_OK;
        r->instance_depth = r->depth;
        return rc;
    }
    if (!r->has_instance) {
        return VARVE_OK;
    }
    if (r->depth == r->instance_depth + 1 &&
        (is_element(t, "PROPERTY") || is_element(t, "PROPERTY.ARRAY"))) {
        r->property_depth = r->depth;
        r->is_array = is_element(t, "PROPERTY.ARRAY");
        r->has_value = false;
        forget_values(r);
        rc = attribute(t, "NAME", r->name, err);
        return rc == VARVE_OK ? attribute(t, "TYPE", r->type, err) : rc;
    }
    if (r->property_depth == 0) {
        return VARVE_OK;
    }
    if (r->is_array && r->depth == r->property_depth + 1 && is_element(t, "VALUE.ARRAY")) {
        r->has_value = true; /* an array of none has one too */
    }
    /* The VALUE of a qualifier stands one level deeper than that of its property. */
    if (is_element(t, "VALUE") && !r->in_value &&
        r->depth == r->property_depth + (r->is_array ? 2u : 1u)) {
        r->in_value = true;
        buf_clear(&r->text);
    }
    return VARVE_OK;
}

static enum varve_err
close_element(struct reader *r, const struct token *t, struct varve_error *err)
{
    unsigned depth = r->depth;

    if (depth == 0) {
        return malformed(err, "more ends than beginnings");
    }
    r->depth--;
    if (r->in_value && is_element(t, "VALUE") &&
        depth == r->property_depth + (r->is_array ? 2u : 1u)) {
        return end_value(r, err);
    }
    if (r->property_depth != 0 && depth == r->property_depth) {
        return r->in_value ? malformed(err, "a value does not end") : end_property(r, err);
    }
    r->done = r->has_instance && depth == r->instance_depth;
    return VARVE_OK;
}

static enum varve_err
read_all(struct reader *r, struct varve_error *err)
{
    struct token t;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && !r->done) {
        rc = next_token(r, &t, err);
        if (rc != VARVE_OK) {
            break;
        }
        switch (t.kind) {
        case TOKEN_END_OF_TEXT:
            return malformed(err, r->has_instance ? "it does not end" : "none in the text");
        case TOKEN_OPEN:
            rc = open_element(r, &t, err);
            if (rc == VARVE_OK && t.empty) {
                rc = close_element(r, &t, err);
            }
            break;
        case TOKEN_CLOSE:
            rc = close_element(r, &t, err);
            break;
        case TOKEN_TEXT:
            if (r->in_value) {
                rc = append_text(&r->text, t.text, t.text_len, t.raw, err);
            }
            break;
        }
    }
    return rc;
}

enum varve_err
cim_xml_read(const char *text, size_t len, struct wmi_object *out, struct varve_error *err)
{
    struct reader r;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    if (len > CIM_XML_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "an embedded instance of %zu bytes", len);
    }
    memset(&r, 0, sizeof(r));
    r.p = text;
    r.end = text + len;
    r.out = out;
    buf_init(&r.text, CIM_XML_MAX + 1);
    rc = read_all(&r, err);
    forget_values(&r);
    buf_release(&r.text);
    if (rc != VARVE_OK) {
        wmi_object_release(out);
    }
    return rc;
}
