/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/identity.h"
#include "crypto/secret_file.h"
#include "os/file.h"

static char folder[64];
static char path[96];

static int
make_folder(void **state)
{
    struct varve_error err;

    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/varve-identity-XXXXXX");
    if (crypto_init(&err) != VARVE_OK || mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/agent.key", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static int
remove_file(void **state)
{
    (void)state;
    (void)unlink(path);
    return 0;
}

static void
write_text(const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

/* RFC 7748, section 6.1: Alice's keys. */
static const char secret_hex[] = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
static const uint8_t secret[32] = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
                                   0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0,
                                   0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
static const uint8_t public[32] = {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d,
                                   0xdc, 0xb4, 0x3e, 0xf7, 0x5a, 0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38,
                                   0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a};

static void
public_key_follows_from_the_secret_one(void **state)
{
    struct varve_error err;
    struct identity *id = NULL;

    (void)state;
    assert_int_equal(identity_from_secret(&id, secret, &err), VARVE_OK);
    assert_memory_equal(identity_public(id), public, 32);
    assert_memory_equal(identity_secret(id), secret, 32);
    identity_free(id);
}

static void
two_identities_differ(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;
    struct identity *b = NULL;

    (void)state;
    assert_int_equal(identity_generate(&a, &err), VARVE_OK);
    assert_int_equal(identity_generate(&b, &err), VARVE_OK);
    assert_memory_not_equal(identity_public(a), identity_public(b), 32);
    identity_free(a);
    identity_free(b);
}

static void
what_was_saved_is_loaded(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;
    struct identity *b = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(identity_generate(&a, &err), VARVE_OK);
    assert_int_equal(identity_save(a, fs_system(), path, &err), VARVE_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(identity_load(&b, fs_system(), path, &err), VARVE_OK);
    assert_memory_equal(identity_public(a), identity_public(b), 32);
    assert_memory_equal(identity_secret(a), identity_secret(b), 32);
    identity_free(a);
    identity_free(b);
}

static void
saving_never_replaces_a_key(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;
    struct identity *b = NULL;
    struct identity *c = NULL;

    (void)state;
    assert_int_equal(identity_generate(&a, &err), VARVE_OK);
    assert_int_equal(identity_generate(&b, &err), VARVE_OK);
    assert_int_equal(identity_save(a, fs_system(), path, &err), VARVE_OK);
    assert_int_equal(identity_save(b, fs_system(), path, &err), VARVE_ERR_EXISTS);
    assert_int_equal(identity_load(&c, fs_system(), path, &err), VARVE_OK);
    assert_memory_equal(identity_public(c), identity_public(a), 32);
    identity_free(a);
    identity_free(b);
    identity_free(c);
}

static void
a_key_that_others_may_use_is_refused_with_the_way_out(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0644, 0620, 0666, 0601};
    struct varve_error err;
    struct identity *a = NULL;
    struct identity *b = NULL;

    (void)state;
    assert_int_equal(identity_generate(&a, &err), VARVE_OK);
    assert_int_equal(identity_save(a, fs_system(), path, &err), VARVE_OK);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(identity_load(&b, fs_system(), path, &err), VARVE_ERR_DENIED);
        assert_non_null(strstr(err.msg, path));
        assert_non_null(strstr(err.msg, "chmod 600"));
        assert_null(b);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(identity_load(&b, fs_system(), path, &err), VARVE_OK);
    identity_free(a);
    identity_free(b);
}

static void
a_missing_file_is_not_found(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;

    (void)state;
    assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, path));
}

static void
a_folder_is_no_key(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;

    (void)state;
    assert_int_not_equal(identity_load(&a, fs_system(), folder, &err), VARVE_OK);
    assert_null(a);
}

static void
the_file_is_exactly_as_documented(void **state)
{
    struct varve_error err;
    struct identity *a = NULL;
    char text[128];
    char good[128];
    int n;
    size_t bad = 0;

    (void)state;
    n = snprintf(good, sizeof(good), "varve-key-1\n%s\n", secret_hex);
    assert_int_equal(n, 77);
    write_text(good, 77);
    assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_OK);
    identity_free(a);
    a = NULL;
    /* Cut anywhere, with more behind it, and with every character changed to one that cannot be
     * part of it. */
    for (size_t len = 0; len < 77; len++) {
        write_text(good, len);
        assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_CORRUPT);
        bad++;
    }
    memcpy(text, good, 77);
    memcpy(text + 77, "\n\n", 2);
    write_text(text, 78);
    assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_CORRUPT);
    for (size_t i = 0; i < 77; i++) {
        memcpy(text, good, 77);
        text[i] = 'x';
        write_text(text, 77);
        assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_CORRUPT);
        text[i] = '\0';
        write_text(text, 77);
        assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_CORRUPT);
        bad++;
    }
    assert_int_equal(bad, 2 * 77);
    /* Never a word of the secret in a message. */
    assert_null(strstr(err.msg, "77076d0a"));
    assert_null(a);
}

static void
one_label_does_not_pass_for_another(void **state)
{
    struct varve_error err;
    uint8_t out[32];
    struct identity *a = NULL;

    (void)state;
    assert_int_equal(secret_file_create(fs_system(), path, SECRET_FILE_STORE_KEY, secret, &err),
                     VARVE_OK);
    assert_int_equal(secret_file_load(fs_system(), path, SECRET_FILE_STORE_KEY, out, &err),
                     VARVE_OK);
    assert_memory_equal(out, secret, 32);
    assert_int_equal(identity_load(&a, fs_system(), path, &err), VARVE_ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "varve-key-1"));
}

static void
random_bytes_are_not_all_the_same(void **state)
{
    uint8_t a[32];
    uint8_t b[32];

    (void)state;
    crypto_random(a, sizeof(a));
    crypto_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_key_follows_from_the_secret_one),
        cmocka_unit_test(two_identities_differ),
        cmocka_unit_test_teardown(what_was_saved_is_loaded, remove_file),
        cmocka_unit_test_teardown(saving_never_replaces_a_key, remove_file),
        cmocka_unit_test_teardown(a_key_that_others_may_use_is_refused_with_the_way_out,
                                  remove_file),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(a_folder_is_no_key),
        cmocka_unit_test_teardown(the_file_is_exactly_as_documented, remove_file),
        cmocka_unit_test_teardown(one_label_does_not_pass_for_another, remove_file),
        cmocka_unit_test(random_bytes_are_not_all_the_same),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
