/* SPDX-License-Identifier: Apache-2.0 */
#include "session/op_modules.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"

const struct op_module *const op_modules[] = {
    &op_hosts_module,   &op_vms_module,    &op_points_module,  &op_backup_module, &op_status_module,
    &op_restore_module, &op_verify_module, &op_tenants_module, &op_keep_module,
};

const size_t op_module_count = sizeof(op_modules) / sizeof(op_modules[0]);

_Static_assert(sizeof(op_modules) / sizeof(op_modules[0]) <= OP_MODULES_MAX,
               "sessions have a slot for each module");
