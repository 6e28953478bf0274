/* SPDX-License-Identifier: Apache-2.0 */
#include "wine/standin_hook.h"

/* One import of a module, by what it points to now. */
static void
replace(ULONG_PTR *slot, ULONG_PTR old, ULONG_PTR new_one)
{
    DWORD protection;

    if (*slot == old && VirtualProtect(slot, sizeof(*slot), PAGE_READWRITE, &protection)) {
        *slot = new_one;
        (void)VirtualProtect(slot, sizeof(*slot), protection, &protection);
    }
}

void
standin_hook(const struct standin_hooks *ours, struct standin_hooks *real)
{
    BYTE *base = (BYTE *)GetModuleHandleW(NULL);
    const IMAGE_NT_HEADERS *nt =
        (const IMAGE_NT_HEADERS *)(void *)(base + ((IMAGE_DOS_HEADER *)(void *)base)->e_lfanew);
    DWORD at = nt->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress;
    HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    ULONG_PTR read = (ULONG_PTR)GetProcAddress(kernel, "ReadFile");
    ULONG_PTR closing = (ULONG_PTR)GetProcAddress(kernel, "CloseHandle");
    IMAGE_IMPORT_DESCRIPTOR *import = (IMAGE_IMPORT_DESCRIPTOR *)(void *)(base + at);

    real->read = ReadFile;
    real->close = CloseHandle;
    for (; import->FirstThunk != 0; import++) {
        ULONG_PTR *slot = (ULONG_PTR *)(void *)(base + import->FirstThunk);

        for (; *slot != 0; slot++) {
            replace(slot, read, (ULONG_PTR)ours->read);
            replace(slot, closing, (ULONG_PTR)ours->close);
        }
    }
}
