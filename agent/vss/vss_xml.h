/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VSS_VSS_XML_H
#define VARVE_VSS_VSS_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

/*
 * The two documents of a VSS backup, as far as a backup needs them.
 *
 *   <WRITER_METADATA xmlns="x-schema:#VssWriterMetadataInfo">
 *     <IDENTIFICATION writerId=".." instanceId=".." friendlyName=".."/>
 *     <BACKUP_LOCATIONS>
 *       <FILE_GROUP logicalPath=".." componentName=".." caption="..">
 *         <FILE_LIST path=".." filespec=".." recursive="yes"/>
 *
 *   <BACKUP_COMPONENTS xmlns="x-schema:#VssComponentMetadata">
 *     <WRITER_COMPONENTS writerId=".." instanceId="..">
 *       <COMPONENT componentName=".." componentType=".." logicalPath=".."/>
 *
 * A DATABASE with DATABASE_FILES and DATABASE_LOGFILES is read as a FILE_GROUP with FILE_LIST is.  The form is what
 * documents that VSS saved look like; Microsoft documents it nowhere, so the reader passes over what it does not
 * know, and its caller compares the number of components with what VSS counts.
 */
#define VSS_XML_DEPTH      16u
#define VSS_COMPONENTS_MAX 16384u
#define VSS_FILES_MAX      65536u /* of all components */

struct vss_file {
    char *path; /* a folder, with or without an end */
    char *spec; /* "web.vhdx", "*" */
    bool recursive;
};

struct vss_component {
    uint32_t type; /* VSS_TYPE_* */
    char *path;    /* logical path, "" none */
    char *name;
    char *caption;
    struct vss_file *files;
    size_t file_count;
};

struct vss_metadata {
    struct guid writer;
    struct guid instance;
    struct vss_component *components;
    size_t count;
};

/* VARVE_ERR_PROTOCOL: no such document, or not well-formed; VARVE_ERR_LIMIT. */
VARVE_CHECK enum varve_err vss_metadata_read(struct vss_metadata *out, const char *text, size_t len,
                                             struct varve_error *err);
void vss_metadata_release(struct vss_metadata *m);
void vss_component_release(struct vss_component *c); /* one that is all zero is fine */

/* Whether a backup components document has that component of that writer; names are compared without case. */
VARVE_CHECK enum varve_err vss_document_has(const char *text, size_t len, const struct guid *writer,
                                            const char *name, bool *out, struct varve_error *err);

#endif
