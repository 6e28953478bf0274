/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "os/thread.h"
#include "smb/smb_fake.h"
#include "smb/smb_status.h"

/* What the client makes of servers that do not behave. */

static const struct smb_file_id file = {{1, 2, 3}};

/* What the fake does at one request; the counter says at which. */
struct plan {
    unsigned command;
    void (*what)(const struct smb_fake_request *q, struct smb_fake_reply *r);
    unsigned echoes;
};

/* A file whose byte at n is n / 512. */
static void
good_read(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    uint32_t want = get_le32(q->body + 4);
    uint64_t off = get_le64(q->body + 8);
    uint32_t i;

    memset(r->body, 0, 16);
    put_le16(r->body, 17);
    r->body[2] = SMB_HEADER_SIZE + 16;
    put_le32(r->body + 4, want);
    for (i = 0; i < want; i++) {
        r->body[16 + i] = (uint8_t)((off + i) / 512);
    }
    r->len = 16 + want;
}

static bool
follow(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    struct plan *plan = arg;

    if (q->command == SMB_ECHO) {
        plan->echoes++;
    }
    if (q->command == plan->command) {
        plan->what(q, r);
        return r->len > 0 || r->silent || r->drop || r->status != NT_SUCCESS;
    }
    if (q->command == SMB_READ) {
        good_read(q, r);
        return true;
    }
    return false;
}

static void
no_signature(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->unsigned_ = true;
}

static void
no_signature_on_error(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->status = 0xC0000203;
    r->unsigned_ = true;
}

static void
wrong_signature(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->wrong = true;
}

static void
not_encrypted(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->plain = true;
}

static void
short_read(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    put_le32(r->body + 4, get_le32(q->body + 4) - 1);
}

static void
data_past_the_end(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->len -= 1;
}

static void
other_command(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->command = SMB_WRITE;
}

static void
other_message(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->message_id += 1000;
}

static void
silence(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->silent = true;
}

static void
drop(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->drop = true;
}

static void
no_credits(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->credits = 0;
}

static void
refuse(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->status = 0xC0000022;
}

static void
working(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    good_read(q, r);
    r->working = true;
}

static void
working_for_ever(const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)q;
    r->working = true;
    r->silent = true;
}

static const struct smb_options options = {.server = "fake", .share = "s", .timeout_ms = 300};

struct refusal {
    const char *name;
    unsigned command;
    void (*what)(const struct smb_fake_request *q, struct smb_fake_reply *r);
    enum varve_err code;
    const char *said;
    bool goes_on; /* the connection is still good */
    struct smb_fake fake;
};

static void
each_misbehaviour_has_its_error(void **state)
{
    static const struct refusal cases[] = {
        {"unsigned", SMB_READ, no_signature, VARVE_ERR_AUTH, "not signed", false, {0}},
        {"unsigned error",
         SMB_READ,
         no_signature_on_error,
         VARVE_ERR_AUTH,
         "STATUS_USER_SESSION_DELETED",
         false,
         {0}},
        {"wrong signature", SMB_READ, wrong_signature, VARVE_ERR_AUTH, "is wrong", false, {0}},
        {"wrong tag",
         SMB_READ,
         wrong_signature,
         VARVE_ERR_AUTH,
         "changed on its way",
         false,
         {.cipher = SMB_CIPHER_AES128_GCM, .session_flags = SMB_SESSION_ENCRYPT}},
        {"not encrypted",
         SMB_READ,
         not_encrypted,
         VARVE_ERR_AUTH,
         "not encrypted",
         false,
         {.cipher = SMB_CIPHER_AES128_CCM, .share_flags = SMB_SHARE_ENCRYPT_DATA}},
        {"short", SMB_READ, short_read, VARVE_ERR_IO, "gave 4095", true, {0}},
        {"past the end",
         SMB_READ,
         data_past_the_end,
         VARVE_ERR_PROTOCOL,
         "ends before",
         false,
         {0}},
        {"other command", SMB_READ, other_command, VARVE_ERR_PROTOCOL, "not asked", false, {0}},
        {"other message", SMB_READ, other_message, VARVE_ERR_PROTOCOL, "not asked", false, {0}},
        {"silence", SMB_READ, silence, VARVE_ERR_TIMEOUT, "has not answered READ", false, {0}},
        {"drop", SMB_READ, drop, VARVE_ERR_IO, "closed the connection", false, {0}},
        {"refused", SMB_READ, refuse, VARVE_ERR_DENIED, "STATUS_ACCESS_DENIED", true, {0}},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct refusal *c = &cases[i];
        struct plan plan = {c->command, c->what, 0};
        struct smb_fake fake = c->fake;
        struct varve_error err;
        struct smb *s = NULL;
        uint8_t buf[4096];
        enum varve_err rc;

        fake.answer = follow;
        fake.arg = &plan;
        assert_ok(smb_fake_open(&s, &fake, &options, &err), &err);
        rc = smb_read(s, &file, buf, sizeof(buf), 0, &err);
        if (rc != c->code || err.code != c->code || strstr(err.msg, c->said) == NULL) {
            fail_msg("%s: %s: %s", c->name, varve_err_name(rc), err.msg);
        }
        rc = smb_echo(s, &err);
        if (rc != (c->goes_on ? VARVE_OK : c->code)) {
            fail_msg("%s, afterwards: %s", c->name, varve_err_name(rc));
        }
        smb_close(s);
    }
}

static void
a_logon_that_is_not_safe_is_refused(void **state)
{
    static const struct {
        struct smb_fake fake;
        struct smb_options options;
        unsigned command;
        void (*what)(const struct smb_fake_request *q, struct smb_fake_reply *r);
        enum varve_err code;
        const char *said;
    } cases[] = {
        {{.session_flags = SMB_SESSION_GUEST}, {0}, 99, NULL, VARVE_ERR_AUTH, "guest"},
        {{.session_flags = SMB_SESSION_NULL}, {0}, 99, NULL, VARVE_ERR_AUTH, "guest"},
        {{0}, {.encrypt = true}, 99, NULL, VARVE_ERR_UNSUPPORTED, "AES-128"},
        {{.share_flags = SMB_SHARE_ENCRYPT_DATA}, {0}, 99, NULL, VARVE_ERR_UNSUPPORTED, "cipher"},
        {{.dialect = SMB_DIALECT_302},
         {.only_311 = true},
         99,
         NULL,
         VARVE_ERR_PROTOCOL,
         "not offered"},
        {{.dialect = SMB_DIALECT_302}, {0}, SMB_IOCTL, refuse, VARVE_ERR_AUTH, "does not confirm"},
        {{0}, {0}, SMB_SESSION_SETUP, refuse, VARVE_ERR_DENIED, "refuses the logon"},
        {{0}, {0}, SMB_TREE_CONNECT, refuse, VARVE_ERR_DENIED, "share 's'"},
        {{0}, {0}, SMB_NEGOTIATE, silence, VARVE_ERR_TIMEOUT, "NEGOTIATE"},
        {{0}, {0}, SMB_NEGOTIATE, drop, VARVE_ERR_IO, "closed"},
        {{0}, {0}, SMB_TREE_CONNECT, no_credits, VARVE_OK, ""},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan plan = {cases[i].command, cases[i].what, 0};
        struct smb_fake fake = cases[i].fake;
        struct smb_options o = cases[i].options;
        struct varve_error err;
        struct smb *s = NULL;
        enum varve_err rc;

        fake.answer = follow;
        fake.arg = &plan;
        o.server = "fake";
        o.share = "s";
        o.timeout_ms = 300;
        rc = smb_fake_open(&s, &fake, &o, &err);
        if (rc != cases[i].code || (rc != VARVE_OK && strstr(err.msg, cases[i].said) == NULL)) {
            fail_msg("case %zu: %s: %s", i, varve_err_name(rc), rc == VARVE_OK ? "" : err.msg);
        }
        smb_close(rc == VARVE_OK ? s : NULL);
    }
}

static void
a_server_that_is_working_is_waited_for(void **state)
{
    struct plan plan = {SMB_READ, working, 0};
    struct smb_fake fake = {.answer = follow, .arg = &plan};
    struct varve_error err;
    struct smb *s = NULL;
    uint8_t buf[1024];

    (void)state;
    assert_ok(smb_fake_open(&s, &fake, &options, &err), &err);
    assert_ok(smb_read(s, &file, buf, sizeof(buf), 512, &err), &err);
    assert_int_equal(buf[0], 1);
    assert_int_equal(buf[512], 2);
    smb_close(s);
}

/* Signs of life keep the wait going, up to its own limit. */
static void
a_server_that_works_too_long_is_given_up(void **state)
{
    struct plan plan = {SMB_READ, working_for_ever, 0};
    struct smb_fake fake = {.answer = follow, .arg = &plan};
    struct smb_options o = options;
    struct varve_error err;
    struct smb *s = NULL;
    uint8_t buf[512];

    (void)state;
    o.timeout_ms = 100;
    o.async_timeout_ms = 600;
    assert_ok(smb_fake_open(&s, &fake, &o, &err), &err);
    assert_err(smb_read(s, &file, buf, sizeof(buf), 0, &err), VARVE_ERR_TIMEOUT, &err);
    assert_true(plan.echoes > 0);
    smb_close(s);
}

static bool
mute(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r)
{
    (void)arg;
    if (q->command == SMB_READ) {
        r->working = true;
    }
    r->silent = q->command == SMB_READ || q->command == SMB_ECHO;
    return r->silent;
}

static void
a_server_that_gives_no_sign_of_life_is_given_up(void **state)
{
    struct smb_fake fake = {.answer = mute};
    struct smb_options o = options;
    struct varve_error err;
    struct smb *s = NULL;
    uint8_t buf[512];

    (void)state;
    o.timeout_ms = 100;
    o.async_timeout_ms = 60000;
    assert_ok(smb_fake_open(&s, &fake, &o, &err), &err);
    assert_err(smb_read(s, &file, buf, sizeof(buf), 0, &err), VARVE_ERR_TIMEOUT, &err);
    assert_non_null(strstr(err.msg, "sign of life"));
    smb_close(s);
}

#define THREADS 6u
#define PART    (700u * 1024)

struct reader {
    struct smb *s;
    unsigned n;
    bool good;
};

static void
read_part(void *arg)
{
    struct reader *r = arg;
    uint8_t *buf = malloc(PART);
    struct varve_error err;
    uint64_t off = (uint64_t)r->n * PART;
    unsigned round;
    size_t i;

    r->good = buf != NULL;
    for (round = 0; r->good && round < 5; round++) {
        r->good = smb_read(r->s, &file, buf, PART, off, &err) == VARVE_OK;
        for (i = 0; r->good && i < PART; i += 512) {
            r->good = buf[i] == (uint8_t)((off + i) / 512);
        }
    }
    free(buf);
}

static void
many_threads_share_one_connection(void **state)
{
    struct plan plan = {99, NULL, 0};
    struct smb_fake fake = {.answer = follow, .arg = &plan};
    struct reader readers[THREADS];
    struct thread threads[THREADS];
    struct varve_error err;
    struct smb *s = NULL;
    unsigned i;

    (void)state;
    assert_ok(smb_fake_open(&s, &fake, &(struct smb_options){.server = "fake", .share = "s"}, &err),
              &err);
    for (i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){s, i, false};
        assert_ok(thread_start(&threads[i], "reader", read_part, &readers[i], &err), &err);
    }
    for (i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
        assert_true(readers[i].good);
    }
    smb_close(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_misbehaviour_has_its_error),
        cmocka_unit_test(a_logon_that_is_not_safe_is_refused),
        cmocka_unit_test(a_server_that_is_working_is_waited_for),
        cmocka_unit_test(a_server_that_works_too_long_is_given_up),
        cmocka_unit_test(a_server_that_gives_no_sign_of_life_is_given_up),
        cmocka_unit_test(many_threads_share_one_connection),
    };
    const uint8_t key[SMB_KEY_SIZE] = {0};
    uint8_t mac[SMB_MAC_SIZE];
    struct varve_error err;

    assert_ok(crypto_init(&err), &err);
    if (smb_aes_cmac(mac, key, "", 0, &err) == VARVE_ERR_UNSUPPORTED) { /* without libcrypto */
        printf("skipped: %s\n", err.msg);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
