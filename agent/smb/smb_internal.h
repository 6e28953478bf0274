/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_INTERNAL_H
#define VARVE_SMB_SMB_INTERNAL_H

#include "os/thread.h"
#include "smb/smb.h"
#include "smb/smb_status.h"

/* A request and its reply.  Made by smb_send(), ended by smb_call_free() or smb_abandon(). */
struct smb_call {
    struct smb_call *next; /* in smb.calls, until it is done */
    uint64_t id;
    uint64_t deadline_ns;
    uint64_t async_id;
    unsigned command;
    bool pending;   /* the server is working on it */
    bool done;      /* the reply is there */
    bool abandoned; /* nobody waits: free it when the reply comes */
    uint8_t *frame; /* as received, decrypted */
    uint8_t *msg;   /* the message in it */
    size_t len;
    struct smb_header header;
};

/* What is being received. */
struct smb_receiving {
    uint8_t prefix[4];
    size_t prefix_got;
    uint8_t *frame;
    size_t size;
    size_t got;
    bool heard; /* something came */
};

struct smb {
    struct smb_port *port;
    char server[256];
    uint32_t timeout_ms;
    uint32_t async_timeout_ms;

    /* Set while the connection is made by one thread, then constant. */
    struct smb_negotiate offer;
    struct smb_negotiated agreed; /* without the token */
    uint8_t preauth[SMB_HASH_SIZE];
    bool hashing; /* messages go into preauth */
    uint64_t session_id;
    uint32_t tree_id;
    bool in_session; /* keys are there: replies are checked */
    bool encrypt;
    bool has_tree;
    uint32_t read_max;

    struct mutex lock; /* all that follows; held while a request is written */
    struct cond changed;
    struct smb_keys keys;   /* keys.nonce; the rest is constant once in_session */
    struct smb_call *calls; /* whose reply has not come */
    struct smb_call *echo;  /* a sign of life we asked for */
    uint64_t next_id;
    uint32_t credits;
    unsigned reads; /* READs that the server has not answered */
    bool reading;   /* a thread is in the port */
    bool over;
    struct varve_error why;
    uint64_t heard_ns;       /* when the last byte came */
    struct smb_receiving rx; /* of the thread that is reading */
};

/* Sends header and body.  Waits for credits. */
VARVE_CHECK enum varve_err smb_send(struct smb *s, unsigned command, const struct buf *body,
                                    uint32_t payload, struct smb_call **out,
                                    struct varve_error *err);
/* Whether a READ of that many bytes would be sent without waiting. */
bool smb_may_send(struct smb *s, uint32_t payload);
/* Waits for the reply, whatever its status is. */
VARVE_CHECK enum varve_err smb_wait(struct smb *s, struct smb_call *call, struct varve_error *err);
void smb_call_free(struct smb_call *call);
void smb_abandon(struct smb *s, struct smb_call *call);

/* Send and wait. */
VARVE_CHECK enum varve_err smb_do(struct smb *s, unsigned command, const struct buf *body,
                                  uint32_t payload, struct smb_call **out, struct varve_error *err);

/* Ends the connection with an error; the first one stays. */
enum varve_err smb_end(struct smb *s, const struct varve_error *why, struct varve_error *err);

/* Negotiates, logs on, connects to the share. */
VARVE_CHECK enum varve_err smb_establish(struct smb *s, struct smb_auth *auth,
                                         const struct smb_options *options,
                                         struct varve_error *err);

#endif
