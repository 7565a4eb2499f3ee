# The life line is tested with spawn alone, without a broker and without the rest of the library.
set(lib ${PROJECT_SOURCE_DIR}/client/lib)
add_executable(flow_life_line life_line.c ${lib}/spawn.c ${lib}/life_line.c ${lib}/lookup.c)
target_compile_options(flow_life_line PRIVATE "SHELL:-iquote \"${lib}\"") # some names there are also the system's
target_include_directories(flow_life_line PRIVATE ${PROJECT_SOURCE_DIR}/client/include)
target_link_libraries(flow_life_line PRIVATE PkgConfig::CMOCKA)
add_test(NAME flow.life_line COMMAND flow_life_line)
set_tests_properties(flow.life_line PROPERTIES LABELS flow TIMEOUT 60)
