# Warnings and sanitizers, for our own targets only.
add_library(velatura_options INTERFACE)
target_compile_options(velatura_options INTERFACE -Wall -Wextra -Wpedantic -Wno-missing-field-initializers)
# What GCC 12 derives from optimised code is wrong inside std::string, std::vector and the headers of the intrinsics
# (GCC bugs 105651, 105593, 107852); the sanitizers look for the same mistakes.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(velatura_options INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-array-bounds
    -Wno-stringop-overflow -Wno-stringop-overread)
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Value-changing optimisations stay off: a seed repeats its picture, and -ffp-contract would make
# a fused multiply-add of what a formula wrote as two operations, differently on each target.
target_compile_options(velatura_options INTERFACE -ffp-contract=off)
if(VELATURA_SANITIZE)
  add_compile_options(-fsanitize=${VELATURA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${VELATURA_SANITIZE})
endif()
if(VELATURA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
