/*
 * brood_lint: runs at build time over all messages of the control schemas; the build fails if one breaks a rule.
 */
#include "lint.h"
#include "schema.h"
#include <stdio.h>

int main(void)
{
	char why[512];
	int bad = 0, i;

	for (i = 0; schema_messages[i]; i++) {
		if (lint_message(schema_messages[i], why, sizeof(why)) == 0)
			continue;
		fprintf(stderr, "error: %s\n", why);
		bad = 1;
	}
	if (i == 0) {
		fprintf(stderr, "error: no messages found in the .proto files\n");
		bad = 1;
	}
	return bad;
}
