/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/endian.h"
#include "source/rsvd/rsvd_wire.h"

static struct smb_bytes
bytes(const uint8_t *data, size_t len)
{
    return (struct smb_bytes){data, len};
}

/* The offsets of MS-RSVD 2.2.4.12 and 2.2.4.32. */
static void
an_open_has_the_bytes_of_its_version(void **state)
{
    struct rsvd_open o = {.version = 2, .host = "n\xC3\xA4me", .request_id = 5};
    uint8_t out[RSVD_OPEN_V2_SIZE];
    struct varve_error err;
    size_t len = 0;

    (void)state;
    assert_true(guid_parse(&o.initiator, "00112233-4455-6677-8899-aabbccddeeff"));
    assert_ok(rsvd_open_put(out, &len, &o, &err), &err);
    assert_int_equal(len, 192);
    assert_memory_equal(out, "\2\0\0\0\1\0\0\0\x33\x22\x11\0\x55\x44\x77\x66\x88\x99", 18);
    assert_int_equal(get_le32(out + 28), 1);
    assert_int_equal(get_le64(out + 32), 5);
    assert_int_equal(get_le16(out + 40), 8);
    assert_memory_equal(out + 42, "n\0\xE4\0m\0e\0\0", 9);
    o.version = 1;
    memset(&o.initiator, 0, sizeof(o.initiator));
    assert_ok(rsvd_open_put(out, &len, &o, &err), &err);
    assert_int_equal(len, 168);
    assert_int_equal(out[4], 0);
}

static void
a_target_is_one_extended_attribute(void **state)
{
    static const uint8_t want[RSVD_TARGET_SIZE] =
        "\0\0\0\0\x80\x18\x18\0RSVD_TARGET_SPECIFIER_EA\0\0\0\0\0\1\0\0\0"
        "\x33\x22\x11\0\x55\x44\x77\x66\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF";
    uint8_t out[RSVD_TARGET_SIZE];
    struct guid id;

    (void)state;
    assert_true(guid_parse(&id, "00112233-4455-6677-8899-aabbccddeeff"));
    rsvd_target_put(out, &id);
    assert_memory_equal(out, want, sizeof(out));
}

static void
ranges_are_clipped_to_what_was_asked(void **state)
{
    uint8_t body[16 + 2 * 24] = {0};
    struct smb_bytes b = bytes(body, sizeof(body));
    struct extent_list list;
    struct varve_error err;
    uint64_t processed = 0;

    (void)state;
    extent_list_init(&list, 16);
    put_le64(body, 1000);
    put_le32(body + 8, 2);
    put_le64(body + 16, 50); /* begins before 100 */
    put_le64(body + 24, 100);
    put_le64(body + 40, 900); /* ends after 1100 */
    put_le64(body + 48, 5000);
    assert_ok(rsvd_changes_read(&list, &processed, 100, 1000, &b, &err), &err);
    assert_int_equal(processed, 1000);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].offset, 100);
    assert_int_equal(list.items[0].length, 50);
    assert_int_equal(list.items[1].offset, 900);
    assert_int_equal(list.items[1].length, 200);
    put_le64(body + 40, 1100); /* wholly outside */
    assert_err(rsvd_changes_read(&list, &processed, 100, 1000, &b, &err), VARVE_ERR_PROTOCOL, &err);
    put_le64(body + 40, UINT64_MAX - 10);
    assert_err(rsvd_changes_read(&list, &processed, 100, 1000, &b, &err), VARVE_ERR_PROTOCOL, &err);
    put_le32(body + 8, 3); /* more than came */
    assert_err(rsvd_changes_read(&list, &processed, 100, 1000, &b, &err), VARVE_ERR_PROTOCOL, &err);
    put_le32(body + 8, 0);
    put_le64(body, 1001); /* more than asked */
    assert_err(rsvd_changes_read(&list, &processed, 100, 1000, &b, &err), VARVE_ERR_PROTOCOL, &err);
    extent_list_release(&list);
}

static void
short_replies_are_refused(void **state)
{
    static const uint8_t zeros[256];
    struct rsvd_initial initial;
    struct rsvd_disk_info disk;
    struct rsvd_opened opened;
    struct rsvd_sense sense;
    struct rsvd_entry entry;
    struct varve_error err;
    struct guid ids[2];
    size_t count;
    bool complete;
    struct smb_bytes b = bytes(zeros, 15);
    uint32_t a;
    uint32_t c;

    (void)state;
    assert_err(rsvd_open_read(&opened, zeros, 167, &err), VARVE_ERR_PROTOCOL, &err);
    assert_err(rsvd_open_read(&opened, zeros, 168, &err), VARVE_ERR_PROTOCOL, &err);
    assert_err(rsvd_support_read(&a, &c, zeros, 7, &err), VARVE_ERR_PROTOCOL, &err);
    assert_err(rsvd_tunnel_read(&b, &a, RSVD_SCSI, 1, zeros, 15, &err), VARVE_ERR_PROTOCOL, &err);
    assert_err(rsvd_tunnel_read(&b, &a, RSVD_SCSI, 1, zeros, 16, &err), VARVE_ERR_PROTOCOL, &err);
    b = bytes(zeros, 23);
    assert_err(rsvd_initial_read(&initial, &b, &err), VARVE_ERR_PROTOCOL, &err);
    b = bytes(zeros, 24); /* a disk of no bytes */
    assert_err(rsvd_initial_read(&initial, &b, &err), VARVE_ERR_PROTOCOL, &err);
    b = bytes(zeros, 55);
    assert_err(rsvd_disk_info_read(&disk, &b, &err), VARVE_ERR_PROTOCOL, &err);
    b = bytes(zeros, 71);
    assert_err(rsvd_entry_read(&entry, &b, &err), VARVE_ERR_PROTOCOL, &err);
    assert_err(rsvd_list_read(ids, 2, &count, &complete, &b, &err), VARVE_ERR_PROTOCOL, &err);
    b = bytes((const uint8_t *)"\3\4\2\24", 4); /* 20 bytes of sense data that are not there */
    assert_err(rsvd_srb_read(&sense, 3, &b, &err), VARVE_ERR_PROTOCOL, &err);
}

/* Both forms of SPC-4 4.5. */
static void
sense_data_are_read_in_both_forms(void **state)
{
    static const uint8_t fixed[] = {3,  0x84, 2, 18, 0x70, 0,    5, 0, 0, 0, 0,
                                    10, 0,    0, 0,  0,    0x24, 1, 0, 0, 0, 0};
    static const uint8_t descriptor[] = {3, 4, 2, 8, 0x72, 6, 0x29, 2, 0, 0, 0, 0};
    struct smb_bytes b = bytes(fixed, sizeof(fixed));
    struct rsvd_sense s;
    struct varve_error err;

    (void)state;
    assert_ok(rsvd_srb_read(&s, 3, &b, &err), &err);
    assert_int_equal(s.srb_status, 4);
    assert_int_equal(s.key, 5);
    assert_int_equal(s.asc, 0x24);
    assert_int_equal(s.ascq, 1);
    b = bytes(descriptor, sizeof(descriptor));
    assert_ok(rsvd_srb_read(&s, 3, &b, &err), &err);
    assert_int_equal(s.key, 6);
    assert_int_equal(s.asc, 0x29);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_has_the_bytes_of_its_version),
        cmocka_unit_test(a_target_is_one_extended_attribute),
        cmocka_unit_test(ranges_are_clipped_to_what_was_asked),
        cmocka_unit_test(short_replies_are_refused),
        cmocka_unit_test(sense_data_are_read_in_both_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
