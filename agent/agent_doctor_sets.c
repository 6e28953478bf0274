/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/utf8.h"

/*
 * Shares are few: those of set-shares, and those that sets are on.  Each is asked once, with a set of its own where
 * there is one, for only an open set tells whether the server has shared virtual disks.
 */
#define SHARES_MAX 32u
#define WHO_SIZE   600u

struct shares {
    struct set_place items[SHARES_MAX];
    bool is_set[SHARES_MAX]; /* its path is a set's */
    size_t count;
    size_t more; /* that are not asked */
};

/* Takes the place. */
static void
add_share(struct shares *s, struct set_place *place, bool is_set)
{
    size_t i;

    for (i = 0; i < s->count; i++) {
        if (utf8_same_name(s->items[i].server, place->server) &&
            utf8_same_name(s->items[i].share, place->share)) {
            break;
        }
    }
    if (i == SHARES_MAX || (i < s->count && (s->is_set[i] || !is_set))) {
        s->more += i == SHARES_MAX;
        set_place_release(place);
        return;
    }
    if (i < s->count) {
        set_place_release(&s->items[i]);
    } else {
        s->count++;
    }
    s->items[i] = *place;
    s->is_set[i] = is_set;
}

static bool
is_set(const struct capture_disk *d)
{
    static const char end[] = ".vhds";
    size_t len = strlen(d->path);

    return d->shared && len >= sizeof(end) &&
           utf8_same_name(d->path + len - (sizeof(end) - 1), end);
}

/* A set that is on no share is the problem of its vm, which the list of vms tells. */
static enum varve_err
collect(struct shares *out, const struct set_server *s, const struct capture_inventory *inv,
        struct varve_error *err)
{
    const char *at = s->shares != NULL && s->shares[0] != '\0' ? s->shares : NULL;
    struct set_place place;
    struct varve_error why;
    size_t i;
    size_t k;

    while (at != NULL) {
        enum varve_err rc = set_share_next(&place, &at, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        add_share(out, &place, false);
    }
    for (i = 0; i < inv->count; i++) {
        for (k = 0; k < inv->vms[i].disk_count; k++) {
            const struct capture_disk *d = &inv->vms[i].disks[k];

            if (is_set(d) && set_place_find(&place, d->path, s->shares, &why) == VARVE_OK) {
                add_share(out, &place, true);
            }
        }
    }
    return VARVE_OK;
}

static void
say_state(const struct set_probe *p, const char *who)
{
    static const char *const ciphers[] = {"no cipher", "AES-128-CCM", "AES-128-GCM"};
    unsigned cipher = (unsigned)p->smb.cipher;

    (void)printf("SMB %s as %s, %s (%s)", p->smb.dialect == SMB_DIALECT_311 ? "3.1.1" : "3.0.2",
                 who, p->smb.encrypted ? "encrypted" : "signed",
                 cipher < sizeof(ciphers) / sizeof(ciphers[0]) ? ciphers[cipher]
                                                               : "another cipher");
}

static enum varve_err
say_share(const struct set_server *s, const struct set_place *place, bool with_set, const char *who,
          struct varve_error *err)
{
    struct set_probe p;
    enum varve_err rc = set_server_probe(s, place, with_set, &p, err);

    (void)printf("sets      \\\\%s\\%s: ", place->server, place->share);
    if (p.connected) {
        say_state(&p, who);
        (void)printf("; ");
    }
    if (rc != VARVE_OK) {
        (void)printf("PROBLEM: %s\n", err->msg);
    } else if (with_set) {
        (void)printf("shared virtual disks by RSVD version %u\n", p.version);
    } else {
        (void)printf("no vm has a set there, so that it was not asked for shared virtual disks\n");
    }
    return rc;
}

/* Who logs on, for people; the file was looked at when the host was opened. */
static enum varve_err
say_who(const struct set_server *s, char out[WHO_SIZE], struct varve_error *err)
{
    struct smb_credentials *c = NULL;
    enum varve_err rc;

    (void)snprintf(out, WHO_SIZE, "who runs this (the service is another)");
    if (s->credentials == NULL) {
        return VARVE_OK;
    }
    rc = smb_credentials_load(&c, s->fs, s->credentials, err);
    if (rc == VARVE_OK) {
        (void)snprintf(out, WHO_SIZE, "%s%s%s by %s", c->domain, c->domain[0] != '\0' ? "\\" : "",
                       c->user, c->method == SMB_KERBEROS ? "Kerberos" : "NTLM");
        smb_credentials_free(c);
    }
    return rc;
}

static enum varve_err
say_shares(const struct set_server *s, const struct shares *shares, struct varve_error *err)
{
    struct varve_error why;
    char who[WHO_SIZE];
    size_t i;
    enum varve_err rc = say_who(s, who, err);

    if (rc != VARVE_OK) {
        (void)printf("sets      PROBLEM: %s\n", err->msg);
        return rc;
    }
    for (i = 0; i < shares->count; i++) {
        enum varve_err one = say_share(s, &shares->items[i], shares->is_set[i], who, &why);

        if (rc == VARVE_OK && one != VARVE_OK) {
            *err = why;
            rc = one;
        }
    }
    if (shares->more > 0) {
        (void)printf("sets      of %zu more it was not asked\n", shares->more);
    }
    if (shares->count == 0 && (s->credentials != NULL || s->address != NULL)) {
        (void)printf("sets      no vm has a VHD set, and set-shares names no share: no file server "
                     "was asked\n");
    }
    return rc;
}

enum varve_err
agent_doctor_sets(const struct set_server *s, const struct capture_inventory *inv,
                  struct varve_error *err)
{
    struct shares *shares = calloc(1, sizeof(*shares));
    size_t i;
    enum varve_err rc;

    if (shares == NULL) {
        return varve_error_nomem(err);
    }
    rc = collect(shares, s, inv, err);
    if (rc == VARVE_OK) {
        rc = say_shares(s, shares, err);
    } else {
        (void)printf("sets      PROBLEM: %s\n", err->msg);
    }
    for (i = 0; i < shares->count; i++) {
        set_place_release(&shares->items[i]);
    }
    free(shares);
    return rc;
}
