/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "base/buf.h"
#include "base/log.h"
#include "os/wide_win32.h"
#include "service.h"
#include "service_win32.h"

/*
 * The service manager: "service" is what it starts, "install" and "uninstall" tell it about us.
 *
 * As a service there is no standard error: log lines become events of the source that is called as the service in the
 * log "Application".  The texts of events come out of the program's own message table (event.mc), whose
 * one entry is the line itself.
 */

#define COMMAND_LINE_MAX 32000u
#define STOP_HINT_MS     20000u
#define EVENT_LINE       1u /* event.mc */
#define EVENT_KEY        L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\"
#define NAME_MAX_UNITS   128u

/* "varve-agent", or of one with a name "varve-agent-NAME": ASCII; also the source of its events. */
static wchar_t service_name[NAME_MAX_UNITS];

/* ---- events ---- */

static HANDLE event_log;

static void
to_event_log(enum log_level level, const char *line)
{
    struct varve_error err;
    wchar_t *wide = NULL;
    const wchar_t *texts[1];
    WORD type = level == LOG_LEVEL_ERROR  ? EVENTLOG_ERROR_TYPE
                : level == LOG_LEVEL_WARN ? EVENTLOG_WARNING_TYPE
                                          : EVENTLOG_INFORMATION_TYPE;

    if (wide_from_utf8(&wide, line, &err) == VARVE_OK) {
        texts[0] = wide;
        (void)ReportEventW(event_log, type, 0, EVENT_LINE, NULL, 1, 0, texts, NULL);
    }
    free(wide);
}

/* ---- running ---- */

static struct {
    int (*run)(void *arg);
    void *arg;
    int code;
    SERVICE_STATUS_HANDLE handle;
} service;

static void
tell(DWORD state, DWORD hint_ms)
{
    SERVICE_STATUS status;

    memset(&status, 0, sizeof(status));
    status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
    status.dwCurrentState = state;
    status.dwControlsAccepted =
        state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN : 0;
    status.dwWaitHint = hint_ms;
    if (state == SERVICE_STOPPED && service.code != 0) {
        status.dwWin32ExitCode = ERROR_SERVICE_SPECIFIC_ERROR;
        status.dwServiceSpecificExitCode = (DWORD)service.code;
    }
    (void)SetServiceStatus(service.handle, &status);
}

static DWORD WINAPI
on_control(DWORD control, DWORD type, void *data, void *context)
{
    (void)type;
    (void)data;
    (void)context;
    switch (control) {
    case SERVICE_CONTROL_STOP:
    case SERVICE_CONTROL_SHUTDOWN:
        tell(SERVICE_STOP_PENDING, STOP_HINT_MS);
        service_want_end();
        return NO_ERROR;
    case SERVICE_CONTROL_INTERROGATE:
        return NO_ERROR;
    default:
        return ERROR_CALL_NOT_IMPLEMENTED;
    }
}

static void WINAPI
service_main(DWORD argc, wchar_t **argv)
{
    (void)argc;
    (void)argv;
    service.handle = RegisterServiceCtrlHandlerExW(service_name, on_control, NULL);
    if (service.handle == NULL) {
        return;
    }
    event_log = RegisterEventSourceW(NULL, service_name);
    if (event_log != NULL) {
        log_set_sink(to_event_log);
    }
    tell(SERVICE_RUNNING, 0);
    service.code = service.run(service.arg);
    tell(SERVICE_STOPPED, 0);
}

static int
run_service(int (*run)(void *arg), void *arg)
{
    SERVICE_TABLE_ENTRYW table[2];

    memset(table, 0, sizeof(table));
    table[0].lpServiceName = service_name;
    table[0].lpServiceProc = service_main;
    service.run = run;
    service.arg = arg;
    if (!StartServiceCtrlDispatcherW(table)) {
        (void)fprintf(stderr,
                      "varve-agent: 'service' is for the service manager (Windows error %lu): use "
                      "'run' here, or 'install' and 'sc start %ls'\n",
                      GetLastError(), service_name);
        return 1;
    }
    return service.code;
}

/* ---- telling the service manager ---- */

static int
refused(const char *what)
{
    DWORD code = GetLastError();

    (void)fprintf(stderr, "varve-agent: %s '%ls' failed with Windows error %lu%s\n", what,
                  service_name, code,
                  code == ERROR_ACCESS_DENIED    ? ": run this as administrator"
                  : code == ERROR_SERVICE_EXISTS ? ": the service is there; uninstall it first"
                  : code == ERROR_SERVICE_DOES_NOT_EXIST ? ": there is no such service"
                                                         : "");
    return code == ERROR_ACCESS_DENIED ? 5 : code == ERROR_SERVICE_EXISTS ? 4 : 1; /* varve(1) */
}

/* One argument as CommandLineToArgvW() takes it apart again: in quotes, and backslashes doubled where a
 * quote follows. */
static enum varve_err
append_quoted(struct buf *out, const char *text, struct varve_error *err)
{
    size_t slashes = 0;
    enum varve_err rc = buf_append(out, "\"", 1, err);

    for (; rc == VARVE_OK && *text != '\0'; text++) {
        if (*text == '\\') {
            slashes++;
        } else {
            size_t extra = *text == '"' ? slashes + 1 : 0;

            slashes = 0;
            for (; rc == VARVE_OK && extra > 0; extra--) {
                rc = buf_append(out, "\\", 1, err);
            }
        }
        if (rc == VARVE_OK) {
            rc = buf_append(out, text, 1, err);
        }
    }
    for (; rc == VARVE_OK && slashes > 0; slashes--) {
        rc = buf_append(out, "\\", 1, err);
    }
    return rc == VARVE_OK ? buf_append(out, "\"", 1, err) : rc;
}

/* "<this program>" "service" and the options that stood beside "install". */
static enum varve_err
command_line(wchar_t **out, const wchar_t *program, int argc, char **argv, struct varve_error *err)
{
    struct buf line;
    char *self = NULL;
    bool taken = false;
    int i;
    enum varve_err rc;

    buf_init(&line, COMMAND_LINE_MAX);
    rc = wide_to_utf8(&self, program, err);
    if (rc == VARVE_OK) {
        rc = append_quoted(&line, self, err);
    }
    if (rc == VARVE_OK) {
        rc = buf_append(&line, " service", 8, err);
    }
    for (i = 1; rc == VARVE_OK && i < argc; i++) {
        if (!taken && strcmp(argv[i], "install") == 0) {
            taken = true;
            continue;
        }
        rc = buf_append(&line, " ", 1, err);
        if (rc == VARVE_OK) {
            rc = append_quoted(&line, argv[i], err);
        }
    }
    if (rc == VARVE_OK) {
        rc = buf_append(&line, "", 1, err);
    }
    if (rc == VARVE_OK) {
        rc = wide_from_utf8(out, (const char *)line.data, err);
    }
    buf_release(&line);
    free(self);
    return rc;
}

static void
describe(SC_HANDLE handle)
{
    wchar_t text[] = L"Backs up the virtual machines of this host to a Varve collector.";
    SERVICE_DESCRIPTIONW description = {.lpDescription = text};
    SC_ACTION restart[3] = {
        {SC_ACTION_RESTART, 5000}, {SC_ACTION_RESTART, 60000}, {SC_ACTION_RESTART, 60000}};
    SERVICE_FAILURE_ACTIONSW failure = {
        .dwResetPeriod = 86400, .cActions = 3, .lpsaActions = restart};
    /* Also after an end with an error that was reported, not only after a crash. */
    SERVICE_FAILURE_ACTIONS_FLAG reported = {.fFailureActionsOnNonCrashFailures = TRUE};
    SERVICE_DELAYED_AUTO_START_INFO late = {.fDelayedAutostart = TRUE};

    (void)ChangeServiceConfig2W(handle, SERVICE_CONFIG_DESCRIPTION, &description);
    (void)ChangeServiceConfig2W(handle, SERVICE_CONFIG_FAILURE_ACTIONS, &failure);
    (void)ChangeServiceConfig2W(handle, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &reported);
    (void)ChangeServiceConfig2W(handle, SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &late);
}

static const wchar_t *
event_key(void)
{
    static wchar_t path[sizeof(EVENT_KEY) / sizeof(wchar_t) + NAME_MAX_UNITS];

    (void)wcscpy(path, EVENT_KEY);
    (void)wcscat(path, service_name);
    return path;
}

static void
register_events(const wchar_t *program)
{
    HKEY key = NULL;
    DWORD types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;

    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, event_key(), 0, NULL, 0, KEY_SET_VALUE, NULL, &key,
                        NULL) != ERROR_SUCCESS) {
        (void)fprintf(stderr, "varve-agent: events will be shown without their text\n");
        return;
    }
    (void)RegSetValueExW(key, L"EventMessageFile", 0, REG_SZ, (const BYTE *)program,
                         (DWORD)((wcslen(program) + 1) * sizeof(wchar_t)));
    (void)RegSetValueExW(key, L"TypesSupported", 0, REG_DWORD, (const BYTE *)&types, sizeof(types));
    (void)RegCloseKey(key);
}

static int
install(int argc, char **argv)
{
    struct varve_error err;
    wchar_t shown[NAME_MAX_UNITS + 32];
    wchar_t program[MAX_PATH * 4];
    DWORD room = sizeof(program) / sizeof(program[0]);
    wchar_t *line = NULL;
    SC_HANDLE manager = NULL;
    SC_HANDLE handle = NULL;
    DWORD n = GetModuleFileNameW(NULL, program, room);
    int code = 0;

    /* "Varve backup agent (varve-agent-hv07)" */
    (void)wcscpy(shown, L"Varve backup agent (");
    (void)wcscat(shown, service_name);
    (void)wcscat(shown, L")");
    if (n == 0 || n >= room) {
        return refused("asking for the path of the program of");
    }
    if (command_line(&line, program, argc, argv, &err) != VARVE_OK) {
        (void)fprintf(stderr, "varve-agent: %s\n", err.msg);
        return 1;
    }
    manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CREATE_SERVICE);
    if (manager != NULL) {
        /* As LocalSystem: Hyper-V's WMI and SE_MANAGE_VOLUME_PRIVILEGE. */
        handle = CreateServiceW(manager, service_name, shown, SERVICE_ALL_ACCESS,
                                SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START, SERVICE_ERROR_NORMAL,
                                line, NULL, NULL, NULL, NULL, NULL);
    }
    if (handle == NULL) {
        code = refused("installing the service");
    } else {
        describe(handle);
        register_events(program);
        (void)printf("installed: it starts with the machine, or now by 'sc start %ls'\n",
                     service_name);
        (void)CloseServiceHandle(handle);
    }
    if (manager != NULL) {
        (void)CloseServiceHandle(manager);
    }
    free(line);
    return code;
}

static int
uninstall(void)
{
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
    SC_HANDLE handle = NULL;
    SERVICE_STATUS status;
    int code = 0;

    if (manager != NULL) {
        handle = OpenServiceW(manager, service_name, SERVICE_STOP | DELETE);
    }
    if (handle == NULL) {
        code = refused("finding the service");
    } else {
        (void)ControlService(handle, SERVICE_CONTROL_STOP, &status); /* may stand still already */
        if (!DeleteService(handle)) {
            code = refused("removing the service");
        } else {
            (void)RegDeleteKeyW(HKEY_LOCAL_MACHINE, event_key());
            (void)printf("removed; the state folder is left as it is\n");
        }
        (void)CloseServiceHandle(handle);
    }
    if (manager != NULL) {
        (void)CloseServiceHandle(manager);
    }
    return code;
}

bool
service_command(const char *name, const char *called, int argc, char **argv, int (*run)(void *arg),
                void *arg, int *code)
{
    size_t i;

    for (i = 0; called[i] != '\0' && i + 1 < NAME_MAX_UNITS; i++) {
        service_name[i] = (wchar_t)called[i];
    }
    if (strcmp(name, "service") == 0) {
        *code = run_service(run, arg);
    } else if (strcmp(name, "install") == 0) {
        *code = install(argc, argv);
    } else if (strcmp(name, "uninstall") == 0) {
        *code = uninstall();
    } else {
        return false;
    }
    return true;
}
