/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WINE_STANDIN_HOOK_H
#define VARVE_WINE_STANDIN_HOOK_H

#include <windows.h>

/* The imports of the program that a stand-in DLL is loaded into. */
struct standin_hooks {
    BOOL(WINAPI *read)(HANDLE, LPVOID, DWORD, LPDWORD, LPOVERLAPPED);
    BOOL(WINAPI *close)(HANDLE);
};

/* What the program calls as ReadFile() and CloseHandle() becomes these; *real are those before. */
void standin_hook(const struct standin_hooks *ours, struct standin_hooks *real);

#endif
