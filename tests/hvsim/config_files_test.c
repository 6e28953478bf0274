/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "hvsim/export_lab.h"
#include "hvsim/run_lab.h"
#include "hvsim/vss_lab.h"

/*
 * What a point keeps of a vm beside its disks, byte for byte, however it was frozen: the configuration, the guest's
 * state (secure boot, TPM), and what the VSS writer needs for a restore.  Without them the vm cannot be registered again.
 */
#define STATE_SIZE (4u * 1024 * 1024 + 512)

/* The vm gets a file as Hyper-V 2019 keeps beside the configuration of a vm of generation 2. */
static void
give_guest_state(struct refpoint_lab *hv, uint8_t seed, size_t size)
{
    const struct sim_vm *vm = refpoint_lab_vm(hv);
    char id[GUID_TEXT_SIZE];
    char *path = NULL;
    FILE *f = NULL;

    guid_format_upper(&vm->id, id);
    path = sim_printf("%s/Virtual Machines/%s.vmgs", vm->folder, id);
    f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < size; i++) {
        assert_int_not_equal(fputc(i % 3000 == 0 ? (int)(uint8_t)(seed + i / 3000) : 0, f), EOF);
    }
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void
assert_file(struct peer_fake *fake, const char *suffix, const void *want, size_t want_len)
{
    size_t len = 0;
    const uint8_t *got = peer_fake_file(fake, suffix, &len);

    if (got == NULL || len != want_len || memcmp(got, want, len) != 0) {
        fail_msg("'%s' of the point: %zu bytes, not the vm's %zu", suffix, len, want_len);
    }
}

/* The last point has what the vm has: nothing of it changed since. */
static void
assert_config(struct refpoint_lab *hv, struct peer_fake *fake, const char *suffix)
{
    const struct sim_vm *vm = refpoint_lab_vm(hv);
    char *config = vm_config_text(vm);
    char *text = sim_printf("VMCX\n%s", config);
    char *path = vm_guest_state(vm);

    assert_file(fake, suffix, text, strlen(text));
    if (path != NULL) {
        struct varve_error err;
        uint8_t *state = NULL;
        size_t len = 0;

        assert_ok(fs_read_all(fs_system(), path, 2 * STATE_SIZE, &state, &len, &err), &err);
        assert_file(fake, ".vmgs", state, len);
        free(state);
    }
    free(config);
    free(text);
    free(path);
}

static void
a_reference_point_run_keeps_configuration_and_guest_state(void **state)
{
    const struct wmi_fake_options options = {0};
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    run_lab_good_run(&l);
    assert_config(&l.hv, l.job.fake, ".vmcx");
    for (uint8_t run = 1; run <= 2; run++) {
        give_guest_state(&l.hv, run, STATE_SIZE);
        run_lab_good_run(&l);
        assert_config(&l.hv, l.job.fake, ".vmcx");
        assert_file(l.job.fake, ".vmrs", "VMRS\n", 5);
    }
    run_lab_close(&l);
}

static void
an_export_keeps_configuration_and_guest_state(void **state)
{
    struct export_lab l;

    (void)state;
    export_lab_open(&l);
    for (uint8_t run = 1; run <= 2; run++) {
        give_guest_state(&l.hv, run, STATE_SIZE);
        export_lab_good_run(&l);
        assert_config(&l.hv, l.job.fake, ".vmcx");
    }
    export_lab_close(&l);
}

static void
a_run_by_the_writer_keeps_configuration_guest_state_and_both_documents(void **state)
{
    char id[GUID_TEXT_SIZE];
    char *document = NULL;
    char *metadata = NULL;
    struct vss_lab l;

    (void)state;
    vss_lab_open(&l);
    guid_format_upper(&vss_lab_vm(&l)->id, id);
    document = sim_printf("<BACKUP_COMPONENTS><WRITER_COMPONENTS "
                          "writerId=\"66841cd4-6ded-4f4b-8f17-fd23f8ddc3de\">"
                          "<COMPONENT componentName=\"%s\"/></WRITER_COMPONENTS>"
                          "</BACKUP_COMPONENTS>",
                          id);
    l.options.document = document;
    vss_lab_reopen(&l);
    for (uint8_t run = 1; run <= 2; run++) {
        give_guest_state(&l.hv, run, STATE_SIZE);
        vss_lab_good_run(&l);
        assert_config(&l.hv, l.job.fake, ".vmcx");
        assert_file(l.job.fake, "vss-backup-components.xml", document, strlen(document));
        metadata = sim_vss_writer_document(l.hv.host, "");
        assert_file(l.job.fake, "vss-writer-metadata.xml", metadata, strlen(metadata));
        free(metadata);
    }
    vss_lab_close(&l);
    free(document);
    vss_lab_open(&l); /* of Server 2012 R2 */
    (void)snprintf(vss_lab_vm(&l)->config_version, sizeof(vss_lab_vm(&l)->config_version), "5.0");
    vss_lab_good_run(&l);
    guid_format_upper(&vss_lab_vm(&l)->id, id);
    document = sim_printf("%s.xml", id);
    assert_config(&l.hv, l.job.fake, document);
    free(document);
    vss_lab_close(&l);
}

/* Larger than any point takes: the run says so, and the rest is there. */
static void
what_is_too_large_is_named_in_a_warning_of_the_run(void **state)
{
    const struct wmi_fake_options options = {0};
    struct peer_fake_seen seen;
    struct varve_error err;
    struct run_lab l;
    size_t len = 0;

    (void)state;
    run_lab_open(&l, &options, REFPOINT_APPLICATION);
    give_guest_state(&l.hv, 1, CAPTURE_FILE_MAX + 1);
    assert_ok(lab_run(&l.job, &err), &err);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.committed);
    assert_int_equal(seen.warnings, 1);
    assert_null(peer_fake_file(l.job.fake, ".vmgs", &len));
    assert_non_null(peer_fake_file(l.job.fake, ".vmcx", &len));
    refpoint_lab_settle(&l.hv);
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_point_run_keeps_configuration_and_guest_state),
        cmocka_unit_test(an_export_keeps_configuration_and_guest_state),
        cmocka_unit_test(a_run_by_the_writer_keeps_configuration_guest_state_and_both_documents),
        cmocka_unit_test(what_is_too_large_is_named_in_a_warning_of_the_run),
    };
    struct varve_error err;

    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
