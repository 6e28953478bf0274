/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_SET_SERVER_H
#define VARVE_SOURCE_RSVD_SET_SERVER_H

#include <stdbool.h>

#include "os/file.h"
#include "source/rsvd/source_rsvd.h"

/*
 * The way from a VHD set's path, as a vm names it, to the set on its file server: which server and share, who logs
 * on, and whether all of it must be encrypted.
 *
 * A path on a share (\\server\share\folder\disk.vhds) says where it is by itself.  One on a volume of the host
 * (C:\ClusterStorage\Volume1\...) is reached by RSVD only through a share that a scale-out file server has of that
 * folder; `shares` says which.
 *
 * Threads: set_server is constant; all calls may run at the same time.
 */
struct set_server {
    struct fs *fs;
    const char *credentials; /* a file (smb_credentials.h); NULL: the program's own identity */
    const char *shares;      /* "FOLDER=\\server\share[\folder], ...", or NULL */
    const char *address; /* HOST or HOST:PORT to connect to, whatever the server is called; NULL */
    bool encrypt;        /* or the set is not read */
};

struct set_place {
    char *server;
    char *share;
    char *path; /* below the share, with '\' */
};

void set_place_release(struct set_place *p);

/* Names are compared as Windows does, for ASCII letters, and either separator counts.  VARVE_ERR_UNSUPPORTED: the
 * path is on no share, and no entry of shares has it.  VARVE_ERR_INVALID: shares is malformed. */
VARVE_CHECK enum varve_err set_place_find(struct set_place *out, const char *path,
                                          const char *shares, struct varve_error *err);

/* What can be known without a server: shares, address and the file of credentials. */
VARVE_CHECK enum varve_err set_server_check(const struct set_server *s, struct varve_error *err);

/* Connects, logs on and opens; errors name server and share. */
VARVE_CHECK enum varve_err set_server_open(const struct set_server *s, const char *path,
                                           const struct guid *snapshot, struct source **out,
                                           struct varve_error *err);

/* ---- for people: what the way to a share is like ---- */

/* The next entry of shares, as a place: *at is moved on, and NULL at the end. */
VARVE_CHECK enum varve_err set_share_next(struct set_place *out, const char **at,
                                          struct varve_error *err);

struct set_probe {
    bool connected; /* and logged on; smb is filled */
    struct smb_state smb;
    unsigned version; /* of shared disks; 0: was not asked */
};

/*
 * Connects and logs on to the server of that place as set_server_open() does; with is_set opens the set there as a disk,
 * of which nothing is read.  *out is filled on failure too, as far as it came.  VARVE_ERR_UNSUPPORTED: the server has no
 * shared disks, or none with snapshots.
 */
VARVE_CHECK enum varve_err set_server_probe(const struct set_server *s,
                                            const struct set_place *place, bool is_set,
                                            struct set_probe *out, struct varve_error *err);

#endif
