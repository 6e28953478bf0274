/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "crypto/identity.h"
#include "smb/smb_internal.h"

/* From the first byte to a connected share (MS-SMB2 3.2.4.2). */

#define ROUNDS_MAX 8u /* of the logon; two or three are usual */

/* ---- NEGOTIATE ---- */

static enum varve_err
negotiate(struct smb *s, struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct smb_negotiated n;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, 1024);
    s->hashing = s->offer.dialect_311;
    rc = smb_negotiate_put(&body, &s->offer, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_NEGOTIATE, &body, 0, &call, err);
    }
    if (rc == VARVE_OK && call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, call->header.status,
                              "the server has neither SMB 3.0.2 nor 3.1.1");
    }
    if (rc == VARVE_OK) {
        rc = smb_negotiate_read(&n, call->msg, call->len, err);
    }
    if (rc == VARVE_OK &&
        !(n.dialect == SMB_DIALECT_311 ? s->offer.dialect_311 : s->offer.dialect_302)) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "the server chooses SMB 0x%04x, which was not offered", n.dialect);
    }
    if (rc == VARVE_OK && s->hashing) {
        rc = smb_sha512_chain(s->preauth, call->msg, call->len, err);
    }
    if (rc == VARVE_OK) {
        s->agreed = n;
        s->agreed.token = NULL;
        s->read_max = (n.capabilities & SMB_CAP_LARGE_MTU) == 0 ? 65536 : n.max_read;
        s->read_max = s->read_max < SMB_READ_MAX ? s->read_max : SMB_READ_MAX;
        s->hashing = n.dialect == SMB_DIALECT_311;
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

/* ---- the logon ---- */

/* The last reply is there: what it says must be signed with the keys that it completes. */
static enum varve_err
enter(struct smb *s, struct smb_auth *auth, const struct smb_call *last, unsigned flags,
      struct varve_error *err)
{
    uint8_t key[SMB_KEY_SIZE] = {0};
    enum varve_err rc;

    if ((flags & (SMB_SESSION_GUEST | SMB_SESSION_NULL)) != 0) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "the server took us for a guest, which has no keys: refused");
    }
    rc = auth->ops->session_key(auth, key, err);
    if (rc == VARVE_OK) {
        rc = smb_keys_derive(&s->keys, s->agreed.dialect, (enum smb_cipher)s->agreed.cipher, key,
                             s->preauth, err);
    }
    crypto_wipe(key, sizeof(key));
    if (rc == VARVE_OK) {
        rc = smb_check(&s->keys, last->msg, last->len, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "the logon's last reply is refused");
        }
    }
    if (rc == VARVE_OK && (flags & SMB_SESSION_ENCRYPT) != 0) {
        s->encrypt = true;
    }
    if (rc == VARVE_OK && s->encrypt && s->agreed.cipher == SMB_CIPHER_NONE) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "encryption is asked for, but the server has no AES-128-GCM or CCM");
    }
    s->in_session = rc == VARVE_OK;
    s->hashing = false;
    return rc;
}

/* One request and its reply.  *over: the server has let us in. */
static enum varve_err
logon_round(struct smb *s, struct smb_auth *auth, const struct buf *token, struct buf *next,
            bool *done, bool *over, struct varve_error *err)
{
    struct smb_session_reply reply;
    struct smb_call *call = NULL;
    struct buf body;
    uint32_t status;
    enum varve_err rc;

    buf_init(&body, SMB_TOKEN_MAX + 64u);
    rc =
        smb_session_setup_put(&body, (uint8_t)s->offer.security_mode, token->data, token->len, err);
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_SESSION_SETUP, &body, 0, &call, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    status = call->header.status;
    if (status != NT_SUCCESS && status != NT_MORE_PROCESSING_REQUIRED) {
        rc = smb_status_error(err, status, "the server refuses the logon");
        goto out;
    }
    rc = smb_session_setup_read(&reply, call->msg, call->len, err);
    if (rc == VARVE_OK && s->hashing && status != NT_SUCCESS) {
        rc = smb_sha512_chain(s->preauth, call->msg, call->len, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    if (s->session_id != 0 && s->session_id != call->header.session_id) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the session changed during the logon");
        goto out;
    }
    s->session_id = call->header.session_id;
    if (!*done || reply.token_len > 0) {
        rc = auth->ops->step(auth, reply.token, reply.token_len, next, done, err);
    }
    if (rc == VARVE_OK && status == NT_SUCCESS) {
        if (!*done || next->len > 0) {
            rc = varve_error_set(err, VARVE_ERR_AUTH,
                                 "the server ended the logon before it had shown who it is");
            goto out;
        }
        *over = true;
        rc = enter(s, auth, call, reply.flags, err);
    }
out:
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

static enum varve_err
logon(struct smb *s, struct smb_auth *auth, struct varve_error *err)
{
    struct buf token;
    struct buf next;
    bool done = false;
    bool over = false;
    unsigned round;
    enum varve_err rc;

    buf_init(&token, SMB_TOKEN_MAX);
    buf_init(&next, SMB_TOKEN_MAX);
    rc = auth->ops->step(auth, NULL, 0, &token, &done, err);
    for (round = 0; rc == VARVE_OK && !over; round++) {
        struct buf swap = token;

        if (round == ROUNDS_MAX || token.len == 0) {
            rc = varve_error_set(err, VARVE_ERR_AUTH, "the logon does not come to an end");
            break;
        }
        rc = logon_round(s, auth, &token, &next, &done, &over, err);
        token = next;
        next = swap;
        buf_clear(&next);
    }
    buf_release(&token);
    buf_release(&next);
    return rc;
}

/* ---- the share ---- */

static enum varve_err
tree_connect(struct smb *s, const char *share, struct varve_error *err)
{
    struct smb_call *call = NULL;
    struct buf body;
    struct buf path;
    uint32_t flags = 0;
    uint8_t type = 0;
    enum varve_err rc;

    buf_init(&body, 4096);
    buf_init(&path, 1024);
    rc = buf_printf(&path, err, "\\\\%s\\%s", s->server, share);
    if (rc == VARVE_OK) {
        rc = smb_tree_connect_put(&body, (const char *)path.data, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_TREE_CONNECT, &body, 0, &call, err);
    }
    if (rc == VARVE_OK && call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, call->header.status, "share '%s'", share);
    }
    if (rc == VARVE_OK) {
        rc = smb_tree_connect_read(&type, &flags, call->msg, call->len, err);
    }
    if (rc == VARVE_OK && type != SMB_SHARE_DISK) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "share '%s' is no share of files", share);
    }
    if (rc == VARVE_OK && (flags & SMB_SHARE_ENCRYPT_DATA) != 0 &&
        s->agreed.cipher == SMB_CIPHER_NONE) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "share '%s' wants encryption, but no cipher was agreed on", share);
    }
    if (rc == VARVE_OK) {
        s->tree_id = call->header.tree_id;
        s->has_tree = true;
        s->encrypt = s->encrypt || (flags & SMB_SHARE_ENCRYPT_DATA) != 0;
    }
    smb_call_free(call);
    buf_release(&path);
    buf_release(&body);
    return rc;
}

/* 3.0.2 only: asks again, signed, what NEGOTIATE agreed on unsigned. */
static enum varve_err
validate(struct smb *s, struct varve_error *err)
{
    struct smb_file_id none;
    struct buf input;
    struct buf output;
    enum varve_err rc;

    memset(&none, 0xFF, sizeof(none));
    buf_init(&input, 256);
    buf_init(&output, 256);
    rc = smb_validate_put(&input, &s->offer, err);
    if (rc == VARVE_OK) {
        rc = smb_ioctl(s, &none, SMB_FSCTL_VALIDATE_NEGOTIATE, input.data, input.len, 24, &output,
                       err);
        if (rc != VARVE_OK && err->source == VARVE_SRC_NTSTATUS) {
            (void)varve_error_prefix(err, "the server does not confirm what was agreed on");
            rc = err->code = VARVE_ERR_AUTH;
        }
    }
    if (rc == VARVE_OK) {
        rc = smb_validate_check(output.data, output.len, &s->agreed, err);
    }
    buf_release(&input);
    buf_release(&output);
    return rc;
}

enum varve_err
smb_establish(struct smb *s, struct smb_auth *auth, const struct smb_options *options,
              struct varve_error *err)
{
    enum varve_err rc;

    s->offer.dialect_302 = !options->only_311;
    s->offer.dialect_311 = !options->only_302;
    s->offer.security_mode = SMB_SECURITY_SIGNING_ENABLED | SMB_SECURITY_SIGNING_REQUIRED;
    s->offer.capabilities = SMB_CAP_LARGE_MTU | SMB_CAP_ENCRYPTION;
    crypto_random(s->offer.client_guid, sizeof(s->offer.client_guid));
    crypto_random(s->offer.salt, sizeof(s->offer.salt));
    s->encrypt = options->encrypt;
    rc = negotiate(s, err);
    if (rc == VARVE_OK) {
        rc = logon(s, auth, err);
    }
    if (rc == VARVE_OK) {
        rc = tree_connect(s, options->share, err);
    }
    if (rc == VARVE_OK && s->agreed.dialect == SMB_DIALECT_302) {
        rc = validate(s, err);
    }
    return rc;
}
