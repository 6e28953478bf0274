/* SPDX-License-Identifier: Apache-2.0 */
#include "rsvd/lab.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "smb/smb_internal.h"

static bool
take_value(struct lab *a, const char *name, const char *value)
{
    if (strcmp(name, "server") == 0) {
        a->options.server = value;
    } else if (strcmp(name, "share") == 0) {
        a->options.share = value;
    } else if (strcmp(name, "credentials") == 0) {
        a->credentials = value;
    } else if (strcmp(name, "port") == 0) {
        a->port = (uint16_t)strtoul(value, NULL, 10);
    } else if (strcmp(name, "timeout") == 0) {
        a->options.timeout_ms = (uint32_t)strtoul(value, NULL, 10);
    } else {
        return false;
    }
    return true;
}

bool
lab_parse(struct lab *a, int argc, char **argv)
{
    int i;

    memset(a, 0, sizeof(*a));
    a->port = SMB_TCP_PORT;
    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *name = argv[i] + 2;

        if (strcmp(name, "302") == 0) {
            a->options.only_302 = true;
        } else if (strcmp(name, "311") == 0) {
            a->options.only_311 = true;
        } else if (strcmp(name, "encrypt") == 0) {
            a->options.encrypt = true;
        } else if (i + 1 == argc || !take_value(a, name, argv[i + 1])) {
            return false;
        } else {
            i++;
        }
    }
    a->command = argv + i;
    a->count = argc - i;
    return a->options.server != NULL && a->options.share != NULL;
}

enum varve_err
lab_connect(const struct lab *a, struct smb **out, struct varve_error *err)
{
    struct smb_credentials *credentials = NULL;
    struct smb_port *port = NULL;
    struct smb_auth *auth = NULL;
    enum varve_err rc = crypto_init(err);

    if (rc == VARVE_OK && a->credentials != NULL) {
        rc = smb_credentials_load(&credentials, fs_system(), a->credentials, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_auth_open(&auth, a->options.server, credentials, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_port_tcp_open(&port, a->options.server, a->port, 10000, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_open(out, port, auth, &a->options, err);
    } else {
        smb_auth_close(auth);
    }
    smb_credentials_free(credentials);
    return rc;
}

enum varve_err
lab_write(struct smb *s, const struct smb_file_id *id, const void *data, uint32_t len, uint64_t off,
          struct varve_error *err)
{
    struct smb_call *call = NULL;
    uint8_t *p = NULL;
    struct buf body;
    enum varve_err rc;

    buf_init(&body, SMB_FRAME_MAX);
    rc = buf_extend(&body, 48, &p, err);
    if (rc == VARVE_OK) { /* MS-SMB2 2.2.21 */
        memset(p, 0, 48);
        put_le16(p, 49);
        put_le16(p + 2, SMB_HEADER_SIZE + 48);
        put_le32(p + 4, len);
        put_le64(p + 8, off);
        memcpy(p + 16, id->bytes, 16);
        rc = buf_append(&body, data, len, err);
    }
    if (rc == VARVE_OK) {
        rc = smb_do(s, SMB_WRITE, &body, len, &call, err);
    }
    if (rc == VARVE_OK && call->header.status != NT_SUCCESS) {
        rc = smb_status_error(err, call->header.status, "writing %u bytes", (unsigned)len);
    }
    smb_call_free(call);
    buf_release(&body);
    return rc;
}

void
lab_drop(struct smb *s)
{
    struct varve_error why;

    (void)varve_error_set(&why, VARVE_ERR_CANCELLED, "dropped by the test");
    (void)smb_end(s, &why, &why);
    smb_close(s);
}
