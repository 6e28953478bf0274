/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_RSVD_CASES_H
#define VARVE_TESTS_RSVD_CASES_H

#include "rsvd/lab.h"
#include "source/rsvd/rsvd_wire.h"

/*
 * The cases of the RSVD part of Microsoft's Windows protocol test suites (FileServer, namespace RSVD), by
 * the same names, against any server.
 *
 * What the share must hold, as there: test.vhdx and the set rsvd.vhds, dynamic, 1 GiB, sectors of 512 and 4096
 * bytes, fresh.  They are changed, and two files are made beside them.
 */
#define CASE_DISK "test.vhdx"
#define CASE_SET  "rsvd.vhds"
#define CASE_SIZE (UINT64_C(1) << 30)

/* A file opened over a connection of its own. */
struct node {
    struct smb *s;
    struct smb_file_id id;
    struct smb_created created; /* points into reply */
    struct rsvd_opened opened;
    bool answered; /* the context of a shared disk came back */
    struct buf reply;
    uint64_t request;
    struct buf output;     /* of the last operation */
    struct smb_bytes body; /* in output */
    uint32_t status;       /* of the last operation */
};

struct how {
    const char *name;
    unsigned version;               /* 0: without the context of a shared disk */
    bool no_initiator;              /* HasInitiatorId 0 */
    unsigned who;                   /* which initiator and host: 1 or 2 */
    const struct smb_context *more; /* contexts beside it */
    size_t more_count;
    bool plain; /* the name as it is */
};

/* Each says what went wrong by fail_case() and gives false. */
bool node_open(struct node *n, const struct how *how);
void node_close(struct node *n);
/* A tunnelled operation whose SMB status is 0 and its own, n->status, as well, with at least so many bytes of body. */
bool node_tell(struct node *n, uint32_t code, const void *request, size_t len, size_t least);
/* The same with so much room for the reply; *smb is the status of SMB, whatever it is. */
bool node_provoke(struct node *n, uint32_t code, const void *request, size_t len, uint32_t room,
                  uint32_t *smb);
bool node_read(struct node *n, void *buf, uint32_t len, uint64_t off);
bool node_write(struct node *n, const void *buf, uint32_t len, uint64_t off);

/* One snapshot of the set, as Windows makes it: two requests, then asked for until it is there. */
bool node_snapshot(struct node *n, struct guid *id);
bool node_delete(struct node *n, const struct guid *id);
/* META_OPERATION_START of this kind with these parameters. */
bool node_meta(struct node *n, uint32_t kind, const void *parameters, size_t len);

void new_guid(struct guid *out);
bool fail_case(const char *fmt, ...) VARVE_PRINTF(1, 2);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return fail_case("line %d: %s", __LINE__, #condition);                                 \
        }                                                                                          \
    } while (0)
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if (!(call)) {                                                                             \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

#define NODES_MAX 4u

struct test_case {
    const char *name;
    unsigned version; /* of the server, at least */
    bool (*run)(struct node nodes[NODES_MAX]);
};

extern const struct test_case cases_v1[];
extern const struct test_case cases_v2[];
extern const struct test_case case_refused; /* ours; run when it is named */
extern const size_t cases_v1_count;
extern const size_t cases_v2_count;

#endif
