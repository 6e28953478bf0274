/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VSS_VSS_PORT_H
#define VARVE_VSS_VSS_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "os/thread.h"

/*
 * The Volume Shadow Copy Service as this agent uses it: a requester that backs up some components of a writer.
 * Everything that decides something (which component, which volume, what a writer's state means, what is undone)
 * stands above this port and runs on every system; a member only translates.  Members: win_vss (vssapi.dll,
 * Windows), vss_fake of the simulated host (tests/hvsim).
 *
 * A session is one IVssBackupComponents: it is good for one backup, its calls come in the order in which they stand
 * below, and what it froze is gone when it is released or when the process ends (context VSS_CTX_BACKUP).
 * Calls of VSS that answer by IVssAsync are waited for here, as long as struct vss_wait says.
 *
 * Texts are UTF-8; a GUID of zeros is none.  Errors: err->native is the HRESULT, err->source VARVE_SRC_HRESULT; the
 * code follows from the number by vss_code() (vss_code.h).
 *
 * Threads: a port's calls from many threads at once; a session's from one at a time.
 */

#define VSS_WRITERS_MAX    256u
#define VSS_DOCUMENT_MAX   (16u * 1024 * 1024) /* bytes of one XML document */
#define VSS_TEXT_MAX       1024u               /* bytes of a name, a path, a caption */
#define VSS_DEVICE_MAX     512u
#define VSS_CALL_MS        (10u * 60 * 1000) /* the usual time of a call that is waited for */
#define VSS_BACKUP_FULL    1u
#define VSS_BACKUP_COPY    5u
#define VSS_TYPE_DATABASE  1u
#define VSS_TYPE_FILEGROUP 2u

/* A call that takes its time: VARVE_ERR_TIMEOUT, VARVE_ERR_CANCELLED; the call was told to stop then. */
struct vss_wait {
    uint32_t timeout_ms;
    struct cancel *cancel; /* NULL: none */
};

/* What a writer says of itself. */
struct vss_writer {
    struct guid writer;
    struct guid instance;
    char *name;
    char *document;    /* writer metadata, XML */
    size_t components; /* as VSS counts them */
};

struct vss_writers {
    struct vss_writer *items;
    size_t count;
};

/* VSS_WRITER_STATE; those from VSS_FAILED_FIRST to VSS_FAILED_LAST are failures at a step. */
#define VSS_STATE_STABLE  1u
#define VSS_STATE_WAITING 5u /* for the backup to be complete */
#define VSS_FAILED_FIRST  6u
#define VSS_FAILED_LAST   15u

struct vss_status {
    struct guid writer;
    struct guid instance;
    uint32_t state;
    uint32_t failure; /* HRESULT; 0: none */
};

struct vss_statuses {
    struct vss_status *items;
    size_t count;
};

/* A component as the calls name it. */
struct vss_component_id {
    struct guid writer;
    struct guid instance;
    uint32_t type;
    const char *path; /* "" : none */
    const char *name;
};

struct vss_session;

struct vss_session_ops {
    /* The end of the session, also after any failure; what it still holds frozen goes. */
    void (*release)(struct vss_session *s);

    /* InitializeForBackup, SetContext(VSS_CTX_BACKUP), SetBackupState(components, `type`). */
    enum varve_err (*begin)(struct vss_session *s, uint32_t type, struct varve_error *err);
    /* EnableWriterClasses: no other writer is asked. */
    enum varve_err (*enable_writer)(struct vss_session *s, const struct guid *writer,
                                    struct varve_error *err);
    /* GatherWriterMetadata, and what it gathered. */
    enum varve_err (*gather)(struct vss_session *s, const struct vss_wait *wait,
                             struct vss_writers *out, struct varve_error *err);
    enum varve_err (*add_component)(struct vss_session *s, const struct vss_component_id *c,
                                    struct varve_error *err);
    /* VARVE_ERR_BUSY: another set is being made (VSS_E_SNAPSHOT_SET_IN_PROGRESS). */
    enum varve_err (*start_set)(struct vss_session *s, struct guid *set, struct varve_error *err);
    enum varve_err (*add_volume)(struct vss_session *s, const char *volume, struct guid *snapshot,
                                 struct varve_error *err);
    enum varve_err (*prepare)(struct vss_session *s, const struct vss_wait *wait,
                              struct varve_error *err);
    /* DoSnapshotSet: the guest is asked to put its data in order, the volumes are frozen. */
    enum varve_err (*freeze)(struct vss_session *s, const struct vss_wait *wait,
                             struct varve_error *err);
    /* GatherWriterStatus and what it gathered; may be called after every step. */
    enum varve_err (*status)(struct vss_session *s, const struct vss_wait *wait,
                             struct vss_statuses *out, struct varve_error *err);
    /* Where a snapshot can be read: "\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy4", without an end. */
    enum varve_err (*device)(struct vss_session *s, const struct guid *snapshot,
                             char out[VSS_DEVICE_MAX], struct varve_error *err);
    enum varve_err (*set_succeeded)(struct vss_session *s, const struct vss_component_id *c,
                                    bool succeeded, struct varve_error *err);
    /* The backup components document; *xml is the caller's to free(). */
    enum varve_err (*document)(struct vss_session *s, char **xml, struct varve_error *err);
    enum varve_err (*complete)(struct vss_session *s, const struct vss_wait *wait,
                               struct varve_error *err);
    /* AbortBackup: the writers take back what they did. */
    enum varve_err (*abort)(struct vss_session *s, struct varve_error *err);
    /* DeleteSnapshots of this session's set; one that is gone already is fine. */
    enum varve_err (*delete_set)(struct vss_session *s, const struct guid *set,
                                 struct varve_error *err);
};

struct vss_session {
    const struct vss_session_ops *ops;
};

struct vss_port;

struct vss_port_ops {
    void (*close)(struct vss_port *p);
    /* A new IVssBackupComponents.  VARVE_ERR_UNSUPPORTED: this system has none; VARVE_ERR_DENIED. */
    enum varve_err (*open)(struct vss_port *p, struct vss_session **out, struct varve_error *err);
    /* The root of the volume that a file is on, with its end: "D:\", "C:\ClusterStorage\Volume1\".  *root is the
     * caller's to free(). */
    enum varve_err (*volume_root)(struct vss_port *p, const char *path, char **root,
                                  struct varve_error *err);
};

struct vss_port {
    const struct vss_port_ops *ops;
};

void vss_port_close(struct vss_port *p);         /* NULL is fine */
void vss_session_release(struct vss_session *s); /* NULL is fine */
void vss_writers_release(struct vss_writers *w);
void vss_statuses_release(struct vss_statuses *s);

#endif
