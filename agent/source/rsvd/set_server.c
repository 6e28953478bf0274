/* SPDX-License-Identifier: Apache-2.0 */
#include "source/rsvd/set_server.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "source/rsvd/rsvd_disk.h"

#define CONNECT_MS 10000u
#define HOST_SIZE  256u

void
set_place_release(struct set_place *p)
{
    free(p->server);
    free(p->share);
    free(p->path);
    memset(p, 0, sizeof(*p));
}

static bool
is_separator(char c)
{
    return c == '\\' || c == '/';
}

/* A copy with '\' alone, and none at the end. */
static char *
take(const char *p, size_t len)
{
    char *out = malloc(len + 1);
    size_t i;

    for (i = 0; out != NULL && i < len; i++) {
        out[i] = is_separator(p[i]) ? '\\' : p[i];
    }
    while (out != NULL && len > 0 && out[len - 1] == '\\') {
        len--;
    }
    if (out != NULL) {
        out[len] = '\0';
    }
    return out;
}

static size_t
part_length(const char *p)
{
    size_t n = 0;

    while (p[n] != '\0' && !is_separator(p[n])) {
        n++;
    }
    return n;
}

/* \\server\share and what follows; below: a path that comes behind it, or "". */
static enum varve_err
split_unc(struct set_place *out, const char *unc, const char *below, struct varve_error *err)
{
    struct set_place p = {0};
    const char *server = unc + 2;
    size_t server_len = part_length(server);
    const char *share = server + server_len + (server[server_len] != '\0');
    size_t share_len = part_length(share);
    const char *rest = share + share_len + (share[share_len] != '\0');
    char *joined;
    size_t size = strlen(rest) + strlen(below) + 2;

    if (server_len == 0 || server_len >= HOST_SIZE || share_len == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' names no server and share", unc);
    }
    joined = malloc(size);
    if (joined == NULL) {
        return varve_error_nomem(err);
    }
    while (is_separator(*below)) {
        below++;
    }
    (void)snprintf(joined, size, "%s%s%s", rest, rest[0] != '\0' && below[0] != '\0' ? "\\" : "",
                   below);
    p.server = take(server, server_len);
    p.share = take(share, share_len);
    p.path = take(joined, strlen(joined));
    free(joined);
    if (p.server == NULL || p.share == NULL || p.path == NULL) {
        set_place_release(&p);
        return varve_error_nomem(err);
    }
    *out = p;
    return VARVE_OK;
}

/* Whether path lies below folder; *below then is what follows. */
static bool
lies_below(const char *path, const char *folder, const char **below)
{
    for (; *folder != '\0'; folder++, path++) {
        if (is_separator(*folder)
                ? !is_separator(*path)
                : tolower((unsigned char)*folder) != tolower((unsigned char)*path)) {
            return false;
        }
    }
    *below = path;
    return is_separator(*path);
}

static bool
is_unc(const char *path)
{
    return is_separator(path[0]) && is_separator(path[1]);
}

/* The next "FOLDER=UNC"; *entry is moved on, and NULL at the end. */
static enum varve_err
next_share(const char **entry, char **folder, char **unc, struct varve_error *err)
{
    const char *p = *entry + strspn(*entry, " ,");
    size_t len = strcspn(p, ",");
    const char *equals = memchr(p, '=', len);

    *entry = p[len] == ',' ? p + len + 1 : NULL;
    while (len > 0 && p[len - 1] == ' ') {
        len--;
    }
    if (equals == NULL || equals == p || !is_unc(equals + 1)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.*s' is not FOLDER=\\\\server\\share (set-shares)", (int)len, p);
    }
    *folder = take(p, (size_t)(equals - p));
    *unc = take(equals + 1, len - (size_t)(equals - p) - 1);
    if (*folder == NULL || *unc == NULL) {
        return varve_error_nomem(err); /* the caller frees both */
    }
    return VARVE_OK;
}

enum varve_err
set_place_find(struct set_place *out, const char *path, const char *shares, struct varve_error *err)
{
    const char *entry = shares != NULL && shares[0] != '\0' ? shares : NULL;
    struct set_place found = {0};
    enum varve_err rc = VARVE_OK;

    if (is_unc(path)) {
        return split_unc(out, path, "", err);
    }
    while (rc == VARVE_OK && found.server == NULL && entry != NULL) {
        const char *below;
        char *folder = NULL;
        char *unc = NULL;

        rc = next_share(&entry, &folder, &unc, err);
        if (rc == VARVE_OK && lies_below(path, folder, &below)) {
            rc = split_unc(&found, unc, below, err);
        }
        free(folder);
        free(unc);
    }
    if (rc == VARVE_OK && found.server == NULL) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "'%s' is on no share, and a VHD set is read from its file server: "
                               "name the share of its folder (set-shares)",
                               path);
    }
    if (rc == VARVE_OK) {
        *out = found;
    }
    return rc;
}

/* "host", "host:port", "[v6]:port" */
static enum varve_err
split_address(const char *address, char host[HOST_SIZE], uint16_t *port, struct varve_error *err)
{
    const char *colon = strrchr(address, ':');
    bool bracket = address[0] == '[';
    size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);
    char *end = NULL;
    unsigned long n = SMB_TCP_PORT;

    if (colon != NULL) {
        n = strtoul(colon + 1, &end, 10);
    }
    if (bracket) {
        address++;
        len = len > 2 && address[len - 2] == ']' ? len - 2 : 0;
    }
    if (len == 0 || len >= HOST_SIZE || n == 0 || n > 65535 ||
        (end != NULL && (*end != '\0' || end == colon + 1))) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is no HOST:PORT (file-server-address)",
                               address);
    }
    (void)snprintf(host, HOST_SIZE, "%.*s", (int)len, address);
    *port = (uint16_t)n;
    return VARVE_OK;
}

enum varve_err
set_share_next(struct set_place *out, const char **at, struct varve_error *err)
{
    char *folder = NULL;
    char *unc = NULL;
    enum varve_err rc = next_share(at, &folder, &unc, err);

    if (rc == VARVE_OK) {
        rc = split_unc(out, unc, "", err);
    }
    free(folder);
    free(unc);
    return rc;
}

enum varve_err
set_server_check(const struct set_server *s, struct varve_error *err)
{
    struct smb_credentials *credentials = NULL;
    const char *entry = s->shares != NULL && s->shares[0] != '\0' ? s->shares : NULL;
    char host[HOST_SIZE];
    uint16_t port;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && entry != NULL) {
        struct set_place place = {0};

        rc = set_share_next(&place, &entry, err);
        set_place_release(&place);
    }
    if (rc == VARVE_OK && s->address != NULL) {
        rc = split_address(s->address, host, &port, err);
    }
    if (rc == VARVE_OK && s->credentials != NULL) {
        rc = smb_credentials_load(&credentials, s->fs, s->credentials, err);
        smb_credentials_free(credentials);
    }
    return rc;
}

static enum varve_err
connect_to(const struct set_server *s, const struct set_place *place, struct smb **out,
           struct varve_error *err)
{
    struct smb_options options = {
        .server = place->server, .share = place->share, .encrypt = s->encrypt};
    struct smb_credentials *credentials = NULL;
    struct smb_port *port = NULL;
    struct smb_auth *auth = NULL;
    char host[HOST_SIZE];
    uint16_t number = SMB_TCP_PORT;
    enum varve_err rc = VARVE_OK;

    (void)snprintf(host, sizeof(host), "%s", place->server);
    if (s->address != NULL) {
        rc = split_address(s->address, host, &number, err);
    }
    if (rc == VARVE_OK && s->credentials != NULL) {
        rc = smb_credentials_load(&credentials, s->fs, s->credentials, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_auth_open(&auth, place->server, credentials, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_port_tcp_open(&port, host, number, CONNECT_MS, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_open(out, port, auth, &options, err);
    } else {
        smb_auth_close(auth);
    }
    smb_credentials_free(credentials);
    return rc;
}

enum varve_err
set_server_open(const struct set_server *s, const char *path, const struct guid *snapshot,
                struct source **out, struct varve_error *err)
{
    struct set_place place = {0};
    struct smb *smb = NULL;
    enum varve_err rc = set_place_find(&place, path, s->shares, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = connect_to(s, &place, &smb, err);
    if (rc == VARVE_OK) {
        rc = source_rsvd_open(out, smb, place.path, snapshot, err);
    }
    if (rc != VARVE_OK) {
        (void)varve_error_prefix(err, "VHD set on \\\\%s\\%s", place.server, place.share);
    }
    set_place_release(&place);
    return rc == VARVE_OK ? VARVE_OK : err->code;
}

/* ---- for people ---- */

static enum varve_err
probe_set(struct smb *smb, const char *path, unsigned *version, struct varve_error *err)
{
    struct rsvd_disk *d = NULL;
    struct rsvd_info info;
    struct guid initiator;
    enum varve_err rc;

    crypto_random(initiator.bytes, sizeof(initiator.bytes));
    rc = rsvd_disk_open(&d, smb, path, &initiator, err);
    if (rc == VARVE_OK) {
        rsvd_get_info(d, &info);
        *version = info.version;
        rsvd_close(d);
    }
    if (rc == VARVE_OK && info.version < 2) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "shared disks by RSVD version 1, which has no snapshots: that is "
                               "Windows Server 2012 R2");
    }
    return rc;
}

enum varve_err
set_server_probe(const struct set_server *s, const struct set_place *place, bool is_set,
                 struct set_probe *out, struct varve_error *err)
{
    struct smb *smb = NULL;
    enum varve_err rc = connect_to(s, place, &smb, err);

    memset(out, 0, sizeof(*out));
    if (rc == VARVE_OK) {
        out->connected = true;
        smb_get_state(smb, &out->smb);
        if (is_set) {
            rc = probe_set(smb, place->path, &out->version, err);
        }
    }
    smb_close(smb);
    return rc;
}
