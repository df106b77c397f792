# One folder is one room: one library, one unit-test binary, one golden-test binary.
#
#   velatura_room(<folder under src> DEPENDS <rooms> [LIBRARIES <targets>] [LABELS <ctest labels>])
#
# Sources are the folder's *.cc (RECURSE takes subfolders along); *_test.cc become <room>_test, label `unit`;
# *_golden_test.cc become <room>_golden_test, label `golden`; *_concurrency_test.cc become <room>_concurrency_test,
# label `concurrency`, which the tsan preset runs. Which room may lean on which is written in
# scripts/check_includes.py and checked on every build.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_custom_target(velatura_include_check ALL
  COMMAND ${Python3_EXECUTABLE} "${CMAKE_SOURCE_DIR}/scripts/check_includes.py" "${CMAKE_SOURCE_DIR}"
  COMMENT "Checking include directions" VERBATIM)

function(velatura_room room)
  cmake_parse_arguments(ARG "RECURSE" "" "DEPENDS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  string(REPLACE "/" "_" name "${room}")
  set(folder "${CMAKE_SOURCE_DIR}/src/${room}")
  if(ARG_RECURSE)
    file(GLOB_RECURSE files CONFIGURE_DEPENDS "${folder}/*.cc")
  else()
    file(GLOB files CONFIGURE_DEPENDS "${folder}/*.cc")
  endif()
  set(concurrent ${files})
  list(FILTER concurrent INCLUDE REGEX "_concurrency_test\\.cc$")
  set(goldens ${files})
  list(FILTER goldens INCLUDE REGEX "_golden_test\\.cc$")
  set(tests ${files})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER tests EXCLUDE REGEX "_(golden|concurrency)_test\\.cc$")
  list(FILTER files EXCLUDE REGEX "_(test|bench)\\.cc$")

  set(depends "")
  foreach(dependency IN LISTS ARG_DEPENDS)
    string(REPLACE "/" "_" dependency "${dependency}")
    list(APPEND depends "velatura_${dependency}")
  endforeach()
  if(files)
    add_library(velatura_${name} STATIC ${files})
    target_link_libraries(velatura_${name} PUBLIC ${depends} PRIVATE velatura_options ${ARG_LIBRARIES})
    target_include_directories(velatura_${name} PUBLIC "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
    add_dependencies(velatura_${name} velatura_include_check)
    set(library velatura_${name})
  else()
    add_library(velatura_${name} INTERFACE)
    target_link_libraries(velatura_${name} INTERFACE ${depends})
    target_include_directories(velatura_${name} INTERFACE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
  endif()
  if(VELATURA_TESTS)
    velatura_test(${name}_test unit "${tests}" velatura_${name} ${ARG_LIBRARIES} ${ARG_TEST_LIBRARIES})
    velatura_test(${name}_golden_test golden "${goldens}" velatura_${name} ${ARG_LIBRARIES} ${ARG_TEST_LIBRARIES})
    velatura_test(${name}_concurrency_test concurrency "${concurrent}" velatura_${name} ${ARG_LIBRARIES} ${ARG_TEST_LIBRARIES})
  endif()
endfunction()

# velatura_test(<name> <label> <sources> <libraries…>): nothing when there are no sources. The target
# velatura_<label>_tests builds all tests of a label. Tests run in the source tree, so that a relative VELATURA_GOLDEN
# means what it says.
function(velatura_test name label sources)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARGN} velatura_test_support velatura_options GTest::gtest GTest::gmock)
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}")
  # Two OpenMP programs at once on two cores wait for each other's spinning threads: a golden test,
  # which runs models, has the machine to itself under `ctest -j 2`.
  set(processors 1)
  if(label STREQUAL golden)
    set(processors 2)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}"
    PROPERTIES LABELS ${label} TIMEOUT 1200 PROCESSORS ${processors})
  if(NOT TARGET velatura_${label}_tests)
    add_custom_target(velatura_${label}_tests)
  endif()
  add_dependencies(velatura_${label}_tests ${name})
endfunction()
