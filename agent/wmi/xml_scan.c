/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/xml_scan.h"

#include <stdint.h>
#include <string.h>

static enum varve_err
malformed(struct varve_error *err, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "XML: %s", what);
}

void
xml_scan_init(struct xml_scan *s, const char *text, size_t len)
{
    s->p = text;
    s->end = text + len;
}

/* ---- tokens ---- */

static bool
starts(const struct xml_scan *s, const char *with)
{
    size_t len = strlen(with);

    return (size_t)(s->end - s->p) >= len && memcmp(s->p, with, len) == 0;
}

static const char *
find(const struct xml_scan *s, const char *what)
{
    size_t len = strlen(what);
    const char *p;

    for (p = s->p; (size_t)(s->end - p) >= len; p++) {
        if (memcmp(p, what, len) == 0) {
            return p;
        }
    }
    return NULL;
}

/* The '>' of a tag; those inside quotes do not count. */
static const char *
tag_end(const struct xml_scan *s)
{
    char quote = '\0';
    const char *p;

    for (p = s->p; p < s->end; p++) {
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
next_tag(struct xml_scan *s, struct xml_token *t, struct varve_error *err)
{
    const char *end = tag_end(s);
    const char *p;

    if (end == NULL) {
        return malformed(err, "a tag does not end");
    }
    p = s->p + 1;
    t->kind = XML_OPEN;
    if (p < end && *p == '/') {
        t->kind = XML_CLOSE;
        p++;
    }
    t->name = p;
    while (p < end && !is_space(*p) && *p != '/') {
        p++;
    }
    t->name_len = (size_t)(p - t->name);
    t->attributes = p;
    t->attributes_len = (size_t)(end - p);
    t->empty = end[-1] == '/' && t->kind == XML_OPEN;
    if (t->empty && t->attributes_len > 0) {
        t->attributes_len--;
    }
    s->p = end + 1;
    return t->name_len > 0 ? VARVE_OK : malformed(err, "a tag without a name");
}

enum varve_err
xml_next(struct xml_scan *s, struct xml_token *t, struct varve_error *err)
{
    const char *end;

    memset(t, 0, sizeof(*t));
    for (;;) {
        if (s->p == s->end || *s->p == '\0') {
            t->kind = XML_END_OF_TEXT;
            return VARVE_OK;
        }
        if (*s->p != '<') {
            t->kind = XML_TEXT;
            t->text = s->p;
            while (s->p < s->end && *s->p != '<' && *s->p != '\0') {
                s->p++;
            }
            t->text_len = (size_t)(s->p - t->text);
            return VARVE_OK;
        }
        if (starts(s, "<![CDATA[")) {
            t->kind = XML_TEXT;
            t->raw = true;
            t->text = s->p + 9;
            end = find(s, "]]>");
            if (end == NULL) {
                return malformed(err, "a CDATA section does not end");
            }
            t->text_len = (size_t)(end - t->text);
            s->p = end + 3;
            return VARVE_OK;
        }
        if (starts(s, "<!--")) {
            end = find(s, "-->");
            end = end != NULL ? end + 2 : NULL;
        } else if (starts(s, "<?") || starts(s, "<!")) {
            end = find(s, ">");
        } else {
            return next_tag(s, t, err);
        }
        if (end == NULL) {
            return malformed(err, "a declaration does not end");
        }
        s->p = end + 1;
    }
}

bool
xml_is(const struct xml_token *t, const char *name)
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

enum varve_err
xml_append_text(struct buf *b, const char *p, size_t len, bool raw, struct varve_error *err)
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

enum varve_err
xml_attribute(const struct xml_token *t, const char *name, char *out, size_t size,
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
            buf_init(&b, size - 1);
            rc = xml_append_text(&b, p + 1, (size_t)(close - p) - 1, false, err);
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
