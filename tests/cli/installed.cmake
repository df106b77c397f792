# An installed program, moved elsewhere, finds the demonstration model beside itself.
#   cmake -DBUILD=<build folder> -DFOLDER=<scratch folder> -P installed.cmake
file(REMOVE_RECURSE "${FOLDER}")
execute_process(COMMAND ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${FOLDER}/first" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${FOLDER}/first" "${FOLDER}/moved")
execute_process(COMMAND "${FOLDER}/moved/bin/velatura" doctor OUTPUT_VARIABLE found COMMAND_ERROR_IS_FATAL ANY)
string(FIND "${found}" "${FOLDER}/moved/share/velatura/demo" at)
if(at EQUAL -1)
  message(FATAL_ERROR "the installed program does not name its own demonstration model:\n${found}")
endif()
file(REMOVE_RECURSE "${FOLDER}")
