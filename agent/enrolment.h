/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_ENROLMENT_H
#define VARVE_AGENT_ENROLMENT_H

#include "crypto/identity.h"
#include "os/file.h"
#include "uplink/peer.h"
#include "wire/access.h"

/*
 * What enrolling leaves in the state folder: agent.key, this host's key, and enrolment, where the
 * collector is and who it is:
 *
 *     varve-enrolment-1
 *     address tcp://10.0.0.1:4627
 *     collector <64 hex digits: the collector's public key>
 *     host <the id that the collector gave this host>
 *     name <the name that the invitation gave it>
 *
 * Lines in this order, each ended by one newline, nothing after the last.  The enrolment is written
 * when the collector has taken the key, the key before it is asked: a crash in between is repaired
 * by enrolling again.
 */
struct enrolment {
    char address[ACCESS_ADDRESS_MAX + 1];
    uint8_t collector[IDENTITY_KEY_SIZE];
    struct guid host;
    char name[PEER_STRING_MAX + 1];
};

/* VARVE_ERR_NOT_FOUND with the way out when the host is not enrolled. */
VARVE_CHECK enum varve_err enrolment_load(struct enrolment *out, struct identity **key,
                                          struct fs *fs, const char *state_dir,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err enrolment_parse(struct enrolment *out, const uint8_t *text, size_t len,
                                           struct varve_error *err);

/* Enrols this host with the token of an invitation; says on standard output what was done. */
VARVE_CHECK enum varve_err enrolment_make(struct fs *fs, const char *state_dir, const char *token,
                                          const char *software, struct varve_error *err);

#endif
