# The broker as its clients see it, frame by frame, without the library. Tests that wait long (for the broker's own
# deadlines) are a program of their own, so that they run beside the others.
foreach(part broker_wire broker_hostile broker_ends)
	add_executable(flow_${part} ${part}.c wire.c)
	target_link_libraries(flow_${part} PRIVATE brood_fixture brood_proto brood_schema)
	add_dependencies(flow_${part} broodd)
	add_test(NAME flow.${part} COMMAND flow_${part})
	set_tests_properties(flow.${part} PROPERTIES LABELS flow TIMEOUT 120
		ENVIRONMENT "BROOD_BROKER=$<TARGET_FILE:broodd>")
endforeach()
