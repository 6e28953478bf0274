/* SPDX-License-Identifier: Apache-2.0 */

/*
 * rsvd_cases --server HOST --share NAME [OPTION...] [CASE...]      (options: lab.h; what is needed: cases.h)
 *
 * Runs the named cases, or all 29: a line "ok NAME" or "FAILED NAME: why" for each; exit code 1 when one failed.
 * "Refusals" is none of Microsoft's and runs when it is named: what a server must refuse, and how.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "os/thread.h"
#include "rsvd/cases.h"
#include "smb/smb_status.h"

#define ROOM_MAX   65536u
#define APPEARS_NS UINT64_C(60000000000)

static struct lab lab;
static char why[512];

bool
fail_case(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return false;
}

void
new_guid(struct guid *out)
{
    uint8_t random[16];

    crypto_random(random, sizeof(random));
    guid_from_random(out, random);
}

/* ---- opens ---- */

static struct guid initiators[3];

static bool
create(struct node *n, const struct how *how, const char *name, struct varve_error *err)
{
    static const char *const hosts[] = {"", "Client01", "Client02"};
    struct rsvd_open o = {.version = how->version, .host = hosts[how->who]};
    struct smb_context contexts[4];
    uint8_t data[RSVD_OPEN_V2_SIZE];
    struct smb_create c = {.name = name,
                           .access = 0x00020083,
                           .options = SMB_OPTION_NO_BUFFERING,
                           .contexts = contexts};
    const struct smb_context *answer;
    size_t i;

    if (!how->no_initiator) {
        o.initiator = initiators[how->who];
    }
    if (how->version > 0) {
        contexts[0] = (struct smb_context){rsvd_context_name, RSVD_CONTEXT_NAME_SIZE, data, 0};
        if (rsvd_open_put(data, &contexts[0].data_len, &o, err) != VARVE_OK) {
            return false;
        }
        c.context_count = 1;
    }
    for (i = 0; i < how->more_count; i++) {
        contexts[c.context_count++] = how->more[i];
    }
    if (smb_create(n->s, &c, &n->created, &n->reply, err) != VARVE_OK) {
        return false;
    }
    n->id = n->created.id;
    answer = smb_created_context(&n->created, rsvd_context_name, RSVD_CONTEXT_NAME_SIZE);
    n->answered = answer != NULL;
    return answer == NULL ||
           rsvd_open_read(&n->opened, answer->data, answer->data_len, err) == VARVE_OK;
}

bool
node_open(struct node *n, const struct how *how)
{
    struct varve_error err;
    char name[300];

    memset(n, 0, sizeof(*n));
    buf_init(&n->reply, SMB_FRAME_MAX);
    buf_init(&n->output, 2u * ROOM_MAX);
    (void)snprintf(name, sizeof(name), "%s%s", how->name, how->plain ? "" : RSVD_SUFFIX);
    if (lab_connect(&lab, &n->s, &err) != VARVE_OK || !create(n, how, name, &err)) {
        return fail_case("opening '%s': %s", name, err.msg);
    }
    return true;
}

/* Also of a node that was never opened. */
void
node_close(struct node *n)
{
    struct varve_error ignored;

    if (n->s != NULL) {
        enum varve_err rc = smb_close_file(n->s, &n->id, &ignored);

        (void)rc;
        smb_close(n->s);
    }
    buf_release(&n->reply);
    buf_release(&n->output);
    memset(n, 0, sizeof(*n));
}

/* ---- operations ---- */

bool
node_provoke(struct node *n, uint32_t code, const void *request, size_t len, uint32_t room,
             uint32_t *smb)
{
    uint32_t fsctl = code == RSVD_META_START ? RSVD_FSCTL_ASYNC : RSVD_FSCTL_SYNC;
    struct varve_error err;
    struct buf in;
    enum varve_err rc;

    buf_init(&in, 4096);
    n->request++;
    *smb = NT_SUCCESS;
    rc = rsvd_tunnel_put(&in, code, n->request, request, len, &err);
    if (rc == VARVE_OK) {
        rc = smb_ioctl(n->s, &n->id, fsctl, in.data, in.len, room, &n->output, &err);
    }
    if (rc == VARVE_OK) {
        rc = rsvd_tunnel_read(&n->body, &n->status, code, n->request, n->output.data, n->output.len,
                              &err);
    } else if (err.source == VARVE_SRC_NTSTATUS) {
        *smb = (uint32_t)err.native;
        rc = VARVE_OK;
    }
    buf_release(&in);
    return rc == VARVE_OK || fail_case("%s: %s", rsvd_operation_name(code), err.msg);
}

/* Its own status is n->status, whatever that is. */
static bool
node_ask(struct node *n, uint32_t code, const void *request, size_t len)
{
    uint32_t smb;

    TRY(node_provoke(n, code, request, len, ROOM_MAX, &smb));
    return smb == NT_SUCCESS || fail_case("%s: SMB status %s (0x%08X)", rsvd_operation_name(code),
                                          smb_status_name(smb), (unsigned)smb);
}

bool
node_tell(struct node *n, uint32_t code, const void *request, size_t len, size_t least)
{
    if (!node_ask(n, code, request, len)) {
        return false;
    }
    if (n->status != NT_SUCCESS) {
        return fail_case("%s: %s (0x%08X)", rsvd_operation_name(code), smb_status_name(n->status),
                         (unsigned)n->status);
    }
    return n->body.len >= least || fail_case("%s: %zu bytes where %zu are needed",
                                             rsvd_operation_name(code), n->body.len, least);
}

bool
node_read(struct node *n, void *buf, uint32_t len, uint64_t off)
{
    struct varve_error err;

    return smb_read(n->s, &n->id, buf, len, off, &err) == VARVE_OK || fail_case("%s", err.msg);
}

bool
node_write(struct node *n, const void *buf, uint32_t len, uint64_t off)
{
    struct varve_error err;

    return lab_write(n->s, &n->id, buf, len, off, &err) == VARVE_OK || fail_case("%s", err.msg);
}

bool
node_meta(struct node *n, uint32_t kind, const void *parameters, size_t len)
{
    uint8_t request[1024] = {0};
    struct guid transaction;

    if (len > sizeof(request) - 24) {
        return fail_case("too many parameters");
    }
    new_guid(&transaction);
    guid_to_mixed(&transaction, request);
    put_le32(request + 16, kind);
    if (len > 0) {
        memcpy(request + 24, parameters, len);
    }
    return node_tell(n, RSVD_META_START, request, 24 + len, 0);
}

bool
node_snapshot(struct node *n, struct guid *id)
{
    uint64_t deadline = time_mono_ns() + APPEARS_NS;
    uint8_t request[RSVD_CREATE_SIZE];
    uint8_t query[RSVD_QUERY_SIZE];
    struct guid transaction;
    unsigned i;

    new_guid(id);
    new_guid(&transaction);
    for (i = 0; i < 2; i++) {
        rsvd_create_put(request, &transaction, id, i == 0);
        if (!node_tell(n, RSVD_META_START, request, sizeof(request), 0)) {
            return false;
        }
    }
    rsvd_query_put(query, RSVD_QUERY_ENTRY, id);
    for (;;) {
        if (!node_ask(n, RSVD_QUERY_SET, query, sizeof(query))) {
            return false;
        }
        if (n->status == NT_SUCCESS) {
            return true;
        }
        if (time_mono_ns() > deadline) {
            return fail_case("the snapshot does not appear: 0x%08X", (unsigned)n->status);
        }
        thread_sleep_ms(50);
    }
}

bool
node_delete(struct node *n, const struct guid *id)
{
    uint8_t request[RSVD_QUERY_SIZE];

    rsvd_delete_put(request, id, false);
    return node_tell(n, RSVD_DELETE_SNAPSHOT, request, sizeof(request), 0);
}

/* ---- running ---- */

/* What the server says that it is: 1 or 2, by the FSCTL on the shared disk. */
static unsigned
server_version(void)
{
    struct node n;
    struct how how = {.name = CASE_DISK, .version = 1, .who = 1};
    struct varve_error err;
    uint32_t support = 0;
    uint32_t handle = 0;

    if (node_open(&n, &how) &&
        (smb_ioctl(n.s, &n.id, RSVD_FSCTL_SUPPORT, NULL, 0, 8, &n.output, &err) != VARVE_OK ||
         rsvd_support_read(&support, &handle, n.output.data, n.output.len, &err) != VARVE_OK)) {
        (void)fail_case("%s", err.msg);
    }
    node_close(&n);
    return support == 0 ? 0 : (support == RSVD_SUPPORT_V1 ? 1 : 2);
}

static bool
is_wanted(const char *name)
{
    int i;

    for (i = 0; i < lab.count; i++) {
        if (strcmp(lab.command[i], name) == 0) {
            return true;
        }
    }
    return lab.count == 0;
}

static void
run(const struct test_case *cases, size_t count, unsigned version, unsigned *ok, unsigned *failed)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct node nodes[NODES_MAX];
        size_t n;

        if (!is_wanted(cases[i].name)) {
            continue;
        }
        if (cases[i].version > version) {
            printf("skipped %s: the server has version %u\n", cases[i].name, version);
            continue;
        }
        memset(nodes, 0, sizeof(nodes));
        if (cases[i].run(nodes)) {
            printf("ok %s\n", cases[i].name);
            (*ok)++;
        } else {
            printf("FAILED %s: %s\n", cases[i].name, why);
            (*failed)++;
        }
        for (n = 0; n < NODES_MAX; n++) {
            node_close(&nodes[n]);
        }
    }
}

int
main(int argc, char **argv)
{
    struct varve_error err;
    unsigned version;
    unsigned ok = 0;
    unsigned failed = 0;

    if (!lab_parse(&lab, argc, argv)) {
        fprintf(stderr, "usage: rsvd_cases --server HOST --share NAME [OPTION...] [CASE...]\n");
        return 2;
    }
    if (crypto_init(&err) != VARVE_OK) {
        fprintf(stderr, "ERROR %s\n", err.msg);
        return 1;
    }
    new_guid(&initiators[1]);
    new_guid(&initiators[2]);
    version = server_version();
    if (version == 0) {
        fprintf(stderr, "ERROR no shared disks there: %s\n", why);
        return 1;
    }
    run(cases_v1, cases_v1_count, version, &ok, &failed);
    run(cases_v2, cases_v2_count, version, &ok, &failed);
    if (lab.count > 0) {
        run(&case_refused, 1, version, &ok, &failed);
    }
    printf("%u ok, %u failed\n", ok, failed);
    return failed > 0 || ok == 0;
}
