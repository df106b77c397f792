# Warnings and sanitizers, for our own targets only.
add_library(velatura_options INTERFACE)
target_compile_options(velatura_options INTERFACE -Wall -Wextra -Wpedantic -Wno-missing-field-initializers)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Value-changing optimisations stay off: a seed repeats its picture, and -ffp-contract would make
# a fused multiply-add of what a formula wrote as two operations, differently on each target.
target_compile_options(velatura_options INTERFACE -ffp-contract=off)
if(VELATURA_SANITIZE)
  add_compile_options(-fsanitize=${VELATURA_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${VELATURA_SANITIZE})
endif()
if(VELATURA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
