/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include <shellapi.h>

#include "os/wide_win32.h"
#include "service_win32.h"

/* What a console and the service manager have in common: this event is the wish to end. */
static HANDLE end_wanted;

const char *const service_commands = ", service, install, uninstall";

static BOOL WINAPI
on_console(DWORD what)
{
    (void)what;
    (void)SetEvent(end_wanted);
    if (what == CTRL_CLOSE_EVENT || what == CTRL_SHUTDOWN_EVENT) {
        Sleep(INFINITE); /* the process ends when this returns: runs are being undone meanwhile */
    }
    return TRUE;
}

static void
fail_at_start(const char *what)
{
    (void)fprintf(stderr, "varve-agent: %s failed with Windows error %lu\n", what, GetLastError());
    ExitProcess(1);
}

/* main() is given the arguments in the system's code page; the command line itself is UTF-16. */
static void
take_arguments(int *argc, char ***argv)
{
    struct varve_error err;
    wchar_t **wide;
    char **narrow;
    int n = 0;
    int i;

    wide = CommandLineToArgvW(GetCommandLineW(), &n);
    narrow = calloc((size_t)n + 1, sizeof(*narrow));
    if (wide == NULL || narrow == NULL) {
        fail_at_start("reading the command line");
    }
    for (i = 0; i < n; i++) {
        if (wide_to_utf8(&narrow[i], wide[i], &err) != VARVE_OK) {
            fail_at_start("reading the command line");
        }
    }
    (void)LocalFree(wide);
    *argc = n;
    *argv = narrow; /* never given back: it lives as long as the program */
}

void
service_prepare(int *argc, char ***argv)
{
    (void)SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX);
    /* Only system folders, never the one we stand in: the service runs as LocalSystem. */
    (void)SetDllDirectoryW(L"");
    (void)SetConsoleOutputCP(CP_UTF8);
    (void)_setmode(_fileno(stdout), _O_BINARY);
    (void)_setmode(_fileno(stderr), _O_BINARY);
    (void)setvbuf(stderr, NULL, _IONBF, 0); /* into a file it would keep what it is told */
    end_wanted = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (end_wanted == NULL) {
        fail_at_start("CreateEvent");
    }
    (void)SetConsoleCtrlHandler(on_console, TRUE);
    take_arguments(argc, argv);
}

void
service_want_end(void)
{
    (void)SetEvent(end_wanted);
}

bool
service_wait_end(uint32_t timeout_ms)
{
    return WaitForSingleObject(end_wanted, timeout_ms > 0 ? timeout_ms : INFINITE) != WAIT_TIMEOUT;
}

void
service_host_name(char out[SERVICE_NAME_MAX])
{
    wchar_t name[SERVICE_NAME_MAX];
    DWORD size = SERVICE_NAME_MAX;
    struct varve_error err;
    char *text = NULL;

    out[0] = '\0';
    if (GetComputerNameExW(ComputerNameDnsHostname, name, &size) &&
        wide_to_utf8(&text, name, &err) == VARVE_OK) {
        (void)snprintf(out, SERVICE_NAME_MAX, "%s", text);
    }
    free(text);
}

/* GetVersionEx() tells what the manifest asks for, RtlGetVersion() what runs. */
void
service_system(char out[SERVICE_NAME_MAX])
{
    typedef LONG(WINAPI * version_fn)(OSVERSIONINFOW *);
    version_fn version =
        (version_fn)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "RtlGetVersion");
    OSVERSIONINFOW info;

    memset(&info, 0, sizeof(info));
    info.dwOSVersionInfoSize = sizeof(info);
    if (version != NULL && version(&info) == 0) {
        (void)snprintf(out, SERVICE_NAME_MAX, "Windows %lu.%lu.%lu x86_64", info.dwMajorVersion,
                       info.dwMinorVersion, info.dwBuildNumber);
    } else {
        (void)snprintf(out, SERVICE_NAME_MAX, "Windows x86_64");
    }
}

/* A lock on a byte far behind the end, which nobody reads: the file itself stays readable.  Windows
 * takes the lock away with the process. */
enum varve_err
service_own(const char *path, struct varve_error *err)
{
    OVERLAPPED at;
    wchar_t *wide = NULL;
    HANDLE file;
    DWORD code;
    enum varve_err rc = wide_path(&wide, path, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    file = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                       NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    free(wide);
    if (file == INVALID_HANDLE_VALUE) {
        return varve_error_win32(err, GetLastError(), "opening '%s'", path);
    }
    memset(&at, 0, sizeof(at));
    at.OffsetHigh = 0x40000000;
    if (!LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)) {
        code = GetLastError();
        (void)CloseHandle(file);
        if (code == ERROR_LOCK_VIOLATION || code == ERROR_IO_PENDING) {
            return varve_error_set(err, VARVE_ERR_BUSY,
                                   "another agent is running with '%s': stop it first", path);
        }
        return varve_error_win32(err, code, "locking '%s'", path);
    }
    return VARVE_OK; /* kept open */
}
