/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The SMB client by hand, for tests against servers of others.
 *
 *   smb_tool --server HOST --port N --share NAME --credentials FILE [--302 | --311] [--encrypt]
 *            [--timeout MS] [--no-credentials] COMMAND
 *
 *   state               what was agreed on: "dialect=0x0311 cipher=2 encrypted=no"
 *   read FILE OFF LEN   the bytes, on standard output
 *   hold FILE           opens it, says "open", waits for a line on standard input, reads 8 MiB
 *
 * On failure "ERROR <code>: <message>" on standard error, exit code 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "smb/smb.h"

#define READ_MAX (64u * 1024 * 1024)

struct arguments {
    const char *credentials;
    struct smb_options options;
    uint16_t port;
    char **command;
    int count;
};

static int
usage(void)
{
    fprintf(stderr, "usage: smb_tool --server HOST --port N --share NAME --credentials FILE "
                    "[OPTION...] COMMAND\n");
    return 2;
}

static bool
parse(struct arguments *a, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *name = argv[i] + 2;

        if (strcmp(name, "302") == 0) {
            a->options.only_302 = true;
        } else if (strcmp(name, "311") == 0) {
            a->options.only_311 = true;
        } else if (strcmp(name, "encrypt") == 0) {
            a->options.encrypt = true;
        } else if (i + 1 == argc) {
            return false;
        } else if (strcmp(name, "server") == 0) {
            a->options.server = argv[++i];
        } else if (strcmp(name, "share") == 0) {
            a->options.share = argv[++i];
        } else if (strcmp(name, "credentials") == 0) {
            a->credentials = argv[++i];
        } else if (strcmp(name, "port") == 0) {
            a->port = (uint16_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(name, "timeout") == 0) {
            a->options.timeout_ms = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else {
            return false;
        }
    }
    a->command = argv + i;
    a->count = argc - i;
    return a->options.server != NULL && a->options.share != NULL && a->count > 0;
}

static enum varve_err
connect_to(const struct arguments *a, struct smb **out, struct varve_error *err)
{
    struct smb_credentials *credentials = NULL;
    struct smb_port *port = NULL;
    struct smb_auth *auth = NULL;
    enum varve_err rc = VARVE_OK;

    if (a->credentials != NULL) {
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

static enum varve_err
read_file(struct smb *s, const struct smb_file_id *id, uint64_t off, size_t len,
          struct varve_error *err)
{
    uint8_t *bytes = len <= READ_MAX ? malloc(len + 1) : NULL;
    enum varve_err rc = bytes == NULL ? varve_error_nomem(err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = smb_read(s, id, bytes, len, off, err);
    }
    if (rc == VARVE_OK && fwrite(bytes, 1, len, stdout) != len) {
        rc = varve_error_set(err, VARVE_ERR_IO, "writing to standard output");
    }
    free(bytes);
    return rc;
}

static enum varve_err
with_file(struct smb *s, const struct arguments *a, struct varve_error *err)
{
    struct smb_create how = {.name = a->command[1],
                             .access = SMB_ACCESS_READ_DATA | SMB_ACCESS_READ_ATTRIBUTES};
    struct smb_created created;
    struct buf reply;
    enum varve_err rc;

    buf_init(&reply, SMB_FRAME_MAX);
    rc = smb_create(s, &how, &created, &reply, err);
    if (rc == VARVE_OK && strcmp(a->command[0], "hold") == 0) {
        printf("open\n");
        (void)fflush(stdout);
        (void)getchar();
        rc = read_file(s, &created.id, 0, 8u * 1024 * 1024, err);
    } else if (rc == VARVE_OK) {
        rc = read_file(s, &created.id, strtoull(a->command[2], NULL, 10),
                       (size_t)strtoull(a->command[3], NULL, 10), err);
    }
    if (rc == VARVE_OK) {
        rc = smb_close_file(s, &created.id, err);
    }
    buf_release(&reply);
    return rc;
}

static enum varve_err
run(struct smb *s, const struct arguments *a, struct varve_error *err)
{
    struct smb_state st;
    enum varve_err rc;

    if (strcmp(a->command[0], "state") != 0) {
        return with_file(s, a, err);
    }
    rc = smb_echo(s, err);
    smb_get_state(s, &st);
    printf("dialect=0x%04x cipher=%u encrypted=%s\n", st.dialect, (unsigned)st.cipher,
           st.encrypted ? "yes" : "no");
    return rc;
}

int
main(int argc, char **argv)
{
    struct arguments a = {0};
    struct varve_error err;
    struct smb *s = NULL;
    enum varve_err rc;

    a.port = SMB_TCP_PORT;
    if (!parse(&a, argc, argv) ||
        a.count !=
            (strcmp(a.command[0], "read") == 0 ? 4 : (strcmp(a.command[0], "hold") == 0 ? 2 : 1))) {
        return usage();
    }
    rc = crypto_init(&err);
    if (rc == VARVE_OK) {
        rc = connect_to(&a, &s, &err);
    }
    if (rc == VARVE_OK) {
        rc = run(s, &a, &err);
    }
    smb_close(s);
    if (rc != VARVE_OK) {
        fprintf(stderr, "ERROR %s: %s\n", varve_err_name(rc), err.msg);
        return 1;
    }
    return 0;
}
