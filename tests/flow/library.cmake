# The library as its users see it, against a real broker. One program is the child of all tests; one file per theme.
add_executable(flow_kid child.c child_descriptors.c child_hostile.c raw.c)
target_link_libraries(flow_kid PRIVATE Brood::brood brood_proto)

function(library_flow name)
	brood_flow(${name} ${name}.c flow.c diary.c raw.c)
	add_dependencies(flow_${name} flow_kid)
	target_compile_definitions(flow_${name} PRIVATE KID_PROGRAM="$<TARGET_FILE:flow_kid>")
endfunction()

library_flow(messages)
library_flow(requests)
library_flow(descriptors)
library_flow(endings)
library_flow(names)
library_flow(hostile)
library_flow(loops)
pkg_check_modules(LIBEVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1)
target_link_libraries(flow_loops PRIVATE PkgConfig::LIBEVENT)
