/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "store/key_change.h"

/* Recipients of the data key that come and go. */

#define PASSPHRASE (MODEL_SECRETS - 1) /* which of them is one: its Argon2id is dear */

/* In a file of the system below, where the calls of offline.h find it. */
static void
make_secret(struct model *m, unsigned which, enum store_secret_kind kind)
{
    struct recipient *r = &m->secrets[which];
    uint8_t bytes[STORE_KEY_SIZE];
    char text[120] = "correct horse ";
    struct varve_error err;
    enum varve_err rc;

    (void)snprintf(r->path, sizeof(r->path), "/keys/%u", which);
    crypto_random(bytes, sizeof(bytes));
    if (kind == STORE_SECRET_KEY_FILE) {
        rc = secret_file_create(mem_fs(m->mem), r->path, SECRET_FILE_STORE_KEY, bytes, &err);
    } else {
        if (kind == STORE_SECRET_RECOVERY) {
            recovery_format(bytes, text);
        }
        rc = fs_write_durable(mem_fs(m->mem), r->path, text, strlen(text), true, &err);
    }
    if (rc != VARVE_OK ||
        store_secret_load(&r->secret, mem_fs(m->mem), kind, r->path, &err) != VARVE_OK) {
        abort();
    }
    r->d.may = NOWHERE;
}

void
secrets_start(struct model *m)
{
    struct varve_error err;

    if (fs_mkdir(mem_fs(m->mem), "/keys", &err) != VARVE_OK ||
        fs_sync_dir(mem_fs(m->mem), "/", &err) != VARVE_OK) {
        abort();
    }
    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        make_secret(m, i,
                    i == PASSPHRASE ? STORE_SECRET_PASSPHRASE
                    : i % 2 == 0    ? STORE_SECRET_KEY_FILE
                                    : STORE_SECRET_RECOVERY);
    }
    m->secrets[0].d.may = LISTED;
}

void
secrets_release(struct model *m)
{
    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        store_secret_free(m->secrets[i].secret);
    }
}

const struct recipient *
a_secret(struct model *m)
{
    unsigned from = below(m, MODEL_SECRETS);

    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        const struct recipient *r = &m->secrets[(from + i) % MODEL_SECRETS];

        if (r->d.may == LISTED && r->d.later == 0 && (from + i) % MODEL_SECRETS != PASSPHRASE) {
            return r;
        }
    }
    violation(m, "no secret certainly opens the store");
    return &m->secrets[0];
}

void
look_at_secrets(struct model *m)
{
    struct store_params params;
    struct varve_error err;

    if (store_params_load(&params, m->l.dir, &err) != VARVE_OK) {
        violation(m, "parameters: %s", err.msg);
        return;
    }
    for (unsigned i = 0; i < MODEL_SECRETS; i++) {
        struct recipient *r = &m->secrets[i];
        bool sure = r->d.may == LISTED || r->d.may == NOWHERE;
        struct store_keys *keys = NULL;
        enum varve_err rc;
        unsigned is;

        if (i == PASSPHRASE && sure && below(m, 8) != 0) {
            continue;
        }
        rc = store_params_unlock(&params, r->secret, &keys, &r->id, &err);
        r->id = r->id == 0 ? 1 : r->id;
        store_keys_free(keys);
        is = rc == VARVE_OK ? (unsigned)LISTED : NOWHERE;
        if ((rc != VARVE_OK && rc != VARVE_ERR_AUTH) || (r->d.may & is) == 0) {
            violation(m, "secret %u %s (%d)", i,
                      rc == VARVE_OK ? "opens the store and must not" : "does not open the store",
                      (int)rc);
        }
        doubt_narrow(&r->d, is);
        saw(m, i * 10 + is);
    }
    store_params_release(&params);
}

/* A removed or unknown secret must not begin a change. */
static void
change_with_wrong_secret(struct model *m, struct store *objects, const struct recipient *r)
{
    struct key_change c;
    struct varve_error err;

    if (key_change_begin(&c, objects, r->secret, &err) == VARVE_OK) {
        violation(m, "a secret that is no recipient begins a change of keys");
        key_change_end(&c);
    }
    m->counts->refused++;
}

static void
change(struct model *m, struct key_change *c, struct recipient *r)
{
    struct varve_error err;
    enum varve_err rc;
    bool add = r->d.may == NOWHERE;

    if (add) {
        rc = key_change_add(c, r->secret, KEY_COST_FLOOR, "model", &r->id, &err);
    } else if (r->id == c->own) {
        rc = key_change_remove(c, r->id, &err);
        if (rc != VARVE_ERR_INVALID) {
            violation(m, "the secret in use was removed");
        }
        return;
    } else {
        rc = key_change_remove(c, r->id, &err);
    }
    m->counts->key_changes++;
    if (rc == VARVE_OK) {
        r->d.may = add ? LISTED : NOWHERE;
    } else {
        r->d.may = (unsigned)LISTED | NOWHERE;
        failed(m, add ? "adding a recipient" : "removing a recipient", &err);
    }
}

void
step_keys(struct model *m)
{
    unsigned which = below(m, 6) == 0 ? PASSPHRASE : below(m, PASSPHRASE);
    const struct recipient *own = a_secret(m);
    struct recipient *r = &m->secrets[which];
    struct store *objects = NULL;
    struct varve_error err;
    struct key_change c;

    if (r->d.later != 0 || m->bad) {
        return; /* what a power cut may bring back is not touched */
    }
    if (store_dir_open_shared(&objects, fault_fs(m->ff), "/data/store", &err) != VARVE_OK) {
        failed(m, "opening the folder", &err);
        return;
    }
    if (r->d.may == NOWHERE && below(m, 3) == 0) {
        change_with_wrong_secret(m, objects, r);
    }
    if (key_change_begin(&c, objects, own->secret, &err) == VARVE_OK) {
        change(m, &c, r);
        key_change_end(&c);
    } else {
        failed(m, "beginning a change of keys", &err);
    }
    store_close(objects);
}

struct offline_secret
offline_secret_of(const struct recipient *r)
{
    return (struct offline_secret){.kind = (enum offline_secret_kind)r->secret->kind,
                                   .path = r->path};
}
