# SPDX-License-Identifier: Apache-2.0
# varve_flags: what every file of ours is compiled with.  Generated code does not link it.
add_library(varve_flags INTERFACE)

target_compile_options(varve_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wundef -Wformat=2 -Wwrite-strings -Wimplicit-fallthrough)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # A text cut by snprintf() is a result we ask for; gcc guesses, and only in optimized builds.
  target_compile_options(varve_flags INTERFACE -Wno-format-truncation)
endif()
if(VARVE_WERROR)
  target_compile_options(varve_flags INTERFACE -Werror)
endif()

# Extensions are off, so each feature set is asked for by name.  POSIX is on everywhere because
# almost all code that needs it is in *_posix.c and nothing else can tell; GNU functions
# (renameat2, ...) are asked for per file: see varve_gnu_source() in targets.cmake.
if(WIN32)
  set(VARVE_SYSTEM win32)
  # Server 2016 and Windows 10 on; printf() of C and not of msvcrt.
  target_compile_definitions(varve_flags INTERFACE _WIN32_WINNT=0x0A00 WINVER=0x0A00
    WIN32_LEAN_AND_MEAN NOMINMAX UNICODE _UNICODE __USE_MINGW_ANSI_STDIO=1)
else()
  set(VARVE_SYSTEM posix)
  target_compile_definitions(varve_flags INTERFACE _FILE_OFFSET_BITS=64 _POSIX_C_SOURCE=200809L)
endif()

set(VARVE_SANITIZED 0)
if(VARVE_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "VARVE_FUZZ needs clang; this is ${CMAKE_C_COMPILER_ID}")
  endif()
  if(VARVE_SANITIZE STREQUAL "")
    set(VARVE_SANITIZE "address,undefined")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(NOT VARVE_SANITIZE STREQUAL "")
  set(VARVE_SANITIZED 1)
  add_compile_options(-fsanitize=${VARVE_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${VARVE_SANITIZE})
endif()
# Instrumented code needs more stack per call: thread_posix.c asks for more.
target_compile_definitions(varve_flags INTERFACE VARVE_SANITIZED=${VARVE_SANITIZED})

# Hardening, for builds that optimize (FORTIFY needs that) and are not instrumented.
if(CMAKE_BUILD_TYPE MATCHES "^(Release|RelWithDebInfo)$" AND NOT VARVE_SANITIZED)
  if(WIN32)
    add_compile_options(-fstack-protector-strong)
    add_link_options(-fstack-protector-strong) # mingw keeps what it calls in a library
  else()
    add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    add_link_options(-Wl,-z,relro -Wl,-z,now)
  endif()
endif()
if(MINGW)
  # One file: no DLL but those of the system; the same bytes from the same sources.
  add_link_options(-static -Wl,--no-insert-timestamp)
else()
  include(CheckPIESupported)
  check_pie_supported(LANGUAGES C)
endif()
