/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "rsvd/cases.h"
#include "smb/smb_status.h"

/* What Windows Server 2016 added: VHD sets. */

enum { META_RESIZE = 0, META_OPTIMIZE = 2, META_EXTRACT = 3, META_CONVERT = 4, META_APPLY = 5 };

static const struct how set = {.name = CASE_SET, .version = 2, .who = 1};

static bool
open_close_v2(struct node *n)
{
    TRY(node_open(n, &set));
    CHECK(n->answered && n->opened.version == 2 && n->opened.has_geometry);
    CHECK(n->opened.physical == 4096);
    CHECK(n->opened.virtual_size == CASE_SIZE);
    return true;
}

static bool
snapshot_list(struct node *n)
{
    uint8_t query[RSVD_QUERY_SIZE];

    TRY(node_open(n, &set));
    rsvd_query_put(query, RSVD_QUERY_LIST, NULL);
    TRY(node_tell(n, RSVD_QUERY_SET, query, sizeof(query), 16));
    CHECK(get_le32(n->body.data) == RSVD_QUERY_LIST);
    return true;
}

static bool
snapshot_entry(struct node *n)
{
    struct rsvd_entry entry;
    struct varve_error err;
    struct guid id;

    TRY(node_open(n, &set));
    TRY(node_snapshot(n, &id)); /* ends with the entry */
    CHECK(rsvd_entry_read(&entry, &n->body, &err) == VARVE_OK);
    CHECK(guid_equal(&entry.id, &id));
    return node_delete(n, &id);
}

static bool
create_and_delete(struct node *n)
{
    struct guid id;

    TRY(node_open(n, &set));
    TRY(node_snapshot(n, &id));
    return node_delete(n, &id);
}

static bool
query_changes(struct node *n)
{
    uint8_t request[RSVD_CHANGES_SIZE];
    struct extent_list list;
    struct varve_error err;
    struct guid first;
    struct guid second;
    uint64_t processed = 0;
    uint8_t data[512];
    bool good;

    crypto_random(data, sizeof(data));
    TRY(node_open(&n[0], &set));
    TRY(node_snapshot(&n[0], &first));
    node_close(&n[0]);
    TRY(node_open(&n[0], &set));
    TRY(node_write(&n[0], data, sizeof(data), 0));
    TRY(node_snapshot(&n[0], &second));
    rsvd_changes_put(request, &second, &first, 0, 1024);
    TRY(node_tell(&n[0], RSVD_QUERY_CHANGES, request, sizeof(request), RSVD_CHANGES_HEAD_SIZE));
    CHECK(get_le32(n[0].body.data + 8) == 1);
    CHECK(n[0].body.len >= RSVD_CHANGES_HEAD_SIZE + RSVD_RANGE_SIZE);
    CHECK(get_le64(n[0].body.data + RSVD_CHANGES_HEAD_SIZE) == 0);
    extent_list_init(&list, 16);
    good = rsvd_changes_read(&list, &processed, 0, 1024, &n[0].body, &err) == VARVE_OK;
    extent_list_release(&list);
    CHECK(good && processed == 1024);
    TRY(node_delete(&n[0], &second));
    return node_delete(&n[0], &first);
}

static bool
apply_snapshot(struct node *n)
{
    uint8_t parameters[20] = {1};
    uint8_t before[512];
    uint8_t after[512];
    uint8_t data[512];
    struct guid id;

    crypto_random(data, sizeof(data));
    TRY(node_open(n, &set));
    TRY(node_read(n, before, sizeof(before), 0));
    TRY(node_snapshot(n, &id));
    node_close(n);
    TRY(node_open(n, &set));
    TRY(node_write(n, data, sizeof(data), 0));
    guid_to_mixed(&id, parameters + 4);
    TRY(node_meta(n, META_APPLY, parameters, sizeof(parameters)));
    TRY(node_read(n, after, sizeof(after), 0));
    CHECK(memcmp(before, after, sizeof(before)) == 0);
    return node_delete(n, &id);
}

static bool
open_by_target(struct node *n)
{
    uint8_t target[RSVD_TARGET_SIZE];
    struct smb_context context = {RSVD_EA_CONTEXT, 4, target, sizeof(target)};
    struct how how = {.name = CASE_SET, .who = 1, .more = &context, .more_count = 1};
    struct guid id;

    TRY(node_open(&n[0], &set));
    TRY(node_snapshot(&n[0], &id));
    node_close(&n[0]);
    rsvd_target_put(target, &id);
    TRY(node_open(&n[1], &how));
    node_close(&n[1]);
    TRY(node_open(&n[0], &set));
    return node_delete(&n[0], &id);
}

/* A name of its own for a file that is made, UTF-16 with its NUL; the bytes of it. */
static size_t
new_name(uint8_t *out, char text[64], const char *end)
{
    char id[GUID_TEXT_SIZE];
    struct guid g;
    size_t i;

    new_guid(&g);
    guid_format(&g, id);
    (void)snprintf(text, 64, "rsvd-%s%s", id, end);
    for (i = 0; i <= strlen(text); i++) {
        put_le16(out + 2 * i, (uint16_t)(uint8_t)text[i]);
    }
    return 2 * i;
}

static bool
extract(struct node *n)
{
    uint8_t parameters[48 + 128 + 4] = {0};
    char name[64];
    struct guid id;
    size_t len;

    TRY(node_open(n, &set));
    TRY(node_snapshot(n, &id));
    put_le32(parameters, RSVD_SNAPSHOT_VM);
    guid_to_mixed(&id, parameters + 12);
    len = new_name(parameters + 48, name, ".vhdx");
    put_le32(parameters + 44, (uint32_t)len);
    TRY(node_meta(n, META_EXTRACT, parameters, 48 + len + 4));
    return node_delete(n, &id);
}

static bool
optimize(struct node *n)
{
    TRY(node_open(n, &set));
    return node_meta(n, META_OPTIMIZE, NULL, 0);
}

static bool
convert(struct node *n)
{
    static const uint8_t zeros[RSVD_DISK_INFO_SIZE];
    uint8_t parameters[4 + 128 + 4] = {0};
    struct how how = {.name = CASE_DISK, .version = 2, .who = 1};
    struct rsvd_disk_info info;
    struct varve_error err;
    char name[64];
    size_t len = new_name(parameters + 4, name, ".vhds");

    TRY(node_open(&n[0], &how));
    put_le32(parameters, (uint32_t)len);
    TRY(node_meta(&n[0], META_CONVERT, parameters, 4 + len + 4));
    node_close(&n[0]);
    how.name = name;
    TRY(node_open(&n[1], &how));
    TRY(node_tell(&n[1], RSVD_GET_DISK_INFO, zeros, sizeof(zeros), RSVD_DISK_INFO_SIZE));
    CHECK(rsvd_disk_info_read(&info, &n[1].body, &err) == VARVE_OK);
    CHECK(info.format == RSVD_FORMAT_SET);
    return true;
}

static bool
change_tracking(struct node *n)
{
    uint8_t start[56] = {0};
    uint8_t data[512] = {0};
    struct guid id;

    TRY(node_open(n, &set));
    new_guid(&id);
    guid_to_mixed(&id, start);
    put_le32(start + 16, 56);
    guid_to_mixed(&id, start + 24);
    TRY(node_tell(n, 0x02002009, start, sizeof(start), 0));
    TRY(node_write(n, data, sizeof(data), 0));
    TRY(node_tell(n, 0x02002008, NULL, 0, 16));
    CHECK(get_le32(n->body.data) == NT_SUCCESS);
    return node_tell(n, 0x0200200A, NULL, 0, 4);
}

/* The last: the disk is another one afterwards. */
static bool
resize(struct node *n)
{
    uint8_t parameters[16] = {0};

    TRY(node_open(n, &set));
    put_le64(parameters, 2 * CASE_SIZE);
    TRY(node_meta(n, META_RESIZE, parameters, sizeof(parameters)));
    node_close(n);
    TRY(node_open(n, &set));
    CHECK(n->opened.has_geometry && n->opened.virtual_size == 2 * CASE_SIZE);
    return true;
}

const struct test_case cases_v2[] = {
    {"BVT_OpenCloseSharedVHD_V2", 2, open_close_v2},
    {"BVT_Query_VHDSet_FileInfo_SnapshotList", 2, snapshot_list},
    {"BVT_Query_VHDSet_FileInfo_SnapshotEntry", 2, snapshot_entry},
    {"BVT_Create_Delete_Checkpoint", 2, create_and_delete},
    {"BVT_QueryVirtualDiskChanges", 2, query_changes},
    {"BVT_ApplySnapshot", 2, apply_snapshot},
    {"BVT_OpenSharedVHDSetByTargetSpecifier", 2, open_by_target},
    {"BVT_Extract_VHDSet", 2, extract},
    {"BVT_Optimize", 2, optimize},
    {"BVT_Convert_VHDFile_to_VHDSetFile", 2, convert},
    {"BVT_ChangeTracking", 2, change_tracking},
    {"BVT_Resize", 2, resize},
};
const size_t cases_v2_count = sizeof(cases_v2) / sizeof(cases_v2[0]);
