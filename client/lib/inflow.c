/*
 * inflow: see inflow.h. The receiving half of one stream: what is next, what is held, what the type numbers mean, and
 * the message that is being put together.
 */
#include "inflow.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void inflow_init(struct inflow *in)
{
	memset(in, 0, sizeof(*in));
	in->next = 1;
	TAILQ_INIT(&in->holds);
}

static void assembly_drop(struct inflow_assembly *a)
{
	free(a->bytes);
	free(a->trace);
	parcel_free(a->parcel);
	memset(a, 0, sizeof(*a));
}

void inflow_deinit(struct inflow *in)
{
	for (unsigned i = 0; in->types && i <= ITEM_TYPES; i++)
		free(in->types[i]);
	free(in->types);
	in->types = NULL;
	assembly_drop(&in->assembly);
}

void inflow_begin_anew(struct inflow *in)
{
	struct inflow_hold *hold;
	while ((hold = TAILQ_FIRST(&in->holds))) {
		TAILQ_REMOVE(&in->holds, hold, next);
		hold->sequence = 0;
	}
	inflow_deinit(in);
	inflow_init(in);
}

uint64_t inflow_consumed(const struct inflow *in)
{
	const struct inflow_hold *first = TAILQ_FIRST(&in->holds);
	uint64_t open = in->handling ? in->handling : in->next;
	return (first && first->sequence < open ? first->sequence : open) - 1;
}

int inflow_owes(const struct inflow *in)
{
	return in->asked > in->told && inflow_consumed(in) > in->told;
}

void inflow_tell(struct inflow *in, uint64_t sequence)
{
	in->told = sequence;
}

void inflow_ask(struct inflow *in, uint64_t sequence)
{
	if (sequence <= in->told)
		in->told = sequence > 0 ? sequence - 1 : 0; /* our answer may have been lost: say it again */
	if (sequence > in->asked)
		in->asked = sequence;
}

void inflow_probe(struct inflow *in, uint64_t sequence)
{
	inflow_ask(in, in->told);
	inflow_ask(in, sequence ? sequence - 1 : in->next - 1);
}

/* Those that came while an older one was handled may be here before it. */
void inflow_hold(struct inflow *in, struct inflow_hold *hold, uint64_t sequence)
{
	struct inflow_hold *before = TAILQ_LAST(&in->holds, inflow_holds);
	hold->sequence = sequence;
	while (before && before->sequence > sequence)
		before = TAILQ_PREV(before, inflow_holds, next);
	if (before)
		TAILQ_INSERT_AFTER(&in->holds, before, hold, next);
	else
		TAILQ_INSERT_HEAD(&in->holds, hold, next);
}

void inflow_release(struct inflow *in, struct inflow_hold *hold)
{
	if (hold->sequence) /* else its stream is over */
		TAILQ_REMOVE(&in->holds, hold, next);
}

/* ---- type names -------------------------------------------------------------------------------------------------- */

static int bind(struct inflow *in, unsigned slot, const struct item *it, const char **ret)
{
	if (!in->types && !(in->types = calloc(ITEM_TYPES + 1, sizeof(*in->types))))
		return -ENOMEM;
	char *copy = strndup(it->name, it->name_length);
	if (!copy)
		return -ENOMEM;
	free(in->types[slot]);
	*ret = in->types[slot] = copy;
	return 0;
}

static int is_name(const char *known, const struct item *it)
{
	return strlen(known) == it->name_length && memcmp(known, it->name, it->name_length) == 0;
}

int inflow_type(struct inflow *in, const struct item *it, const char **ret)
{
	*ret = "";
	if (it->type == 0)
		return 0;
	if (it->type == ITEM_UNNUMBERED)
		return it->name ? bind(in, ITEM_TYPES, it, ret) : -EPROTO;
	if (it->type > ITEM_TYPES)
		return -EPROTO;
	const char *known = in->types ? in->types[it->type - 1u] : NULL;
	if (!known && it->name)
		return bind(in, it->type - 1u, it, ret);
	if (!known || (it->name && !is_name(known, it)))
		return -EPROTO; /* a number never changes its meaning */
	*ret = known;
	return 0;
}

/* ---- fragments --------------------------------------------------------------------------------------------------- */

/* Of the item `sequence`, a first fragment. */
static uint8_t *land_first(struct inflow_assembly *a, const struct item *it, uint64_t sequence)
{
	if (a->bytes) /* it came once before, cut as now, and its connection was lost */
		return a->landing == sequence && a->first.total == it->total && !a->first.kind ? a->bytes : NULL;
	if (!(a->bytes = malloc(it->total + 1)))
		return NULL;
	a->landing = sequence;
	a->first.total = it->total;
	return a->bytes;
}

uint8_t *inflow_land(struct inflow *in, const struct item *it, uint64_t sequence, int again)
{
	struct inflow_assembly *a = &in->assembly;
	if (sequence != in->next || (again && a->landing != sequence) || !(it->more || it->continued))
		return NULL;
	if (!it->continued)
		return land_first(a, it, sequence);
	if (!a->bytes || a->first.kind != it->kind || it->length > a->first.total - a->have)
		return NULL;
	a->landing = sequence;
	return a->bytes + a->have;
}

/* What landed before the first fragment was taken is of this one, or of none. */
static int assembly_begin(struct inflow_assembly *a, const struct item *it, const char *type, int landed)
{
	if (!landed)
		assembly_drop(a);
	if (it->total > MESSAGE_MAX || it->total < it->length)
		return -EPROTO;
	if (!a->bytes && !(a->bytes = malloc(it->total + 1)))
		return -ENOMEM;
	if (it->trace && !(a->trace = strndup(it->trace, it->trace_length)))
		return -ENOMEM;
	a->first = *it;
	a->type = type;
	return 0;
}

int inflow_assemble(struct inflow *in, const struct item *it, const char *type, int landed)
{
	struct inflow_assembly *a = &in->assembly;
	if (landed && a->landing != in->next - 1)
		return -ESTALE;
	int rc = it->continued ? 0 : assembly_begin(a, it, type, landed);
	if (rc < 0)
		return rc;
	if (!a->bytes || a->first.kind != it->kind || it->length > a->first.total - a->have)
		return -EPROTO;
	if (!landed)
		memcpy(a->bytes + a->have, it->body, it->length);
	a->have += it->length;
	if (it->more)
		return 0;
	if (a->have != a->first.total)
		return -EPROTO;
	a->bytes[a->have] = '\0';
	return 1;
}

uint8_t *inflow_assembly_take(struct inflow *in)
{
	uint8_t *bytes = in->assembly.bytes;
	in->assembly.bytes = NULL;
	assembly_drop(&in->assembly);
	return bytes;
}
