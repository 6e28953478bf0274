/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/access.h"

static struct varve_error err;

struct place {
    char folder[64];
    char path[96];
    struct access a;
};

static int
set_up(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->folder, sizeof(p->folder), "/tmp/varve-access-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->path, sizeof(p->path), "%s/operator.access", p->folder);
    (void)snprintf(p->a.address, sizeof(p->a.address), "ipc:///var/lib/varve/collector.sock");
    memset(p->a.collector, 0xab, sizeof(p->a.collector));
    assert_ok(identity_generate(&p->a.key, &err), &err);
    assert_ok(access_save(&p->a, fs_system(), p->path, &err), &err);
    *state = p;
    return 0;
}

static int
tear_down(void **state)
{
    struct place *p = *state;

    access_release(&p->a);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
    free(p);
    return 0;
}

static void
a_file_gives_back_what_was_saved(void **state)
{
    struct place *p = *state;
    struct access got;

    assert_ok(access_load(&got, fs_system(), p->path, &err), &err);
    assert_string_equal(got.address, p->a.address);
    assert_memory_equal(got.collector, p->a.collector, sizeof(got.collector));
    assert_memory_equal(identity_public(got.key), identity_public(p->a.key), IDENTITY_KEY_SIZE);
    access_release(&got);
    assert_err(access_save(&p->a, fs_system(), p->path, &err), VARVE_ERR_EXISTS, &err);
}

static void
a_file_that_others_may_read_is_refused(void **state)
{
    struct place *p = *state;
    struct access got;

    assert_int_equal(chmod(p->path, 0640), 0);
    assert_err(access_load(&got, fs_system(), p->path, &err), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "chmod 600"));
}

static void
write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void
a_file_of_another_form_is_corrupt(void **state)
{
    static const char *const bad[] = {
        "",
        "varve-access-2\naddress a\ncollector " KEY "\nkey " KEY "\n",
        "varve-access-1\n",
        "varve-access-1\naddress a\ncollector " KEY "\nkey " KEY,
        "varve-access-1\naddress a\ncollector " KEY "\nkey " KEY "\n\n",
        "varve-access-1\naddress \ncollector " KEY "\nkey " KEY "\n",
        "varve-access-1\naddress a b\ncollector " KEY "\nkey " KEY "\n",
        "varve-access-1\ncollector " KEY "\naddress a\nkey " KEY "\n",
        "varve-access-1\naddress a\ncollector " KEY "00\nkey " KEY "\n",
        "varve-access-1\naddress a\ncollector " KEY "\nkey zz" KEY "\n",
    };
    struct place *p = *state;
    struct access got;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_text(p->path, bad[i]);
        assert_err(access_load(&got, fs_system(), p->path, &err), VARVE_ERR_CORRUPT, &err);
        assert_null(strstr(err.msg, "0011"));
    }
    write_text(p->path, "varve-access-1\naddress a\ncollector " KEY "\nkey " KEY "\n");
    assert_ok(access_load(&got, fs_system(), p->path, &err), &err);
    access_release(&got);
}

static struct access_token
a_token(const char *address)
{
    struct access_token t;

    memset(&t, 0, sizeof(t));
    memset(t.secret.id, 1, sizeof(t.secret.id));
    memset(t.secret.secret, 2, sizeof(t.secret.secret));
    memset(t.collector, 3, sizeof(t.collector));
    (void)snprintf(t.address, sizeof(t.address), "%s", address);
    return t;
}

static void
a_token_gives_back_what_it_was_made_from(void **state)
{
    char longest[ACCESS_ADDRESS_MAX + 1];
    const char *const addresses[] = {"x", "tcp://backup.example:4627", longest};

    (void)state;
    memset(longest, 'a', ACCESS_ADDRESS_MAX);
    longest[ACCESS_ADDRESS_MAX] = '\0';
    for (size_t i = 0; i < 3; i++) {
        struct access_token t = a_token(addresses[i]);
        struct access_token got;
        char text[ACCESS_TOKEN_SIZE];
        char pasted[ACCESS_TOKEN_SIZE + 8];

        assert_ok(access_token_format(&t, text, &err), &err);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._-"),
                         strlen(text));
        (void)snprintf(pasted, sizeof(pasted), " \t%s\r\n", text);
        memset(&got, 0, sizeof(got));
        assert_ok(access_token_parse(&got, pasted, &err), &err);
        assert_memory_equal(&got.secret, &t.secret, sizeof(t.secret));
        assert_memory_equal(got.collector, t.collector, sizeof(t.collector));
        assert_string_equal(got.address, t.address);
    }
}

static void
a_token_that_lost_or_changed_a_character_is_refused_and_not_repeated(void **state)
{
    struct access_token t = a_token("tcp://backup.example:4627");
    struct access_token got;
    char text[ACCESS_TOKEN_SIZE];
    size_t len;

    (void)state;
    assert_ok(access_token_format(&t, text, &err), &err);
    len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char changed[ACCESS_TOKEN_SIZE];

        memcpy(changed, text, len + 1);
        changed[i] = '\0';
        assert_err(access_token_parse(&got, changed, &err), VARVE_ERR_INVALID, &err);
        changed[i] = text[i] == 'B' ? 'C' : 'B';
        assert_err(access_token_parse(&got, changed, &err), VARVE_ERR_INVALID, &err);
        assert_null(strstr(err.msg, text + 20));
    }
    assert_err(access_token_parse(&got, "", &err), VARVE_ERR_INVALID, &err);
    assert_err(access_token_parse(&got, "varve1.AAAA varve1.AAAA", &err), VARVE_ERR_INVALID, &err);
}

static void
addresses_that_cannot_be_are_refused(void **state)
{
    static const char *const bad[] = {"", "a b", "a\nb", "\xc3\xa9"};
    struct access_token t;
    char text[ACCESS_TOKEN_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        t = a_token(bad[i]);
        assert_err(access_token_format(&t, text, &err), VARVE_ERR_INVALID, &err);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_gives_back_what_was_saved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_others_may_read_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_another_form_is_corrupt, set_up, tear_down),
        cmocka_unit_test(a_token_gives_back_what_it_was_made_from),
        cmocka_unit_test(a_token_that_lost_or_changed_a_character_is_refused_and_not_repeated),
        cmocka_unit_test(addresses_that_cannot_be_are_refused),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
