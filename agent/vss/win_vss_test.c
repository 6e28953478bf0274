/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>

/* The order of these matters. */
#include <windows.h>

#include <vss.h>

#include <vswriter.h>

#include <vsbackup.h>

#include "vss/abi_vss.h"
#include "vss/win_vss.h"

/* Our declarations against mingw-w64's: what is called must stand in the same place. */
#define SAME(ours, our_name, theirs, their_name)                                                   \
    _Static_assert(offsetof(struct ours, our_name) == offsetof(theirs, their_name),                \
                   "place of " #their_name)
#define BACKUP(our_name, their_name)                                                               \
    SAME(abi_vss_backup_vtbl, our_name, IVssBackupComponentsVtbl, their_name)
#define METADATA(our_name, their_name)                                                             \
    SAME(abi_vss_metadata_vtbl, our_name, IVssExamineWriterMetadataVtbl, their_name)
#define ASYNC(our_name, their_name) SAME(abi_vss_async_vtbl, our_name, IVssAsyncVtbl, their_name)
#define PROP(our_name, their_name)                                                                 \
    SAME(abi_vss_snapshot_prop, our_name, VSS_SNAPSHOT_PROP, their_name)

BACKUP(release, Release);
BACKUP(initialize_for_backup, InitializeForBackup);
BACKUP(set_backup_state, SetBackupState);
BACKUP(gather_writer_metadata, GatherWriterMetadata);
BACKUP(get_writer_metadata_count, GetWriterMetadataCount);
BACKUP(get_writer_metadata, GetWriterMetadata);
BACKUP(free_writer_metadata, FreeWriterMetadata);
BACKUP(add_component, AddComponent);
BACKUP(prepare_for_backup, PrepareForBackup);
BACKUP(abort_backup, AbortBackup);
BACKUP(gather_writer_status, GatherWriterStatus);
BACKUP(get_writer_status_count, GetWriterStatusCount);
BACKUP(free_writer_status, FreeWriterStatus);
BACKUP(get_writer_status, GetWriterStatus);
BACKUP(set_backup_succeeded, SetBackupSucceeded);
BACKUP(save_as_xml, SaveAsXML);
BACKUP(backup_complete, BackupComplete);
BACKUP(set_context, SetContext);
BACKUP(start_snapshot_set, StartSnapshotSet);
BACKUP(add_to_snapshot_set, AddToSnapshotSet);
BACKUP(do_snapshot_set, DoSnapshotSet);
BACKUP(delete_snapshots, DeleteSnapshots);
BACKUP(get_snapshot_properties, GetSnapshotProperties);
BACKUP(enable_writer_classes, EnableWriterClasses);
_Static_assert(sizeof(struct abi_vss_backup_vtbl) == sizeof(IVssBackupComponentsVtbl), "all of it");

METADATA(release, Release);
METADATA(get_identity, GetIdentity);
METADATA(get_file_counts, GetFileCounts);
METADATA(save_as_xml, SaveAsXML);

ASYNC(release, Release);
ASYNC(cancel, Cancel);
ASYNC(wait, Wait);
ASYNC(query_status, QueryStatus);

PROP(snapshot, m_SnapshotId);
PROP(set, m_SnapshotSetId);
PROP(device, m_pwszSnapshotDeviceObject);
PROP(provider, m_ProviderId);
PROP(created, m_tsCreationTimestamp);
PROP(status, m_eStatus);
_Static_assert(sizeof(struct abi_vss_snapshot_prop) == sizeof(VSS_SNAPSHOT_PROP), "all of it");

/* Wine's own vssapi.dll has the function, and no service behind it. */
static void
a_system_without_vss_says_so(void **state)
{
    struct vss_port *port = NULL;
    struct vss_session *s = NULL;
    struct varve_error err;

    (void)state;
    assert_ok(win_vss_open(&port, &err), &err);
    assert_err(port->ops->open(port, &s, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_int_equal((uint32_t)err.native, 0x80004001u);
    vss_port_close(port);
}

static void
the_root_of_a_volume_has_its_end(void **state)
{
    struct vss_port *port = NULL;
    struct varve_error err;
    char *root = NULL;

    (void)state;
    assert_ok(win_vss_open(&port, &err), &err);
    assert_ok(port->ops->volume_root(port, "C:\\windows\\system32", &root, &err), &err);
    assert_string_equal(root, "C:\\");
    free(root);
    vss_port_close(port);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_system_without_vss_says_so),
        cmocka_unit_test(the_root_of_a_volume_has_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
