/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_CATALOG_H
#define VARVE_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "manifest/manifest.h"
#include "store/chunk_store.h"

/*
 * The points: what an operator can restore.  The truth is one object per point,
 * "point/<vm guid>/<16 hex digits of seq>"; this module writes them, reads all of them at open, and
 * answers from memory.
 *
 * catalog_publish() is the only commit there is: it runs chunk_store_barrier() first, then creates
 * the object.  A crash before leaves garbage, after it the point is listed.
 *
 * Threads: all calls may run at the same time.  Points handed out are references to constant
 * objects: point_unref() them.
 */
struct catalog;

#define POINT_DISKS_MAX  256u
#define POINT_FILES_MAX  64u
#define POINT_STRING_MAX 1024u
#define POINT_RECORD_MAX (4u * 1024 * 1024)

/* Bytes of one configuration file, and of all: a .vmgs (guest state) has 4 MiB and packs well. */
#define POINT_FILE_MAX       (8u * 1024 * 1024)
#define POINT_FILES_SIZE_MAX (16u * 1024 * 1024)

enum point_consistency { POINT_CRASH = 1, POINT_APPLICATION = 2, POINT_OFFLINE = 3 };

struct point_disk {
    struct guid id; /* VirtualDiskId */
    char *name;     /* "data.vhdx": file name to restore under, no folder */
    char *path;     /* where it was on the host, for people */
    uint64_t size;  /* virtual size, bytes */
    uint32_t logical_sector;
    uint32_t physical_sector;
    uint32_t block_size; /* of the original VHDX, 0 unknown */
    struct guid page83;  /* SCSI identity the guest sees */
    struct manifest_root root;
    char *change_id; /* against which the next run asks; "" = none, next run reads all */
    bool incremental;
    char *reason;           /* why full, or "" */
    uint64_t read_bytes;    /* from the source in this run */
    uint64_t sent_bytes;    /* chunk bytes that travelled, packed */
    uint64_t new_bytes;     /* unpacked bytes of chunks the store did not have */
    uint64_t tracked_bytes; /* what change tracking reported */
};

struct point_file {
    char *name;
    uint8_t *data;
    size_t len;
};

struct point {
    struct guid id;
    struct guid vm;
    struct guid host;
    struct guid run;
    struct guid domain; /* zero: the default; its chunks and its record are of this one */
    uint64_t seq;       /* per vm, from 1, given by catalog_publish() */
    char *vm_name;
    char *host_name;
    int64_t frozen_at_us;    /* host's clock, for people */
    int64_t published_at_us; /* collector's clock, set by catalog_publish() */
    enum point_consistency consistency;
    char *capture;         /* "sim", "folder", ... */
    char *source;          /* "file", ... */
    char *reason;          /* why this way */
    char *reference_point; /* the host's id of it, or "" */
    unsigned generation;
    struct point_disk *disks;
    size_t disk_count;
    struct point_file *files;
    size_t file_count;
};

struct point *point_new(void);
void point_ref(struct point *p);
void point_unref(struct point *p); /* NULL is fine */

VARVE_CHECK enum varve_err catalog_open(struct catalog **out, struct chunk_store *cs,
                                        struct varve_error *err);
void catalog_close(struct catalog *c);

/*
 * Sets p's seq, published_at_us and, where it is zero, id; on success the catalog keeps a copy of its
 * own (without the files' bytes: see catalog_load()).  loss: the value of chunk_store_loss_count()
 * when the run began; another value now is VARVE_ERR_STALE ("run again") and nothing is published.
 * Publishing the same run of a vm twice gives the first point in *existing (may be NULL) and
 * VARVE_ERR_EXISTS.
 */
VARVE_CHECK enum varve_err catalog_publish(struct catalog *c, struct point *p, uint64_t loss,
                                           struct point **existing, struct varve_error *err);

/*
 * A put of a point that failed may have made its object: after a power cut it would be listed, though nobody was
 * told of it and what it needs may be collected by then.  catalog_publish() removes it at once; where that failed
 * too this tries again.  VARVE_OK: nothing of that kind is left, and none comes back.  Whoever removes what
 * only an unknown point could need calls this first.
 */
VARVE_CHECK enum varve_err catalog_settle(struct catalog *c, struct varve_error *err);

/*
 * The whole point, read again from its object: in what the other calls hand out, files have name and
 * length but data is NULL, so that a catalog of many points stays small.  *out is the caller's.
 */
VARVE_CHECK enum varve_err catalog_load(struct catalog *c, const struct point *p,
                                        struct point **out, struct varve_error *err);

/* Point objects that could not be read at open: damaged, of another key, of a newer format; or not there, though the point is held,
 * locked or can be undeleted. */
struct catalog_damage {
    char name[STORE_NAME_MAX + 1]; /* of the object */
    char reason[240];
};
/* The array is the caller's to free(). */
VARVE_CHECK enum varve_err catalog_damaged(struct catalog *c, struct catalog_damage **out,
                                           size_t *count, struct varve_error *err);

/* Newest first; vm NULL = all.  Array and references are the caller's. */
VARVE_CHECK enum varve_err catalog_list(struct catalog *c, const struct guid *vm,
                                        struct point ***out, size_t *count,
                                        struct varve_error *err);
/* The same points vm by vm, of each the newest first: no sorting, where there are millions. */
VARVE_CHECK enum varve_err catalog_list_by_vm(struct catalog *c, const struct guid *vm,
                                              struct point ***out, size_t *count,
                                              struct varve_error *err);
void catalog_list_free(struct point **points, size_t count);
/* NULL in *out when there is none. */
void catalog_latest(struct catalog *c, const struct guid *vm, struct point **out);

/*
 * Selectors: the whole id, its first characters (at least 4, unambiguous), "latest", "latest~N"
 * (needs vm), "VMNAME@latest~N" or "VMNAME@prefix".  VARVE_ERR_NOT_FOUND or, with the candidates
 * named, VARVE_ERR_INVALID.
 */
VARVE_CHECK enum varve_err catalog_select(struct catalog *c, const char *selector,
                                          struct point **out, struct varve_error *err);

#endif
