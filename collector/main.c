/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/exit_code.h"
#include "base/log.h"
#include "main_parts.h"
#include "store/open_files.h"

/* varve-collector: options, signals, and how it ends. */

static int
complain(const struct varve_error *err)
{
    (void)fprintf(stderr, "varve-collector: %s\n", err->msg);
    return (int)varve_exit_of(err->code, false);
}

static enum varve_err
check_arguments(const struct conf_args *args, struct varve_error *err)
{
    if (args->positional_count > 1 ||
        (args->positional_count == 1 && strcmp(args->positional[0], "run") != 0)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' is not something the collector does; 'varve-collector run' "
                               "is, and --help shows the options",
                               args->positional[args->positional_count - 1]);
    }
    return VARVE_OK;
}

/* Told on standard output, for whoever starts the collector by hand. */
static void
say_ready(const struct parts *p)
{
    const char *url;

    if (p->access_was_made || chunk_store_key_was_made(p->c.chunks)) {
        (void)printf("This is the first start. Keep copies of these in a safe place, all mode "
                     "0600:\n"
                     "  %s/collector.key   the collector's own key: agents know it by that\n"
                     "  %s   the store's key: without it no backup can be read\n"
                     "The operator's access is in %s; 'varve' uses it.\n",
                     p->state_dir, p->store_key, p->access_path);
    }
    for (size_t i = 0; (url = registry_url(p->c.registry, i)) != NULL; i++) {
        (void)printf("listening on %s\n", url);
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
}

static enum varve_err
run(const struct collector_conf *conf, const sigset_t *signals, struct varve_error *err)
{
    struct parts parts;
    int signal_number = 0;
    enum varve_err rc;

    rc = crypto_init(err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = parts_open(&parts, conf, err);
    if (rc == VARVE_OK) {
        rc = parts_listen(&parts, conf, err);
    }
    if (rc == VARVE_OK) {
        log_info("main", "varve-collector %s store='%s' chunk_size=%u", VARVE_VERSION,
                 parts.store_path, chunk_store_chunk_size(parts.c.chunks));
        say_ready(&parts);
        (void)sigwait(signals, &signal_number);
        log_info("main", "stopping on signal %d", signal_number);
    }
    parts_close(&parts);
    if (rc == VARVE_OK) {
        log_info("main", "stopped");
    }
    return rc;
}

int
main(int argc, char **argv)
{
    struct collector_conf conf = {0};
    struct conf_args args;
    struct varve_error err;
    sigset_t signals;
    enum varve_err rc;

    /* Before the first thread, so that every thread leaves these to sigwait(). */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    open_files_raise();

    rc = conf_load(&collector_program, &conf, &args, argc, argv, fs_system(), &err);
    if (rc != VARVE_OK) {
        return complain(&err);
    }
    if (args.print != NULL) {
        (void)fputs(args.print, stdout);
        conf_args_release(&args);
        conf_release(&collector_program, &conf);
        return VARVE_EXIT_OK;
    }
    rc = check_arguments(&args, &err);
    if (rc == VARVE_OK) {
        rc = collector_conf_check(&conf, &err);
    }
    if (rc == VARVE_OK && conf.check_config) {
        (void)printf("the configuration is right\n");
    } else if (rc == VARVE_OK) {
        log_set_level((enum log_level)conf.log_level);
        rc = run(&conf, &signals, &err);
    }
    conf_release(&collector_program, &conf);
    conf_args_release(&args);
    return rc == VARVE_OK ? VARVE_EXIT_OK : complain(&err);
}
