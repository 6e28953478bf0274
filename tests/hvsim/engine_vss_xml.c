/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/engine_internal.h"

/* Text that grows. */
struct text {
    char *data;
    size_t len;
    size_t cap;
};

static void add(struct text *t, const char *fmt, ...) VARVE_PRINTF(2, 3);

static void
add_bytes(struct text *t, const char *s, size_t len)
{
    if (t->cap - t->len <= len) {
        size_t cap = t->cap * 2 + len + 4096;
        char *grown = sim_alloc(cap);

        if (t->len > 0) {
            memcpy(grown, t->data, t->len);
        }
        free(t->data);
        t->data = grown;
        t->cap = cap;
    }
    memcpy(t->data + t->len, s, len);
    t->len += len;
    t->data[t->len] = '\0';
}

static void
add(struct text *t, const char *fmt, ...)
{
    char piece[1024];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(piece, sizeof(piece), fmt, ap);
    va_end(ap);
    add_bytes(t, piece, len < (int)sizeof(piece) ? (size_t)len : sizeof(piece) - 1);
}

static void
add_escaped(struct text *t, const char *s)
{
    for (; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            add_bytes(t, "&amp;", 5);
            break;
        case '<':
            add_bytes(t, "&lt;", 4);
            break;
        case '"':
            add_bytes(t, "&quot;", 6);
            break;
        default:
            add_bytes(t, s, 1);
        }
    }
}

static void
add_path(struct text *t, const char *drive, const char *path)
{
    char *copy = sim_printf("%s%s", drive, path);

    for (char *p = copy; drive[0] != '\0' && *p != '\0'; p++) {
        *p = *p == '/' ? '\\' : *p;
    }
    add_escaped(t, copy);
    free(copy);
}

bool
sim_vss_vm_is_online(const struct sim_vm *vm)
{
    return vm->state == SIM_VM_RUNNING && vm->integration;
}

/* Server 2012 R2 (versions up to 5.0) kept XML. */
const char *
sim_vss_config_suffix(const struct sim_vm *vm)
{
    return strtoul(vm->config_version, NULL, 10) < 6 ? "xml" : "vmcx";
}

static void
add_file(struct text *t, const struct sim_vm *vm, const char *drive, const char *folder,
         const char *spec)
{
    char *path = sim_printf("%s/%s", vm->folder, folder);

    add(t, "<FILE_LIST path=\"");
    add_path(t, drive, path);
    add(t, "\" filespec=\"");
    add_escaped(t, spec);
    add(t, "\" filespecBackupType=\"3855\"/>");
    free(path);
}

static void
add_vm(struct text *t, const struct sim_vm *vm, const char *drive)
{
    char *state = vm_guest_state(vm);
    char id[GUID_TEXT_SIZE];
    char *config;

    guid_format_upper(&vm->id, id);
    config = sim_printf("%s.%s", id, sim_vss_config_suffix(vm));
    add(t, "<FILE_GROUP logicalPath=\"\" componentName=\"%s\" caption=\"%s\\", id,
        sim_vss_vm_is_online(vm) ? "Online" : "Offline");
    add_escaped(t, vm->name);
    add(t, "\" restoreMetadata=\"no\" notifyOnBackupComplete=\"no\" selectable=\"yes\" "
           "selectableForRestore=\"yes\" componentFlags=\"0\">");
    add_file(t, vm, drive, SIM_CONFIG_DIR, config);
    if (state != NULL) {
        add_file(t, vm, drive, SIM_CONFIG_DIR, strrchr(state, '/') + 1);
    }
    for (size_t i = 0; i < vm->disk_count; i++) {
        for (size_t k = 0; k < vm->disks[i].file_count; k++) {
            add_file(t, vm, drive, SIM_DISKS_DIR, vm->disks[i].files[k].name);
        }
    }
    add_file(t, vm, drive, SIM_SNAPSHOTS_DIR, "*");
    add(t, "</FILE_GROUP>");
    free(config);
    free(state);
}

size_t
sim_vss_component_count(const struct sim_host *h)
{
    return h->vm_count + 1;
}

char *
sim_vss_writer_document(const struct sim_host *h, const char *drive)
{
    char writer[GUID_TEXT_SIZE];
    char instance[GUID_TEXT_SIZE];
    struct text t = {0};

    guid_format(&sim_vss_writer_id, writer);
    guid_format(&h->vss.instance, instance);
    add(&t,
        "<WRITER_METADATA xmlns=\"x-schema:#VssWriterMetadataInfo\" version=\"1.1\" "
        "backupSchema=\"16\"><IDENTIFICATION writerId=\"%s\" instanceId=\"%s\" "
        "friendlyName=\"Microsoft Hyper-V VSS Writer\" usage=\"USER_DATA\" dataSource=\"OTHER\"/>"
        "<BACKUP_LOCATIONS><FILE_GROUP logicalPath=\"\" componentName=\"Host Component\" "
        "caption=\"Host Component\" selectable=\"yes\">",
        writer, instance);
    add(&t, "<FILE_LIST path=\"");
    add_path(&t, drive, h->dir);
    add(&t, "\" filespec=\"InitialStore.xml\"/></FILE_GROUP>");
    for (size_t i = 0; i < h->vm_count; i++) {
        add_vm(&t, h->vms[i], drive);
    }
    add(&t, "</BACKUP_LOCATIONS></WRITER_METADATA>");
    return t.data;
}

char *
sim_vss_backup_document(const struct sim_host *h, const struct sim_vss_session *s)
{
    char writer[GUID_TEXT_SIZE];
    char instance[GUID_TEXT_SIZE];
    struct text t = {0};

    guid_format(&sim_vss_writer_id, writer);
    guid_format(&h->vss.instance, instance);
    add(&t,
        "<BACKUP_COMPONENTS xmlns=\"x-schema:#VssComponentMetadata\" version=\"1.2\" "
        "selectComponents=\"yes\" backupType=\"copy\"><WRITER_COMPONENTS instanceId=\"%s\" "
        "writerId=\"%s\">",
        instance, writer);
    for (size_t i = 0; i < s->vm_count; i++) {
        char id[GUID_TEXT_SIZE];

        guid_format_upper(&s->vms[i].vm, id);
        add(&t, "<COMPONENT logicalPath=\"\" componentName=\"%s\" componentType=\"filegroup\"%s/>",
            id, s->vms[i].succeeded ? " backupSucceeded=\"yes\"" : "");
    }
    add(&t, "</WRITER_COMPONENTS></BACKUP_COMPONENTS>");
    return t.data;
}
