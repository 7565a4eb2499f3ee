/* In place of the real schemas: a list with a rule broken in it, so that brood_lint itself can be seen to fail. */
#include "bomb.pb-c.h"
#include "schema.h"
#include <stddef.h>

const ProtobufCMessageDescriptor *const schema_messages[] = {
	&bomb__fine__descriptor,
	&bomb__nest__descriptor,
	&bomb__outer__descriptor,
	NULL,
};
