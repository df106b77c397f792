# The program and, beside it, the demonstration model that it looks for under ../share/velatura.
include(GNUInstallDirs)
install(TARGETS velatura RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/velatura)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
