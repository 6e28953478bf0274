/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_credentials.h"

#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "crypto/secret_file.h"

struct line {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool
key_is(const struct line *l, const char *key)
{
    return l->key_len == strlen(key) && memcmp(l->key, key, l->key_len) == 0;
}

static bool
split(struct line *out, const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t at;

    if (equals == NULL) {
        return false;
    }
    out->key = text;
    out->key_len = (size_t)(equals - text);
    while (out->key_len > 0 && is_blank(text[out->key_len - 1])) {
        out->key_len--;
    }
    at = (size_t)(equals - text) + 1;
    while (at < len && is_blank(text[at])) {
        at++;
    }
    out->value = text + at;
    out->value_len = len - at;
    return true;
}

static char *
place(struct smb_credentials *c, const struct line *l)
{
    if (key_is(l, "user")) {
        return c->user;
    }
    if (key_is(l, "domain")) {
        return c->domain;
    }
    if (key_is(l, "password")) {
        return c->password;
    }
    return key_is(l, "keytab") ? c->keytab : NULL;
}

static enum varve_err
take(struct smb_credentials *c, const struct line *l, const char *name, unsigned number,
     struct varve_error *err)
{
    char *to = place(c, l);

    if (l->value_len == 0 || l->value_len > SMB_CREDENTIAL_MAX ||
        memchr(l->value, 0, l->value_len) != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s:%u: a value has 1 to %u bytes", name,
                               number, SMB_CREDENTIAL_MAX);
    }
    if (key_is(l, "method")) {
        if (l->value_len == 4 && memcmp(l->value, "ntlm", 4) == 0) {
            c->method = SMB_NTLM;
            return VARVE_OK;
        }
        if (l->value_len == 8 && memcmp(l->value, "kerberos", 8) == 0) {
            c->method = SMB_KERBEROS;
            return VARVE_OK;
        }
        return varve_error_set(err, VARVE_ERR_INVALID, "%s:%u: method is ntlm or kerberos", name,
                               number);
    }
    if (to == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%s:%u: unknown name; there are method, user, domain, password and "
                               "keytab",
                               name, number);
    }
    if (to[0] != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s:%u: given twice", name, number);
    }
    memcpy(to, l->value, l->value_len);
    return VARVE_OK;
}

static enum varve_err
check(struct smb_credentials *c, const char *name, struct varve_error *err)
{
    bool keytab = c->keytab[0] != 0;

    if (c->method == 0) {
        c->method = keytab ? SMB_KERBEROS : SMB_NTLM;
    }
    if (c->user[0] == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' names no user", name);
    }
    if (keytab == (c->password[0] != 0)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%s' must have either a password or a keytab", name);
    }
    if (keytab && c->method == SMB_NTLM) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s': a keytab is for kerberos", name);
    }
    if (c->method == SMB_KERBEROS && c->domain[0] == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s': kerberos needs domain = REALM", name);
    }
    return VARVE_OK;
}

enum varve_err
smb_credentials_parse(struct smb_credentials *out, const char *name, const char *text, size_t len,
                      struct varve_error *err)
{
    unsigned number = 0;
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    while (rc == VARVE_OK && len > 0) {
        const char *newline = memchr(text, '\n', len);
        size_t whole = newline == NULL ? len : (size_t)(newline - text) + 1;
        size_t line_len = newline == NULL ? len : whole - 1;
        struct line line;

        if (line_len > 0 && text[line_len - 1] == '\r') {
            line_len--;
        }
        number++;
        if (line_len > 0 && text[0] != '#') {
            rc = split(&line, text, line_len)
                     ? take(out, &line, name, number, err)
                     : varve_error_set(err, VARVE_ERR_INVALID, "%s:%u: not 'name = value'", name,
                                       number);
        }
        text += whole;
        len -= whole;
    }
    return rc == VARVE_OK ? check(out, name, err) : rc;
}

enum varve_err
smb_credentials_load(struct smb_credentials **out, struct fs *fs, const char *path,
                     struct varve_error *err)
{
    struct smb_credentials *c = NULL;
    struct file *f = NULL;
    char *text = NULL;
    size_t len = 0;
    enum varve_err rc = secret_file_open(fs, &f, path, err);

    if (rc != VARVE_OK) {
        goto out;
    }
    c = sodium_malloc(sizeof(*c));
    text = sodium_malloc(SMB_CREDENTIALS_FILE_MAX + 1);
    if (c == NULL || text == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = file_read(f, text, SMB_CREDENTIALS_FILE_MAX + 1, 0, &len, err);
    if (rc == VARVE_OK && len > SMB_CREDENTIALS_FILE_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "'%s' is larger than %u bytes", path,
                             SMB_CREDENTIALS_FILE_MAX);
    }
    if (rc == VARVE_OK) {
        rc = smb_credentials_parse(c, path, text, len, err);
    }
    if (rc == VARVE_OK) {
        *out = c;
        c = NULL;
    }
out:
    sodium_free(text);
    sodium_free(c);
    file_close(f);
    return rc;
}

void
smb_credentials_free(struct smb_credentials *c)
{
    sodium_free(c);
}
