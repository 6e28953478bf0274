# SPDX-License-Identifier: Apache-2.0
#
# The words a folder's CMakeLists.txt is written in:
#
#   varve_library(varve_x a.c b.c)          static library; add what it needs with
#   target_link_libraries(varve_x PUBLIC varve_base PRIVATE PkgConfig::LZ4)
#   varve_program(varve-agent main.c)       goes into <build>/bin
#   varve_tool(hvsim main.c)                test program; goes into <build>/tools
#   varve_gnu_source(file_posix.c)          this file uses GNU functions
#   varve_test(x_test varve_x ...)          x_test.c, cmocka, one CTest; exit code 77 = skipped
#   varve_posix_test(x_test varve_x ...)    the same; it uses POSIX itself: not built on Windows
#   varve_script_test(name run.sh args...)  a script as a CTest; 77 = skipped; may set LABELS after
#   varve_fuzz(fuzz_x corpus/x varve_x ...) fuzz_x.c; see below
#   varve_proto(varve_proto a.proto ...)    generated protobuf-c code, #include "a.pb-c.h"
#
# Include paths follow from where the folder stands: common/ sees common/ only; agent/ sees
# agent/ and common/; collector/ sees collector/ and common/; tests/ sees tests/ and common/, and a
# program's headers when it links one of the program's libraries.

function(varve_include_dirs target scope)
  file(RELATIVE_PATH _folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "/.*" "" _top "${_folder}")
  target_include_directories(${target} ${scope} ${CMAKE_SOURCE_DIR}/common)
  if(_top MATCHES "^(agent|collector|tests)$")
    target_include_directories(${target} ${scope} ${CMAKE_SOURCE_DIR}/${_top})
  endif()
endfunction()

function(varve_library target)
  add_library(${target} STATIC ${ARGN})
  target_link_libraries(${target} PRIVATE varve_flags)
  varve_include_dirs(${target} PUBLIC)
endfunction()

function(varve_executable target dir)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE varve_flags)
  varve_include_dirs(${target} PRIVATE)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${dir})
endfunction()

function(varve_program target)
  varve_executable(${target} bin ${ARGN})
endfunction()

function(varve_tool target)
  varve_executable(${target} tools ${ARGN})
endfunction()

function(varve_gnu_source)
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_DEFINITIONS _GNU_SOURCE)
endfunction()

set(VARVE_TEST_TIMEOUT 300)
if(VARVE_SANITIZED)
  set(VARVE_TEST_TIMEOUT 1200)
endif()

# The label of a test is its top folder and its folder: "common", "vhdx".
function(varve_test_properties name)
  file(RELATIVE_PATH _folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REPLACE "/" ";" _labels "${_folder}")
  if(WIN32)
    list(APPEND _labels wine)
  endif()
  set_tests_properties(${name} PROPERTIES
    SKIP_RETURN_CODE 77
    TIMEOUT ${VARVE_TEST_TIMEOUT}
    LABELS "${_labels}"
    ENVIRONMENT "VARVE_SOURCE_DIR=${CMAKE_SOURCE_DIR};VARVE_BUILD_DIR=${CMAKE_BINARY_DIR};TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
endfunction()

function(varve_test name)
  varve_executable(${name} tests ${name}.c)
  target_link_libraries(${name} PRIVATE ${ARGN} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name})
  varve_test_properties(${name})
endfunction()

function(varve_posix_test name)
  if(NOT WIN32)
    varve_test(${name} ${ARGN})
  endif()
endfunction()

function(varve_script_test name script)
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${ARGN})
  varve_test_properties(${name})
endfunction()

# fuzz_x.c defines LLVMFuzzerTestOneInput().  With VARVE_FUZZ=ON it is a libFuzzer program (run it by
# hand for as long as you like); CTest then only runs the corpus.  Otherwise the same file is linked
# with a small main that runs every file of the corpus and some changed copies of each.
function(varve_fuzz name corpus)
  varve_executable(${name} fuzz ${name}.c)
  target_link_libraries(${name} PRIVATE ${ARGN})
  get_filename_component(_corpus ${corpus} ABSOLUTE)
  if(VARVE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${name} COMMAND ${name} -runs=0 ${_corpus})
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    add_test(NAME ${name} COMMAND ${name} ${_corpus})
  endif()
  varve_test_properties(${name})
  set_property(TEST ${name} APPEND PROPERTY LABELS fuzz)
endfunction()

function(varve_proto target)
  set(_sources "")
  foreach(_file IN LISTS ARGN)
    get_filename_component(_name ${_file} NAME_WE)
    list(APPEND _sources ${CMAKE_CURRENT_BINARY_DIR}/${_name}.pb-c.c)
    add_custom_command(
      OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${_name}.pb-c.c ${CMAKE_CURRENT_BINARY_DIR}/${_name}.pb-c.h
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_CURRENT_SOURCE_DIR}
              --c_out=${CMAKE_CURRENT_BINARY_DIR} ${_file}
      DEPENDS ${ARGN} # they import each other
      WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
      VERBATIM)
  endforeach()
  add_library(${target} STATIC ${_sources})
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
endfunction()
