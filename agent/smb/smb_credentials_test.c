/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "smb/smb_credentials.h"

static enum varve_err
parse(struct smb_credentials *c, const char *text, struct varve_error *err)
{
    return smb_credentials_parse(c, "file", text, strlen(text), err);
}

static void
a_password_is_taken_as_it_is_written(void **state)
{
    struct smb_credentials c;
    struct varve_error err;

    (void)state;
    assert_ok(
        parse(&c, "# of the backup\nuser = b\r\ndomain=EXAMPLE\npassword =  a = #b; \n", &err),
        &err);
    assert_int_equal(c.method, SMB_NTLM);
    assert_string_equal(c.user, "b");
    assert_string_equal(c.domain, "EXAMPLE");
    assert_string_equal(c.password, "a = #b; ");
    assert_ok(parse(&c, "user = b\ndomain = EXAMPLE.ORG\nkeytab = /etc/k", &err), &err);
    assert_int_equal(c.method, SMB_KERBEROS);
    assert_string_equal(c.keytab, "/etc/k");
}

static void
what_makes_no_sense_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"user = b\n", "password or a keytab"},
        {"password = x\n", "names no user"},
        {"user = b\nuser = c\npassword = x\n", "file:2: given twice"},
        {"user = b\nsecret = x\n", "file:2: unknown name"},
        {"user\n", "file:1: not 'name = value'"},
        {"user = \npassword = x\n", "file:1: a value"},
        {"user = b\npassword = x\nmethod = basic\n", "file:3: method"},
        {"user = b\nkeytab = /k\nmethod = ntlm\n", "a keytab is for kerberos"},
        {"user = b\npassword = x\nmethod = kerberos\n", "domain = REALM"},
        {"user = b\npassword = x\nkeytab = /k\n", "password or a keytab"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct smb_credentials c;
        struct varve_error err;

        assert_err(parse(&c, cases[i].text, &err), VARVE_ERR_INVALID, &err);
        if (strstr(err.msg, cases[i].said) == NULL) {
            fail_msg("'%s' is not in '%s'", cases[i].said, err.msg);
        }
    }
}

static void
a_file_that_others_may_read_is_refused(void **state)
{
    static const char text[] = "user = b\npassword = x\n";
    struct smb_credentials *c = NULL;
    struct varve_error err;
    char path[] = "/tmp/varve-credentials-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    (void)close(fd);
    assert_ok(smb_credentials_load(&c, fs_system(), path, &err), &err);
    assert_string_equal(c->password, "x");
    smb_credentials_free(c);
    assert_int_equal(chmod(path, 0640), 0);
    assert_err(smb_credentials_load(&c, fs_system(), path, &err), VARVE_ERR_DENIED, &err);
    (void)unlink(path);
    assert_err(smb_credentials_load(&c, fs_system(), path, &err), VARVE_ERR_NOT_FOUND, &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_taken_as_it_is_written),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_its_line),
        cmocka_unit_test(a_file_that_others_may_read_is_refused),
    };
    struct varve_error err;

    assert_ok(crypto_init(&err), &err);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
