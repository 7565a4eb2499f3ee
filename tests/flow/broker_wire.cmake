# The broker as its clients see it, frame by frame, without the library.
function(brood_wire name)
	add_executable(flow_${name} ${name}.c wire.c)
	target_link_libraries(flow_${name} PRIVATE brood_fixture brood_proto)
	add_dependencies(flow_${name} broodd)
	add_test(NAME flow.${name} COMMAND flow_${name})
	set_tests_properties(flow.${name} PROPERTIES LABELS flow TIMEOUT 300
		ENVIRONMENT "BROOD_BROKER=$<TARGET_FILE:broodd>;${ARGN}")
endfunction()

brood_wire(broker_wire)
brood_wire(broker_hostile)
brood_wire(broker_ends)
brood_wire(broker_descriptors)
# The kernel counts the descriptors that are under way by user: who has thousands of them would take others' away.
set_tests_properties(flow.broker_descriptors PROPERTIES RUN_SERIAL ON)
brood_wire(broker_log)
brood_wire(broker_users)
brood_wire(broker_policy)
target_sources(flow_broker_users PRIVATE users.c)
target_sources(flow_broker_policy PRIVATE users.c)
brood_wire(broker_why)
brood_wire(broker_configured)
target_include_directories(flow_broker_configured PRIVATE ${PROJECT_SOURCE_DIR}/broker) # confine.h
brood_wire(broker_fifo)
set_tests_properties(flow.broker_fifo PROPERTIES RESOURCE_LOCK pipes) # a user may have 64 MiB in pipes of their full size
brood_wire(broker_links)
target_sources(flow_broker_links PRIVATE raw.c)

# Sanitizers have an allocator of their own, which cannot be counted this way.
if(NOT BROOD_SANITIZE AND NOT BROOD_FUZZ)
	add_library(count_malloc MODULE count_malloc.c)
	target_compile_options(count_malloc PRIVATE -fno-builtin)
	brood_wire(broker_malloc COUNT_MALLOC_LIBRARY=$<TARGET_FILE:count_malloc>)
	add_dependencies(flow_broker_malloc count_malloc)
endif()
