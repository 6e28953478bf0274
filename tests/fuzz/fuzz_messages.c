/* SPDX-License-Identifier: Apache-2.0 */

/* What the collector does with an envelope before it believes any of it: strings, lists, ids. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "session/wire_in.h"
#include "wire/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand_plain(const char *text)
{
    size_t len = strlen(text);
    size_t i = 0;

    if (len > WIRE_STRING_MAX) {
        abort();
    }
    while (i < len) {
        size_t one = utf8_len(text + i, len - i);

        if (one == 0 || utf8_is_control(text + i, one)) {
            abort();
        }
        i += one;
    }
}

static void
look_at(const Varve__V1__Envelope *head)
{
    struct inventory inv;
    struct varve_error err;

    if (head->body_case == VARVE__V1__ENVELOPE__BODY_INVENTORY &&
        wire_inventory(&inv, head->inventory, &err) == VARVE_OK) {
        if (inv.vm_count > INVENTORY_VMS_MAX) {
            abort();
        }
        for (size_t i = 0; i < inv.vm_count; i++) {
            demand_plain(inv.vms[i].name);
            for (size_t d = 0; d < inv.vms[i].disk_count; d++) {
                demand_plain(inv.vms[i].disks[d].path);
            }
        }
        inventory_release(&inv);
    }
    if (head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
        wire_error(&err, head->error);
        demand_plain(err.msg);
        if (err.code == VARVE_OK || err.code >= VARVE_ERR_COUNT) {
            abort();
        }
    }
    if (head->body_case == VARVE__V1__ENVELOPE__BODY_RUN_TRACE) {
        for (size_t i = 0; i < head->run_trace->n_marks; i++) {
            demand_plain(head->run_trace->marks[i]);
        }
    }
    if (head->body_case == VARVE__V1__ENVELOPE__BODY_LOG) {
        demand_plain(head->log->area);
        demand_plain(head->log->text);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *raw = malloc(size + 1);
    struct envelope_in in;
    struct varve_error err;

    if (raw == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(raw, data, size);
    }
    if (envelope_parse(&in, raw, size, &err) == VARVE_OK) {
        if (wire_check_strings(&in.head->base, &err) == VARVE_OK) {
            look_at(in.head);
        } else if (err.code != VARVE_ERR_PROTOCOL) {
            abort();
        }
        envelope_release(&in);
    }
    return 0;
}
