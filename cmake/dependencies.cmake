# SPDX-License-Identifier: Apache-2.0
# Why each of these was chosen: docs/design/dependencies.md.  Packages: deploy/packages.txt.
if(WIN32)
  include(dependencies-win32)
  return()
endif()
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nng CONFIG REQUIRED) # nng::nng
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(GSSAPI REQUIRED IMPORTED_TARGET krb5-gssapi)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_program(PROTOC_C protoc-c REQUIRED)

# libcrypto is optional: without it everything comes from libsodium, only slower.  Folders choose
# their files by VARVE_OPENSSL; PkgConfig::CRYPTO exists only when it is ON.
set(VARVE_OPENSSL OFF)
if(VARVE_CRYPTO STREQUAL "openssl")
  pkg_check_modules(CRYPTO IMPORTED_TARGET libcrypto>=3.0)
  if(CRYPTO_FOUND)
    set(VARVE_OPENSSL ON)
  else()
    message(STATUS "libcrypto 3 was not found: SHA-256 and AES-GCM come from libsodium")
  endif()
elseif(NOT VARVE_CRYPTO STREQUAL "sodium")
  message(FATAL_ERROR "VARVE_CRYPTO must be openssl or sodium, not '${VARVE_CRYPTO}'")
endif()
