# HAKMEM: what cmake --install puts where.
include(CMakePackageConfigHelpers)

set(hk_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hakmem)

install(TARGETS hakmem hakmem_static hakmem_cmd EXPORT hakmem-targets)
install(FILES ${hk_object} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/hakmem DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES man/hakmem.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES man/hakmem.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)

# The prefix is known only now: cmake --install --prefix may differ from the configured one.
cmake_path(APPEND hk_pc_libdir "\${prefix}" ${CMAKE_INSTALL_LIBDIR}) # the latter alone, if it is absolute
cmake_path(APPEND hk_pc_includedir "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})
configure_file(cmake/hakmem.pc.in hakmem.pc.in @ONLY)
install(CODE "
    file(READ \"${CMAKE_CURRENT_BINARY_DIR}/hakmem.pc.in\" pc)
    get_filename_component(pc_prefix \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
    string(REPLACE \"%PREFIX%\" \"\${pc_prefix}\" pc \"\${pc}\")
    file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/hakmem.pc\" \"\${pc}\")
")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hakmem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(EXPORT hakmem-targets NAMESPACE hakmem:: DESTINATION ${hk_cmake_dir})
configure_package_config_file(cmake/hakmem-config.cmake.in hakmem-config.cmake
    INSTALL_DESTINATION ${hk_cmake_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/hakmem-config-version.cmake
    COMPATIBILITY SameMajorVersion)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/hakmem-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/hakmem-config-version.cmake
    DESTINATION ${hk_cmake_dir})
