# SPDX-License-Identifier: Apache-2.0
# Cross-building for 64-bit Windows with Debian's mingw-w64 (preset win64, deploy/win64-deps).
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)

# The win32 thread model needs no libwinpthread beside the program.
foreach(_name x86_64-w64-mingw32-gcc-win32 x86_64-w64-mingw32-gcc)
  find_program(VARVE_MINGW_GCC ${_name})
endforeach()
set(CMAKE_C_COMPILER ${VARVE_MINGW_GCC})
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(VARVE_MINGW_WINDMC x86_64-w64-mingw32-windmc)

# Tests run under Wine: see there.
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../tests/wine/run)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
