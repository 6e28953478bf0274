/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "capture/sim/sim_internal.h"
#include "os/process.h"
#include "os/thread.h"

/*
 * What the client of the simulated host does with answers that a host should not give.  The host
 * here is a script: it accepts, reads a line, and says the next line of the script ("" says nothing
 * and closes).
 */
struct script {
    char path[64];
    int fd;
    struct thread thread;
    const char *const *lines;
    char asked[4096];
};

static void
script_main(void *arg)
{
    struct script *s = arg;
    const char *const *line;

    for (line = s->lines; *line != NULL; line++) {
        char piece[1024];
        ssize_t n;
        int fd = accept(s->fd, NULL, NULL);

        if (fd < 0) {
            return;
        }
        n = recv(fd, piece, sizeof(piece) - 1, 0);
        if (n > 0 && strlen(s->asked) + (size_t)n < sizeof(s->asked)) {
            piece[n] = '\0';
            memcpy(s->asked + strlen(s->asked), piece, (size_t)n + 1);
        }
        if (**line != '\0') {
            (void)send(fd, *line, strlen(*line), MSG_NOSIGNAL);
            (void)send(fd, "\n", 1, MSG_NOSIGNAL);
        }
        (void)close(fd);
    }
}

static struct capture *
script_start(struct script *s, const char *const *lines)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct varve_error err;
    struct capture *c = NULL;

    memset(s, 0, sizeof(*s));
    s->lines = lines;
    (void)snprintf(s->path, sizeof(s->path), "/tmp/varve-sim-%" PRIu32 ".sock", process_id());
    (void)unlink(s->path);
    memcpy(addr.sun_path, s->path, strlen(s->path) + 1);
    s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_ok(thread_start(&s->thread, "script", script_main, s, &err), &err);
    assert_ok(capture_sim_open(&c, s->path, &err), &err);
    return c;
}

static void
script_end(struct script *s, struct capture *c)
{
    capture_close(c);
    (void)shutdown(s->fd, SHUT_RDWR);
    thread_join(&s->thread);
    (void)close(s->fd);
    (void)unlink(s->path);
}

static void
marks_meet(const char *answer, enum varve_err want, int64_t native)
{
    const char *lines[] = {answer, NULL};
    struct capture_marks marks;
    struct guid vm = {{9}};
    struct varve_error err;
    struct script s;
    struct capture *c = script_start(&s, lines);

    assert_err(c->ops->marks(c, &vm, &marks, &err), want, &err);
    assert_int_equal(err.native, native);
    script_end(&s, c);
}

static void
a_refusal_keeps_its_number(void **state)
{
    (void)state;
    marks_meet("{\"id\":1,\"ok\":false,\"hresult\":2147749890,\"error\":\"no such vm\"}",
               VARVE_ERR_NOT_FOUND, 0x80041002);
    marks_meet("{\"id\":1,\"ok\":false,\"hresult\":32775,\"error\":\"merging\"}", VARVE_ERR_BUSY,
               32775);
}

static void
an_answer_that_is_none_is_an_error(void **state)
{
    static const char *const answers[] = {
        "{\"id\":1,\"ok\":true}",
        "{\"id\":1,\"ok\":true,\"refpoints\":7}",
        "{\"id\":1,\"ok\":true,\"refpoints\":[7]}",
        "{\"id\":1,\"ok\":true,\"refpoints\":[{\"id\":\"\"}]}",
        "{\"id\":1,\"ok\":\"yes\"}",
        "{\"id\":1,\"ok\":false}",
        "{\"id\":1,\"ok\":false,\"hresult\":-1}",
        "[]",
        "not json",
        "{\"id\":1,\"ok\":tr",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        marks_meet(answers[i], VARVE_ERR_PROTOCOL, 0);
    }
}

static void
a_question_is_asked_again_when_the_host_restarts(void **state)
{
    const char *lines[] = {"", "", "{\"id\":1,\"ok\":true,\"refpoints\":[{\"id\":\"R1\"}]}", NULL};
    struct capture_marks marks;
    struct guid vm = {{9}};
    struct varve_error err;
    struct script s;
    struct capture *c = script_start(&s, lines);

    (void)state;
    assert_ok(c->ops->marks(c, &vm, &marks, &err), &err);
    assert_int_equal(marks.count, 1);
    assert_true(capture_marks_has(&marks, "R1"));
    capture_marks_release(&marks);
    script_end(&s, c);
}

static void
a_job_that_fails_gives_its_error_code(void **state)
{
    const char *lines[] = {
        "{\"id\":1,\"ok\":true,\"job\":\"J\"}", "{\"id\":1,\"ok\":true,\"state\":4}",
        "{\"id\":1,\"ok\":true,\"state\":10,\"error_code\":32769,\"error\":\"access denied\"}",
        NULL};
    struct guid vm = {{9}};
    struct varve_error err;
    struct script s;
    struct capture *c = script_start(&s, lines);

    (void)state;
    assert_err(c->ops->drop(c, &vm, "R1", NULL, &err), VARVE_ERR_DENIED, &err);
    assert_int_equal(err.native, 32769);
    assert_non_null(strstr(s.asked, "refpoint.destroy"));
    script_end(&s, c);
}

static void
a_host_that_does_not_answer_times_out(void **state)
{
    struct capture_sim_times times = {.call_ms = 100};
    const char *lines[] = {NULL};
    struct capture_marks marks;
    struct guid vm = {{9}};
    struct varve_error err;
    struct script s;
    struct capture *c = script_start(&s, lines);

    (void)state;
    capture_sim_set_times(c, &times);
    assert_err(c->ops->marks(c, &vm, &marks, &err), VARVE_ERR_TIMEOUT, &err);
    script_end(&s, c);
}

static void
a_host_that_is_not_there_is_named(void **state)
{
    struct capture_inventory inv;
    struct varve_error err;
    struct capture *c = NULL;

    (void)state;
    assert_ok(capture_sim_open(&c, "/nonexistent/host.sock", &err), &err);
    assert_err(c->ops->list(c, &inv, &err), VARVE_ERR_IO, &err);
    assert_non_null(strstr(err.msg, "/nonexistent/host.sock"));
    capture_close(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_keeps_its_number),
        cmocka_unit_test(an_answer_that_is_none_is_an_error),
        cmocka_unit_test(a_question_is_asked_again_when_the_host_restarts),
        cmocka_unit_test(a_job_that_fails_gives_its_error_code),
        cmocka_unit_test(a_host_that_does_not_answer_times_out),
        cmocka_unit_test(a_host_that_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
