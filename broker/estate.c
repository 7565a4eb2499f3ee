/*
 * estate: made, looked at, freed.
 */
#include "estate.h"
#include "registry.h"
#include <assert.h>
#include <stdlib.h>

const struct estate *estate_of(const struct process *p)
{
	static const struct estate nothing;

	return p->estate ? p->estate : &nothing;
}

struct estate *estate_get(struct process *p)
{
	if (!p->estate) {
		p->estate = calloc(1, sizeof(*p->estate));
		if (p->estate)
			p->estate->process = p;
	}
	return p->estate;
}

/* Nobody else has to do with it. */
static int is_private(const struct estate *e)
{
	return !e->endpoint && !e->absence && !e->keeper && LIST_EMPTY(&e->kept) && LIST_EMPTY(&e->names) &&
	       LIST_EMPTY(&e->watches) && LIST_EMPTY(&e->asks);
}

void estate_free(struct process *p)
{
	struct estate *e = p->estate;

	if (!e)
		return;
	assert(is_private(e));
	free(e->blocks);
	free(e->abroad);
	free(e->had);
	free(e);
	p->estate = NULL;
}

void estate_tidy(struct process *p)
{
	const struct estate *e = p->estate;

	if (e && is_private(e) && !e->blocks && !e->abroad && !e->had)
		estate_free(p);
}
