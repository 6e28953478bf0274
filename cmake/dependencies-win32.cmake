# SPDX-License-Identifier: Apache-2.0
# The libraries of dependencies.cmake that the agent needs, for Windows, under the same target names.
# Cross-built they come from deploy/win64-deps, static; with MSVC from vcpkg.json (not exercised).
set(VARVE_OPENSSL OFF) # SHA-256 comes from CNG, AES-GCM from libsodium
find_program(PROTOC_C protoc-c REQUIRED)

if(NOT MINGW)
  message(WARNING "This build with vcpkg is not exercised: nobody has run it")
  find_package(nng CONFIG REQUIRED)
  find_package(unofficial-sodium CONFIG REQUIRED)
  find_package(lz4 CONFIG REQUIRED)
  find_package(protobuf-c CONFIG REQUIRED)
  find_package(cmocka CONFIG REQUIRED)
  find_package(jansson CONFIG REQUIRED)
  add_library(PkgConfig::SODIUM ALIAS unofficial-sodium::sodium)
  add_library(PkgConfig::LZ4 ALIAS lz4::lz4)
  add_library(PkgConfig::PROTOBUF_C ALIAS protobuf-c::protobuf-c)
  add_library(PkgConfig::CMOCKA ALIAS cmocka::cmocka)
  add_library(PkgConfig::JANSSON ALIAS jansson::jansson)
  return()
endif()

set(VARVE_WIN64_DEPS ${CMAKE_SOURCE_DIR}/build/deps-win64 CACHE PATH
    "What deploy/win64-deps has built")

function(varve_static_library target file)
  set(_path ${VARVE_WIN64_DEPS}/lib/${file})
  if(NOT EXISTS ${_path})
    message(FATAL_ERROR "'${_path}' is missing: run deploy/win64-deps")
  endif()
  add_library(${target} STATIC IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION ${_path}
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${VARVE_WIN64_DEPS}/include
    INTERFACE_INCLUDE_DIRECTORIES ${VARVE_WIN64_DEPS}/include
    INTERFACE_COMPILE_DEFINITIONS "${ARGN}")
endfunction()

varve_static_library(nng::nng libnng.a NNG_STATIC_LIB)
set_property(TARGET nng::nng PROPERTY INTERFACE_LINK_LIBRARIES ws2_32 mswsock advapi32)
varve_static_library(PkgConfig::SODIUM libsodium.a SODIUM_STATIC)
varve_static_library(PkgConfig::LZ4 liblz4.a)
varve_static_library(PkgConfig::PROTOBUF_C libprotobuf-c.a)
varve_static_library(PkgConfig::CMOCKA libcmocka.a)
varve_static_library(PkgConfig::JANSSON libjansson.a)
