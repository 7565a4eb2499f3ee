/*
 * census: see census.h. Each broker answers for its own node, in pages, in order of id.
 */
#include "census.h"
#include <stdio.h>

int census_nodes(brood *b, brood_msg **msg, const Brood__Control__Nodes **ret)
{
	Brood__Control__ListNodes ask = BROOD__CONTROL__LIST_NODES__INIT;
	const void *answer = NULL;
	int rc = session_call_broker(b, "", &ask.base, &brood__control__nodes__descriptor, msg, &answer);
	*ret = answer;
	return rc;
}

int census_processes(brood *b, const char *node, int (*take)(void *data, brood_msg *, const Brood__Control__Listing *),
		     void *data)
{
	Brood__Control__List ask = BROOD__CONTROL__LIST__INIT;
	const Brood__Control__Listing *page;
	do {
		const void *answer;
		brood_msg *msg = NULL;
		int rc = session_call_broker(b, node, &ask.base, &brood__control__listing__descriptor, &msg, &answer);
		if (rc < 0)
			return rc;
		page = answer;
		if (page->n_process)
			ask.after = page->process[page->n_process - 1]->id;
		rc = take(data, msg, page);
		if (rc < 0)
			return rc;
	} while (page->more && page->n_process);
	return 0;
}
