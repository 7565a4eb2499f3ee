# The command line, by shell scripts: they see what people see.
add_executable(conform_client conform_client.c)
target_link_libraries(conform_client PRIVATE Brood::brood)

# What needs a pseudo terminal, or many at once.
find_program(SYSTEM_PYTHON3 python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
set(scripts cli_run cli_worker cli_pipe cli_why cli_kill cli_check cli_spawn cli_hosts cli_nodes)
if(BROOD_TLS)
	list(APPEND scripts cli_cert)
endif()
foreach(script IN LISTS scripts)
	add_test(NAME flow.${script} COMMAND ${SYSTEM_PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/${script}.py
		$<TARGET_FILE:brood_cli>)
	set_tests_properties(flow.${script} PROPERTIES LABELS flow TIMEOUT 300
		ENVIRONMENT "BROOD_BROKER=$<TARGET_FILE:broodd>;BROOD_NURSERY=$<TARGET_FILE:brood_nursery>;PYTHONDONTWRITEBYTECODE=1")
endforeach()

foreach(script cli conform)
	add_test(NAME flow.${script} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/${script}.sh $<TARGET_FILE:brood_cli>
		$<TARGET_FILE:conform_client>)
	set_tests_properties(flow.${script} PROPERTIES LABELS flow TIMEOUT 300
		ENVIRONMENT "BROOD_BROKER=$<TARGET_FILE:broodd>")
endforeach()

# FIFOs as proto/README.md shows them to a shell.
add_test(NAME flow.fifo_shell COMMAND ${SYSTEM_PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/fifo_shell.py
	$<TARGET_FILE:broodd> ${PROJECT_SOURCE_DIR}/proto/README.md)
set_tests_properties(flow.fifo_shell PROPERTIES LABELS flow TIMEOUT 60)
