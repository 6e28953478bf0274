/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VSS_ABI_VSS_H
#define VARVE_VSS_ABI_VSS_H

#include <stddef.h>
#include <stdint.h>

/*
 * The binary interface of vssapi.dll on 64-bit Windows, as far as the agent uses it, under names of our own: the SDK's
 * headers for requesters are C++ only.  Order of the methods and layouts as in the SDK; compiled and asserted on
 * every system (abi_vss.c), and compared with mingw-w64's <vsbackup.h> where that is (win_vss_test).
 *
 * The DLL exports, undecorated, what the SDK's inline functions call: CreateVssBackupComponentsInternal and
 * VssFreeSnapshotPropertiesInternal.
 *
 * x64 has one calling convention; a GUID given by value goes by a hidden pointer, as any C compiler does it.  C++'s bool
 * is one byte.  HRESULT and LONG are 4 bytes, pointers 8, a BSTR or text is UTF-16.
 */
typedef int32_t abi_hresult;
typedef uint16_t abi_char; /* of a BSTR or an LPCWSTR */

struct abi_vss_id {
    uint32_t data1;
    uint16_t data2;
    uint16_t data3;
    uint8_t data4[8];
};

struct abi_vss_snapshot_prop { /* VSS_SNAPSHOT_PROP */
    struct abi_vss_id snapshot;
    struct abi_vss_id set;
    int32_t count;
    abi_char *device; /* \\?\GLOBALROOT\Device\HarddiskVolumeShadowCopyN */
    abi_char *original_volume;
    abi_char *originating_machine;
    abi_char *service_machine;
    abi_char *exposed_name;
    abi_char *exposed_path;
    struct abi_vss_id provider;
    int32_t attributes;
    int64_t created;
    uint32_t status;
};

typedef void (*abi_vss_unused)(void);

struct abi_vss_async;

struct abi_vss_async_vtbl { /* IVssAsync */
    abi_vss_unused query_interface;
    abi_vss_unused add_ref;
    uint32_t (*release)(struct abi_vss_async *self);
    abi_hresult (*cancel)(struct abi_vss_async *self);
    abi_hresult (*wait)(struct abi_vss_async *self, uint32_t ms);
    abi_hresult (*query_status)(struct abi_vss_async *self, abi_hresult *result, int32_t *reserved);
};

struct abi_vss_async {
    const struct abi_vss_async_vtbl *vtbl;
};

struct abi_vss_metadata;

struct abi_vss_metadata_vtbl { /* IVssExamineWriterMetadata */
    abi_vss_unused query_interface;
    abi_vss_unused add_ref;
    uint32_t (*release)(struct abi_vss_metadata *self);
    abi_hresult (*get_identity)(struct abi_vss_metadata *self, struct abi_vss_id *instance,
                                struct abi_vss_id *writer, abi_char **name, int32_t *usage,
                                int32_t *source);
    abi_hresult (*get_file_counts)(struct abi_vss_metadata *self, uint32_t *includes,
                                   uint32_t *excludes, uint32_t *components);
    abi_vss_unused get_include_file;
    abi_vss_unused get_exclude_file;
    abi_vss_unused get_component;
    abi_vss_unused get_restore_method;
    abi_vss_unused get_alternate_location_mapping;
    abi_vss_unused get_backup_schema;
    abi_vss_unused get_document;
    abi_hresult (*save_as_xml)(struct abi_vss_metadata *self, abi_char **xml);
    abi_vss_unused load_from_xml;
};

struct abi_vss_metadata {
    const struct abi_vss_metadata_vtbl *vtbl;
};

struct abi_vss_backup;

struct abi_vss_backup_vtbl { /* IVssBackupComponents */
    abi_vss_unused query_interface;
    abi_vss_unused add_ref;
    uint32_t (*release)(struct abi_vss_backup *self);
    abi_vss_unused get_writer_components_count;
    abi_vss_unused get_writer_components;
    abi_hresult (*initialize_for_backup)(struct abi_vss_backup *self, abi_char *xml);
    abi_hresult (*set_backup_state)(struct abi_vss_backup *self, uint8_t select_components,
                                    uint8_t bootable_state, int32_t type, uint8_t partial_files);
    abi_vss_unused initialize_for_restore;
    abi_vss_unused set_restore_state;
    abi_hresult (*gather_writer_metadata)(struct abi_vss_backup *self, struct abi_vss_async **call);
    abi_hresult (*get_writer_metadata_count)(struct abi_vss_backup *self, uint32_t *count);
    abi_hresult (*get_writer_metadata)(struct abi_vss_backup *self, uint32_t i,
                                       struct abi_vss_id *instance, struct abi_vss_metadata **out);
    abi_hresult (*free_writer_metadata)(struct abi_vss_backup *self);
    abi_hresult (*add_component)(struct abi_vss_backup *self, struct abi_vss_id instance,
                                 struct abi_vss_id writer, int32_t type, const abi_char *path,
                                 const abi_char *name);
    abi_hresult (*prepare_for_backup)(struct abi_vss_backup *self, struct abi_vss_async **call);
    abi_hresult (*abort_backup)(struct abi_vss_backup *self);
    abi_hresult (*gather_writer_status)(struct abi_vss_backup *self, struct abi_vss_async **call);
    abi_hresult (*get_writer_status_count)(struct abi_vss_backup *self, uint32_t *count);
    abi_hresult (*free_writer_status)(struct abi_vss_backup *self);
    abi_hresult (*get_writer_status)(struct abi_vss_backup *self, uint32_t i,
                                     struct abi_vss_id *instance, struct abi_vss_id *writer,
                                     abi_char **name, int32_t *state, abi_hresult *failure);
    abi_hresult (*set_backup_succeeded)(struct abi_vss_backup *self, struct abi_vss_id instance,
                                        struct abi_vss_id writer, int32_t type,
                                        const abi_char *path, const abi_char *name,
                                        uint8_t succeeded);
    abi_vss_unused set_backup_options;
    abi_vss_unused set_selected_for_restore;
    abi_vss_unused set_restore_options;
    abi_vss_unused set_additional_restores;
    abi_vss_unused set_previous_backup_stamp;
    abi_hresult (*save_as_xml)(struct abi_vss_backup *self, abi_char **xml);
    abi_hresult (*backup_complete)(struct abi_vss_backup *self, struct abi_vss_async **call);
    abi_vss_unused add_alternative_location_mapping;
    abi_vss_unused add_restore_subcomponent;
    abi_vss_unused set_file_restore_status;
    abi_vss_unused add_new_target;
    abi_vss_unused set_ranges_file_path;
    abi_vss_unused pre_restore;
    abi_vss_unused post_restore;
    abi_hresult (*set_context)(struct abi_vss_backup *self, int32_t context);
    abi_hresult (*start_snapshot_set)(struct abi_vss_backup *self, struct abi_vss_id *set);
    abi_hresult (*add_to_snapshot_set)(struct abi_vss_backup *self, abi_char *volume,
                                       struct abi_vss_id provider, struct abi_vss_id *snapshot);
    abi_hresult (*do_snapshot_set)(struct abi_vss_backup *self, struct abi_vss_async **call);
    abi_hresult (*delete_snapshots)(struct abi_vss_backup *self, struct abi_vss_id source,
                                    int32_t source_type, int32_t force, int32_t *deleted,
                                    struct abi_vss_id *not_deleted);
    abi_vss_unused import_snapshots;
    abi_vss_unused break_snapshot_set;
    abi_hresult (*get_snapshot_properties)(struct abi_vss_backup *self, struct abi_vss_id snapshot,
                                           struct abi_vss_snapshot_prop *out);
    abi_vss_unused query;
    abi_vss_unused is_volume_supported;
    abi_vss_unused disable_writer_classes;
    abi_hresult (*enable_writer_classes)(struct abi_vss_backup *self,
                                         const struct abi_vss_id *writers, uint32_t count);
    abi_vss_unused disable_writer_instances;
    abi_vss_unused expose_snapshot;
    abi_vss_unused revert_to_snapshot;
    abi_vss_unused query_revert_status;
};

struct abi_vss_backup {
    const struct abi_vss_backup_vtbl *vtbl;
};

#define ABI_VSS_CTX_BACKUP          0
#define ABI_VSS_OBJECT_SNAPSHOT_SET 2

typedef abi_hresult (*abi_vss_create)(struct abi_vss_backup **out);
typedef void (*abi_vss_free_properties)(struct abi_vss_snapshot_prop *p);

#endif
