/* SPDX-License-Identifier: Apache-2.0 */
#include "vss/abi_vss.h"

/* Numbers of slots: vsbackup.h and vswriter.h of the SDK; offsets: vss.h. */
#define SLOT(vtbl, name, n)                                                                        \
    _Static_assert(offsetof(struct vtbl, name) == (n) * sizeof(void *), "slot of " #name)
#define AT(name, n)                                                                                \
    _Static_assert(offsetof(struct abi_vss_snapshot_prop, name) == (n), "place of " #name)

SLOT(abi_vss_async_vtbl, release, 2);
SLOT(abi_vss_async_vtbl, cancel, 3);
SLOT(abi_vss_async_vtbl, wait, 4);
SLOT(abi_vss_async_vtbl, query_status, 5);

SLOT(abi_vss_metadata_vtbl, release, 2);
SLOT(abi_vss_metadata_vtbl, get_identity, 3);
SLOT(abi_vss_metadata_vtbl, get_file_counts, 4);
SLOT(abi_vss_metadata_vtbl, save_as_xml, 12);

SLOT(abi_vss_backup_vtbl, release, 2);
SLOT(abi_vss_backup_vtbl, initialize_for_backup, 5);
SLOT(abi_vss_backup_vtbl, set_backup_state, 6);
SLOT(abi_vss_backup_vtbl, gather_writer_metadata, 9);
SLOT(abi_vss_backup_vtbl, get_writer_metadata_count, 10);
SLOT(abi_vss_backup_vtbl, get_writer_metadata, 11);
SLOT(abi_vss_backup_vtbl, free_writer_metadata, 12);
SLOT(abi_vss_backup_vtbl, add_component, 13);
SLOT(abi_vss_backup_vtbl, prepare_for_backup, 14);
SLOT(abi_vss_backup_vtbl, abort_backup, 15);
SLOT(abi_vss_backup_vtbl, gather_writer_status, 16);
SLOT(abi_vss_backup_vtbl, get_writer_status_count, 17);
SLOT(abi_vss_backup_vtbl, free_writer_status, 18);
SLOT(abi_vss_backup_vtbl, get_writer_status, 19);
SLOT(abi_vss_backup_vtbl, set_backup_succeeded, 20);
SLOT(abi_vss_backup_vtbl, save_as_xml, 26);
SLOT(abi_vss_backup_vtbl, backup_complete, 27);
SLOT(abi_vss_backup_vtbl, set_context, 35);
SLOT(abi_vss_backup_vtbl, start_snapshot_set, 36);
SLOT(abi_vss_backup_vtbl, add_to_snapshot_set, 37);
SLOT(abi_vss_backup_vtbl, do_snapshot_set, 38);
SLOT(abi_vss_backup_vtbl, delete_snapshots, 39);
SLOT(abi_vss_backup_vtbl, get_snapshot_properties, 42);
SLOT(abi_vss_backup_vtbl, enable_writer_classes, 46);
SLOT(abi_vss_backup_vtbl, query_revert_status, 50);

AT(snapshot, 0);
AT(set, 16);
AT(count, 32);
AT(device, 40);
AT(original_volume, 48);
AT(exposed_path, 80);
AT(provider, 88);
AT(attributes, 104);
AT(created, 112);
AT(status, 120);
_Static_assert(sizeof(struct abi_vss_snapshot_prop) == 128, "size of VSS_SNAPSHOT_PROP");
_Static_assert(sizeof(struct abi_vss_id) == 16, "size of a GUID");
