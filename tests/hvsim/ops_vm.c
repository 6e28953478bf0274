/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum sim_vm_state state;
} states[] = {
    {"running", SIM_VM_RUNNING},
    {"off", SIM_VM_OFF},
    {"saved", SIM_VM_SAVED},
    {"paused", SIM_VM_PAUSED},
};

static uint32_t
op_vm_state(const char *text, enum sim_vm_state *out, struct sim_error *err)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(states[i].name, text) == 0) {
            *out = states[i].state;
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_INVALID, "'%.40s' is no state of a vm", text);
}

static const char *
vm_state_name(enum sim_vm_state state)
{
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (states[i].state == state) {
            return states[i].name;
        }
    }
    return "other";
}

static json_t *
describe_disk(const struct sim_vm *vm, struct sim_disk *d)
{
    struct sim_disk_file *active = disk_file(d, &d->active);
    char *path = vm_disk_path(vm, active);
    char *instance = disk_instance_id(vm, d);
    json_t *o = json_object();
    json_t *controller = json_object();

    reply_guid(o, "id", &d->id);
    reply_text(o, "instance_id", instance);
    reply_text(o, "path", path);
    reply_text(o, "name", d->name);
    reply_u64(o, "size", d->size);
    reply_u64(o, "logical_sector", d->logical_sector);
    reply_u64(o, "physical_sector", d->physical_sector);
    reply_text(controller, "type", "scsi");
    reply_u64(controller, "number", 0);
    reply_u64(controller, "slot", d->slot);
    (void)json_object_set_new(o, "controller", controller);
    reply_text(o, "format", d->vhd ? "vhd" : "vhdx");
    reply_text(o, "type", vhdx_is_child(d->vhdx) ? "differencing" : d->fixed ? "fixed" : "dynamic");
    reply_u64(o, "block_size", vhdx_block_size(d->vhdx));
    reply_bool(o, "tracked", d->tracked);
    free(path);
    free(instance);
    return o;
}

static void
add_status(json_t *numbers, json_t *words, unsigned number, const char *word)
{
    (void)json_array_append_new(numbers, json_integer((json_int_t)number));
    (void)json_array_append_new(words, json_string(word));
}

static json_t *
describe_vm(const struct sim_host *h, struct sim_vm *vm)
{
    json_t *o = json_object();
    json_t *numbers = json_array();
    json_t *words = json_array();
    json_t *disks = json_array();
    json_t *capabilities = json_object();

    reply_guid(o, "id", &vm->id);
    reply_text(o, "name", vm->name);
    reply_u64(o, "generation", vm->generation);
    reply_text(o, "state", vm_state_name(vm->state));
    reply_u64(o, "enabled_state", (uint64_t)vm->state);
    reply_text(o, "config_version", vm->config_version);
    add_status(numbers, words, vm->says.status != 0 ? vm->says.status : 2,
               vm->says.status != 0 ? "said" : "ok");
    if (vm->says.work != 0) {
        add_status(numbers, words, vm->says.work, "said");
    } else if (vm_has_job(h, vm, SIM_JOB_CREATE)) {
        add_status(numbers, words, 32768, "creating snapshot");
    } else if (vm_has_job(h, vm, SIM_JOB_APPLY)) {
        add_status(numbers, words, 32769, "applying snapshot");
    } else if (vm_has_job(h, vm, SIM_JOB_DESTROY) || vm_has_job(h, vm, SIM_JOB_CONVERT)) {
        add_status(numbers, words, 32770, "deleting snapshot");
    } else if (vm_merging(vm)) {
        add_status(numbers, words, 32772, "merging disks");
    }
    (void)json_object_set_new(o, "operational_status", numbers);
    (void)json_object_set_new(o, "status", words);
    reply_u64(o, "health_state", vm->says.health != 0 ? vm->says.health : 5);
    reply_u64(o, "replication_mode", vm->says.replication);
    if (!guid_is_zero(&vm->applied)) {
        reply_guid(o, "applied", &vm->applied);
    }
    reply_bool(o, "merge_enabled", vm->merge_enabled);
    reply_bool(capabilities, "reference_points", vm_supports_refpoints(vm));
    reply_bool(capabilities, "application_consistency", vm->integration);
    (void)json_object_set_new(o, "capabilities", capabilities);
    for (size_t i = 0; i < vm->disk_count; i++) {
        (void)json_array_append_new(disks, describe_disk(vm, &vm->disks[i]));
    }
    (void)json_object_set_new(o, "disks", disks);
    return o;
}

static uint32_t
vm_list(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    json_t *list = json_array();

    (void)request;
    (void)err;
    for (size_t i = 0; i < h->vm_count; i++) {
        (void)json_array_append_new(list, describe_vm(h, h->vms[i]));
    }
    (void)json_object_set_new(reply, "vms", list);
    return SIM_OK;
}

static uint32_t
vm_get(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    struct sim_vm *vm = NULL;
    uint32_t rc = find_vm(h, &id, &vm, err);

    if (rc == SIM_OK) {
        (void)json_object_set_new(reply, "vm", describe_vm(h, vm));
    }
    return rc;
}

/* ---- configuration files: opaque bytes to everybody but the host ---- */

static void
add_file(json_t *files, const char *id, const char *suffix, const char *magic, const char *text)
{
    char *name = sim_printf("%s.%s", id, suffix);
    char *content = sim_printf("%s%s", magic, text);
    size_t len = strlen(content);
    uint8_t *padded = sim_alloc((len + 4095) / 4096 * 4096);
    char *data = NULL;
    json_t *o = json_object();

    memcpy(padded, content, len);
    data = base64_encode(padded, (len + 4095) / 4096 * 4096);
    reply_text(o, "name", name);
    reply_text(o, "data", data);
    (void)json_array_append_new(files, o);
    free(name);
    free(content);
    free(padded);
    free(data);
}

static uint32_t
vm_config(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    struct guid checkpoint = op_guid(request, "checkpoint");
    char text[GUID_TEXT_SIZE];
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    char *config = NULL;
    json_t *files = NULL;
    uint32_t rc;

    if (op_has(request, "vm") == op_has(request, "checkpoint")) {
        return sim_fail(err, SIM_INVALID, "vm.config needs 'vm' or 'checkpoint'");
    }
    rc = op_has(request, "vm") ? find_vm(h, &id, &vm, err)
                               : find_checkpoint(h, &checkpoint, &vm, &c, err);
    if (rc != SIM_OK) {
        return rc;
    }
    config = c != NULL ? sim_strdup(c->config) : vm_config_text(vm);
    guid_format_upper(c != NULL ? &c->id : &vm->id, text);
    files = json_array();
    add_file(files, text, "vmcx", "VMCX\n", config);
    add_file(files, text, "vmrs", "VMRS\n", vm_state_name(vm->state));
    (void)json_object_set_new(reply, "files", files);
    free(config);
    return SIM_OK;
}

static uint32_t
merge_enable(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");

    (void)reply;
    return vm_set(h, &id, NULL, -1, -1, 1, err);
}

/* ---- test side ---- */

static uint32_t
add_disks(struct sim_host *h, const struct guid *vm, const json_t *disks, json_t *ids,
          struct sim_error *err)
{
    json_t *o = NULL;
    size_t i;
    uint32_t rc = SIM_OK;

    json_array_foreach((json_t *)disks, i, o)
    {
        char text[GUID_TEXT_SIZE];
        struct disk_spec disk;
        struct guid id;

        rc = op_disk_spec(o, &disk, err);
        if (rc == SIM_OK) {
            rc = disk_add(h, vm, &disk, &id, err);
        }
        if (rc != SIM_OK) {
            break;
        }
        guid_format_upper(&id, text);
        (void)json_array_append_new(ids, json_string(text));
    }
    return rc;
}

static uint32_t
op_vm_create(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct vm_spec spec = {
        .name = op_text(request, "name", ""),
        .generation = (unsigned)op_u64(request, "generation", 2),
        .config_version = op_text(request, "config_version", "9.0"),
        .integration = op_bool(request, "integration", true),
        .truth = op_bool(request, "truth", h->options.truth),
    };
    struct sim_error undo;
    struct guid id;
    json_t *ids = json_array();
    uint32_t rc = op_vm_state(op_text(request, "state", "running"), &spec.state, err);

    if (rc == SIM_OK) {
        rc = vm_create(h, &spec, &id, err);
    }
    if (rc != SIM_OK) {
        json_decref(ids);
        return rc;
    }
    rc = add_disks(h, &id, json_object_get(request, "disks"), ids, err);
    if (rc != SIM_OK) {
        json_decref(ids);
        if (vm_delete(h, &id, &undo) != SIM_OK) {
            *err = undo;
        }
        return rc;
    }
    reply_guid(reply, "vm", &id);
    (void)json_object_set_new(reply, "disks", ids);
    return SIM_OK;
}

static uint32_t
op_vm_set(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");
    enum sim_vm_state state = SIM_VM_RUNNING;
    uint32_t rc = SIM_OK;

    (void)reply;
    if (op_has(request, "state")) {
        rc = op_vm_state(op_text(request, "state", ""), &state, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    return vm_set(
        h, &id, op_text(request, "name", NULL), op_has(request, "state") ? (int)state : -1,
        op_has(request, "integration") ? op_bool(request, "integration", false) : -1,
        op_has(request, "merge_enabled") ? op_bool(request, "merge_enabled", false) : -1, err);
}

static uint32_t
op_vm_say(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    const struct sim_says says = {
        .status = (unsigned)op_u64(request, "status", 0),
        .work = (unsigned)op_u64(request, "work", 0),
        .health = (unsigned)op_u64(request, "health", 0),
        .replication = (unsigned)op_u64(request, "replication", 0),
    };
    struct guid id = op_guid(request, "vm");

    (void)reply;
    return vm_say(h, &id, &says, err);
}

static uint32_t
op_vm_delete(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");

    (void)reply;
    return vm_delete(h, &id, err);
}

static uint32_t
op_move_out(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id = op_guid(request, "vm");

    (void)reply;
    return vm_move_out(h, &id, op_text(request, "to", ""), op_bool(request, "failover", false),
                       err);
}

static uint32_t
op_move_in(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid id;
    uint32_t rc = vm_move_in(h, op_text(request, "from", ""), &id, err);

    if (rc == SIM_OK) {
        reply_guid(reply, "vm", &id);
    }
    return rc;
}

const struct op vm_ops[] = {
    {"vm.list", "", vm_list},
    {"vm.get", "vm:g!", vm_get},
    {"vm.config", "vm:g checkpoint:g", vm_config},
    {"merge.enable", "vm:g!", merge_enable},
    {"vm.create", "name:s! generation:i config_version:s state:s integration:b truth:b disks:a",
     op_vm_create},
    {"vm.set", "vm:g! name:s state:s integration:b merge_enabled:b", op_vm_set},
    {"vm.say", "vm:g! status:i work:i health:i replication:i", op_vm_say},
    {"vm.delete", "vm:g!", op_vm_delete},
    {"vm.move_out", "vm:g! to:s! failover:b", op_move_out},
    {"vm.move_in", "from:s!", op_move_in},
    {NULL, NULL, NULL},
};
